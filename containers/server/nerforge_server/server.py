"""Waitress around the application, with an end: it stops accepting, answers what it has, and returns."""

import contextlib
import ctypes
import logging
import socket
import struct
import time

import falcon
from nerforge_contract import names
from nerforge_contract.errors import UserError
from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.server import create_server
from waitress.task import ErrorTask, WSGITask

from . import problems
from .app import MAX_BODY, SECURITY_HEADERS
from .inference import OPEN_REQUESTS

# Requests for entities block their threads, and Inference holds no more of them than OPEN_REQUESTS: these are
# left for all other requests, so that liveness answers however busy inference is.
QUICK_THREADS = 8
CONNECTIONS = 1_000
IDLE_SECONDS = 120  # more than a load balancer's own limit, so that it is never we who close a connection
HANDSHAKE_SECONDS = 0.1  # ample for a client in the same network to finish a connection it has begun
LAST_WORD_SECONDS = 1.0  # how long a draining server waits for the next request on an open connection
DRAIN_SECONDS = 25.0  # more than a request's deadline, less than the 30 s after which ECS kills the task

# A socket filter for Linux that drops what asks for a new connection and passes all else: load the byte with
# TCP's flags; if SYN (2) is among them, keep 0 bytes of the packet, else all of it.
_SO_ATTACH_FILTER = 26
_NO_NEW_CONNECTIONS = struct.pack(
    "=" + 4 * "HBBI", 0x30, 0, 0, 13, 0x45, 0, 1, 2, 0x06, 0, 0, 0, 0x06, 0, 0, 0xFFFFFFFF
)

log = logging.getLogger(__name__)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens at this address; UserError if it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise UserError(
            f"cannot listen at {host}:{port}: {error.strerror or error}",
            f"{names.ENV_HOST}, {names.ENV_PORT}",
            "Name an address of this machine and a port that is free.",
        ) from error


class Server:
    """Serves an application on a listening socket until it is told to stop.

    Parameters
    ----------
    app:
        The WSGI application.
    listener:
        The listening socket, which belongs to the server from here on.
    """

    def __init__(self, app: falcon.App, listener: socket.socket) -> None:
        self._stopping = False
        self._sockets: dict = {}
        self._waitress = create_server(
            app,
            map=self._sockets,
            sockets=[listener],
            threads=OPEN_REQUESTS + QUICK_THREADS,
            connection_limit=CONNECTIONS,
            channel_timeout=IDLE_SECONDS,
            # A body that is too long by up to this is read to its end, so that its sender gets the
            # application's 413; beyond it the connection is cut, and the sender may see no more than that.
            max_request_body_size=8 * MAX_BODY,
            ident=None,
        )
        self._waitress.channel_class = _Channel
        self._waitress.draining = False

    def stop(self) -> None:
        """Make `run` come to its end. May be called from a signal handler."""
        self._stopping = True
        self._waitress.pull_trigger()

    def run(self) -> None:
        """Serve until `stop` is called."""
        while not self._stopping:
            self._turn(timeout=1.0)

    def drain(self) -> int:
        """Take no new connections, answer what the open ones have sent, and close them.

        An open connection gets `LAST_WORD_SECONDS` for one more request, which a client that keeps
        connections alive may be sending at this moment; the last answer on each says that it closes.

        Returns the number of connections that were still owed an answer, or the rest of one, after
        `DRAIN_SECONDS`.
        """
        self._waitress.draining = True
        self._drop_new_connections()
        time.sleep(HANDSHAKE_SECONDS)
        self._accept_the_last()
        give_up = time.monotonic() + DRAIN_SECONDS
        while self._waitress.active_channels and time.monotonic() < give_up:
            self._close_idle()
            self._turn(timeout=0.1)
        return len(self._waitress.active_channels)

    def _turn(self, timeout: float) -> None:
        wasyncore.loop(timeout=timeout, use_poll=True, map=self._sockets, count=1)

    def _drop_new_connections(self) -> None:
        """Let the kernel ignore who asks for a connection; asking again a second later, they are refused.

        Without this, a connection made between the last accept and the close would be reset.
        """
        program = ctypes.create_string_buffer(_NO_NEW_CONNECTIONS)
        pointer = struct.pack("HP", 4, ctypes.addressof(program))
        with contextlib.suppress(OSError):  # a kernel without such filters
            self._waitress.socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, pointer)

    def _accept_the_last(self) -> None:
        """Take the connections that the kernel holds for us already: closing the socket would reset them."""
        before = -1
        while before < len(self._sockets):
            before = len(self._sockets)
            self._waitress.handle_accept()
        wasyncore.dispatcher.close(self._waitress)  # the listener only: worker threads still pull the trigger

    def _close_idle(self) -> None:
        cutoff = time.time() - LAST_WORD_SECONDS
        for channel in list(self._waitress.active_channels.values()):
            if not channel.requests and not channel.total_outbufs_len and channel.last_activity < cutoff:
                channel.will_close = True


class _Task(WSGITask):
    def build_response_header(self) -> bytes:
        if self.channel.server.draining and len(self.channel.requests) == 1:
            self.set_close_on_finish()
        return super().build_response_header()


class _Refusal(ErrorTask):
    """What waitress refuses before the application sees it, told as the application would."""

    def execute(self) -> None:
        code = self.request.error.code
        body = problems.body(code)
        self.status = f"{code} {self.request.error.reason}"
        self.response_headers += [("Content-Type", problems.CONTENT_TYPE), *SECURITY_HEADERS.items()]
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)
        log.info("request refused", extra={"fields": {"status": code}})


class _Parser(HTTPRequestParser):
    def parse_header(self, header_plus: bytes) -> None:
        try:
            super().parse_header(header_plus)
        except ValueError as error:  # such as a length of 5,000 digits: waitress would hang up without a word
            raise ParsingError("not a number, or not a URL") from error


class _Channel(HTTPChannel):
    parser_class = _Parser
    task_class = _Task
    error_task_class = _Refusal
