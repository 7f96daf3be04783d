"""Following a run: which lines, and for how long."""

import datetime
import time

import pytest
from ansible_collections.nerforge.aws.plugins.plugin_utils import logs
from ansible_collections.nerforge.aws.plugins.plugin_utils.follow import watch
from botocore.exceptions import ClientError, EndpointConnectionError

CREATED = datetime.datetime.now(datetime.UTC).isoformat()


def run(state, reason=None, attempt=0, **more):
    return {"run_id": "R", "state": state, "created": CREATED, "attempt": attempt, "reason": reason, **more}


def training(step, f=None):
    progress = {"phase": "training", "step": step, "max_steps": 100, "epoch": 1, "loss": 2.5, "f": f}
    return run("RUNNING", attempt=1, progress=progress)


class Time:
    """A clock that sleeping moves on."""

    def __init__(self):
        self.passed = 0.0

    def __call__(self):
        return self.passed

    def sleep(self, seconds):
        self.passed += seconds


def followed(looks, lines, interval=1.0):
    """Follow a run that looks like this from second to second, and strip the times from the lines."""
    answers, clock = iter(looks), Time()

    def read():
        look = next(answers)
        if isinstance(look, Exception):
            raise look
        return look

    end = watch(read, lines, interval, clock.sleep, clock)
    lines[:] = [line.split(maxsplit=1)[1] if ":" in line[:8] else line for line in lines]
    return end


DONE = run(
    "SUCCEEDED",
    attempt=1,
    model="people:3",
    scores={"f": 0.5, "on": "test", "labels": {"PER": {"f": 0.25}}},
)


def test_a_line_for_each_change_and_none_for_no_change(lines):
    looks = [
        run("QUEUED", "waiting for the dispatcher"),
        run("QUEUED", "waiting for the dispatcher"),
        run("STARTING", "asking ECS for a task", 1),
        run("STARTING", "no instance yet", 1),
        run("RUNNING", None, 1),
        run("RUNNING", None, 1, progress={"phase": "fetching"}),
        training(10),
        training(20, f=0.125),
        DONE,
    ]
    assert followed(looks, lines) == DONE
    assert lines == [
        "QUEUED    waiting for the dispatcher",
        "STARTING  attempt 1, asking ECS for a task",
        "STARTING  no instance yet",
        "RUNNING   attempt 1",
        "RUNNING   fetching",
        "RUNNING   training",
        "RUNNING   step 20/100  epoch 1  loss 2.50  dev F 0.125",
        "SUCCEEDED people:3  F 0.500 on test  PER 0.250",
    ]


def test_progress_without_a_new_score_is_said_every_ten_seconds(lines):
    followed([training(step) for step in range(25)] + [DONE], lines)
    assert [line.split("step ")[1].split("/")[0] for line in lines if "step" in line] == ["10", "20"]


def test_a_long_wait_is_said_to_go_on(lines):
    followed([run("QUEUED", "no instance yet")] * 65 + [DONE], lines)
    assert lines.count("still QUEUED: no instance yet") == 2


def test_another_attempt_is_said_even_in_the_same_state(lines):
    followed(
        [run("STARTING", "asked", 1), run("STARTING", "exit code 1", 2), run("FAILED", "out of memory", 2)],
        lines,
    )
    assert lines == [
        "STARTING  attempt 1, asked",
        "STARTING  attempt 2, exit code 1",
        "FAILED    attempt 2, out of memory",
    ]


def test_a_resume_and_the_causes_are_said(lines):
    resumed = {"phase": "training", "step": 210, "max_steps": 400, "resumed": 200}
    looks = [
        run("STARTING", "asked", 1, cause="STARTING"),
        run("STARTING", "the spot instance ended", 2, cause="INTERRUPTED"),
        run("STARTING", "no instance has 4 GPUs free", 2, cause="NO_CAPACITY"),
        run("RUNNING", None, 2, progress={"phase": "fetching"}),
        run("RUNNING", None, 2, progress=resumed),
        run("RUNNING", None, 2, progress=resumed | {"step": 220, "f": 0.5}),
        DONE,
    ]
    followed(looks, lines)
    assert lines[:-1] == [
        "STARTING  attempt 1, asked",
        "STARTING  attempt 2, INTERRUPTED: the spot instance ended",
        "STARTING  NO_CAPACITY: no instance has 4 GPUs free",
        "RUNNING   attempt 2",
        "RUNNING   goes on from step 200",
        "RUNNING   step 220/400  dev F 0.500",
    ]


def refused(status):
    response = {"Error": {"Code": "X"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "GetItem")


def test_hiccups_are_borne_and_said_once(lines):
    down = EndpointConnectionError(endpoint_url="http://127.0.0.1:4566")
    assert followed([run("QUEUED", "w"), down, down, refused(503), DONE], lines) == DONE
    assert sum("no answer just now" in line for line in lines) == 1


def test_silence_for_too_long_and_refusals_are_raised(lines):
    down = EndpointConnectionError(endpoint_url="http://127.0.0.1:4566")
    with pytest.raises(EndpointConnectionError):
        followed([down] * 200, lines)
    with pytest.raises(ClientError):
        followed([refused(400)], lines)


def test_the_tail_of_a_log(stack):
    client = stack.aws.client("logs")
    began = int(time.time() * 1000)
    client.create_log_group(logGroupName="/nerforge/trainer")
    for stream in ("trainer/trainer/other", "trainer/trainer/task1"):
        client.create_log_stream(logGroupName="/nerforge/trainer", logStreamName=stream)
        events = [{"timestamp": began + n, "message": f"{stream[-5:]} {n}\n"} for n in range(15)]
        client.put_log_events(logGroupName="/nerforge/trainer", logStreamName=stream, logEvents=events)
    lines = logs.tail(client, "/nerforge/trainer", "trainer/trainer/task1")
    assert [line[10:] for line in lines] == [f"task1 {n}" for n in range(5, 15)]
    assert logs.tail(client, "/nerforge/trainer", "trainer/trainer/task9") == []
    assert logs.tail(client, "/nowhere", "trainer/trainer/task1") == []
