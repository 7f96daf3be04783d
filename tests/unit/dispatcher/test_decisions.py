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
    StopTask,
    TryAgain,
    account_of,
    after_refusal,
    after_sighting,
    classify,
    may_ask,
    read_message,
    should_stop,
)
from demand import Demand
from nerforge_contract import causes, states

NOON = "2026-03-01T12:00:00.000+00:00"
NOW = datetime.datetime(2026, 3, 1, 12, 0, tzinfo=datetime.UTC)
DEMAND = Demand(
    model="people",
    vcpu=2,
    memory_mib=3072,
    gpus=0,
    spot=False,
    on_demand_after_minutes=15,
    retries=2,
    time_limit_minutes=60,
)
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
    assert f"(ECS: {words})" in decision.reason
    assert decision.reason.endswith("; on-demand from 2026-03-01 12:15 UTC") is asking.spot
    assert decision.cause == causes.NO_CAPACITY
    assert decision.fields == {"waiting_since": NOON, "refused": NOON, "refusals": 3}


def test_a_run_waits_for_room_for_a_day_at_most():
    waiting = run(states.STARTING, waiting_since=ago(hours=23).isoformat())
    assert isinstance(after_refusal(waiting, DEMAND, Refusal(CAPACITY, "AGENT"), NOW), Leave)
    waiting["waiting_since"] = ago(hours=25).isoformat()
    assert isinstance(after_refusal(waiting, DEMAND, Refusal(CAPACITY, "AGENT"), NOW), Fail)


@pytest.mark.parametrize(("minutes", "asks"), [(0, False), (0.8, False), (0.9, True)])
def test_after_a_refusal_ecs_is_not_asked_again_while_another_tick_may_still_ask(minutes, asks):
    refused = run(states.STARTING, refused=ago(minutes=minutes).isoformat())
    assert may_ask(refused, NOW) is asks


def test_a_run_that_ecs_never_refused_may_ask():
    assert may_ask(run(states.STARTING), NOW)


# --- spot first ---

SPOT = Demand(**(DEMAND.__dict__ | {"spot": True}))


def waiting_for_spot(**kwargs: float):
    return run(states.STARTING, waiting_since=ago(**kwargs).isoformat())


@pytest.mark.parametrize(
    ("found", "demand", "gives_up"),
    [
        (waiting_for_spot(minutes=14), SPOT, False),
        (waiting_for_spot(minutes=15), SPOT, True),
        (waiting_for_spot(hours=2), DEMAND, False),
        (waiting_for_spot(hours=2) | {"on_demand": True}, SPOT, False),
    ],
)
def test_a_refused_run_turns_to_on_demand_in_time(found, demand, gives_up):
    decision = after_refusal(found, demand, Refusal(CAPACITY, "RESOURCE:CPU"), NOW)

    assert isinstance(decision, Leave)
    assert decision.fields.get("on_demand", False) is gives_up
    assert decision.cause == (causes.NO_SPOT if gives_up else causes.NO_CAPACITY)
    assert ("after 15 minutes (resources.on_demand_after_minutes)" in decision.reason) is gives_up
    assert decision.fields["refusals"] == 1


@pytest.mark.parametrize(
    ("found", "seen", "stops"),
    [
        (run(states.STARTING), task("PROVISIONING"), True),
        (run(states.STARTING), task("PROVISIONING", createdAt=ago(minutes=14)), False),
        (waiting_for_spot(minutes=15), task("PROVISIONING", createdAt=ago(minutes=1)), True),
        (run(states.STARTING), task("PENDING"), False),
        (run(states.STARTING), task("PROVISIONING", desiredStatus="STOPPED"), False),
        (run(states.STARTING, on_demand=True), task("PROVISIONING"), False),
        (run(states.STARTING, on_demand=True, last_spot_attempt=1), task("PROVISIONING"), True),
        (run(states.STARTING, on_demand=True, last_spot_attempt=1), task("PENDING"), False),
    ],
)
def test_a_task_that_hangs_without_a_spot_instance_is_stopped_in_time(found, seen, stops):
    decision = after_sighting(found, SPOT, seen, NOW)

    assert isinstance(decision, StopTask if stops else Leave)
    if stops:
        assert decision.cause == causes.NO_SPOT
        assert decision.fields == {"on_demand": True, "last_spot_attempt": 1}


