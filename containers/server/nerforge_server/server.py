"""Waitress around the application, without threads, and with an end that loses no request.

`Server.turn` looks at the sockets with waitress's own loop, starts every request that has arrived in a
greenlet, and does one bounded piece of the work that they leave. The rule of this place: nothing here may
block. Where waitress would wait in a thread of the request, the greenlet switches to the hub, which is
whoever calls `turn`.

What is used of waitress beside its documented interface (its version is pinned for that, and the tests name
each): `BaseWSGIServer`'s constructor with ``dispatcher``, ``active_channels``, ``handle_accept`` and
``trigger``; `HTTPChannel`'s ``service``, ``requests``, ``request``, ``received``, ``write_soon``,
``total_outbufs_len``, ``last_activity``, ``close_when_flushed``, ``_flush_exception``, ``_flush_some`` and
``_flush_outbufs_below_high_watermark``; `Task`'s ``write`` and ``build_response_header``; `wasyncore.poll2`;
and what `receiving` uses: `HTTPRequestParser`'s ``received``, ``parse_header``, ``body_rcv`` and the state
that its channel looks at, `ChunkedReceiver`'s ``control_line`` and ``trailer``, and both receivers' ``buf``.
"""

import errno
import logging
import math
import socket
import time
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Protocol

from greenlet import GreenletExit, getcurrent, greenlet
from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import ClientDisconnected, HTTPChannel
from waitress.server import TcpWSGIServer
from waitress.task import ErrorTask, WSGITask
from waitress.utilities import Error, build_http_date

from . import logs, problems
from .api import MAX_BODY, MAX_STREAM_BODY
from .headers import SECURITY_HEADERS
from .listening import BACKLOG
from .receiving import Held, Overloaded, Parser, Room, TooMany

CONNECTIONS = 1_000  # of one process
AHEAD_REQUESTS = 100  # that a client may send on a connection without waiting for their answers
ACCEPTS = 16  # at most so many connections are accepted in a turn
FULL_SECONDS = 1.0  # how long none is accepted when the system has no more sockets
LEAVE_SECONDS = 0.03  # how long a connection is left to a process that holds clearly fewer: about a turn
IDLE_SECONDS = 120  # more than a load balancer's own limit, so that it is never we who close a connection
# For all of a request, from its first byte; for the first byte, from the connection on.
RECEIVE_SECONDS = 30.0
SEND_SECONDS = 30.0  # how long a client may leave an answer unread
UNSENT_BYTES = 1 << 16  # beyond it, who writes an answer waits until the client has read some
LINGER_SECONDS = 2.0  # how long a client that was refused may go on sending, to be heard by nobody
RETRY_SECONDS = 2  # after which a request may be sent again for which there was no room
MAX_HEADERS = 1 << 16  # bytes
MAINTENANCE_SECONDS = 1.0
HANDSHAKE_SECONDS = 0.1  # ample for a client in the same network to finish a connection it has begun
LAST_WORD_SECONDS = 1.0  # how long a draining server waits for the next request on an open connection
LAST_RECEIVE_SECONDS = 10.0  # the same as RECEIVE_SECONDS, in a draining server
DRAIN_SECONDS = 25.0  # more than a request's deadline, less than the 30 s after which ECS kills the task

log = logging.getLogger(__name__)


class Work(Protocol):
    """What requests leave to be done between two looks at the sockets."""

    busy: bool  # whether `turn` has something to do

    def turn(self) -> None:
        """Do a bounded piece of it, and switch to the greenlets that it finishes."""


class Seat(Protocol):
    """A process's place among those that share a listening socket."""

    def beat(self, connections: int) -> None:
        """The loop has turned, and the process holds so many connections."""

    def ahead(self, connections: int) -> bool:
        """Whether a process with so many connections holds clearly more than another."""


