"""What the server offers: its paths, and what each takes and gives.

The one home of these facts. `app` adds its routes from `OPERATIONS`, `bodies` checks requests by the limits
and the pattern of an id, `metrics` counts by the paths, and `openapi` writes all of it down for clients.
"""

from dataclasses import dataclass, field
from typing import Any

MAX_BODY = 1 << 20  # bytes
MAX_CHARACTERS = 100_000  # of one text, in code points
MAX_TEXTS = 1_000  # in one request
MAX_STREAM_BODY = 16 << 20  # bytes
MAX_STREAM_TEXTS = 100_000  # in one stream
MAX_ID = 256  # characters of a line's id

TEXT = "text/plain"
JSON = "application/json"
LINES = "application/x-ndjson"
HTML = "text/html; charset=utf-8"
METRICS = "text/plain; version=0.0.4; charset=utf-8"

ASSETS = "/docs/{name}"  # the files of the documentation's page, which are no operation

Schema = dict[str, Any]


@dataclass(frozen=True)
class Media:
    """What a body of one media type holds, with examples by name."""

    schema: Schema
    examples: dict[str, Any]
    description: str = ""


@dataclass(frozen=True)
class Operation:
    """One method of one path.

    Parameters
    ----------
    group:
        Under what it is listed, see `GROUPS`.
    path, method:
        ``GET`` brings ``HEAD`` along.
    name:
        Names it uniquely; `app` has a responder of this name.
    summary, description:
        For who reads the documentation.
    answers:
        What a success holds, by media type.
    bodies:
        What a request may hold, by media type.
    locked:
        Whether it takes an API key where the server has keys.
    needs_model:
        Whether it answers 503 while there is no model.
    """

    group: str
    path: str
    method: str
    name: str
    summary: str
    description: str
    answers: dict[str, Media]
    bodies: dict[str, Media] = field(default_factory=dict)
    locked: bool = False
    needs_model: bool = False


def _object(required: Schema, optional: Schema | None = None, closed: bool = False, **more: Any) -> Schema:
    schema = {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": [*required],
        **more,
    }
    return {**schema, "additionalProperties": False} if closed else schema


