"""Logs as one JSON object a line on stdout."""

import contextlib
import json
import logging
import os
import sys
import traceback
from datetime import UTC, datetime

_ATOMIC = 4096  # bytes: PIPE_BUF on Linux; a longer write to a pipe may be mixed with another process's
_HELD = 1 << 16  # characters after which held lines are written though nobody asked


class JsonFormatter(logging.Formatter):
    """A record as JSON: time, level, message, and the ``fields`` that it was given by ``extra``.

    An exception is told by its type and where it was raised. Its message is left out, because it may quote a
    text that a client sent.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[0]:
            kind, _, where = record.exc_info
            line["exception"] = kind.__name__
            line["stack"] = [f"{f.filename}:{f.lineno} {f.name}" for f in traceback.extract_tb(where)]
        return json.dumps(line)  # ASCII: any locale can write it, and nothing in it can pass for a line's end


class _Lines(logging.Handler):
    """Writes lines to a file descriptor: each at once, or, once told to `hold`, many with one call."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self.hold = False
        self._descriptor = descriptor
        self._held: list[str] = []
        self._length = 0

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception:
            self.handleError(record)
            return
        self._held.append(line)
        self._length += len(line)
        if not self.hold or record.levelno >= logging.ERROR or self._length > _HELD:
            self.flush()

    def flush(self) -> None:
        with self.lock:  # type: ignore[union-attr]  # set by logging.Handler
            lines, self._held, self._length = self._held, [], 0
        with contextlib.suppress(OSError):  # whoever read them is gone: that is no reason to stop answering
            for block in _blocks(lines) if lines else ():
                os.write(self._descriptor, block)


def _blocks(lines: list[str]) -> list[bytes]:
    """The lines in blocks of at most `_ATOMIC` bytes, each line whole; a longer one is a block of its own."""
    blocks: list[bytes] = []
    block = b""
    for line in lines:
        encoded = line.encode() + b"\n"
        if block and len(block) + len(encoded) > _ATOMIC:
            blocks.append(block)
            block = b""
        block += encoded
    return [*blocks, block]


_lines = _Lines(sys.__stdout__.fileno() if sys.__stdout__ else 1)


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


def hold() -> None:
    """From here on keep lines until `flush`; errors are still written at once, with all that came before."""
    _lines.hold = True


def flush() -> None:
    """Write the lines that are held."""
    _lines.flush()