class Server:
    """Serves an application on a listening socket, a turn at a time.

    Parameters
    ----------
    app:
        The WSGI application.
    listener:
        The listening socket, which other processes may share.
    work:
        What requests leave to be done.
    seat:
        The process's place among those that share the socket.
    room:
        How much of a body is kept.
    """

    def __init__(
        self,
        app: Callable,
        listener: socket.socket,
        work: Work,
        seat: Seat | None = None,
        room: Room = lambda *_: MAX_STREAM_BODY,
    ) -> None:
        self._work = work
        self._seat = seat
        self._sockets: dict[int, Any] = {}
        self._tasks = _Tasks()
        self._listener = _Listener(app, self._sockets, listener, self._tasks, seat, room)
        self._channels = self._listener.active_channels
        self._next_maintenance = 0.0

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._channels)

    def turn(self, timeout: float) -> None:
        """Wait at most ``timeout`` seconds for something to do, and do a bounded piece of it."""
        busy = self._work.busy or self._tasks.busy
        wait = 0.0 if busy else min(timeout, self._listener.left_for() + 0.001)  # poll cuts to ms
        wasyncore.poll2(wait, self._sockets)
        self._tasks.run()
        if self._work.busy:
            self._work.turn()
            self._tasks.run()  # the next of several requests that one client sent at once
        now = time.time()
        if now >= self._next_maintenance:
            self._next_maintenance = now + (0.1 if self._listener.draining else MAINTENANCE_SECONDS)
            self._maintain(now)
        if self._seat:
            self._seat.beat(len(self._channels))
        logs.flush()

    def wake(self) -> None:
        """Make a waiting `turn` return. May be called from a signal handler."""
        self._listener.trigger.pull_trigger()

    def leave(self) -> None:
        """Accept no more, leaving the listening socket as it is, and let the open connections come to an end.

        Each gets `LAST_WORD_SECONDS` for one more request, which a client that keeps connections alive may be
        sending at this moment; the last answer on each says that it closes.
        """
        self._listener.draining = True
        self._listener.accepting = False
        self._next_maintenance = 0.0

    def drain(self) -> int:
        """Take what has been connected, close the listening socket, and answer what clients have sent.

        Returns the number of connections that were still owed an answer, or the rest of one, after
        `DRAIN_SECONDS`. What asks for a connection meanwhile should have been dropped since before, see
        `listening.drop_new_connections`.
        """
        give_up = time.monotonic() + DRAIN_SECONDS
        self._listener.draining = True
        self._turn_until(lambda: False, time.monotonic() + HANDSHAKE_SECONDS)
        self._listener.accept_the_last()
        self.leave()
        self._turn_until(lambda: not self._channels, give_up)
        return len(self._channels)

    def forget(self) -> None:
        """Close, in a forked process, this process's copies of what the server holds."""
        for each in list(self._sockets.values()):
            if each is not self._listener:
                each.socket.close()
        self._sockets.clear()

    def _turn_until(self, condition: Callable[[], bool], limit: float) -> None:
        while not condition() and (left := limit - time.monotonic()) > 0:
            self.turn(min(left, 0.1))

    def _maintain(self, now: float) -> None:
        """Let go of the clients that keep their connections from coming to an end."""
        draining = self._listener.draining
        receive = LAST_RECEIVE_SECONDS if draining else RECEIVE_SECONDS
        for channel in list(self._channels.values()):
            quiet = now - channel.last_activity
            if channel.lingers is not None:
                if now - channel.lingers > LINGER_SECONDS:
                    channel.handle_close()
            elif channel.total_outbufs_len:
                if quiet > SEND_SECONDS:
                    channel.handle_close()
            elif channel.requests:
                continue
            elif channel.request is not None:
                if now - channel.request.started > receive or (draining and quiet > LAST_WORD_SECONDS):
                    channel.time_out()
            elif draining:
                if quiet > LAST_WORD_SECONDS:
                    channel.handle_close()
            elif quiet > (IDLE_SECONDS if channel.served else RECEIVE_SECONDS):
                channel.handle_close()
        self._tasks.run()


class _Tasks:
    """Stands in for waitress's threads: runs each request in a greenlet, when the loop comes to it.

    A channel is in the queue to have its next request served; or, if its greenlet waits, because its client
    has read enough to go on, or is gone.
    """

    def __init__(self) -> None:
        self._due: deque[_Channel] = deque()

    def add_task(self, channel: "_Channel") -> None:
        # Not run here: waitress calls this in the midst of its own work on the channel.
        self._due.append(channel)

    @property
    def busy(self) -> bool:
        """Whether `run` has something to do."""
        return bool(self._due)

    def run(self) -> None:
        # Only what is due by now: a client may have sent thousands of requests at once.
        for _ in range(len(self._due)):
            channel = self._due.popleft()
            task = channel.task
            if task is None or task.dead:
                if channel.requests:
                    channel.task = greenlet(channel.serve)
                    channel.task.switch()
            elif not channel.connected:
                task.throw(GreenletExit)
            elif channel.blocked:
                task.switch()


