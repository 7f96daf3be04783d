"""The loop around waitress: slow, silent, vanished and pipelining clients, big answers, the draining.

It stands on parts of waitress that are not its documented interface, so every one is used here over a real
socket: an update that breaks one fails a test.
"""

import contextlib
import errno
import http.client
import json
import re
import select
import socket
import struct
import threading
import time
from collections import deque

import greenlet
import pytest
import waitress.server
from nerforge_server import receiving
from nerforge_server import server as server_module
from nerforge_server.connection import AHEAD_REQUESTS, Channel, Task
from nerforge_server.listening import drop_new_connections, listen
from nerforge_server.server import Server
from nerforge_server.workers import Board, Seat
from waitress import wasyncore
from waitress.receiver import ChunkedReceiver

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Application:
    """Answers so many bytes, once ``go_on`` is set; until then its requests wait as inference's do.

    The path says what is wanted: /now is answered without waiting, /parts in parts of 100 kB.
    """

    def __init__(self) -> None:
        self.asked = 0
        self.dropped = 0
        self.go_on = False
        self.length = 2
        self._waiting: deque[greenlet.greenlet] = deque()

    def __call__(self, environ, start_response):
        self.asked += 1
        length = self.length
        body = environ["wsgi.input"].read()
        if environ["PATH_INFO"] == "/fails":
            raise ValueError(body)
        if environ["PATH_INFO"] != "/now":
            self._wait()
        start_response("200 OK", [("Content-Length", str(length)), ("X-Body", str(len(body)))])
        if environ["PATH_INFO"] == "/parts":
            return (b"x" * 100_000 for __ in range(length // 100_000))
        return [b"x" * length]

    def _wait(self) -> None:
        me = greenlet.getcurrent()
        try:
            while not self.go_on:
                self._waiting.append(me)
                me.parent.switch()
        except greenlet.GreenletExit:
            self.dropped += 1
            raise

    @property
    def busy(self) -> bool:
        return self.go_on and bool(self._waiting)

    def turn(self) -> None:
        while self._waiting:
            self._waiting.popleft().switch()


class SeatBesideAnother:
    """A place beside another process, which holds fewer connections as long as ``is_ahead``."""

    def __init__(self) -> None:
        self.is_ahead = False
        self.beats = 0

    def beat(self, connections: int) -> None:
        self.beats += 1

    def ahead(self, connections: int) -> bool:
        return self.is_ahead


class Running:
    """A server whose loop turns in a thread until the test stops or drains it."""

    def __init__(self, application: Application, listener: socket.socket, seat=None, **options) -> None:
        self.application, self.listener, self.seat = application, listener, seat
        self.server = Server(application, listener, application, seat, **options)
        self.owing = None
        self._stop = self._drain = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop:
            self.server.turn(timeout=1)
        if self._drain:
            self.owing = self.server.drain()

    def start_drain(self) -> None:
        self._drain = self._stop = True
        self.server.wake()
        self.wait_until(lambda: self.server._listener.draining)

    def join(self) -> int:
        self._thread.join(30)
        assert not self._thread.is_alive()
        return self.owing

    def close(self) -> None:
        self._stop = True
        self.application.go_on = True
        self.server.wake()
        self._thread.join(30)
        for channel in list(self.server._channels.values()):
            channel.handle_close()
        self.server._listener.trigger.close()
        self.listener.close()

    def let_go(self) -> None:
        self.application.go_on = True
        self.server.wake()

    def connect(self, sent: bytes = b"") -> socket.socket:
        connection = socket.create_connection(self.listener.getsockname(), timeout=10)
        connection.sendall(sent)
        return connection

    def wait_for_channels(self, count: int) -> list:
        self.wait_until(lambda: self.server.connections == count)
        return list(self.server._channels.values())

    def wait_until(self, condition) -> None:
        limit = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < limit
            time.sleep(0.005)


@pytest.fixture
def application():
    return Application()


@pytest.fixture
def run(application):
    """Run a server over the application."""
    with contextlib.ExitStack() as stack:

        def run(seat=None, listener=None, **options) -> Running:
            running = Running(application, listener or listen("127.0.0.1", 0), seat, **options)
            stack.callback(running.close)
            return running

        yield run


@pytest.fixture
def running(run):
    return run()


def answers(connection: socket.socket) -> list[bytes]:
    """All answers until the server closes."""
    with connection:
        received = b"".join(iter(lambda: connection.recv(1 << 20), b""))
    return re.split(rb"HTTP/1\.[01] (?=\d)", received)[1:]


def one(connection: socket.socket) -> tuple[http.client.HTTPResponse, bytes]:
    """The next answer."""
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return answer, answer.read()


def is_served(running: Running) -> bool:
    """Whether somebody else gets an answer, soon."""
    asked = time.monotonic()
    with running.connect(b"GET /now HTTP/1.1\r\nHost: x\r\n\r\n") as connection:
        return one(connection)[0].status == 200 and time.monotonic() - asked < 1


# --- what waitress must go on offering ---


def test_waitress_is_the_version_that_this_was_written_for():
    assert issubclass(server_module._Listener, waitress.server.TcpWSGIServer)
    for holder, names in {
        Channel: (
            "service received write_soon total_outbufs_len last_activity request send handle_write "
            "handle_close _flush_outbufs_below_high_watermark"
        ),
        server_module._Listener: "handle_accept readable pull_trigger add_task accept_connections",
        Task: "write build_response_header set_close_on_finish has_body",
        receiving.Parser: "parse_header received completed error chunked content_length expect_continue",
        ChunkedReceiver: "received getfile getbuf control_line trailer",
        wasyncore: "poll2",
    }.items():
        for name in names.split():
            assert hasattr(holder, name), f"{holder} has no {name}"


# --- what comes in ---


def test_an_answer_is_whole_and_the_connection_stays(running, application):
    running.let_go()
    with running.connect() as connection:
        for __ in range(3):
            connection.sendall(GET)
            answer, body = one(connection)
            assert (answer.status, body) == (200, b"xx")
            assert answer.getheader("Date") and answer.getheader("Content-Length") == "2"
            assert answer.getheader("Connection") is None


def test_http_1_0_with_and_without_keep_alive(running):
    running.let_go()
    [answer] = answers(running.connect(b"GET / HTTP/1.0\r\n\r\n"))
    assert b"Connection: close" in answer
    with running.connect() as connection:
        for __ in range(2):
            connection.sendall(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            answer, body = one(connection)
            assert (answer.version, answer.getheader("Connection"), body) == (10, "Keep-Alive", b"xx")


def test_a_client_that_asks_to_close(running):
    running.let_go()
    [answer] = answers(running.connect(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
    assert b"Connection: close" in answer and answer.endswith(b"xx")


def test_expect_100_continue(running):
    running.let_go()
    with running.connect(
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
    ) as connection:
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"body")
        answer, __ = one(connection)
        assert (answer.status, answer.getheader("X-Body")) == (200, "4")


def test_a_chunked_body(running):
    running.let_go()
    with running.connect(
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n3\r\nmor\r\n0\r\n\r\n"
    ) as connection:
        assert one(connection)[0].getheader("X-Body") == "7"


def test_requests_sent_at_once_are_answered_in_order(running, application):
    running.let_go()
    requests = [
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (n, b"b" * n) for n in range(30)
    ]
    last = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    found = answers(running.connect(b"".join(requests) + last))
    assert [re.search(rb"X-Body: (\d+)", answer)[1] for answer in found] == [
        b"%d" % n for n in [*range(30), 0]
    ]


def test_who_sends_too_many_requests_without_waiting_gets_some_answers_and_a_refusal(running):
    running.let_go()
    found = answers(running.connect(b"GET /now HTTP/1.1\r\nHost: x\r\n\r\n" * 1_000))
    assert [answer[:3] for answer in found] == [b"200"] * AHEAD_REQUESTS + [b"429"]
    assert b"fix" in found[-1]


def test_many_requests_sent_at_once_leave_turns_to_others(application):
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()) as connection:
        server = Server(application, listener, application)
        connection.sendall(b"GET /now HTTP/1.1\r\n\r\n" * AHEAD_REQUESTS)
        asked, served = 0, []
        while asked < AHEAD_REQUESTS:
            server.turn(timeout=1)
            served.append(application.asked - asked)
            asked = application.asked
        assert max(served) <= 3
        server.forget()


def test_a_request_that_fails_fails_alone(running):
    running.let_go()
    [answer] = answers(running.connect(b"GET /fails HTTP/1.1\r\nHost: x\r\n\r\n"))
    assert answer.startswith(b"500 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["status"] == 500
    assert is_served(running)


@pytest.mark.parametrize(
    "head",
    [
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
        b"POST / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length : 5\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \x0bchunked\r\n\r\n",
    ],
)
def test_a_request_whose_end_is_in_doubt_is_refused_and_nothing_after_it_is_one(running, application, head):
    running.let_go()
    [answer] = answers(running.connect(head + b"0\r\n\r\n" + GET))
    assert answer[:3] in (b"400", b"501")
    assert application.asked == 0


@pytest.mark.parametrize("endless", [b"1" * 100_000, b"1;" + b"x" * 100_000, b"0\r\nX: " + b"x" * 100_000])
def test_what_surrounds_the_chunks_has_a_limit(running, application, endless):
    """waitress would read on, and look through all of it again for every byte that comes."""
    chunked = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n"
    [answer] = answers(running.connect(chunked + endless))
    assert answer.startswith(b"400 ")
    assert application.asked == 0


def test_tiny_chunks_are_taken_by_small_pieces(running, monkeypatch):
    """waitress's time grows with the square of what it is given at once."""
    lengths = []
    received = ChunkedReceiver.received
    monkeypatch.setattr(
        ChunkedReceiver, "received", lambda self, data: lengths.append(len(data)) or received(self, data)
    )
    running.let_go()
    chunks = b"1\r\na\r\n" * 30_000
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with running.connect(head + chunks + b"0\r\n\r\n") as connection:
        assert one(connection)[0].getheader("X-Body") == "30000"
    assert max(lengths) <= receiving.CHUNKED_BYTES


# --- what is kept of bodies ---


@pytest.fixture
def bounded(run, monkeypatch):
    """A server that keeps 200 kB of a body, none of one to /none, and 500 kB in all."""
    monkeypatch.setattr(receiving, "HELD_BYTES", 500_000)
    return run(room=lambda method, path, header: 0 if path == "/none" else 200_000)


def upload(path: bytes, length: int, sent: int, more: bytes = b"") -> bytes:
    return b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n%s\r\n%s" % (
        path,
        length,
        more,
        b"b" * sent,
    )


@pytest.mark.parametrize(("path", "length"), [(b"/none", 150_000), (b"//none", 150_000), (b"/", 250_000)])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_refused_anyway_is_not_kept_and_answered_at_its_end(bounded, path, length, chunked):
    bounded.let_go()
    if chunked:
        head = b"POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" % path
        chunk = b"%x\r\n%s\r\n" % (10_000, b"b" * 10_000)
        sent, rest = head + chunk * (length // 10_000), b"0\r\n\r\n"
    else:
        sent, rest = upload(path, length, length - 1), b"b"
    with bounded.connect(sent) as connection:
        [channel] = bounded.wait_for_channels(1)
        bounded.wait_until(
            lambda: (body := getattr(channel.request, "_body", None)) and len(body) >= length - 1
        )
        assert channel.held == 0
        for each in (rest, GET):  # the connection goes on
            connection.sendall(each)
            assert one(connection)[0].getheader("X-Body") == "0"


def test_who_asks_before_it_sends_is_told_at_once_what_its_head_decides(bounded, application):
    bounded.let_go()
    for path, length in ((b"/none", 10), (b"/", 250_000)):
        [answer] = answers(bounded.connect(upload(path, length, 0, b"Expect: 100-continue\r\n")))
        assert answer.startswith(b"200 ") and b"Connection: close" in answer  # the application's answer
    assert application.asked == 2


def test_the_bodies_of_all_requests_together_are_bounded(bounded, application):
    held = [bounded.connect(upload(b"/", 199_000, 150_000)) for __ in range(3)]
    bounded.wait_until(lambda: sum(c.held for c in bounded.server._channels.values()) == 450_000)
    [answer] = answers(bounded.connect(upload(b"/", 199_000, 150_000)))
    assert answer.startswith(b"503 ") and b"Retry-After: " in answer
    assert b"fix" in answer
    bounded.let_go()
    assert is_served(bounded)
    for connection in held:
        connection.close()
    bounded.wait_until(lambda: not bounded.server.connections)
    with bounded.connect(upload(b"/", 199_000, 199_000)) as connection:
        assert one(connection)[0].getheader("X-Body") == "199000"  # what was let go of counts no more


def test_who_is_refused_while_it_sends_still_gets_the_refusal(running):
    """A close with bytes unread would reset the connection, and the answer would be lost."""
    length = 99_999_999
    with running.connect(upload(b"/", length, 0)) as connection:
        for __ in range(100):
            connection.sendall(b"b" * 65_536)
        answer, body = one(connection)
    assert (answer.status, json.loads(body)["status"]) == (413, 413)
    running.wait_until(lambda: not running.server.connections)


# --- clients that take their time, or are gone ---


def test_who_sends_slowly_or_nothing_holds_up_nobody_and_is_let_go(running, monkeypatch):
    monkeypatch.setattr(server_module, "RECEIVE_SECONDS", 1.5)
    monkeypatch.setattr(server_module, "MAINTENANCE_SECONDS", 0.1)
    silent, half = (
        running.connect(),
        running.connect(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf"),
    )
    loris = running.connect(b"GET / HT")
    started = time.monotonic()
    while not select.select([loris], [], [], 0.1)[0]:
        assert time.monotonic() - started < 5
        loris.sendall(b"T")
        assert is_served(running)
    assert time.monotonic() - started > 1
    for slow in (half, loris):
        [answer] = answers(slow)
        assert answer.startswith(b"408 Request Timeout")
    assert silent.recv(1) == b""
    silent.close()


def test_idle_connections_are_closed_in_the_end_and_only_then(running, monkeypatch):
    monkeypatch.setattr(server_module, "MAINTENANCE_SECONDS", 0.1)
    monkeypatch.setattr(server_module, "RECEIVE_SECONDS", 0.2)
    running.let_go()
    with running.connect(GET) as connection:
        one(connection)
        assert not select.select([connection], [], [], 0.6)[0]
        monkeypatch.setattr(server_module, "IDLE_SECONDS", 0.5)
        assert connection.recv(1) == b""


def test_the_work_of_a_client_that_closes_is_dropped(running, application):
    for __ in range(3):
        running.connect(GET).close()
    running.wait_until(lambda: application.dropped == 3)
    running.wait_until(lambda: not running.server.connections)
    assert is_served(running)


def test_who_does_not_read_an_answer_holds_up_nobody(running, application, monkeypatch):
    """Nor does it fill the memory, be it made in parts, which wait for the reader, or whole."""
    application.length = 40_000_000
    with running.connect(b"GET /parts HTTP/1.1\r\nHost: x\r\n\r\n") as slow, running.connect(GET) as whole:
        running.let_go()
        running.wait_until(lambda: application.asked == 2)
        monkeypatch.setattr(application, "length", 2)
        for __ in range(5):
            assert is_served(running)
        blocked = [each for each in running.server._channels.values() if each.blocked]
        assert len(blocked) == 2
        assert all(channel.total_outbufs_len < 200_000 for channel in blocked)
        for connection in (slow, whole):
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            assert sum(map(len, iter(lambda: answer.read(1 << 20), b""))) == 40_000_000  # noqa: B023


def test_who_never_reads_an_answer_is_let_go(running, application, monkeypatch):
    monkeypatch.setattr(server_module, "MAINTENANCE_SECONDS", 0.1)
    monkeypatch.setattr(server_module, "SEND_SECONDS", 0.5)
    application.length = 40_000_000
    with (
        running.connect(b"GET /parts HTTP/1.1\r\nHost: x\r\n\r\n"),
        running.connect(GET),
    ):
        running.let_go()
        running.wait_until(lambda: application.asked == 2)
        running.wait_until(lambda: not running.server.connections)


def test_beyond_the_limit_connections_wait_until_one_is_free(running, monkeypatch):
    monkeypatch.setattr(server_module, "CONNECTIONS", 3)
    running.let_go()
    held = [running.connect(GET) for __ in range(3)]
    for connection in held:
        one(connection)
    with running.connect(GET) as late:
        assert not select.select([late], [], [], 0.3)[0]
        held[0].close()
        assert one(late)[0].status == 200
    for connection in held:
        connection.close()


def test_a_connection_is_left_to_another_process_for_a_moment_only(run, application):
    application.go_on = True
    running = run(SeatBesideAnother())
    running.seat.is_ahead = True
    asked = time.monotonic()
    assert is_served(running)
    assert time.monotonic() - asked >= server_module.LEAVE_SECONDS
    assert running.seat.beats < 100  # it waits; it does not spin


def test_processes_that_share_a_socket_take_the_same_number_of_connections(run, monkeypatch):
    monkeypatch.setattr(server_module, "LEAVE_SECONDS", 60)  # however slow this machine is
    listener, board, opened = listen("127.0.0.1", 0), Board(2), []
    both = [run(Seat(board, slot), listener=listener.dup()) for slot in range(2)]
    with listener:
        for running in both:
            running.server.wake()
            running.wait_until(lambda seat=running.seat: board.held[seat.slot] == 0)
        for count in (31, 62, 93):
            opened += [both[0].connect() for __ in range(31)]
            both[0].wait_until(lambda: sum(each.server.connections for each in both) == count)  # noqa: B023
            assert abs(both[0].server.connections - both[1].server.connections) <= 2
    for connection in opened:
        connection.close()


def test_a_system_without_more_sockets_is_asked_again_later(run, application, monkeypatch, caplog):
    monkeypatch.setattr(server_module, "FULL_SECONDS", 0.2)
    application.go_on = True
    running = run(SeatBesideAnother())

    def no_more(__):
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(wasyncore.dispatcher, "accept", no_more)
        connection = running.connect(GET)
        assert not select.select([connection], [], [], 1)[0]
    assert running.seat.beats < 50  # it waits; it does not spin
    assert one(connection)[0].status == 200
    assert "Too many open files" in caplog.text
    connection.close()


def test_who_is_gone_as_it_is_refused_is_let_go_without_an_error(running, application, caplog):
    """The refusal of the second request is written to a connection that the client has reset meanwhile."""
    for __ in range(20):
        application.go_on = False
        connection = running.connect(GET + b"GARBAGE\r\n\r\nGET")  # so much that the server reads no further
        running.wait_until(lambda: application.asked)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        application.go_on = True
        connection.close()
        running.server.wake()
        running.wait_until(lambda: not running.server.connections)
    assert is_served(running)
    assert caplog.text == ""


# --- the end ---


def test_a_connection_that_waits_to_be_accepted_is_answered(run, application):
    application.go_on = True
    running = run(SeatBesideAnother())
    running.server._listener.accepting = False  # nobody accepts
    waiting = [running.connect(GET) for __ in range(5)]
    running.start_drain()
    assert running.join() == 0
    assert [len(answers(connection)) for connection in waiting] == [1] * 5


def test_a_connection_that_comes_as_the_listener_closes_is_refused_not_reset(running, monkeypatch):
    address, close = running.listener.getsockname(), wasyncore.dispatcher.close
    with socket.socket() as late:
        late.setblocking(False)

        def close_late(dispatcher):
            if dispatcher is running.server._listener:
                late.connect_ex(address)
            close(dispatcher)

        monkeypatch.setattr(wasyncore.dispatcher, "close", close_late)
        drop_new_connections(running.listener)
        running.start_drain()
        assert running.join() == 0
        late.setblocking(True)
        with pytest.raises(ConnectionRefusedError):
            late.connect(address)


def test_an_answer_after_the_farewell_says_that_it_is_the_last(running, application):
    """A signal finds the loop anywhere: what is answered before the loop drains has to say so already."""
    application.go_on = True
    with running.connect() as connection:
        running.server.say_farewell()
        connection.sendall(GET)
        (answer,) = answers(connection)
        assert b"Connection: close" in answer


def test_requests_sent_one_after_the_other_are_all_answered(running, application):
    connection = running.connect(GET * 3)
    running.wait_until(lambda: application.asked)
    running.start_drain()
    running.let_go()
    assert running.join() == 0
    found = answers(connection)
    assert [answer.startswith(b"200 OK") for answer in found] == [True] * 3
    assert [b"Connection: close" in answer for answer in found] == [False, False, True]


def test_who_never_ends_a_request_does_not_hold_up_the_end(running, monkeypatch):
    monkeypatch.setattr(server_module, "LAST_RECEIVE_SECONDS", 0.5)
    loris = running.connect(b"GET / HT")
    silent = running.connect()
    running.start_drain()
    started = time.monotonic()
    with contextlib.suppress(OSError):
        while not select.select([loris], [], [], 0.1)[0]:
            loris.sendall(b"T")
    assert running.join() == 0
    assert time.monotonic() - started < 5
    loris.close()
    silent.close()


def test_an_answer_that_nobody_reads_is_owing_in_the_end(running, application, monkeypatch):
    monkeypatch.setattr(server_module, "DRAIN_SECONDS", 1)
    application.length = 1 << 25  # more than any socket buffer holds
    with running.connect(GET):
        running.wait_until(lambda: application.asked)
        running.start_drain()
        running.let_go()
        assert running.join() == 1
