"""One client's connection: its requests are served one after the other, each in a greenlet of its own.

Where waitress would wait in a thread, the greenlet switches to the hub, see `server`.

Used of waitress beside its documented interface: `HTTPChannel`'s ``service``, ``requests``, ``request``,
``received``, ``write_soon``, ``total_outbufs_len``, ``last_activity``, ``close_when_flushed``,
``will_close``, ``_flush_exception``, ``_flush_some`` and ``_flush_outbufs_below_high_watermark``; `Task`'s
``write`` and ``build_response_header``.
"""

import logging
import socket
import time
from functools import lru_cache
from typing import Any

from greenlet import getcurrent, greenlet
from waitress.adjustments import Adjustments
from waitress.channel import ClientDisconnected, HTTPChannel
from waitress.task import ErrorTask, WSGITask
from waitress.utilities import Error, build_http_date

from . import problems
from .headers import SECURITY_HEADERS
from .receiving import Overloaded, Parser, TooMany

AHEAD_REQUESTS = 100  # that a client may send on a connection without waiting for their answers
UNSENT_BYTES = 1 << 16  # beyond it, who writes an answer waits until the client has read some
RETRY_SECONDS = 2  # after which a request may be sent again for which there was no room

log = logging.getLogger(__name__)


class Task(WSGITask):
    wrote_header: bool

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
            header: bytes = super().build_response_header()
            return header
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
    date: str = build_http_date(second)
    return date


class Refusal(ErrorTask):
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


class Channel(HTTPChannel):
    """A connection. Its requests are served one after the other, each in a greenlet."""

    task_class = Task
    error_task_class = Refusal

    request: Any  # the `Parser` of what comes in; None between requests

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
                hub: Any = getcurrent().parent
                hub.switch()
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
