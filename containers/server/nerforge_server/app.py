"""The WSGI application: Falcon, with a responder for each operation of `api`."""

import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from http import HTTPStatus
from itertools import chain
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import falcon
from falcon import mediatypes

from . import api, bodies, logs, openapi, pages, problems, streams
from .api import HTML, JSON, LINES, TEXT, Operation
from .door import Door
from .headers import IMMUTABLE, PAGE_HEADERS, SECURITY_HEADERS, STRICT_TRANSPORT
from .problems import Problem

if TYPE_CHECKING:
    from nerforge_engine.recognizer import Entity

    from .keys import Keys
    from .metrics import Metrics
    from .serving import Serving

Responder = Callable[[falcon.Request, falcon.Response], None]

MODEL_FACTS = (
    "name",
    "version",
    "language",
    "labels",
    "scores",
    "run",
    "created",
    "engine",
    "engine_reason",
)  # of the manifest, and of the engine

_REQUEST_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)


def create_app(serving: "Serving", keys: "Keys | None", metrics: "Metrics") -> "falcon.App[Any, Any]":
    """The application that answers from ``serving``.

    What it offers stands in `api.OPERATIONS`. Errors are RFC 9457 problem details with the member ``fix``.
    Every answer carries ``X-Request-Id``: the client's own, if it is 1 to 64 letters, digits, dots, hyphens
    or underscores, else a new one.

    Parameters
    ----------
    keys:
        Who may use the locked operations; None: anybody.
    metrics:
        Counts what was answered.
    """
    app = falcon.App(middleware=[Manners(metrics)])
    problems.install(app)
    door = Door(keys)
    responders = Responders(serving, metrics, openapi.document(with_keys=keys is not None))
    routes: dict[str, SimpleNamespace] = {}
    for operation in api.OPERATIONS:
        responder = getattr(responders, operation.name)
        if door.locks(operation):
            responder = _locked(responder, door)
        for method in _methods(operation):
            setattr(routes.setdefault(operation.path, SimpleNamespace()), f"on_{method}", responder)
    for path, route in routes.items():
        app.add_route(path, route)
    app.add_route(api.ASSETS, responders.assets)
    return app


def _methods(operation: Operation) -> Sequence[str]:
    return ("get", "head") if operation.method == "GET" else (operation.method.lower(),)


