"""A run's log: the attempt that is meant, its last lines, and what comes, from attempt to attempt."""

import json
import time

import pytest
from ansible_collections.nerforge.aws.plugins.module_utils.contract.errors import UserError
from ansible_collections.nerforge.aws.plugins.plugin_utils import logs
from support.aws_double import Double

GROUP = "/nerforge/trainer"
RUN = {"run_id": "R", "name": "people", "state": "RUNNING", "attempt": 3, "task_arn": "arn:x/t3"}
HISTORY = [
    {"attempt": 1, "task_arn": "arn:x/t1", "cause": "INTERRUPTED", "reason": "stopped"},
    {"attempt": 2, "task_arn": None, "cause": "NO_CAPACITY", "reason": "no room"},
]
RUN["history"] = HISTORY


@pytest.fixture
def write(stack):
    """Writes lines to a stream, a millisecond each, as a task's log driver does."""
    client = stack.aws.client("logs")
    client.create_log_group(logGroupName=GROUP)
    began = int(time.time() * 1000)
    written = {}

    def write(task, *lines):
        stream = f"trainer/trainer/{task}"
        if task not in written:
            client.create_log_stream(logGroupName=GROUP, logStreamName=stream)
        start = written.get(task, 0)
        events = [{"timestamp": began + start + n, "message": f"{line}\n"} for n, line in enumerate(lines)]
        client.put_log_events(logGroupName=GROUP, logStreamName=stream, logEvents=events)
        written[task] = start + len(lines)

    return write


@pytest.fixture
def stream(stack):
    """Opens an attempt's log."""
    return lambda attempt: logs.Stream(stack.aws.client("logs"), GROUP, attempt.stream)


def words(lines):
    """The lines without their times."""
    return [line[10:] for line in lines]


def test_the_attempts_that_had_a_task():
    assert logs.attempts(RUN) == [logs.Attempt(1, "arn:x/t1"), logs.Attempt(3, "arn:x/t3")]
    assert logs.attempts(RUN, 2) == [logs.Attempt(3, "arn:x/t3")]
    ended = RUN | {"history": [*HISTORY, {"attempt": 3, "task_arn": "arn:x/t3", "cause": "ERROR"}]}
    assert logs.attempts(ended) == logs.attempts(RUN)  # the last attempt may stand in both
    assert logs.attempts({"attempt": 0, "state": "QUEUED"}) == []
    assert logs.Attempt(1, "arn:x/t1").stream == "trainer/trainer/t1"


def test_the_attempt_that_is_meant():
    assert logs.chosen(RUN, None) == logs.chosen(RUN, 3) == (3, "arn:x/t3")
    assert logs.chosen(RUN, 1) == (1, "arn:x/t1")
    assert logs.chosen(RUN | {"task_arn": None}, None) is None
    with pytest.raises(UserError, match=r"run R: attempt 2 has no log\. The attempts that have one: 1, 3."):
        logs.chosen(RUN, 2)


def test_why_there_is_no_log():
    queued = {"state": "QUEUED", "cause": "NO_SLOT", "reason": "all 2 slots are taken", "attempt": 0}
    assert logs.no_lines(queued, None) == "no task, and so no log: QUEUED, NO_SLOT: all 2 slots are taken"
    again = RUN | {"state": "STARTING", "task_arn": None, "reason": "asking ECS for a task"}
    assert logs.no_lines(again, None) == (
        "no task, and so no log (attempt 1 has: -e attempt=1): STARTING, asking ECS for a task"
    )
    fresh = RUN | {"reason": "the container is starting"}
    current, first = logs.chosen(RUN, None), logs.chosen(RUN, 1)
    assert logs.no_lines(fresh, current) == "nothing in its log yet: RUNNING, the container is starting"
    gone = "nothing is in the log of attempt {}, or no longer (log_retention_days)"
    assert logs.no_lines(again, first) == gone.format(1)
    assert logs.no_lines(RUN | {"state": "FAILED"}, current) == gone.format(3)


def test_the_last_lines_and_then_those_that_come(write, stream):
    log = stream(logs.Attempt(1, "arn:x/t1"))
    assert log.last(3) == [] and log.more() == []
    write("t1", *(f"line {n}" for n in range(7)))
    log = stream(logs.Attempt(1, "arn:x/t1"))
    assert words(log.last(3)) == ["line 4", "line 5", "line 6"]
    assert log.more() == []
    write("t1", "line 7", "line 8")
    assert words(log.more()) == ["line 7", "line 8"]
    assert log.more() == []


