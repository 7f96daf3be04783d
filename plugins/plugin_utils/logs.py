# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tasks wrote: the end of one log, and a run's logs from attempt to attempt."""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ..module_utils.contract import names, states
from ..module_utils.contract.errors import UserError
from ..module_utils.contract.runs import Run
from .listing import told
from .session import aws_errors
from .wording import Say

MOST = 10_000  # events that CloudWatch Logs gives at once
_LINES = 10
_BACK = 1000  # lines of a server's log to look for complaints in: health checks alone write one a second
_ARRIVES = 3.0  # seconds: the last lines may reach CloudWatch Logs later than the run's end the record


class Attempt(NamedTuple):
    """One attempt of a run that had a task.

    Attributes
    ----------
    number:
        Which, from 1.
    task_arn:
        Its ECS task.
    """

    number: int
    task_arn: str

    @property
    def stream(self) -> str:
        """The log stream of its trainer."""
        return names.log_stream(names.TRAINER_CONTAINER, self.task_arn)


def attempts(run: Run, start: int = 1) -> list[Attempt]:
    """The run's attempts that had a task, those from ``start`` on."""
    tasks = {item["attempt"]: item.get("task_arn") for item in (*run.get("history", ()), run)}
    return [Attempt(number, task) for number, task in tasks.items() if task and number >= start]


def chosen(run: Run, number: int | None) -> Attempt | None:
    """The attempt that is meant: this one, or the run's current one.

    Returns None if the current one has no task yet. Raises UserError for one that the run does not have.
    """
    known = {attempt.number: attempt for attempt in attempts(run)}
    if number is None or number == run["attempt"]:
        return known.get(run["attempt"])
    if number not in known:
        logged = ", ".join(map(str, known)) or "none so far"
        raise UserError(
            f"attempt {number} has no log", f"run {run['run_id']}", f"The attempts that have one: {logged}."
        )
    return known[number]


def no_lines(run: Run, attempt: Attempt | None) -> str:
    """Why there is nothing to show of the attempt that is meant, as `chosen` gave it."""
    if attempt and (run["state"] in states.TERMINAL or attempt.number < run["attempt"]):
        return f"nothing is in the log of attempt {attempt.number}, or no longer (log_retention_days)"
    earlier = [attempt.number for attempt in attempts(run)]
    hint = f" (attempt {earlier[-1]} has: -e attempt={earlier[-1]})" if earlier else ""
    why = f"{run['state']}, {told(run)}" if told(run) else run["state"]
    if attempt is None:
        return f"no task, and so no log{hint}: {why}"
    return f"nothing in its log yet: {why}"


class Stream:
    """One log stream, read on from where the last look ended.

    Parameters
    ----------
    logs:
        A CloudWatch Logs client.
    group, name:
        The log group, and the stream in it.
    """

    def __init__(self, logs: Any, group: str, name: str) -> None:
        self._logs = logs
        self._where = {"logGroupName": group, "logStreamName": name}
        self._next: dict[str, Any] = {}

    def last(self, lines: int) -> list[str]:
        """The last lines, at most ``lines``; `more` goes on behind them."""
        found: list[str] = []
        back: dict[str, str] = {}
        while len(found) < lines and (
            page := self._page(limit=lines - len(found), startFromHead=False, **back)
        ):
            self._next = self._next or {"nextToken": page["nextForwardToken"]}
            found = [*map(_line, page["events"]), *found]
            if back == (back := {"nextToken": page["nextBackwardToken"]}):
                break
        return found

    def more(self) -> list[str]:
        """What has come since the last look; at the first, all there is."""
        new: list[str] = []
        while page := self._page(startFromHead=True, **self._next):
            new += map(_line, page["events"])
            # A page may be empty with more to come: the end is where the token stays the same.
            if self._next == (behind := {"nextToken": page["nextForwardToken"]}):
                break
            self._next = behind
        return new

    def _page(self, **request: Any) -> dict[str, Any] | None:
        try:
            page: dict[str, Any] = self._logs.get_log_events(**self._where, **request)
            return page
        except self._logs.exceptions.ResourceNotFoundException:
            return None  # no line was written yet


def follow(
    read: Callable[[], Run],
    open_stream: Callable[[Attempt], Stream],
    first: Attempt | None,
    say: Say,
    interval: float = 1.0,
    sleep: Callable[[float], None] = time.sleep,
) -> Run:
    """Say what a run's attempts write from now on, one attempt after the other, until the run ends.

    Parameters
    ----------
    read:
        Reads the run.
    open_stream:
        Opens an attempt's log.
    first:
        The attempt whose last lines were shown already, in the stream that ``open_stream`` gives for it.
    say:
        Takes a line.
    interval:
        Seconds between two looks.

    Returns the run as it ended.
    """
    shown, stream = first, open_stream(first) if first else None
    since = first.number if first else 0
    waiting = ""
    for run in _looks(read, sleep, interval):
        since = since or max(run["attempt"], 1)
        for attempt in attempts(run, since):
            if stream is None or attempt != shown:
                if stream:
                    _say_all(stream, say)
                shown, stream, since = attempt, open_stream(attempt), attempt.number
                say(f"attempt {attempt.number}, {attempt.stream}:")
            _say_all(stream, say)
        if not run.get("task_arn") and told(run) != waiting:
            waiting = told(run)
            say(f"{run['state']}: {waiting}")
        if run["state"] in states.TERMINAL:
            return run
    raise AssertionError("the looks never end by themselves")


def _looks(read: Callable[[], Run], sleep: Callable[[float], None], interval: float) -> Iterator[Run]:
    """The run, look after look; at its end once more, when its last lines have had time to arrive."""
    while (run := read())["state"] not in states.TERMINAL:
        yield run
        sleep(interval)
    sleep(_ARRIVES)
    yield run


def _say_all(stream: Stream, say: Say) -> None:
    for line in stream.more():
        say(line)


def _line(event: dict[str, Any]) -> str:
    moment = datetime.datetime.fromtimestamp(event["timestamp"] / 1000, datetime.UTC)
    return f"{moment:%H:%M:%S}  {event['message'].rstrip()}"


def tail(logs: Any, group: str, stream: str, lines: int = _LINES) -> list[str]:
    """The last lines of a log stream, or none if they cannot be had.

    Parameters
    ----------
    logs:
        A CloudWatch Logs client.
    group, stream:
        The log group, and the stream in it, as `names.log_stream` has it.
    lines:
        The most lines.
    """
    try:
        return Stream(logs, group, stream).last(lines)
    except aws_errors():
        return []  # whoever asks is telling of a failure already


def complaints(logs: Any, group: str, stream: str, lines: int = _LINES) -> list[str]:
    """What a server complained of last: warnings, errors, and what it wrote as it crashed.

    Parameters are those of `tail`. Where it complained of nothing, its last lines are returned.
    """
    written = tail(logs, group, stream, _BACK)
    return [line for each in written if (line := _complaint(each))][-lines:] or written[-lines:]


def _complaint(line: str) -> str | None:
    """A line of a server's log in words; None if it is information."""
    moment, __, written = line.partition("  ")
    try:
        record = json.loads(written)
        level, message = record["level"], record["message"]
    except (ValueError, LookupError, TypeError):
        return line  # not from its logger
    return None if level in ("debug", "info") else f"{moment}  {level}: {message}"
