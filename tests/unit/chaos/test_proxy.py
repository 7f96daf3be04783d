"""The chaos proxy: what AWS gets to see of a call, and what its caller."""

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from chaos import proxy
from chaos.proxy import Call, Fault, Proxy

ANSWER = b"what AWS says"
TARGET = {"X-Amz-Target": "DynamoDB_20120810.UpdateItem"}


class Upstream(ThreadingHTTPServer):
    """Keeps what it is asked, and answers all alike."""

    daemon_threads = True

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, bytes]] = []
        super().__init__(("127.0.0.1", 0), _Handler)
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    server: Upstream

    def serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.seen.append((self.command, self.path, body))
        self.send_response(200)
        self.send_header("X-Mine", "kept")
        self.send_header("Content-Length", str(len(ANSWER)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(ANSWER)

    do_GET = do_HEAD = do_PUT = do_POST = serve

    def log_message(self, *__: Any) -> None:
        pass


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    server = Upstream()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def connect(upstream: Upstream) -> Iterator[Callable[..., http.client.HTTPConnection]]:
    """Makes a connection through a proxy with these faults, one for each call."""
    proxies = []

    def make(*faults: Fault | None, kill: Callable[[int], None] = lambda __: None) -> Any:
        drawn = iter(faults)
        proxies.append(Proxy(0, upstream.server_address[1], lambda call: next(drawn), kill))
        return http.client.HTTPConnection("127.0.0.1", proxies[-1].server_address[1], timeout=5)

    yield make
    for each in proxies:
        each.close()


def ask(connection: http.client.HTTPConnection, method: str = "POST", **options: Any) -> tuple[int, bytes]:
    connection.request(method, "/bucket/key?x=1", **options)
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_calls_pass_on_one_connection(connect, upstream):
    connection = connect(None, None, None)
    assert ask(connection, "PUT", body=b"body") == (200, ANSWER)
    port = connection.sock.getsockname()[1]
    assert ask(connection, "PUT", body=iter([b"bo", b"dy"]), encode_chunked=True) == (200, ANSWER)
    connection.request("HEAD", "/bucket/key")
    answer = connection.getresponse()
    assert (answer.headers["Content-Length"], answer.headers["X-Mine"]) == (str(len(ANSWER)), "kept")
    assert connection.sock.getsockname()[1] == port
    path = "/bucket/key?x=1"
    assert upstream.seen == [("PUT", path, b"body"), ("PUT", path, b"body"), ("HEAD", "/bucket/key", b"")]


def test_bodies_announced_by_expect_are_waited_for(connect, upstream):
    assert ask(connect(None), "PUT", body=b"body", headers={"Expect": "100-continue"}) == (200, ANSWER)
    assert upstream.seen[0][2] == b"body"


@pytest.mark.parametrize(
    ("headers", "fault", "status", "code"),
    [
        (TARGET, Fault.ERROR, 500, "InternalServerError"),
        (TARGET, Fault.THROTTLE, 400, "ProvisionedThroughputExceededException"),
        ({}, Fault.ERROR, 500, "InternalError"),
        ({}, Fault.THROTTLE, 503, "SlowDown"),
    ],
)
def test_refused_calls_are_not_carried_out(connect, upstream, headers, fault, status, code):
    answered, body = ask(connect(fault), headers=headers)
    assert answered == status
    assert code.encode() in body
    assert upstream.seen == []


def test_a_reset_before_is_not_carried_out(connect, upstream):
    with pytest.raises(ConnectionResetError):
        ask(connect(Fault.RESET))
    assert upstream.seen == []


@pytest.mark.parametrize("fault", [Fault.LOST_RESET, Fault.LATE])
def test_an_answer_is_lost_with_the_connection(connect, upstream, monkeypatch, fault):
    monkeypatch.setattr(proxy, "LATE_SECONDS", 0)
    with pytest.raises(ConnectionResetError):
        ask(connect(fault))
    assert len(upstream.seen) == 1


def test_an_answer_is_lost_behind_an_error(connect, upstream):
    assert ask(connect(Fault.LOST_ERROR))[0] == 500
    assert len(upstream.seen) == 1


def test_an_answer_is_cut(connect):
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        ask(connect(Fault.CUT), "GET")


def test_an_event_is_taken_and_lost(connect, upstream):
    status, body = ask(connect(Fault.UNHEARD))
    assert (status, json.loads(body)["FailedEntryCount"]) == (200, 0)
    assert upstream.seen == []


@pytest.mark.parametrize(("fault", "carried_out"), [(Fault.KILL_BEFORE, 0), (Fault.KILL_AFTER, 1)])
def test_the_caller_is_killed_by_its_port(connect, upstream, fault, carried_out):
    killed = []
    connection = connect(fault, kill=killed.append)
    connection.connect()
    port = connection.sock.getsockname()[1]
    with pytest.raises(ConnectionResetError):
        ask(connection)
    assert killed == [port]
    assert len(upstream.seen) == carried_out


def test_an_emulator_that_is_down_resets(connect, upstream):
    connection = connect(None)
    upstream.shutdown()
    upstream.server_close()
    with pytest.raises(ConnectionResetError):
        ask(connection)


def test_calls_are_named(upstream):
    calls: list[Call] = []
    server = Proxy(0, upstream.server_address[1], calls.append, lambda __: None)
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=5)
    for target in ("DynamoDB_20120810.UpdateItem", "AmazonSQS.SendMessage", "AWSEvents.PutEvents"):
        ask(connection, headers={"X-Amz-Target": target})
    ask(connection, headers={"X-Amz-Target": "AmazonEC2ContainerServiceV20141113.RunTask"})
    ask(connection, "GET")
    server.close()
    assert list(map(str, calls)) == [
        "dynamodb UpdateItem",
        "sqs SendMessage",
        "events PutEvents",
        "ecs RunTask",
        "s3 GET",
    ]
