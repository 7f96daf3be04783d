"""An HTTP proxy between the product and the embedded AWS, in which calls fail as they do on AWS.

A call can fail before AWS has seen it, or, which is worse, after AWS has carried it out: then only its
answer is lost, and the caller does not know. What befalls a call is decided by the ``judge`` that the proxy
is given.
"""

import contextlib
import http.client
import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

UPSTREAM_SECONDS = 60
LATE_SECONDS = 7  # longer than the dispatcher waits for an answer
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length"})


class Fault(StrEnum):
    """What befalls a call."""

    ERROR = "error 500, not carried out"
    THROTTLE = "throttled, not carried out"
    RESET = "connection reset, not carried out"
    LOST_ERROR = "carried out, answered 500"
    LOST_RESET = "carried out, connection reset"
    CUT = "carried out, answer cut in the middle"
    LATE = "carried out after the caller gave up"
    UNHEARD = "event taken and lost"
    KILL_BEFORE = "caller killed before it was carried out"
    KILL_AFTER = "caller killed after it was carried out"


_NOT_CARRIED_OUT = frozenset({Fault.ERROR, Fault.THROTTLE, Fault.RESET, Fault.UNHEARD, Fault.KILL_BEFORE})


@dataclass(frozen=True)
class Call:
    """One call to AWS.

    Parameters
    ----------
    port:
        The caller's own port of the connection, by which it can be found.
    service:
        ``s3``, ``dynamodb``, ``sqs``, ``ecs``, ``events``.
    operation:
        Its name as boto3 has it in CamelCase; an S3 call is named after its method: ``GET``, ``PUT`` ...
    """

    port: int
    service: str
    operation: str

    def __str__(self) -> str:
        return f"{self.service} {self.operation}"


Judge = Callable[[Call], Fault | None]
Told = Callable[[str, str, str | None, bytes], None]


class Proxy(ThreadingHTTPServer):
    """Listens on a loopback port and forwards to another until it is closed.

    Parameters
    ----------
    upstream:
        The embedded AWS's port.
    judge:
        Decides what befalls a call; None: nothing. Asked once for each call, from several threads.
    kill:
        Ends the process at the other end of the connection from this port, for the faults that do.
    told:
        Gets each call as it came: its method, path, header ``X-Amz-Target`` and body.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        port: int,
        upstream: int,
        judge: Judge,
        kill: Callable[[int], None] | None = None,
        told: Told | None = None,
    ) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.upstream, self.judge, self.kill, self.told = upstream, judge, kill, told
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def close(self) -> None:
        """Listen no more."""
        self.shutdown()
        self.server_close()

    def handle_error(self, *__: object) -> None:
        """A caller that is gone is what this is for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Proxy

    def serve(self) -> None:
        body = self._body()
        call = Call(self.client_address[1], *_named(self.command, self.headers))
        if self.server.told:
            self.server.told(self.command, self.path, self.headers.get("X-Amz-Target"), body)
        fault = self.server.judge(call)
        if fault is Fault.LATE:
            time.sleep(LATE_SECONDS)
        answer = None if fault in _NOT_CARRIED_OUT else self._forward(body)
        if fault in (Fault.KILL_BEFORE, Fault.KILL_AFTER):
            self.server.kill(call.port)
        if fault is Fault.THROTTLE:
            self._refuse(call, *_throttling(call.service))
        elif fault in (Fault.ERROR, Fault.LOST_ERROR):
            self._refuse(call, 500, "InternalError" if call.service == "s3" else "InternalServerError")
        elif fault is Fault.UNHEARD:
            self._pass_on(200, [], b'{"FailedEntryCount": 0, "Entries": [{"EventId": "lost"}]}', cut=False)
        elif answer is None or fault in (Fault.LOST_RESET, Fault.LATE, Fault.KILL_AFTER):
            self._reset()
        else:
            self._pass_on(*answer, cut=fault is Fault.CUT)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = serve

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        pieces = []
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(pieces)

    def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes] | None:
        """Status, headers and body of the embedded AWS's answer, or None while it is down."""
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.upstream, timeout=UPSTREAM_SECONDS)
        headers = {
            name: value
            for name, value in self.headers.items()
            if name.lower() not in _HOP_BY_HOP | {"expect"}
        }
        try:
            upstream.request(self.command, self.path, body, headers)
            answer = upstream.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            upstream.close()

    def _pass_on(self, status: int, headers: list[tuple[str, str]], body: bytes, cut: bool) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        length = str(len(body))
        if self.command == "HEAD":  # the length of a body that does not come
            length = next((value for name, value in headers if name.lower() == "content-length"), length)
        self.send_header("Content-Length", length)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            self._reset()

    def _refuse(self, call: Call, status: int, code: str) -> None:
        words = "injected by the chaos proxy"
        if call.service == "s3":
            kind, body = "application/xml", f"<Error><Code>{code}</Code><Message>{words}</Message></Error>"
        else:
            kind, body = "application/x-amz-json-1.0", json.dumps({"__type": code, "message": words})
        content = b"" if self.command == "HEAD" else body.encode()
        self.send_response_only(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _reset(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.wfile.flush()
            # Closing a socket that must not linger sends RST.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def log_message(self, *__: object) -> None:
        """The judge knows of every call."""


def _named(method: str, headers: http.client.HTTPMessage) -> tuple[str, str]:
    """Service and operation of a request."""
    target = headers.get("X-Amz-Target")
    if target is None:
        return "s3", method
    service, __, operation = target.rpartition(".")
    names = {
        "DynamoDB": "dynamodb",
        "AmazonSQS": "sqs",
        "AmazonEC2ContainerService": "ecs",
        "AWSEvents": "events",
    }
    return next((name for start, name in names.items() if service.startswith(start)), service), operation


def _throttling(service: str) -> tuple[int, str]:
    """Status and code of a service's 'not so fast'."""
    if service == "s3":
        return 503, "SlowDown"
    return 400, "ProvisionedThroughputExceededException" if service == "dynamodb" else "ThrottlingException"
