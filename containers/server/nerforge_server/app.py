"""The WSGI application: what each path answers."""

import json
import logging
import re
import time
import uuid
from base64 import b64encode
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from typing import Any

import falcon
from nerforge_contract import names

from . import problems
from .problems import Problem
from .serving import Serving

MAX_BODY = 1 << 20  # bytes
MAX_CHARACTERS = 100_000  # of one text, in code points
MAX_TEXTS = 1_000  # in one request

TEXT = "text/plain"
JSON = "application/json"

SECURITY_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

log = logging.getLogger(__name__)


def create_app(serving: Serving) -> falcon.App:
    """The application that answers from ``serving``.

    | path | answer |
    |---|---|
    | ``POST /ner`` | entities, see `Recognition` |
    | ``GET /health`` | 200 as long as the process answers |
    | ``GET /ready`` | 200 once the model is loaded and was tried, else 503 and the reason |
    | ``GET /model`` | the model that answers: name, version, labels, scores, where it came from |
    | ``GET /`` | a page to try it out |

    Errors are RFC 9457 problem details with the member ``fix``. Every answer carries ``X-Request-Id``: the
    client's own, if it is 1 to 64 letters, digits, dots, hyphens or underscores, else a new one.
    """
    app = falcon.App(middleware=[Manners()])
    problems.install(app)
    app.add_route("/ner", Recognition(serving))
    app.add_route("/health", Health())
    app.add_route("/ready", Ready(serving))
    app.add_route("/model", Model(serving))
    app.add_route("/", Page())
    return app


class Manners:
    """What every request gets: an id, the security headers, a line in the log with no word of its text."""

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Name the request and start its clock."""
        given = req.get_header("X-Request-Id", default="")
        req.context.id = given if re.fullmatch(r"[\w.-]{1,64}", given, re.ASCII) else uuid.uuid4().hex
        req.context.started = time.perf_counter()
        resp.set_headers({**SECURITY_HEADERS, "X-Request-Id": req.context.id})

    def process_response(self, req: falcon.Request, resp: falcon.Response, _resource: Any, _ok: bool) -> None:
        """Write the request's line."""
        fields = {
            "method": req.method,
            "path": req.path[:200],
            "status": resp.status_code,
            "ms": round(1000 * (time.perf_counter() - req.context.started), 1),
            "texts": req.context.get("texts", 0),
            "id": req.context.id,
        }
        log.info("request", extra={"fields": fields})


class Recognition:
    """Entities of one text or many.

    ``text/plain``, UTF-8: the body is the text. Answers the list of its entities::

        [{"text": "London", "tag": "LOC", "start": 42, "end": 48}]

    ``application/json``: ``{"text": "..."}`` answers ``{"model": "people:7", "entities": [...]}``, and
    ``{"texts": ["...", "..."]}`` answers ``{"model": "people:7", "results": [{"entities": [...]}, ...]}``, a
    result for each text in the order of the texts.

    ``start`` and ``end`` count Unicode code points (not bytes, not UTF-16 units) from the start of the text
    exactly as it was sent; ``end`` is the first one after the entity.

    Refused: 400 for a body that is not strict UTF-8 or not the JSON above, 413 over `MAX_BODY`,
    `MAX_CHARACTERS` or `MAX_TEXTS`, 415 for another content type, 503 with ``Retry-After`` while there is no
    model, too much is waiting, or the answer takes too long.
    """

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer the entities of the body's text or texts."""
        kind = _content_type(req)
        body = _decode(_read(req))
        if kind == TEXT:
            _, [entities] = self._entities(req, [body])
            _answer(resp, entities)
            return
        field, texts = _texts(body)
        model, results = self._entities(req, texts)
        if field == "text":
            _answer(resp, {"model": model, "entities": results[0]})
        else:
            _answer(resp, {"model": model, "results": [{"entities": entities} for entities in results]})

    def _entities(self, req: falcon.Request, texts: list[str]) -> tuple[str, list]:
        req.context.texts = len(texts)
        for number, text in enumerate(texts, 1):
            if len(text) > MAX_CHARACTERS:
                raise Problem(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                    f"Text {number} of {len(texts)} has more than {MAX_CHARACTERS:,} characters.",
                    "Cut it at a paragraph's end and send the pieces as texts of their own.",
                )
        return self._serving.entities(texts)


