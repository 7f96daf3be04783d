"""The decisions, one by one: messages, ECS's words, how tasks end."""

import datetime

import pytest
from decisions import (
    CAPACITY,
    CONFIGURATION,
    UNKNOWN,
    Fail,
    Leave,
    Refusal,
    TryAgain,
    after_refusal,
    after_sighting,
    classify,
    read_message,
    should_stop,
)
from demand import Demand
from nerforge_contract import states

NOW = datetime.datetime(2026, 3, 1, 12, 0, tzinfo=datetime.UTC)
DEMAND = Demand(model="people", vcpu=2, memory_mib=3072, gpus=0, spot=False, retries=2, time_limit_minutes=60)
LOG = "Its log stream is trainer/trainer/abc"


def ago(**kwargs: float) -> datetime.datetime:
    return NOW - datetime.timedelta(**kwargs)


def run(state: str = states.RUNNING, **fields):
    recorded = {"task_arn": "arn:aws:ecs:x:1:task/c/abc", "task_recorded": ago(minutes=30).isoformat()}
    return {"run_id": "R", "state": state, "attempt": 1, "retries_used": 0} | recorded | fields


def task(last: str = "RUNNING", **fields):
    found = {"taskArn": "arn:aws:ecs:x:1:task/c/abc", "lastStatus": last, "desiredStatus": "RUNNING"}
    return found | {"createdAt": ago(minutes=30), "containers": [{"name": "trainer"}]} | fields


def stopped(code: int | None = None, container_reason: str = "", **fields):
    container = {"name": "trainer"} | ({} if code is None else {"exitCode": code})
    if container_reason:
        container["reason"] = container_reason
    return (
        task("STOPPED", desiredStatus="STOPPED", containers=[{"name": "agent", "exitCode": 0}, container])
        | fields
    )


@pytest.mark.parametrize(
    ("body", "run_id"),
    [
        ('{"run": "01ARZ3NDEKTSV4RRFFQ69G5FAV"}', "01ARZ3NDEKTSV4RRFFQ69G5FAV"),
        ('\n{ "run":"01ARZ3NDEKTSV4RRFFQ69G5FAV" }\n', "01ARZ3NDEKTSV4RRFFQ69G5FAV"),
    ],
)
def test_a_good_message(body, run_id):
    assert read_message(body) == (run_id, "")


@pytest.mark.parametrize(
    "body", ["", "null", "3", '""', "[]", "{}", '{"run": null}', '{"Run": "x"}', "1" * 5000]
)
def test_a_message_that_names_no_run(body):
    run_id, problem = read_message(body)
    assert run_id is None
    assert problem


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("RESOURCE:CPU", CAPACITY),
        ("RESOURCE:MEMORY", CAPACITY),
        ("RESOURCE:GPU", CAPACITY),
        ("RESOURCE:PORTS", CAPACITY),
        ("RESOURCE:ENI", CAPACITY),
        ("AGENT", CAPACITY),
        ("EMPTY CAPACITY PROVIDER", CAPACITY),
        ("TaskFailedToStart: EMPTY CAPACITY PROVIDER", CAPACITY),
        ("NO ACTIVE INSTANCES", CAPACITY),
        ("No Container Instances were found in your cluster.", CAPACITY),
        ("Capacity is unavailable at this time. Please try again later", CAPACITY),
        ("Tasks provisioning capacity limit exceeded.", CAPACITY),
        ("You've reached the limit on the number of tasks that you can run concurrently", CAPACITY),
        ("ATTRIBUTE", CONFIGURATION),
        ("ATTRIBUTE: ecs.capability.gpu", CONFIGURATION),
        ("LOCATION", CONFIGURATION),
        ("MISSING", CONFIGURATION),
        ("INACTIVE", CONFIGURATION),
        ("InvalidParameterException", CONFIGURATION),
        ("MemberOf placement constraint unsatisfied.", CONFIGURATION),
        ("SOMETHING NEW", UNKNOWN),
        ("", UNKNOWN),
    ],
)
def test_what_ecs_words_mean(words, kind):
    assert classify(words) == kind