class _Listener(TcpWSGIServer):
    """The listening socket, and the connections that came of it."""

    def __init__(
        self,
        app: Callable,
        sockets: dict,
        listener: socket.socket,
        tasks: _Tasks,
        seat: Seat | None,
        room: Room,
    ) -> None:
        adjustments = Adjustments(
            sockets=[listener],
            backlog=BACKLOG,
            # Read on while a request is at work: that is how a client that closes is noticed.
            channel_request_lookahead=1,
            outbuf_high_watermark=UNSENT_BYTES,
            outbuf_overflow=1 << 40,  # never a file: that could block
            inbuf_overflow=1 << 40,
            # A body that is too long by up to this is read to its end, so that its sender gets the
            # application's 413; beyond it the connection is cut, and the sender may see no more than that.
            max_request_body_size=MAX_STREAM_BODY + 8 * MAX_BODY,
            max_request_header_size=MAX_HEADERS,
            recv_bytes=1 << 16,
            clear_untrusted_proxy_headers=False,
            ident=None,
            log_socket_errors=False,
        )
        self.draining = False
        self._seat = seat
        self._leave_until: float | None = None
        self.room = room
        self.held = Held(lambda: self.active_channels.values())
        self.channel_class = _Channel
        # waitress sets options on the socket that it is given; its accept is all that is used of it here.
        super().__init__(
            app,
            sockets,
            True,
            listener,
            dispatcher=tasks,
            adj=adjustments,
            bind_socket=False,
            sockinfo=(listener.family, listener.type, listener.proto, listener.getsockname()),
        )

    def pull_trigger(self) -> None:
        """Nothing: waitress wakes its loop from its threads, and here the loop is awake whoever calls."""

    def readable(self) -> bool:
        return self.accepting and len(self.active_channels) < CONNECTIONS and self.left_for() == math.inf

    def left_for(self) -> float:
        """For how many more seconds connections are left to other processes; infinite if they are not."""
        if self._leave_until is not None and (left := self._leave_until - time.monotonic()) > 0:
            return left
        return math.inf

    def handle_accept(self) -> None:
        """Accept what waits; once, if another process holds clearly fewer connections, leave it to that."""
        was_left, self._leave_until = self._leave_until is not None, None
        for _ in range(ACCEPTS):
            before = len(self.active_channels)
            if before >= CONNECTIONS:
                return
            ahead = self._seat is not None and not self.draining and self._seat.ahead(before)
            if ahead and not was_left:  # if it was, nobody took it: they are busy
                self._leave_until = time.monotonic() + LEAVE_SECONDS
                return
            super().handle_accept()
            if len(self.active_channels) == before:
                return

    def accept(self) -> tuple[socket.socket, Any] | None:
        """As waitress does; if the system has no more sockets, not again for a moment."""
        try:
            return super().accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                log.error("A connection must wait: %s", error.strerror)
                self._leave_until = time.monotonic() + FULL_SECONDS
            raise

    def accept_the_last(self) -> None:
        """Take the connections that the kernel holds, and close the socket, which would reset them."""
        before = -1
        while before < len(self.active_channels):
            before = len(self.active_channels)
            super().handle_accept()
        wasyncore.dispatcher.close(self)  # the socket only: signal handlers still pull the trigger


class _Task(WSGITask):
    def build_response_header(self) -> bytes:
        if self.channel.server.draining and len(self.channel.requests) == 1:
            self.set_close_on_finish()
        ordinary = (
            self.version == "1.1"
            and not self.close_on_finish
            and self.content_length is not None
            and self.has_body
            and "CONNECTION" not in self.request.headers
        )
        if not ordinary:
            return super().build_response_header()
        # What waitress would write but for the order and the case of the names, in a fifth of the time.
        given = self.response_headers
        lines = [
            f"HTTP/1.1 {self.status}",
            f"Date: {_http_date(int(self.start_time))}",
            f"Content-Length: {self.content_length}",
            *[f"{name}: {value}" for name, value in given if name.lower() != "content-length"],
        ]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def write(self, data: bytes) -> None:
        """As waitress does; an answer that is one piece goes out with its head in one."""
        if not self.wrote_header and self.complete and self.content_length == len(data) and self.has_body:
            head = self.build_response_header()
            self.content_bytes_written = len(data)
            self.wrote_header = True
            if len(data) < UNSENT_BYTES:
                self.channel.write_soon(head + data)
            else:
                self.channel.write_soon(head)
                self.channel.write_soon(data)
        else:
            super().write(data)