@pytest.mark.parametrize(
    "seen",
    [
        stopped(stopCode="UserInitiated"),
        stopped(75, stopCode="UserInitiated"),
        stopped(stopCode="TaskFailedToStart", stoppedReason="EMPTY CAPACITY PROVIDER"),
        stopped(),
    ],
)
def test_the_task_that_was_given_up_for_want_of_spot_uses_up_nothing(seen):
    given_up = run(states.STARTING, on_demand=True, last_spot_attempt=1, interruptions=20, retries_used=2)
    assert after_sighting(given_up, SPOT, seen, NOW) == TryAgain(
        causes.NO_SPOT,
        "going on with on-demand instances, for want of spot capacity",
        {"waiting_since": None},
    )


def test_later_attempts_end_as_any_other():
    later = run(on_demand=True, last_spot_attempt=1, attempt=2)
    assert after_sighting(later, SPOT, stopped(75), NOW).fields["interruptions"] == 1


# --- stuck runs ---


def test_a_running_run_that_is_stuck_says_since_when_and_takes_it_back():
    silent = run(running=ago(minutes=40).isoformat(), reported=ago(minutes=31).isoformat())
    decision = after_sighting(silent, DEMAND, task(), NOW)
    assert decision.reason.startswith("no sign of life from attempt 1 since 2026-03-01 11:29 UTC")
    assert "logs.yml" in decision.reason

    alive = silent | {"reason": decision.reason, "reported": ago(minutes=1).isoformat()}
    assert after_sighting(alive, DEMAND, task(), NOW) == Leave(fields={"reason": None})
    assert "no sign of life" not in after_sighting(alive, DEMAND, stopped(1), NOW).reason


def test_a_starting_run_that_is_stuck_says_so_beside_what_it_waits_for():
    slow = run(states.STARTING, started=ago(minutes=31).isoformat())
    decision = after_sighting(slow, DEMAND, task("PENDING"), NOW)
    assert decision.reason == (
        "an instance is fetching the image and starting the container (asked for at 2026-03-01 11:30 UTC). "
        "It has been starting since 2026-03-01 11:29 UTC: doctor.yml looks for what keeps it"
    )


# --- the history ---


def test_the_account_of_an_attempt_that_ended():
    found = run()
    decision = after_sighting(found, DEMAND, stopped(1), NOW)
    assert account_of(found, decision, stopped(1), NOW) == {
        "attempt": 1,
        "task_arn": "arn:aws:ecs:x:1:task/c/abc",
        "exit_code": 1,
        "cause": causes.ERROR,
        "reason": decision.reason,
        "ended": NOON,
    }


@pytest.mark.parametrize("decision", [Fail(causes.NO_CAPACITY, "x"), TryAgain(causes.VANISHED, "x")])
def test_the_account_of_an_attempt_without_an_exit_code(decision):
    account = account_of({"run_id": "R", "attempt": 3}, decision, None, NOW)
    assert (account["exit_code"], account["task_arn"]) == (None, None)


def test_attempts_that_only_waited_for_room_are_not_kept():
    assert account_of(run(), TryAgain(causes.NO_CAPACITY, "x"), None, NOW) is None


# --- how a task ended ---

INTERRUPTED = "was interrupted"


KILLED = "was killed (exit code 137: SIGKILL; Essential container in task exited)"
RETRIED = {"retries_used": 1}
GOES_ON = {"interruptions": 1}


