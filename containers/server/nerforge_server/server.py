"""Waitress around the application, with an end: it stops accepting, answers what it has, and returns."""

import logging
import socket
import time

import falcon
from nerforge_contract import names
from nerforge_contract.errors import UserError
from waitress import wasyncore
from waitress.channel import HTTPChannel
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
LAST_WORD_SECONDS = 1.0  # how long a draining server waits for the next request on an open connection
DRAIN_SECONDS = 25.0  # more than a request's deadline, less than the 30 s after which ECS kills the task

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
        connections alive may be sending at this moment; every answer from here on says that its connection
        closes.

        Returns the number of requests that were still unanswered after `DRAIN_SECONDS`.
        """
        self._waitress.draining = True
        self._accept_the_last()
        give_up = time.monotonic() + DRAIN_SECONDS
        while self._waitress.active_channels and time.monotonic() < give_up:
            self._close_idle()
            self._turn(timeout=0.1)
        return sum(len(channel.requests) for channel in self._waitress.active_channels.values())

    def _turn(self, timeout: float) -> None:
        wasyncore.loop(timeout=timeout, use_poll=True, map=self._sockets, count=1)

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
        if self.channel.server.draining:
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


class _Channel(HTTPChannel):
    task_class = _Task
    error_task_class = _Refusal