class Manners:
    """What every request gets: an id, the security headers, its place in the metrics, a line in the log."""

    def __init__(self, metrics: "Metrics") -> None:
        self._metrics = metrics

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Name the request and start its clock."""
        context, given = req.context, req.env.get("HTTP_X_REQUEST_ID")
        context.started = time.perf_counter()
        context.id = given if given and _REQUEST_ID.fullmatch(given) else os.urandom(16).hex()
        context.texts = 0
        resp.set_headers(SECURITY_HEADERS)
        resp.set_header("X-Request-Id", context.id)
        if req.env.get("HTTP_X_FORWARDED_PROTO") == "https":
            resp.set_header(*STRICT_TRANSPORT)

    def process_response(self, req: falcon.Request, resp: falcon.Response, _resource: Any, _ok: bool) -> None:
        """Count the request and write its line: now, or when its stream has ended."""
        if resp.stream is None:
            self._close(req, resp.status_code)
        else:
            stream = cast(Iterator[bytes], resp.stream)  # as `Responders` gives it
            resp.stream = self._until_its_end(stream, req, resp.status_code)

    def _until_its_end(self, stream: Iterator[bytes], req: falcon.Request, status: int) -> Iterator[bytes]:
        try:
            yield from stream
        finally:
            self._close(req, status)

    def _close(self, req: falcon.Request, status: int) -> None:
        context = req.context
        seconds = time.perf_counter() - context.started
        self._metrics.answered(req.uri_template or "", req.method, status, seconds)
        key = {"key": context.key} if "key" in context else {}
        logs.info(
            "request",
            method=req.method,
            path=req.path[:200],
            status=status,
            ms=round(1000 * seconds, 1),
            texts=context.texts,
            id=context.id,
            **key,
        )


class Responders:
    """A responder for each operation, by its name."""

    def __init__(self, serving: "Serving", metrics: "Metrics", document: dict[str, Any]) -> None:
        self._serving = serving
        self._metrics = metrics
        self._document = _encode(document)
        self._page = pages.page()
        self._docs, assets = pages.docs()
        self.assets = Assets(assets)

    def recognize(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer the entities of the body's text or texts."""
        header = req.env.get
        model = self._serving.label  # without one nothing is read
        kind = bodies.media_type_of(header)
        _check_accepted(header("HTTP_ACCEPT", "*/*"), LINES if kind == LINES else JSON)
        if kind == LINES:
            self._stream(req, resp)
            return
        body = bodies.read(req)
        if kind == TEXT:
            [result] = self._recognize(req, [bodies.text(body)])
            _answer(resp, result)
            return
        many, texts = bodies.texts(body)
        results = self._recognize(req, texts)
        if many:
            _answer(resp, {"model": model, "results": [{"entities": each} for each in results]})
        else:
            _answer(resp, {"model": model, "entities": results[0]})

    def _recognize(self, req: falcon.Request, texts: list[str]) -> list[list[dict[str, Any]]]:
        req.context.texts = len(texts)
        results = self._serving.recognize(texts)
        self._metrics.entities(entity.label for entities in results for entity in entities)
        return [_told(text, entities) for text, entities in zip(texts, results, strict=True)]

    def _stream(self, req: falcon.Request, resp: falcon.Response) -> None:
        parts = streams.answers(bodies.lines(req), self._serving.stream, req.context.id)
        first = next(parts, [])
        # As long as nothing is answered, what is wrong with a line is the request's own problem.
        if first and isinstance(problem := first[0][1], Problem):
            raise problem
        resp.stream = self._lines(req, chain([first], parts))
        resp.content_type = LINES

    def _lines(self, req: falcon.Request, parts: Iterable[list[streams.Answer]]) -> Iterator[bytes]:
        for part in parts:
            yield b"".join(_encode(self._line(req, *answer)) + b"\n" for answer in part)

    def _line(
        self, req: falcon.Request, line: bodies.Line, answer: "list[Entity] | Problem"
    ) -> dict[str, Any]:
        if isinstance(answer, Problem):
            told = problems.document(answer.status_code, answer.what, answer.fix, line=line.number)
        else:
            req.context.texts += 1
            self._metrics.entities(entity.label for entity in answer)
            told = {"entities": _told(cast(str, line.content), answer)}  # else there were no entities
        return {**line.echo, **told}

    def model(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer what is known about the model."""
        facts = self._serving.model
        _answer(
            resp,
            {"model": self._serving.label}
            | {fact: facts[fact] for fact in MODEL_FACTS}
            | {"sha256": facts["artifact"]["sha256"], "calibration": facts.get("calibration")},
        )

    def health(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer 200."""
        _answer(resp, {"status": "alive"})

    def ready(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer 200 with the model's name and version, or 503 with the reason."""
        reason = self._serving.unready
        if reason is not None:
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, reason, headers={"Retry-After": "5"})
        _answer(resp, {"status": "ready", "model": self._serving.label})

    def metrics(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer the counters of all processes."""
        model = self._serving.label if self._serving.unready is None else ""
        resp.data = self._metrics.exposition(model)
        resp.content_type = api.METRICS

    def openapi(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer the OpenAPI document."""
        resp.data = self._document
        resp.content_type = JSON

    def docs(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer the page that shows the OpenAPI document."""
        _answer_page(resp, self._docs)

    def page(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer the page to try it on, which fetches all it shows from the paths beside it."""
        _answer_page(resp, self._page)


class Assets:
    """The files that the documentation is drawn with."""

    def __init__(self, assets: dict[str, pages.Asset]) -> None:
        self._assets = assets

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Answer the file, or that the client has it already."""
        asset = self._assets.get(name)
        if asset is None:
            raise falcon.HTTPRouteNotFound
        resp.etag = asset.etag
        resp.cache_control = IMMUTABLE
        if any(each in ("*", asset.etag) for each in req.if_none_match or ()):
            resp.status = falcon.HTTP_304
            return
        resp.data = asset.content
        resp.content_type = asset.media_type

    on_head = on_get


def _locked(responder: Responder, door: Door) -> Responder:
    """The same responder behind the door."""

    def respond(req: falcon.Request, resp: falcon.Response) -> None:
        req.context.key = door.enter(req.env.get("HTTP_AUTHORIZATION", ""))
        responder(req, resp)

    return respond


@lru_cache(maxsize=64)
def _check_accepted(accept: str, kind: str) -> None:
    try:
        accepted = mediatypes.quality(kind, accept) > 0
    except ValueError:  # it makes no sense: as good as none
        accepted = True
    if not accepted:
        raise Problem(
            HTTPStatus.NOT_ACCEPTABLE,
            f"The answer to this request is {kind}, which the Accept header does not allow.",
            f"Allow {kind} in Accept, or leave the header out.",
        )


def _told(text: str, entities: Sequence["Entity"]) -> list[dict[str, Any]]:
    """Entities of a text as they are answered."""
    return [
        {
            "text": text[start:end],
            "tag": label,
            "start": start,
            "end": end,
            "score": None if score is None else round(score, 4),
        }
        for start, end, label, score in entities
    ]


_encode_text = json.JSONEncoder(ensure_ascii=False).encode


def _encode(document: Any) -> bytes:
    return _encode_text(document).encode()


def _answer(resp: falcon.Response, document: Any) -> None:
    resp.data = _encode(document)
    resp.content_type = JSON


def _answer_page(resp: falcon.Response, page: pages.Page) -> None:
    resp.data = page.content
    resp.content_type = HTML
    resp.set_headers(PAGE_HEADERS)
    resp.set_header("Content-Security-Policy", page.policy)