@lru_cache(maxsize=4)
def _http_date(second: int) -> str:
    return build_http_date(second)


class _Refusal(ErrorTask):
    """What waitress refuses before the application sees it, told as the application would."""

    def execute(self) -> None:
        code = self.request.error.code
        body = problems.body(code)
        self.status = f"{code} {self.request.error.reason}"
        self.response_headers += [("Content-Type", problems.CONTENT_TYPE), *SECURITY_HEADERS.items()]
        if code == Overloaded.code:
            self.response_headers.append(("Retry-After", str(RETRY_SECONDS)))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)
        self.channel.refused = True
        log.info("request refused", extra={"fields": {"status": code}})


class _TooSlow(Error):
    code = 408
    reason = "Request Timeout"


class _Channel(HTTPChannel):
    """A connection. Its requests are served one after the other, each in a greenlet."""

    task_class = _Task
    error_task_class = _Refusal

    task: greenlet | None = None  # what serves the first of the requests
    blocked = False  # whether that waits for the client to read
    served = False  # whether a request has ever come
    refused = False  # whether the last request was, with perhaps more of it to come
    lingers: float | None = None  # since when what still comes is passed over, in seconds of time.time()

    def parser_class(self, adjustments: Adjustments) -> Parser:
        """What reads the next request: a class, for waitress."""
        too_many = len(self.requests) >= AHEAD_REQUESTS
        return Parser(adjustments, self.server.room, self.server.held, TooMany("") if too_many else None)

    @property
    def held(self) -> int:
        """How many bytes of bodies are kept for it."""
        waiting = [*self.requests, self.request] if self.request else self.requests
        return sum(request.held for request in waiting)

    def serve(self) -> None:
        """Serve the first of the requests; nothing but the process's end leaves here."""
        self.served = True
        try:
            self.service()
        except Exception as error:
            log.error("A connection failed", exc_info=error)
            self.handle_close()

    def time_out(self) -> None:
        """Refuse the request that does not come to its end."""
        self.request.error = _TooSlow("")
        self.request.completed = True
        self.requests.append(self.request)
        self.request = None
        self.server.add_task(self)

    def write_soon(self, data: bytes) -> int:
        """Send what the socket takes at once, keep the rest; waits while too much is kept."""
        for start in range(0, len(data), UNSENT_BYTES):
            self._write_some(data[start : start + UNSENT_BYTES])
        return len(data)

    def _write_some(self, data: bytes) -> None:
        self._flush_outbufs_below_high_watermark()
        if not self.connected:
            raise ClientDisconnected
        sent = 0 if self.total_outbufs_len else self.send(data, do_close=False)
        if sent < len(data):
            super().write_soon(data[sent:])

    def _flush_outbufs_below_high_watermark(self) -> None:
        # waitress waits on a lock here, for its loop to send: in the loop's own thread that would never end.
        while self.connected and self.total_outbufs_len > self.adj.outbuf_high_watermark:
            self.blocked = True
            try:
                getcurrent().parent.switch()
            finally:
                self.blocked = False

    def readable(self) -> bool:
        return self.lingers is not None or super().readable()

    def writable(self) -> bool:
        return self.lingers is None and super().writable()

    def received(self, data: bytes) -> bool:
        return self.lingers is None and super().received(data)

    def handle_write(self) -> None:
        # waitress would keep less than 18 kB to itself, and spin, as long as the request is at work.
        self._flush_exception(self._flush_some, do_close=False)
        if self.refused and self.close_when_flushed and not (self.will_close or self.total_outbufs_len):
            # A close with bytes unread would be a reset, and might take the answer from who still sends.
            self.lingers = time.time()
            self.socket.shutdown(socket.SHUT_WR)
            return
        super().handle_write()
        if self.blocked and self.total_outbufs_len <= self.adj.outbuf_high_watermark:
            self.server.add_task(self)

    def handle_close(self) -> None:
        super().handle_close()
        if self.task is not None and not self.task.dead and self.task is not getcurrent():
            self.server.add_task(self)  # to be dropped, with the work that it has filed
