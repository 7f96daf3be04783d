"""Logs as one JSON object a line on stdout."""

import contextlib
import json
import logging
import os
import select
import sys
import time
import traceback
from collections import deque
from datetime import UTC, datetime
from functools import lru_cache
from json.encoder import encode_basestring_ascii as _quoted

_ATOMIC = 4096  # bytes: PIPE_BUF on Linux; a longer write to a pipe may be mixed with another process's
_HELD = 1 << 16  # bytes after which held lines are written though nobody asked
_MOST_HELD = 1 << 22  # bytes; beyond, if nobody reads the log, lines are lost


class JsonFormatter(logging.Formatter):
    """A record as JSON: time, level, message, and the ``fields`` that it was given by ``extra``.

    An exception is told by its type and where it was raised. Its message is left out, because it may quote a
    text that a client sent.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        line = {
            "time": _timestamp(record.created),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[0]:
            kind, __, where = record.exc_info
            line["exception"] = kind.__name__
            line["stack"] = [f"{f.filename}:{f.lineno} {f.name}" for f in traceback.extract_tb(where)]
        return json.dumps(line)  # ASCII: any locale can write it, and nothing in it can pass for a line's end


class _Lines(logging.Handler):
    """Writes lines to a file descriptor: each at once, or, once told to `hold`, many with one call.

    A log that nobody reads is no reason to stop answering: it never waits. While a pipe is full the lines are
    held, and beyond `_MOST_HELD` lost.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self.hold = False
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self._held: deque[bytes] = deque()
        self._length = 0  # of all of them
        self._lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception:
            self.handleError(record)
            return
        self.add(line, urgent=record.levelno >= logging.ERROR)

    def add(self, line: str, urgent: bool = False) -> None:
        """Take a line, which an urgent one does not leave to a later `flush`."""
        if self._length > _MOST_HELD:
            self._lost += 1
            return
        encoded = line.encode() + b"\n"
        self._held.append(encoded)
        self._length += len(encoded)
        if urgent or not self.hold or self._length > _HELD:
            self.flush()

    def flush(self) -> None:
        """Write what is held, as far as it is read."""
        with self.lock:  # type: ignore[union-attr]  # set by logging.Handler
            while self._held and self._poll.poll(0):  # a pipe that has room at all takes `_ATOMIC` bytes
                block = self._block()
                with contextlib.suppress(OSError):  # whoever read them is gone
                    os.write(self._descriptor, block)
            if self._lost and not self._held:
                lost, self._lost = self._lost, 0
                self.add(event("lines of the log were lost, for nobody read it", "warning", {"lines": lost}))

    def _block(self) -> bytes:
        """The next lines, for one call: `_ATOMIC` bytes at most, or one line that has more."""
        block = self._held.popleft()
        while self._held and len(block) + len(self._held[0]) <= _ATOMIC:
            block += self._held.popleft()
        self._length -= len(block)
        return block


def event(message: str, level: str, fields: dict[str, str | int | float]) -> str:
    """A line of the log."""
    head = f'{{"time": "{_timestamp(time.time())}", "level": "{level}", "message": "{message}"'
    # json.dumps would take as long as all else here together.
    return head + "".join([f', "{name}": {_json(value)}' for name, value in fields.items()]) + "}"


def _json(value: str | int | float) -> str:
    return _quoted(value) if isinstance(value, str) else repr(value)


def _timestamp(seconds: float) -> str:
    second, milliseconds = divmod(int(seconds * 1000), 1000)
    return f"{_second(second)}.{milliseconds:03}+00:00"


@lru_cache(maxsize=4)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


# Where there is no stdout, its number will be some connection's.
_lines = _Lines(sys.__stdout__.fileno() if sys.__stdout__ else os.open(os.devnull, os.O_WRONLY))


def configure() -> None:
    """Send every log record of the process, and every warning, to stdout as JSON, each at once."""
    _lines.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[_lines], force=True)
    logging.captureWarnings(True)
    for noisy in ("botocore", "boto3", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # What clients do to their connections is no warning of ours.
    logging.getLogger("waitress").setLevel(logging.ERROR)
    # Nothing of this is written, and a record is made for every request.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # documented in logging's HOWTO as the way to leave out the search for the caller


def info(message: str, **fields: str | int | float) -> None:
    """Log a line as logging would, without all that logging does for it: for what every request says."""
    _lines.add(event(message, "info", fields))


def hold() -> None:
    """From here on keep lines until `flush`; errors are still written at once, with all that came before."""
    _lines.hold = True


def flush() -> None:
    """Write the lines that are held."""
    _lines.flush()
