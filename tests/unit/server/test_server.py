"""The draining of connections, with an application that answers when the test lets it."""

import socket
import threading

import pytest
from nerforge_server import server as server_module
from nerforge_server.server import Server, listen
from waitress import wasyncore


class Application:
    """Answers every request with this many bytes, once ``go_on`` is set."""

    def __init__(self) -> None:
        self.asked, self.go_on = threading.Event(), threading.Event()
        self.length = 2

    def __call__(self, environ, start_response):
        self.asked.set()
        assert self.go_on.wait(10)
        start_response("200 OK", [("Content-Length", str(self.length))])
        return [b"x" * self.length]


@pytest.fixture
def application():
    return Application()


@pytest.fixture
def listener():
    return listen("127.0.0.1", 0)


@pytest.fixture
def server(application, listener):
    server = Server(application, listener)
    yield server
    application.go_on.set()
    for channel in list(server._waitress.active_channels.values()):
        channel.handle_close()
    server._waitress.task_dispatcher.shutdown()
    server._waitress.close()


def _ask(listener, requests: int = 1) -> socket.socket:
    connection = socket.create_connection(listener.getsockname(), timeout=10)
    connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * requests)
    return connection


def _drain_once_asked(server, application) -> int:
    def stop():
        application.asked.wait(10)
        server.stop()

    threading.Thread(target=stop).start()
    server.run()
    threading.Timer(0.2, application.go_on.set).start()
    return server.drain()


def _all(connection) -> bytes:
    with connection:
        return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def test_a_connection_that_comes_as_the_listener_closes_is_refused_not_reset(server, listener, monkeypatch):
    address, close = listener.getsockname(), wasyncore.dispatcher.close
    with socket.socket() as late:
        late.setblocking(False)

        def close_late(dispatcher):
            late.connect_ex(address)
            close(dispatcher)

        monkeypatch.setattr(wasyncore.dispatcher, "close", close_late)
        assert server.drain() == 0
        late.setblocking(True)
        with pytest.raises(ConnectionRefusedError):
            late.connect(address)


def test_a_connection_that_waits_to_be_accepted_is_answered(server, application, listener):
    application.go_on.set()
    waiting = [_ask(listener) for _ in range(5)]
    assert server.drain() == 0
    assert [_all(connection).count(b"200 OK") for connection in waiting] == [1] * 5


def test_requests_sent_one_after_the_other_are_all_answered(server, application, listener):
    connection = _ask(listener, requests=3)
    assert _drain_once_asked(server, application) == 0
    answers = _all(connection).split(b"HTTP/1.1 ")[1:]
    assert [answer.startswith(b"200 OK") for answer in answers] == [True] * 3
    assert [b"Connection: close" in answer for answer in answers] == [False, False, True]


def test_an_answer_that_nobody_reads_is_owing_in_the_end(server, application, listener, monkeypatch):
    monkeypatch.setattr(server_module, "DRAIN_SECONDS", 0.5)
    application.length = 1 << 25  # more than any socket buffer holds
    with _ask(listener):
        assert _drain_once_asked(server, application) == 1