class Health:
    """Whether the process is alive, whatever it is busy with."""

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer 200."""
        _answer(resp, {"status": "alive"})

    on_head = on_get


class Ready:
    """Whether new work should be sent here."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer 200 with the model's name and version, or 503 with the reason."""
        reason = self._serving.unready
        if reason is not None:
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, reason, headers={"Retry-After": "5"})
        manifest = self._serving.manifest
        _answer(resp, {"status": "ready", "model": names.model_label(manifest["name"], manifest["version"])})

    on_head = on_get


class Model:
    """The model that answers."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer what the model's manifest says about it."""
        manifest = self._serving.manifest
        facts = ("name", "version", "language", "labels", "scores", "run", "created")
        _answer(
            resp,
            {"model": names.model_label(manifest["name"], manifest["version"])}
            | {fact: manifest[fact] for fact in facts}
            | {"sha256": manifest["artifact"]["sha256"]},
        )

    on_head = on_get


class Page:
    """A page to paste a text into and see its entities marked."""

    def __init__(self) -> None:
        self._page = Path(__file__).with_name("page.html").read_bytes()
        self._policy = _page_policy(self._page)

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer the page, which fetches all it shows from the paths beside it."""
        resp.data = self._page
        resp.content_type = "text/html; charset=utf-8"
        resp.set_header("Content-Security-Policy", self._policy)

    on_head = on_get


def _page_policy(page: bytes) -> str:
    """The content security policy that allows the page's own script and style, by hash, and nothing else."""
    script, style = (
        b64encode(sha256(re.search(rb"<%s>(.*?)</%s>" % (tag, tag), page, re.DOTALL)[1]).digest()).decode()
        for tag in (b"script", b"style")
    )
    return (
        f"default-src 'none'; script-src 'sha256-{script}'; style-src 'sha256-{style}'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _content_type(req: falcon.Request) -> str:
    kind, parameters = falcon.parse_header(req.content_type or "")
    charset = parameters.get("charset", "utf-8").lower()
    encoding = req.get_header("Content-Encoding", default="identity").lower()
    kind = kind.lower()
    if kind not in (TEXT, JSON) or charset not in ("utf-8", "utf8") or encoding != "identity":
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"The body must be {TEXT} or {JSON}, in UTF-8, not compressed.",
            f"Set Content-Type to {TEXT} for one bare text, or to {JSON}.",
            headers={"Accept": f"{TEXT}, {JSON}"},
        )
    return kind


def _read(req: falcon.Request) -> bytes:
    if (req.content_length or 0) > MAX_BODY:
        raise Problem(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"The body has more than {MAX_BODY:,} bytes.",
            "Send the texts in several requests.",
        )
    return req.bounded_stream.read()


def _decode(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Problem(
            HTTPStatus.BAD_REQUEST, f"The body is not UTF-8 at byte {error.start}.", "Encode it as UTF-8."
        ) from None


def _texts(body: str) -> tuple[str, list[str]]:
    """Which field the JSON body has, ``text`` or ``texts``, and its texts."""
    fix = 'Send {"text": "..."} or {"texts": ["...", "..."]}.'
    try:
        document = json.loads(body)
    except json.JSONDecodeError as error:
        raise Problem(
            HTTPStatus.BAD_REQUEST, f"The body is not JSON at character {error.pos}.", fix
        ) from None
    except (ValueError, RecursionError):
        raise Problem(
            HTTPStatus.BAD_REQUEST, "The body's JSON is too deep or its numbers too long.", fix
        ) from None
    match document:
        case {"text": str(text), **rest} if not rest:
            field, texts = "text", [text]
        case {"texts": [*texts], **rest} if not rest and all(isinstance(text, str) for text in texts):
            field = "texts"
        case _:
            raise Problem(
                HTTPStatus.BAD_REQUEST,
                "The body must be an object with the one field text (a string) or texts (a list of strings).",
                fix,
            )
    if len(texts) > MAX_TEXTS:
        raise Problem(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"There are more than {MAX_TEXTS:,} texts.",
            "Send them in several requests.",
        )
    for number, text in enumerate(texts, 1):
        if half := re.search("[\ud800-\udfff]", text):
            raise Problem(
                HTTPStatus.BAD_REQUEST,
                f"Text {number} of {len(texts)} holds half of a surrogate pair at character {half.start()}.",
                "Escape characters beyond U+FFFF as both halves, or send them unescaped.",
            )
    return field, texts


def _answer(resp: falcon.Response, document: Any) -> None:
    resp.data = json.dumps(document, ensure_ascii=False).encode()
    resp.content_type = JSON
