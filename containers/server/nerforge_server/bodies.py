"""The bodies of requests, read strictly: size, media type, UTF-8, JSON, shape. What is wrong is a Problem."""

import json
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from http import HTTPStatus
from typing import Any, NamedTuple, NoReturn

import falcon

from .api import (
    JSON,
    LINES,
    MAX_BODY,
    MAX_CHARACTERS,
    MAX_ID,
    MAX_STREAM_BODY,
    MAX_STREAM_TEXTS,
    MAX_TEXTS,
    TEXT,
)
from .problems import Problem

_SHAPE = 'Send {"text": "..."} or {"texts": ["...", "..."]}.'
_LINE_SHAPE = 'Send {"text": "..."} or {"id": ..., "text": "..."} on each line.'
_SURROGATE = re.compile("[\ud800-\udfff]")

LIMITS = {TEXT: MAX_BODY, JSON: MAX_BODY, LINES: MAX_STREAM_BODY}  # bytes, by the media type


def media_type_of(header: Callable[[str, str], str]) -> str:
    """Which media type a request's headers tell of, given the ``get`` of its WSGI environment."""
    return media_type(header("CONTENT_TYPE", ""), header("HTTP_CONTENT_ENCODING", "identity"))


@lru_cache(maxsize=64)
def media_type(content_type: str, encoding: str) -> str:
    """Which of the three media types these headers, Content-Type and Content-Encoding, tell of."""
    kind, parameters = falcon.parse_header(content_type)
    charset = parameters.get("charset", "utf-8").lower()
    kind = kind.lower()
    if kind not in (TEXT, JSON, LINES) or charset not in ("utf-8", "utf8") or encoding.lower() != "identity":
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"The body must be {TEXT}, {JSON} or {LINES}, in UTF-8, not compressed.",
            f"Set Content-Type to {TEXT} for one bare text, to {JSON}, or to {LINES} for a stream.",
            headers={"Accept": f"{TEXT}, {JSON}, {LINES}"},
        )
    return kind


def read(req: falcon.Request) -> str:
    """The whole body of a request that is no stream."""
    _limit(req, LIMITS[JSON])
    return _decode(req.bounded_stream.read(), "The body")


def text(body: str) -> str:
    """The one text that the body is."""
    _check_length(body, "The text")
    return body


def texts(body: str) -> tuple[bool, list[str]]:
    """Whether a JSON body holds ``texts`` rather than ``text``, and the texts."""
    many, found = _unpacked(_parse(body, "The body", _SHAPE))
    if len(found) > MAX_TEXTS:
        _too_much(
            f"There are more than {MAX_TEXTS:,} texts.", f"Send them in several requests, or as {LINES}."
        )
    escapes = "\\u" in body  # in UTF-8 itself there are no surrogates
    for number, each in enumerate(found, 1):
        _check_length(each, f"Text {number} of {len(found)}")
        if escapes:
            _check_surrogates(each, f"Text {number} of {len(found)}")
    return many, found


def _unpacked(document: Any) -> tuple[bool, list[str]]:
    match document:
        case {"text": str(one), **rest} if not rest:
            return False, [one]
        case {"texts": list(found), **rest} if not rest and all(isinstance(each, str) for each in found):
            return True, found
    _refuse(
        "The body must be an object with one member, text (a string) or texts (a list of strings).", _SHAPE
    )


class Line(NamedTuple):
    """One line of a stream: its number from 1, the id to echo (``{}`` or ``{"id": ...}``), what it holds."""

    number: int
    echo: dict[str, Any]
    content: str | Problem


def lines(req: falcon.Request) -> Iterator[Line]:
    """The lines of a stream, read one by one; empty ones are passed over."""
    _limit(req, LIMITS[LINES])
    return _lines(req)


def _lines(req: falcon.Request) -> Iterator[Line]:
    taken = 0
    stream: Any = req.stream
    # The stream itself ends where the body does (wsgi.input_terminated); Falcon's bounded one loses lines.
    for number, raw in enumerate(iter(stream.readline, b""), 1):
        if raw.isspace():
            continue
        taken += 1
        echo: dict[str, Any] = {}
        try:
            if taken > MAX_STREAM_TEXTS:
                _too_much(
                    f"There are more than {MAX_STREAM_TEXTS:,} texts; from here on none is answered.",
                    "Send them in several requests.",
                )
            yield Line(number, echo, _line(raw.rstrip(b"\r\n"), f"Line {number}", echo))
        except Problem as problem:
            yield Line(number, echo, problem)
        if taken > MAX_STREAM_TEXTS:
            return


def _line(raw: bytes, what: str, echo: dict[str, Any]) -> str:
    """The text of a line, whose id goes into ``echo``."""
    document = _parse(_decode(raw, what), what, _LINE_SHAPE)
    if not isinstance(document, dict):
        _refuse(f"{what} is not an object.", _LINE_SHAPE)
    if "id" in document:
        given = document.pop("id")
        if isinstance(given, bool) or not isinstance(given, str | int) or len(str(given)) > MAX_ID:
            _refuse(
                f"The id of {what.lower()} is no integer, nor a string, of at most {MAX_ID} characters.",
                _LINE_SHAPE,
            )
        _check_surrogates(str(given), f"The id of {what.lower()}")
        echo["id"] = given
    match document:
        case {"text": str(found), **rest} if not rest:
            _check_length(found, f"The text of {what.lower()}")
            _check_surrogates(found, f"The text of {what.lower()}")
            return found
    _refuse(f"{what} must have the member text (a string), and none but id beside it.", _LINE_SHAPE)


def _limit(req: falcon.Request, limit: int) -> None:
    if (req.content_length or 0) > limit:
        raise Problem(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"The body has more than {limit:,} bytes.",
            "Send the texts in several requests.",
        )


def _decode(body: bytes, what: str) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        _refuse(f"{what} is not UTF-8 at byte {error.start}.", "Encode it as UTF-8.")


def _parse(body: str, what: str, fix: str) -> Any:
    try:
        return _DECODER.decode(body)
    except json.JSONDecodeError as error:
        _refuse(f"{what} is not JSON at character {error.pos}.", fix)
    except _NotStrict as error:
        _refuse(f"{what} is not strict JSON: {error}.", fix)
    except (ValueError, RecursionError):
        _refuse(f"The JSON of {what.lower()} is too deep or its numbers too long.", fix)


class _NotStrict(ValueError):
    pass


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _NotStrict("an object names a member twice")
    return found


def _no_constant(_name: str) -> NoReturn:
    raise _NotStrict("it has no NaN and no Infinity")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)


def _check_length(text: str, what: str) -> None:
    if len(text) > MAX_CHARACTERS:
        _too_much(
            f"{what} has more than {MAX_CHARACTERS:,} characters.",
            "Cut it at a paragraph's end and send the pieces as texts of their own.",
        )


def _check_surrogates(text: str, what: str) -> None:
    if half := _SURROGATE.search(text):
        _refuse(
            f"{what} holds half of a surrogate pair at character {half.start()}.",
            "Escape characters beyond U+FFFF as both halves, or send them unescaped.",
        )


def _refuse(what: str, fix: str) -> NoReturn:
    raise Problem(HTTPStatus.BAD_REQUEST, what, fix)


def _too_much(what: str, fix: str) -> NoReturn:
    raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, what, fix)
