"""What schemathesis must be told about NDJSON: a stream of one line, which has the schema."""

import json
from typing import Any

import schemathesis

MEDIA_TYPE = "application/x-ndjson"


@schemathesis.serializer(MEDIA_TYPE)
def serialize(_context: Any, value: Any) -> bytes:
    """A body with the value as its one line."""
    return json.dumps(value).encode() + b"\n"


@schemathesis.deserializer(MEDIA_TYPE)
def deserialize(_context: Any, response: Any) -> Any:
    """The answer's one line, as a value."""
    [line] = response.content.splitlines()
    return json.loads(line)
