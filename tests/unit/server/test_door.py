"""The door: what it lets in by the head alone is what the application would read a body for."""

import hashlib
import itertools

import pytest
from falcon import testing
from nerforge_server import api
from nerforge_server.app import create_app
from nerforge_server.door import Door
from nerforge_server.keys import Keys
from nerforge_server.metrics import Metrics
from support.stub import Stub

KEY = "nfk_" + "k" * 43
KEYS = Keys({"ada": hashlib.sha256(KEY.encode()).hexdigest()})
BODIES = {api.TEXT: "London", api.JSON: '{"text": "London"}', api.LINES: '{"text": "London"}\n'}
HEADS = [
    *itertools.product(
        ["POST", "GET", "PUT"],
        ["/ner", "/ner/", "/model", "/health", "/nothing"],
        [api.TEXT, api.JSON, api.LINES, "Text/Plain; charset=UTF-8", "text/html", ""],
        ["identity", "gzip"],
        [f"Bearer {KEY}", f"bearer  {KEY}", f"Bearer {KEY}x", f"Basic {KEY}", KEY, "Bearer \xff", ""],
    )
]


@pytest.mark.parametrize("keys", [KEYS, None], ids=["keys", "no keys"])
def test_there_is_room_for_a_body_if_and_only_if_the_application_takes_it(keys):
    door = Door(keys)
    client = testing.TestClient(create_app(Stub(), keys, Metrics(1, ["LOC"], "exact")))
    taken = 0
    for method, path, kind, encoding, authorization in HEADS:
        headers = {"Content-Type": kind, "Content-Encoding": encoding, "Authorization": authorization}
        wsgi = {
            "CONTENT_TYPE": kind,
            "HTTP_CONTENT_ENCODING": encoding,
            "HTTP_AUTHORIZATION": authorization,
        }
        body = BODIES.get(kind, "London")
        answer = client.simulate_request(method, path, headers=headers, body=body)
        takes = path == "/ner" and answer.status_code == 200
        assert bool(door.room(method, path, wsgi.get)) == takes, (method, path, headers)
        taken += takes
    assert taken == (8 if keys else 28)  # four media types, and two ways to send the key or seven


def test_the_room_is_the_limit_of_the_media_type():
    def room(kind: str) -> int:
        return Door(None).room("POST", "/ner", {"CONTENT_TYPE": kind}.get)

    assert [room(kind) for kind in (api.TEXT, api.JSON, api.LINES)] == [1 << 20, 1 << 20, 16 << 20]