@pytest.mark.parametrize(
    ("seen", "kind", "cause", "said", "fields"),
    [
        (stopped(0), TryAgain, causes.ERROR, f"ended without registering a model. {LOG}", RETRIED),
        (stopped(1), TryAgain, causes.ERROR, f"failed with exit code 1. {LOG}", RETRIED),
        (stopped(70), TryAgain, causes.ERROR, "failed with exit code 70", RETRIED),
        (
            stopped(137, stoppedReason="Essential container in task exited"),
            TryAgain,
            causes.KILLED,
            f"{KILLED}. If its instance ran out of memory, raise resources.memory_mib (now 3072). {LOG}",
            RETRIED,
        ),
        (
            stopped(143),
            TryAgain,
            causes.KILLED,
            "was told to end before it could save anything (exit code 143: SIGTERM; no reason given)",
            RETRIED,
        ),
        (
            stopped(64),
            Fail,
            causes.WRONG_INPUT,
            f"found the spec or its data wrong (exit code 64). {LOG}",
            {},
        ),
        (stopped(75), TryAgain, causes.INTERRUPTED, INTERRUPTED, GOES_ON),
        (
            stopped(137, "OutOfMemoryError: Container killed due to memory usage"),
            Fail,
            causes.OUT_OF_MEMORY,
            "more memory than it was given. Raise resources.memory_mib in the spec (now 3072)",
            {},
        ),
        (stopped(137, stopCode="SpotInterruption"), TryAgain, causes.INTERRUPTED, INTERRUPTED, GOES_ON),
        (stopped(143, stopCode="UserInitiated"), TryAgain, causes.INTERRUPTED, INTERRUPTED, GOES_ON),
        (stopped(stopCode="TerminationNotice"), TryAgain, causes.INTERRUPTED, INTERRUPTED, GOES_ON),
        (stopped(stopCode="InfrastructureHealth"), TryAgain, causes.INTERRUPTED, INTERRUPTED, GOES_ON),
        (stopped(0, stopCode="UserInitiated"), TryAgain, causes.INTERRUPTED, INTERRUPTED, GOES_ON),
        (
            stopped(stoppedReason="Host EC2 (instance i-0123456789abcdef0) terminated."),
            TryAgain,
            causes.INTERRUPTED,
            "interrupted: Host EC2 (instance i-0123456789abcdef0) terminated.",
            GOES_ON,
        ),
        (
            stopped(
                stopCode="TaskFailedToStart",
                stoppedReason="CannotPullContainerError: manifest unknown",
            ),
            TryAgain,
            causes.IMAGE,
            "the trainer's image could not be pulled: CannotPullContainerError: manifest unknown",
            RETRIED,
        ),
        (
            stopped(None, "CannotPullECRContainerError: AccessDenied", stoppedReason="Task failed to start"),
            TryAgain,
            causes.IMAGE,
            "could not be pulled: CannotPullECRContainerError: AccessDenied. deploy.yml builds and pushes it",
            RETRIED,
        ),
        (
            stopped(stopCode="TaskFailedToStart", stoppedReason="RESOURCE:GPU"),
            TryAgain,
            causes.NO_CAPACITY,
            "waiting for room since",
            {"waiting_since": "2026-03-01T11:30:00.000+00:00"},
        ),
        (
            stopped(stopCode="TaskFailedToStart", stoppedReason="ATTRIBUTE"),
            Fail,
            causes.CONFIGURATION,
            "check their AMI and instance type",
            {},
        ),
        (
            stopped(stopCode="TaskFailedToStart", stoppedReason="ResourceInitializationError: no log group"),
            TryAgain,
            causes.ERROR,
            "ResourceInitializationError: no log group",
            RETRIED,
        ),
        (stopped(), TryAgain, causes.ERROR, "before its container said how it ended", RETRIED),
        (
            task("STOPPED", containers=[]),
            TryAgain,
            causes.ERROR,
            "before its container said how it ended",
            RETRIED,
        ),
        (None, TryAgain, causes.VANISHED, "stopped without a word", RETRIED),
    ],
)
def test_how_a_task_ended(seen, kind, cause, said, fields):
    decision = after_sighting(run(), DEMAND, seen, NOW)

    assert isinstance(decision, kind)
    assert decision.cause == cause
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
        (
            "PROVISIONING",
            "waiting for an EC2 instance (GPU spot) since 2026-03-01 11:30 UTC; "
            "on-demand from 2026-03-01 12:30 UTC",
        ),
        ("PENDING", "fetching the image and starting the container (asked for at 2026-03-01 11:30 UTC)"),
        ("ACTIVATING", "the container is starting"),
        ("RUNNING", "the trainer has not reported yet"),
        ("STOPPING", ""),
    ],
)
def test_what_a_starting_run_waits_for(status, said):
    asking = Demand(**(DEMAND.__dict__ | {"gpus": 1, "spot": True, "on_demand_after_minutes": 60}))
    decision = after_sighting(run(states.STARTING), asking, task(status), NOW)
    assert isinstance(decision, Leave)
    assert said in decision.reason
    assert bool(said) == bool(decision.reason)
    assert decision.cause == (causes.STARTING if said else "")


def test_a_running_run_is_left_alone():
    assert after_sighting(run(), DEMAND, task(startedAt=ago(minutes=59)), NOW) == Leave()


@pytest.mark.parametrize("state", [states.STARTING, states.RUNNING])
def test_the_time_limit(state):
    decision = after_sighting(run(state), DEMAND, task(startedAt=ago(minutes=61)), NOW)
    assert decision == Fail(
        causes.TIME_LIMIT,
        "attempt 1 was stopped after the 60 minutes it may run. "
        f"Raise time_limit_minutes in the spec, or let it train less. {LOG}",
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
