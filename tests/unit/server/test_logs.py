"""The log's lines, through a pipe that is read, is not read, or has no reader left."""

import fcntl
import json
import logging
import os
import threading
from datetime import datetime

import pytest
from nerforge_server import logs


@pytest.fixture
def pipe(monkeypatch):
    """The reading end of the smallest pipe there is; the log goes into the other."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    lines = logs._Lines(writing)
    lines.setFormatter(logs.JsonFormatter())
    monkeypatch.setattr(logs, "_lines", lines)
    yield reading
    os.close(writing)
    os.close(reading)


def within_seconds(work) -> None:
    """Run this, which must not wait for anything."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()


def read(pipe: int, count: int) -> list[dict]:
    """So many lines, while the log is flushed."""
    text = b""
    while text.count(b"\n") < count:
        within_seconds(logs.flush)
        text += os.read(pipe, 1 << 16)
    return [json.loads(line) for line in text.splitlines()]


def test_a_log_that_nobody_reads_holds_up_nobody_and_loses_nothing_at_first(pipe):
    within_seconds(lambda: [logs.info("request", number=number) for number in range(500)])
    assert [line["number"] for line in read(pipe, 500)] == list(range(500))


def test_lines_that_nobody_reads_are_lost_in_the_end_and_the_log_says_how_many(pipe, monkeypatch):
    monkeypatch.setattr(logs, "_MOST_HELD", 10_000)
    within_seconds(lambda: [logs.info("request", number=number) for number in range(1_000)])
    kept = read(pipe, 100)
    while kept[-1]["message"] == "request":
        kept += read(pipe, 1)
    assert [line["number"] for line in kept[:-1]] == list(range(len(kept) - 1))
    assert (kept[-1]["level"], kept[-1]["lines"]) == ("warning", 1_000 - len(kept) + 1)


def test_a_log_without_a_reader_fails_nobody(monkeypatch):
    reading, writing = os.pipe()
    os.close(reading)
    lines = logs._Lines(writing)
    monkeypatch.setattr(logs, "_lines", lines)
    logs.info("request", number=1)
    os.close(writing)
    logs.info("request", number=2)
    assert not lines._held


def test_a_line_is_what_logging_would_have_made_of_it(pipe):
    fields = {"text": 'ä"\\\n\x00\ud800', "whole": 7, "part": 1.5}
    logs.info("request", **fields)
    record = logging.makeLogRecord(
        {"msg": "request", "levelno": logging.INFO, "levelname": "INFO", "fields": fields}
    )
    logs._lines.emit(record)
    quick, usual = read(pipe, 2)
    assert datetime.fromisoformat(quick.pop("time")) <= datetime.fromisoformat(usual.pop("time"))
    assert quick == usual
