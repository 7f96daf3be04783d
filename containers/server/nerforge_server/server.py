"""Waitress around the application, without threads, and with an end that loses no request.

`Server.turn` looks at the sockets with waitress's own loop, starts every request that has arrived in a
greenlet, and does one bounded piece of the work that they leave. The rule of this place: nothing here may
block. Where waitress would wait in a thread of the request, the greenlet switches to the hub, which is
whoever calls `turn`.

Used of waitress beside its documented interface (its version is pinned for that, and the tests name each):
`BaseWSGIServer`'s constructor with ``dispatcher``, ``active_channels``, ``accept``, ``handle_accept`` and
``trigger``; `wasyncore.poll2`; and what `connection` and `receiving` say.
"""

import errno
import logging
import math
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol
from wsgiref.types import WSGIApplication

from greenlet import GreenletExit, greenlet
from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.server import TcpWSGIServer

from . import logs
from .api import MAX_BODY, MAX_STREAM_BODY
from .connection import UNSENT_BYTES, Channel
from .listening import BACKLOG
from .receiving import Held, Room

CONNECTIONS = 1_000  # of one process
ACCEPTS = 16  # at most so many connections are accepted in a turn
FULL_SECONDS = 1.0  # how long none is accepted when the system has no more sockets
LEAVE_SECONDS = 0.05  # how long a connection is left to a process that holds fewer: more than a turn
LOOK_SECONDS = 0.002  # after which it is looked whether that has taken it
IDLE_SECONDS = 120  # more than a load balancer's own limit, so that it is never we who close a connection
# For all of a request, from its first byte; for the first byte, from the connection on.
RECEIVE_SECONDS = 30.0
SEND_SECONDS = 30.0  # how long a client may leave an answer unread
LINGER_SECONDS = 2.0  # how long a client that was refused may go on sending, to be heard by nobody
MAX_HEADERS = 1 << 16  # bytes
MAINTENANCE_SECONDS = 1.0
HANDSHAKE_SECONDS = 0.1  # ample for a client in the same network to finish a connection it has begun
LAST_WORD_SECONDS = 1.0  # how long a draining server waits for the next request on an open connection
LAST_RECEIVE_SECONDS = 10.0  # the same as RECEIVE_SECONDS, in a draining server
DRAIN_SECONDS = 25.0  # more than a request's deadline, less than the 30 s after which ECS kills the task

log = logging.getLogger(__name__)


class Work(Protocol):
    """What requests leave to be done between two looks at the sockets."""

    @property
    def busy(self) -> bool:
        """Whether `turn` has something to do."""

    def turn(self) -> None:
        """Do a bounded piece of it, and switch to the greenlets that it finishes."""


class Seat(Protocol):
    """A process's place among those that share a listening socket."""

    def beat(self, connections: int) -> None:
        """The loop has turned, and the process holds so many connections."""

    def ahead(self, connections: int) -> bool:
        """Whether a process with so many connections holds more than its share."""


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
        app: WSGIApplication,
        listener: socket.socket,
        work: Work,
        seat: Seat | None = None,
        room: Room = lambda *__: MAX_STREAM_BODY,
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
        wait = 0.0 if busy else min(timeout, self._listener.rests_for() + 0.001)  # poll cuts to ms
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

    def say_farewell(self) -> None:
        """Let each answer from now on be the last on its connection. May be called from a signal handler."""
        self._listener.draining = True

    def leave(self) -> None:
        """Accept no more, leaving the listening socket as it is, and let the open connections come to an end.

        Each gets `LAST_WORD_SECONDS` for one more request, which a client that keeps connections alive may be
        sending at this moment; the last answer on each says that it closes.
        """
        self.say_farewell()
        self._listener.accepting = False
        self._next_maintenance = 0.0

    def drain(self) -> int:
        """Take what has been connected, close the listening socket, and answer what clients have sent.

        Returns the number of connections that were still owed an answer, or the rest of one, after
        `DRAIN_SECONDS`. What asks for a connection meanwhile should have been dropped since before, see
        `listening.drop_new_connections`.
        """
        give_up = time.monotonic() + DRAIN_SECONDS
        self.say_farewell()
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
        self._due: deque[Channel] = deque()

    def add_task(self, channel: "Channel") -> None:
        # Not run here: waitress calls this in the midst of its own work on the channel.
        self._due.append(channel)

    @property
    def busy(self) -> bool:
        """Whether `run` has something to do."""
        return bool(self._due)

    def run(self) -> None:
        # Only what is due by now: a client may have sent thousands of requests at once.
        for __ in range(len(self._due)):
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
        app: WSGIApplication,
        sockets: dict[int, Any],
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
        self._rests_until = 0.0
        self._waits = False  # whether a connection waited when it was last looked
        self._left_since: float | None = None  # since when what waits is left to other processes
        self.room = room
        self.held = Held(self._channels)
        self.channel_class = Channel
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

    def _channels(self) -> Iterable[Channel]:
        channels: Iterable[Channel] = self.active_channels.values()
        return channels

    def pull_trigger(self) -> None:
        """Nothing: waitress wakes its loop from its threads, and here the loop is awake whoever calls."""

    def readable(self) -> bool:
        if not self.accepting or len(self.active_channels) >= CONNECTIONS or self.rests_for() != math.inf:
            return False
        if not self._waits:  # whatever was left is taken
            self._left_since = None
        self._waits = False
        return True

    def rests_for(self) -> float:
        """For how many more seconds it is not looked whether connections wait; infinite if it is looked."""
        left = self._rests_until - time.monotonic()
        return left if left > 0 else math.inf

    def handle_accept(self) -> None:
        """Accept what waits; but leave it, for a moment, to a process that holds fewer connections."""
        self._waits = True
        now = time.monotonic()
        for __ in range(ACCEPTS):
            before = len(self.active_channels)
            if before >= CONNECTIONS:
                return
            if not (self._seat and self._seat.ahead(before)) or self.draining:
                self._left_since = None
            else:
                self._left_since = self._left_since or now
                if now - self._left_since < LEAVE_SECONDS:  # beyond, nobody takes it: they are busy
                    self._rests_until = now + LOOK_SECONDS
                    return
            super().handle_accept()
            if len(self.active_channels) == before:
                return
            if self._seat:
                self._seat.beat(len(self.active_channels))  # now, for the others are accepting too

    def accept(self) -> tuple[socket.socket, Any] | None:
        """As waitress does; if the system has no more sockets, not again for a moment."""
        try:
            accepted: tuple[socket.socket, Any] | None = super().accept()
            return accepted
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                log.error("A connection must wait: %s", error.strerror)
                self._rests_until = time.monotonic() + FULL_SECONDS
            raise

    def accept_the_last(self) -> None:
        """Take the connections that the kernel holds, and close the socket, which would reset them."""
        before = -1
        while before < len(self.active_channels):
            before = len(self.active_channels)
            super().handle_accept()
        wasyncore.dispatcher.close(self)  # the socket only: signal handlers still pull the trigger