def _list(items: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": items, **more}


def _reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


_STRING = {"type": "string"}
_COUNT = {"type": "integer", "minimum": 0}
_SHARE = {"type": "number", "minimum": 0, "maximum": 1}
_ID = {"oneOf": [{"type": "string", "maxLength": MAX_ID}, {"type": "integer"}]}

SCHEMAS: dict[str, Schema] = {
    "Text": {
        "type": "string",
        "maxLength": MAX_CHARACTERS,
        "description": f"At most {MAX_CHARACTERS:,} characters, none of them half of a surrogate pair.",
    },
    "Entity": _object(
        {
            "text": {"type": "string", "minLength": 1, "description": "The entity as it stands in the text."},
            "tag": {"type": "string", "minLength": 1, "description": "Its label."},
            "start": _COUNT
            | {"description": "Its first character, counted in Unicode code points (not bytes)."},
            "end": _COUNT | {"description": "The first character after it."},
            "score": {
                "type": ["number", "null"],
                "minimum": 0,
                "maximum": 1,
                "description": "The probability that the model gives it; null if the pipeline has none.",
            },
        },
        closed=True,
    ),
    "Entities": _list(_reference("Entity"), description="In the order of their starts."),
    "One": _object({"text": _reference("Text")}, closed=True),
    "Many": _object({"texts": _list(_reference("Text"), maxItems=MAX_TEXTS)}, closed=True),
    "OneResult": _object({"model": _STRING, "entities": _reference("Entities")}, closed=True),
    "ManyResults": _object(
        {
            "model": _STRING,
            "results": _list(
                _object({"entities": _reference("Entities")}, closed=True),
                description="A result for each text, in the order of the texts.",
            ),
        },
        closed=True,
    ),
    "Line": _object({"text": _reference("Text")}, {"id": _ID}, closed=True),
    "LineResult": _object({"entities": _reference("Entities")}, {"id": _ID}, closed=True),
    "Model": _object(
        {
            "model": {"type": "string", "description": "Name and version."},
            "name": _STRING,
            "version": {"type": "integer", "minimum": 1},
            "language": _STRING,
            "labels": _list(_STRING),
            "scores": {
                "type": "object",
                "description": "F, precision and recall on held-out data, in all and by label.",
            },
            "run": {"type": "string", "description": "The run that trained it."},
            "created": {"type": "string", "format": "date-time"},
            "sha256": {
                "type": "string",
                "pattern": "^[0-9a-f]{64}$",
                "description": "Of the model's archive.",
            },
            "engine": {
                "type": "string",
                "description": "What finds the entities: `exact`, as spaCy but faster, or `spacy`.",
            },
            "engine_reason": {"type": "string", "description": "Why it is this engine."},
        },
        {
            "calibration": {
                "type": ["object", "null"],
                "description": "How far the scores can be believed, measured on held-out data: the expected "
                "calibration error, and for each range of scores their mean and the share that was right.",
                "properties": {
                    "ece": {**_SHARE, "type": ["number", "null"]},
                    "ece_uncalibrated": {**_SHARE, "type": ["number", "null"]},
                    "temperature": {"type": "number", "exclusiveMinimum": 0},
                    "on": _STRING,
                    "bins": _list(
                        _object(
                            {
                                "from": _SHARE,
                                "to": _SHARE,
                                "confidence": {"type": ["number", "null"]},
                                "accuracy": {"type": ["number", "null"]},
                                "count": _COUNT,
                            }
                        )
                    ),
                },
            },
        },
    ),
    "Health": _object({"status": {"const": "alive"}}),
    "Ready": _object({"status": {"const": "ready"}, "model": _STRING}),
    "Problem": _object(
        {
            "type": {"type": "string", "format": "uri-reference"},
            "title": _STRING,
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "detail": {"type": "string", "description": "What is wrong; never quotes the request."},
        },
        {
            "fix": {"type": "string", "description": "How to mend it."},
            "line": {"type": "integer", "minimum": 1, "description": "In a stream: the line it is about."},
            "id": _ID,
        },
        description="Problem details, RFC 9457.",
    ),
}

_SENTENCE = "Ada Lovelace met Charles Babbage in London."
_FOUND = [
    {"text": "Ada Lovelace", "tag": "PER", "start": 0, "end": 12, "score": 0.9871},
    {"text": "Charles Babbage", "tag": "PER", "start": 17, "end": 32, "score": 0.9764},
    {"text": "London", "tag": "LOC", "start": 36, "end": 42, "score": 0.9912},
]

_RECOGNIZE = Operation(
    "Entities",
    "/ner",
    "POST",
    "recognize",
    "Find the entities of one text or many",
    "Offsets count Unicode code points of the text exactly as it was sent. Bodies are UTF-8, without a "
    "Content-Encoding.\n\n"
    f"| body | at most | answer |\n|---|---|---|\n"
    f"| `{TEXT}`: the text itself | {MAX_CHARACTERS:,} characters | a list of entities |\n"
    f'| `{JSON}`: `{{"text": …}}` | the same | model and entities |\n'
    f'| `{JSON}`: `{{"texts": […]}}` | {MAX_BODY >> 20} MiB, {MAX_TEXTS:,} texts | a result for each |\n'
    f'| `{LINES}`: `{{"text": …, "id": …}}` a line; the id may be left out | {MAX_STREAM_BODY >> 20} MiB, '
    f"{MAX_STREAM_TEXTS:,} texts | a line for each, in order, as they are found |\n\n"
    "In a stream, a line that is wrong gets a problem in place of its result, with the number of the line, "
    "and the lines after it are answered. If the server itself fails, the last line is a problem that says "
    "from which line on there is no answer.",
    answers={
        JSON: Media(
            {"anyOf": [_reference("Entities"), _reference("OneResult"), _reference("ManyResults")]},
            {
                "bare text": _FOUND,
                "one text": {"model": "people:7", "entities": _FOUND},
                "many texts": {"model": "people:7", "results": [{"entities": _FOUND}, {"entities": []}]},
            },
        ),
        LINES: Media(
            {"anyOf": [_reference("LineResult"), _reference("Problem")]},
            {"a line": {"id": 1, "entities": _FOUND}},
            "The schema is that of each line.",
        ),
    },
    bodies={
        JSON: Media(
            {"oneOf": [_reference("One"), _reference("Many")]},
            {"one text": {"text": _SENTENCE}, "many texts": {"texts": [_SENTENCE, "Nobody was there."]}},
        ),
        TEXT: Media(_reference("Text"), {"a text": _SENTENCE}),
        LINES: Media(
            _reference("Line"), {"a line": {"id": 1, "text": _SENTENCE}}, "The schema is that of each line."
        ),
    },
    locked=True,
    needs_model=True,
)

GROUPS = {
    "Entities": "What the server is for.",
    "Operation": "For who keeps it running.",
    "Documentation": "For people, and for tools.",
}
OPERATIONS = (
    _RECOGNIZE,
    Operation(
        "Entities",
        "/model",
        "GET",
        "model",
        "The model that answers",
        "Name, version, labels, scores on held-out data, where it came from, and the engine in use.",
        answers={JSON: Media(_reference("Model"), {})},
        locked=True,
        needs_model=True,
    ),
    Operation(
        "Operation",
        "/health",
        "GET",
        "health",
        "Whether the process lives",
        "Answers whatever the server is busy with.",
        answers={JSON: Media(_reference("Health"), {"alive": {"status": "alive"}})},
    ),
    Operation(
        "Operation",
        "/ready",
        "GET",
        "ready",
        "Whether new work should be sent here",
        "200 once the model is loaded and was tried, else 503 and the reason.",
        answers={JSON: Media(_reference("Ready"), {"ready": {"status": "ready", "model": "people:7"}})},
        needs_model=True,
    ),
    Operation(
        "Operation",
        "/metrics",
        "GET",
        "metrics",
        "Counters for Prometheus",
        "Of all the server's processes together.",
        answers={METRICS: Media(_STRING, {})},
        locked=True,
    ),
    Operation(
        "Documentation",
        "/openapi.json",
        "GET",
        "openapi",
        "This document",
        "OpenAPI 3.1.",
        answers={JSON: Media({"type": "object"}, {})},
    ),
    Operation(
        "Documentation",
        "/docs",
        "GET",
        "docs",
        "This document as a page",
        "Swagger UI.",
        answers={HTML: Media(_STRING, {})},
    ),
    Operation(
        "Documentation",
        "/",
        "GET",
        "page",
        "A page to try it on",
        "Type a text and see its entities marked.",
        answers={HTML: Media(_STRING, {})},
    ),
)
