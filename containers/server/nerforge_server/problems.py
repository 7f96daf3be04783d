"""Errors as RFC 9457 problem details: what is wrong and how to mend it, with no word of what was sent."""

import json
import logging
from http import HTTPStatus

import falcon

from .inference import Unavailable

CONTENT_TYPE = "application/problem+json"

# What to do about the errors that come from the HTTP layer itself.
_FIXES = {
    400: "Send a well-formed HTTP/1.1 request.",
    404: "The paths are /, /ner, /health, /ready and /model.",
    405: "The Allow header names the methods of this path.",
    413: "Send less in one request.",
    431: "Send fewer or shorter headers.",
    500: "Try again; if it stays, the server's log says more under the id in X-Request-Id.",
    501: "Send the body with a Content-Length or chunked, without other encodings.",
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

    def __init__(
        self, status: HTTPStatus, what: str, fix: str = "", headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(status, description=what, headers=headers)
        self.fix = fix


def body(status: int, what: str = "", fix: str = "") -> bytes:
    """A problem details document; ``what`` and ``fix`` default to what the status itself says."""
    problem = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": what or HTTPStatus(status).description or HTTPStatus(status).phrase,
        "fix": fix or _FIXES.get(status, ""),
    }
    return json.dumps(
        {key: value for key, value in problem.items() if value != ""}, ensure_ascii=False
    ).encode()


def install(app: falcon.App) -> None:
    """Make every error of this app a problem details document."""
    app.set_error_serializer(_serialize)
    app.add_error_handler(Unavailable, _unavailable)
    app.add_error_handler(Exception, _unexpected)


def _serialize(_req: falcon.Request, resp: falcon.Response, error: falcon.HTTPError) -> None:
    own = isinstance(error, Problem)  # Falcon's own descriptions quote the request
    resp.data = body(error.status_code, error.description if own else "", error.fix if own else "")
    resp.content_type = CONTENT_TYPE


def _unavailable(_req: falcon.Request, _resp: falcon.Response, error: Unavailable, _params: dict) -> None:
    raise Problem(
        HTTPStatus.SERVICE_UNAVAILABLE, error.what, error.fix, headers={"Retry-After": str(error.retry_after)}
    )


def _unexpected(req: falcon.Request, _resp: falcon.Response, error: Exception, _params: dict) -> None:
    log.error("A request failed", exc_info=error, extra={"fields": {"id": req.context.get("id")}})
    raise Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "The server failed over this request.")
