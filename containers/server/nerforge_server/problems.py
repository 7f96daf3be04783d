"""Errors as RFC 9457 problem details: what is wrong and how to mend it, with no word of what was sent."""

import json
import logging
from http import HTTPStatus
from typing import Any

import falcon

from .inference import Unavailable

CONTENT_TYPE = "application/problem+json"

# What to do about the errors that come from the HTTP layer itself.
_FIXES = {
    400: "Send a well-formed HTTP/1.1 request.",
    404: "The document at /openapi.json lists the paths, and /docs shows them.",
    405: "The Allow header names the methods of this path.",
    408: "Send the whole request without a pause, and less in one request over a slow line.",
    413: "Send less in one request.",
    429: "Wait for answers before sending more requests on one connection.",
    431: "Send fewer or shorter headers.",
    500: "Try again; if it stays, the server's log says more under the id in X-Request-Id.",
    501: "Send the body with a Content-Length or chunked, without other encodings.",
    503: "Try again after the seconds that Retry-After says.",
}

log = logging.getLogger(__name__)


class Problem(falcon.HTTPError):
    """An HTTP error that says what is wrong and how to mend it.

    Parameters
    ----------
    status:
        The HTTP status.
    what, fix:
        A sentence each. Neither may quote the request.
    headers:
        Headers that the answer carries.
    """

    status: HTTPStatus
    headers: dict[str, str] | None

    def __init__(
        self, status: HTTPStatus, what: str, fix: str = "", headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(status, description=what, headers=headers)
        self.what, self.fix = what, fix


def document(status: int, what: str = "", fix: str = "", **more: Any) -> dict[str, Any]:
    """A problem as an object; ``what`` and ``fix`` default to what the status itself says.

    ``more`` are members of its own, such as the line of a stream that it is about.
    """
    known = HTTPStatus(status)
    fix = fix or _FIXES.get(status, "")
    return {
        "type": "about:blank",  # the status says it all: https://www.rfc-editor.org/rfc/rfc9457#section-4.2.1
        "title": known.phrase,
        "status": int(status),
        "detail": what or known.description or known.phrase,
        **({"fix": fix} if fix else {}),
        **more,
    }


def body(status: int, what: str = "", fix: str = "") -> bytes:
    """A problem as the body of an answer."""
    return json.dumps(document(status, what, fix), ensure_ascii=False).encode()


def of(error: Exception, request_id: str) -> Problem:
    """What a client is told about an error. One that nobody foresaw is logged with the request's id."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, Unavailable):
        retry = {"Retry-After": str(error.retry_after)}
        return Problem(HTTPStatus.SERVICE_UNAVAILABLE, error.what, error.fix, headers=retry)
    log.error("A request failed", exc_info=error, extra={"fields": {"id": request_id}})
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "The server failed over this request.")


def install(app: "falcon.App[Any, Any]") -> None:
    """Make every error of this app a problem details document."""
    app.set_error_serializer(_serialize)
    app.add_error_handler(Exception, _handle)


def _handle(req: falcon.Request, _resp: falcon.Response, error: Exception, _params: dict[str, Any]) -> None:
    raise of(error, req.context.get("id") or "")


def _serialize(_req: falcon.Request, resp: falcon.Response, error: falcon.HTTPError) -> None:
    # Falcon's own descriptions quote the request.
    what, fix = (error.what, error.fix) if isinstance(error, Problem) else ("", "")
    resp.data = body(error.status_code, what, fix)
    resp.content_type = CONTENT_TYPE