@pytest.mark.parametrize(
    ("words", "demand", "said"),
    [
        (
            "RESOURCE:CPU",
            {},
            "no instance has 2 vCPUs free. Wait, lower resources.vcpu, or allow a larger CPU",
        ),
        ("RESOURCE:MEMORY", {}, "no instance has 3072 MiB free. Wait, lower resources.memory_mib"),
        ("RESOURCE:GPU", {"gpus": 4}, "no instance has 4 GPUs free. Wait, lower resources.gpus"),
        ("RESOURCE:PORTS", {"gpus": 1}, "no GPU instance can take the task now"),
        ("AGENT", {}, "the ECS agent of the instance is not connected"),
        ("Capacity is unavailable at this time", {"spot": True}, "set resources.spot to false"),
        ("Capacity is unavailable at this time", {}, "allow other instance types"),
    ],
)
def test_a_run_without_room_waits_and_says_which_resource_and_what_would_help(words, demand, said):
    asking = Demand(**(DEMAND.__dict__ | demand))

    decision = after_refusal(run(states.STARTING, refusals=2), asking, Refusal(CAPACITY, words), NOW)

    assert isinstance(decision, Leave)
    assert decision.reason.startswith("waiting for room since 2026-03-01 12:00 UTC: ")
    assert said in decision.reason
    assert decision.reason.endswith(f"(ECS: {words})")
    assert decision.fields == {"waiting_since": "2026-03-01T12:00:00.000+00:00", "refusals": 3}


def test_a_run_waits_for_room_for_a_day_at_most():
    waiting = run(states.STARTING, waiting_since=ago(hours=23).isoformat())
    assert isinstance(after_refusal(waiting, DEMAND, Refusal(CAPACITY, "AGENT"), NOW), Leave)
    waiting["waiting_since"] = ago(hours=25).isoformat()
    assert isinstance(after_refusal(waiting, DEMAND, Refusal(CAPACITY, "AGENT"), NOW), Fail)


INTERRUPTED = "was interrupted"


@pytest.mark.parametrize(
    ("seen", "kind", "said", "fields"),
    [
        (stopped(0), TryAgain, f"ended without registering a model. {LOG}", {"retries_used": 1}),
        (stopped(1), TryAgain, f"failed with exit code 1. {LOG}", {"retries_used": 1}),
        (stopped(70), TryAgain, "failed with exit code 70", {"retries_used": 1}),
        (stopped(137), TryAgain, "failed with exit code 137", {"retries_used": 1}),
        (stopped(64), Fail, f"found the spec or its data wrong (exit code 64). {LOG}", {}),
        (stopped(75), TryAgain, INTERRUPTED, {"interruptions": 1}),
        (
            stopped(137, "OutOfMemoryError: Container killed due to memory usage"),
            Fail,
            "more memory than it was given. Raise resources.memory_mib in the spec (now 3072)",
            {},
        ),
        (stopped(137, stopCode="SpotInterruption"), TryAgain, INTERRUPTED, {"interruptions": 1}),
        (stopped(stopCode="TerminationNotice"), TryAgain, INTERRUPTED, {"interruptions": 1}),
        (stopped(stopCode="InfrastructureHealth"), TryAgain, INTERRUPTED, {"interruptions": 1}),
        (stopped(0, stopCode="UserInitiated"), TryAgain, INTERRUPTED, {"interruptions": 1}),
        (
            stopped(stoppedReason="Host EC2 (instance i-0123456789abcdef0) terminated."),
            TryAgain,
            "interrupted: Host EC2 (instance i-0123456789abcdef0) terminated.",
            {"interruptions": 1},
        ),
        (
            stopped(
                stopCode="TaskFailedToStart",
                stoppedReason="CannotPullContainerError: manifest unknown",
            ),
            TryAgain,
            "the trainer's image could not be pulled: CannotPullContainerError: manifest unknown",
            {"retries_used": 1},
        ),
        (
            stopped(None, "CannotPullECRContainerError: AccessDenied", stoppedReason="Task failed to start"),
            TryAgain,
            "the trainer's image could not be pulled: CannotPullECRContainerError: AccessDenied",
            {"retries_used": 1},
        ),
        (
            stopped(stopCode="TaskFailedToStart", stoppedReason="RESOURCE:GPU"),
            TryAgain,
            "waiting for room since",
            {"waiting_since": "2026-03-01T11:30:00.000+00:00"},
        ),
        (
            stopped(stopCode="TaskFailedToStart", stoppedReason="ATTRIBUTE"),
            Fail,
            "check their AMI and instance type",
            {},
        ),
        (
            stopped(stopCode="TaskFailedToStart", stoppedReason="ResourceInitializationError: no log group"),
            TryAgain,
            "ResourceInitializationError: no log group",
            {"retries_used": 1},
        ),
        (stopped(), TryAgain, "before its container said how it ended", {"retries_used": 1}),
        (
            task("STOPPED", containers=[]),
            TryAgain,
            "before its container said how it ended",
            {"retries_used": 1},
        ),
        (None, TryAgain, "stopped without a word", {"retries_used": 1}),
    ],
)
def test_how_a_task_ended(seen, kind, said, fields):
    decision = after_sighting(run(), DEMAND, seen, NOW)

    assert isinstance(decision, kind)
    assert said in decision.reason
    written = getattr(decision, "fields", {})
    assert {key: value for key, value in written.items() if value is not None} == fields