def test_fewer_lines_than_asked_for(write, stream):
    write("t1", "one", "two")
    assert words(stream(logs.Attempt(1, "arn:x/t1")).last(100)) == ["one", "two"]


class Paged(Double):
    """CloudWatch Logs in another mood: a page may be short, or empty, with more behind it."""

    service = "logs"

    def __init__(self, *pages):
        self.pages = list(pages)

    def do_get_log_events(self, startFromHead, nextToken=None, limit=100, **__):
        end = len(self.pages)
        at = int(nextToken) if nextToken else 0 if startFromHead else end
        first, behind = (at, min(at + 1, end)) if startFromHead else (max(at - 1, 0), at)
        messages = [message for page in self.pages[first:behind] for message in page]
        return {
            "events": [{"timestamp": 0, "message": message} for message in messages[-limit:]],
            "nextForwardToken": str(behind),
            "nextBackwardToken": str(first),
        }


def test_pages_that_are_short_or_empty_hide_nothing():
    paged = Paged(["a", "b"], [], ["c"], [])
    assert words(logs.Stream(paged, GROUP, "s").more()) == ["a", "b", "c"]
    log = logs.Stream(paged, GROUP, "s")
    assert words(log.last(2)) == ["b", "c"]
    assert log.more() == []
    paged.pages += [[], ["d"]]
    assert words(log.more()) == ["d"]
    assert words(logs.Stream(paged, GROUP, "s").last(10)) == ["a", "b", "c", "d"]


def test_it_follows_from_attempt_to_attempt_until_the_run_ends(write, stream, lines):
    first = RUN | {"attempt": 1, "task_arn": "arn:x/t1", "history": []}
    waits = RUN | {"state": "STARTING", "task_arn": None, "cause": "NO_CAPACITY", "reason": "no room"}
    looks = [
        (first, lambda: write("t1", "one", "two")),
        (first, lambda: write("t1", "three")),
        (waits, lambda: write("t1", "the last words of one")),
        (waits, lambda: None),
        (RUN, lambda: write("t3", "from the checkpoint")),
        (RUN | {"state": "SUCCEEDED"}, lambda: write("t3", "done")),
    ]
    run, happens = zip(*looks, strict=True)
    seen = iter(zip(run, happens, strict=True))

    def read():
        look, happen = next(seen)
        happen()
        return look

    slept = []
    end = logs.follow(read, stream, None, lines, 1.0, slept.append)
    assert end["state"] == "SUCCEEDED" and slept == [1.0] * 5 + [3.0]
    assert [line[10:] if line[2] == ":" else line for line in lines] == [
        "attempt 1, trainer/trainer/t1:",
        "one",
        "two",
        "three",
        "the last words of one",
        "STARTING: NO_CAPACITY: no room",
        "attempt 3, trainer/trainer/t3:",
        "from the checkpoint",
        "done",
    ]


def test_an_attempt_that_comes_and_goes_between_two_looks_is_shown(write, stream, lines):
    waits = RUN | {"state": "STARTING", "attempt": 1, "task_arn": None, "history": []}
    write("t1", "the only words of one")
    write("t3", "done")
    looks = iter([waits, RUN | {"state": "SUCCEEDED"}])
    logs.follow(lambda: next(looks), stream, None, lines, 1.0, lambda __: None)
    assert words(line for line in lines if line[2] == ":") == ["the only words of one", "done"]


def test_what_was_shown_already_is_not_shown_again(write, stream, lines):
    write("t3", "old")
    opened = {}

    def once(attempt):
        return opened.setdefault(attempt, stream(attempt))

    attempt = logs.chosen(RUN, None)
    once(attempt).last(10)
    write("t3", "new")
    logs.follow(lambda: RUN | {"state": "FAILED"}, once, attempt, lines, 1.0, lambda __: None)
    assert words(lines) == ["new"]


def test_of_a_servers_log_what_it_complained_of_is_told(stack, write):
    def said(level, message):
        return json.dumps({"time": "2026-01-02T03:04:05.678+00:00", "level": level, "message": message})

    checks = [said("info", "request")] * 30
    write("s1", said("error", "Not ready: it is broken"), "Traceback (most recent call last):", *checks)
    write("s2", *checks)
    client = stack.aws.client("logs")

    told = words(logs.complaints(client, GROUP, "trainer/trainer/s1"))
    assert told == ["error: Not ready: it is broken", "Traceback (most recent call last):"]
    assert words(logs.complaints(client, GROUP, "trainer/trainer/s2", lines=2)) == checks[:2]
    assert logs.complaints(client, GROUP, "trainer/trainer/none") == []
