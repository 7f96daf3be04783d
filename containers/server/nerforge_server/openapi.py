"""The OpenAPI 3.1 document, from what `api` says: https://spec.openapis.org/oas/v3.1.1"""

from http import HTTPStatus
from typing import Any

from . import api, problems
from .api import Media, Operation

VERSION = "1.0.0"  # of the interface: the first number changes if a client that works would break

_SECURITY = "key"
_ERRORS = {
    HTTPStatus.BAD_REQUEST: "The request or its body is malformed.",
    HTTPStatus.UNAUTHORIZED: "There is no API key, or one that opens nothing.",
    HTTPStatus.METHOD_NOT_ALLOWED: "The path has no such method.",
    HTTPStatus.NOT_ACCEPTABLE: "The Accept header allows none of the media types of the answer.",
    HTTPStatus.REQUEST_TIMEOUT: "The request did not come to its end in time.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body has more bytes than are read.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The body has another media type, charset or encoding.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "A text is longer than its limit, or there are too many.",
    HTTPStatus.TOO_MANY_REQUESTS: "Too many requests were sent on a connection without waiting for answers.",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "The headers are over their limit.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "The server failed over this request.",
    HTTPStatus.NOT_IMPLEMENTED: "The transfer encoding is another than chunked.",
    HTTPStatus.SERVICE_UNAVAILABLE: "There is no model yet, too much is waiting, or it took too long.",
}
_HEADERS = {
    HTTPStatus.UNAUTHORIZED: "WWW-Authenticate",
    HTTPStatus.METHOD_NOT_ALLOWED: "Allow",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "Accept",
    HTTPStatus.SERVICE_UNAVAILABLE: "Retry-After",
}


def document(with_keys: bool) -> dict[str, Any]:
    """What the server offers; ``with_keys``: whether it asks for API keys."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in api.OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, with_keys)
    components: dict[str, Any] = {
        "schemas": api.SCHEMAS,
        "parameters": {
            "X-Request-Id": {
                "name": "X-Request-Id",
                "in": "header",
                "required": False,
                "description": "A name for the request in the server's log: 1 to 64 letters, digits, dots, "
                "hyphens or underscores. Anything else is ignored.",
                "schema": {"type": "string"},
            }
        },
        "headers": {
            "X-Request-Id": {
                "description": "What the server's log calls this request. Not there if it was refused "
                "before the application saw it.",
                "schema": {"type": "string"},
            },
            "Retry-After": _header(
                "Seconds after which another try makes sense.", {"type": "integer", "minimum": 1}
            ),
            "WWW-Authenticate": _header("The scheme of the keys.", {"type": "string"}),
            "Allow": _header("The methods of this path.", {"type": "string"}),
            "Accept": _header("The media types of this path.", {"type": "string"}),
        },
        "responses": {str(int(status)): _error(status) for status in _ERRORS},
    }
    if with_keys:
        components["securitySchemes"] = {
            _SECURITY: {"type": "http", "scheme": "bearer", "description": "An API key of this server."}
        }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "nerforge",
            "version": VERSION,
            "description": "Named entities from a spaCy model. Every error is a problem document (RFC 9457) "
            "with the member `fix`, which says how to mend it. `HEAD` works wherever `GET` does.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        # Relative to this document: a load balancer may have put the server under a prefix.
        "servers": [{"url": "."}],
        "tags": [{"name": name, "description": text} for name, text in api.GROUPS.items()],
        "paths": paths,
        "components": components,
    }


def _operation(operation: Operation, with_keys: bool) -> dict[str, Any]:
    errors = {400, 405, 408, 429, 431, 500, 501}
    if operation.bodies:
        errors |= {406, 413, 415, 422}
    if operation.needs_model:
        errors |= {503}
    if operation.locked and with_keys:
        errors |= {401}
    made: dict[str, Any] = {
        "tags": [operation.group],
        "operationId": operation.name,
        "summary": operation.summary,
        "description": operation.description,
        "parameters": [{"$ref": "#/components/parameters/X-Request-Id"}],
        "responses": {
            "200": {
                "description": "Done.",
                "headers": _headers("X-Request-Id"),
                "content": _content(operation.answers),
            },
            **{str(code): {"$ref": f"#/components/responses/{code}"} for code in sorted(errors)},
        },
        "security": [{_SECURITY: []}] if operation.locked and with_keys else [],
    }
    if operation.bodies:
        made["requestBody"] = {"required": True, "content": _content(operation.bodies)}
    return made


def _content(media: dict[str, Media]) -> dict[str, Any]:
    return {
        kind: {
            "schema": {**each.schema, **({"description": each.description} if each.description else {})},
            **(
                {"examples": {name: {"value": value} for name, value in each.examples.items()}}
                if each.examples
                else {}
            ),
        }
        for kind, each in media.items()
    }


def _error(status: HTTPStatus) -> dict[str, Any]:
    names = ("X-Request-Id", _HEADERS[status]) if status in _HEADERS else ("X-Request-Id",)
    return {
        "description": _ERRORS[status],
        "headers": _headers(*names),
        "content": {
            problems.CONTENT_TYPE: {
                "schema": {"$ref": "#/components/schemas/Problem"},
                "examples": {"problem": {"value": problems.document(status, _ERRORS[status])}},
            }
        },
    }


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _header(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "required": True, "schema": schema}