def test_the_trainers_own_words_are_in_the_reason():
    decision = after_sighting(run(reason="OSError: disk full."), DEMAND, stopped(1), NOW)
    assert decision.reason == f"retry 1 of 2: attempt 1 failed with exit code 1: OSError: disk full. {LOG}"


def test_what_a_starting_run_waited_for_is_not_taken_for_the_trainers_words():
    decision = after_sighting(run(states.STARTING, reason="waiting"), DEMAND, stopped(1), NOW)
    assert decision.reason == f"retry 1 of 2: attempt 1 failed with exit code 1. {LOG}"


@pytest.mark.parametrize(
    ("used", "kind", "said"),
    [(1, TryAgain, "retry 2 of 2: "), (2, Fail, "(all 2 retries are used up)"), (9, Fail, "all 2 retries")],
)
def test_retries_are_counted(used, kind, said):
    decision = after_sighting(run(retries_used=used), DEMAND, stopped(1), NOW)
    assert isinstance(decision, kind)
    assert said in decision.reason


def test_a_spec_without_retries_says_so():
    once = Demand(**(DEMAND.__dict__ | {"retries": 0}))
    assert "(the spec allows no retries)" in after_sighting(run(), once, stopped(1), NOW).reason


@pytest.mark.parametrize(("before", "kind"), [(19, TryAgain), (20, Fail)])
def test_interruptions_come_to_an_end(before, kind):
    decision = after_sighting(run(retries_used=2, interruptions=before), DEMAND, stopped(75), NOW)
    assert isinstance(decision, kind)


def test_a_failure_ends_the_wait_for_room():
    decision = after_sighting(run(waiting_since=ago(hours=1).isoformat()), DEMAND, stopped(1), NOW)
    assert decision.fields["waiting_since"] is None


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("PROVISIONING", "waiting for an EC2 instance (GPU spot) since 2026-03-01 11:30 UTC"),
        ("PENDING", "fetching the image and starting the container (asked for at 2026-03-01 11:30 UTC)"),
        ("ACTIVATING", "the container is starting"),
        ("RUNNING", "the trainer has not reported yet"),
        ("STOPPING", ""),
    ],
)
def test_what_a_starting_run_waits_for(status, said):
    asking = Demand(**(DEMAND.__dict__ | {"gpus": 1, "spot": True}))
    decision = after_sighting(run(states.STARTING), asking, task(status), NOW)
    assert isinstance(decision, Leave)
    assert said in decision.reason
    assert bool(said) == bool(decision.reason)


def test_a_running_run_is_left_alone():
    assert after_sighting(run(), DEMAND, task(startedAt=ago(minutes=59)), NOW) == Leave()


@pytest.mark.parametrize("state", [states.STARTING, states.RUNNING])
def test_the_time_limit(state):
    decision = after_sighting(run(state), DEMAND, task(startedAt=ago(minutes=61)), NOW)
    assert decision == Fail(
        "attempt 1 was stopped after the 60 minutes it may run. "
        f"Raise time_limit_minutes in the spec, or let it train less. {LOG}"
    )


def test_a_task_that_ecs_may_not_know_yet_is_waited_for():
    new = run(states.STARTING, task_recorded=ago(seconds=100).isoformat())
    assert after_sighting(new, DEMAND, None, NOW) == Leave()


@pytest.mark.parametrize(
    ("state", "ended", "desired", "answer"),
    [
        (states.CANCELLED, ago(seconds=1), "RUNNING", True),
        (states.SUCCEEDED, ago(seconds=30), "RUNNING", False),
        (states.SUCCEEDED, ago(seconds=90), "RUNNING", True),
        (states.FAILED, None, "RUNNING", True),
        (states.CANCELLED, ago(seconds=90), "STOPPED", False),
    ],
)
def test_when_the_task_of_a_run_that_has_ended_is_stopped(state, ended, desired, answer):
    over = run(state, **({"ended": ended.isoformat()} if ended else {}))
    assert should_stop(over, task(desiredStatus=desired), NOW) is answer
