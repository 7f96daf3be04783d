"""A tick that is cut off, meets an error or has a rival, at every one of its calls to AWS.

For each scenario the calls of an undisturbed tick are counted; then the tick is run once for each call, with
the fault there, and later ticks must bring every run to where it belongs: one task an attempt, never more
tasks than slots.
"""

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from aws_in_memory.wire import Rejected
from botocore.exceptions import ClientError
from nerforge_contract import causes, states
from nerforge_contract.names import message_body
from support import aws_model
from tasks import _BAD_REQUEST
from tick import TickError


class Killed(BaseException):
    """Lambda ends the process: nothing in the product may catch it."""


@dataclass
class At:
    """Does something at one of a tick's calls, before it is made or after it was answered."""

    index: int
    act: Callable[[], None]
    when: Callable[[str], str] = lambda operation: "before"
    seen: int = 0

    def __call__(self, when: str, operation: str) -> None:
        if when == self.when(operation):
            self.seen += 1
            if self.seen - 1 == self.index:
                self.act()


# --- scenarios: set the world up, and say what it must come to ---


def starting(world):
    """Two runs wait for one slot."""
    runs = [world.submit() for __ in range(2)]

    def check():
        for run_id in runs:
            assert len(world.ecs.of(run_id)) <= 1
        assert len(world.runs.active()) == len(world.ecs.wanted()) == 1
        assert sorted(map(world.state, runs)) == ["QUEUED", "STARTING"]

    return check


def unusable_messages(world):
    """One that cannot be read, and one whose run has a spec that is unusable."""
    world.send("people")
    bad = world.submit(retries=None)

    def check():
        assert {body for body, __ in world.dead_letters()} == {"people", message_body(bad)}
        assert world.state(bad) == states.FAILED
        assert world.messages() == world.runs.active() == []

    return check


def retrying(world):
    """An attempt has failed, and a retry is left."""
    run_id, task = world.started(retries=1)
    world.ecs.stop(task, 1)

    def check():
        run = world.runs.get(run_id)
        assert (run["state"], run["attempt"], run["retries_used"]) == (states.STARTING, 2, 1)
        assert len(world.ecs.of(run_id)) == 2
        assert run["task_arn"] == world.ecs.of(run_id)[1]["taskArn"]

    return check


def failing(world):
    """An attempt has failed, and no retry is left."""
    run_id, task = world.started(retries=0)
    world.ecs.stop(task, 1)

    def check():
        assert world.state(run_id) == states.FAILED
        assert world.runs.active() == []

    return check


def beyond_the_time_limit(world):
    run_id, task = world.started(time_limit_minutes=1)
    world.clock.advance(minutes=2)

    def check():
        assert world.state(run_id) == states.FAILED
        assert task["desiredStatus"] == "STOPPED"
        assert len(world.ecs.tasks) == 1
        world.ecs.stop(task, 75)
        world.tick()
        assert world.runs.active() == []

    return check


def refused(world):
    """ECS has no room, once."""
    run_id = world.submit()
    world.ecs.refuse("RESOURCE:CPU")

    def check():
        run = world.runs.get(run_id)
        assert (run["state"], run["attempt"]) == (states.STARTING, 1)
        assert len(world.ecs.of(run_id)) == 1

    return check


def cancelled(world):
    """A run is cancelled whose task was started by a tick that could not record it."""
    run_id = world.submit()
    world.tick()
    world.table.update_item(Key={"run_id": run_id}, UpdateExpression="REMOVE task_arn, task_recorded")
    world.runs.move(run_id, states.STARTING, states.CANCELLED)

    def check():
        (task,) = world.ecs.of(run_id)
        assert task["desiredStatus"] == "STOPPED"
        world.ecs.stop(task, 143)
        world.clock.advance(minutes=5)
        world.tick()
        assert world.runs.active() == []
        assert world.state(run_id) == states.CANCELLED

    return check


def lost_message(world):
    run_id = world.record()
    world.clock.advance(minutes=6)

    def check():
        assert len(world.ecs.of(run_id)) == 1
        assert set(world.messages()) <= {message_body(run_id)}  # a second one is deleted when its turn comes

    return check


def refused_for_want_of_spot(world):
    """ECS has had no room on spot instances for long."""
    run_id = world.submit(resources={"spot": True})
    world.ecs.refuse("RESOURCE:CPU")
    world.tick()
    world.clock.advance(minutes=16)
    world.ecs.refuse("RESOURCE:CPU")

    def check():
        (task,) = world.ecs.of(run_id)
        assert task["capacityProviderName"] == "nerforge-cpu"
        run = world.runs.get(run_id)
        assert (run["attempt"], run["retries_used"], run["on_demand"]) == (1, 0, True)

    return check


def hanging_for_want_of_spot(world):
    """A task has long waited for a spot instance."""
    run_id = world.submit(resources={"spot": True}, retries=0)
    world.tick()
    (task,) = world.ecs.of(run_id)
    world.clock.advance(minutes=16)

    def check():
        assert world.runs.get(run_id)["on_demand"] is True
        assert task["desiredStatus"] == "STOPPED"
        assert len(world.ecs.of(run_id)) == 1  # until that one is gone
        world.ecs.stop(task)
        world.tick()
        __, second = world.ecs.of(run_id)
        assert second["capacityProviderName"] == "nerforge-cpu"
        run = world.runs.get(run_id)
        assert (run["attempt"], run["retries_used"], "interruptions" in run) == (2, 0, False)
        assert [past["cause"] for past in run["history"]] == [causes.NO_SPOT]

    return check


SCENARIOS = [
    starting,
    unusable_messages,
    retrying,
    failing,
    beyond_the_time_limit,
    refused,
    refused_for_want_of_spot,
    hanging_for_want_of_spot,
    cancelled,
    lost_message,
]


def throw(error: BaseException) -> Callable[[], None]:
    def act():
        raise error

    return act


def settle(world) -> None:
    """Let time pass, with a tick now and then; messages out of sight come back."""
    for __ in range(2):
        world.clock.advance(minutes=6)
        world.show_all_messages()
        world.tick()
        assert len(world.ecs.wanted()) <= world.slots


READS = ("GetItem", "BatchGetItem", "Query", "DescribeContainerInstances", "DescribeTasks", "ListTasks")


def calls_of_a_tick(make_world, scenario) -> list[str]:
    world = make_world(slots=1)
    scenario(world)
    calls = []
    world.tick(around=lambda when, operation: calls.append(operation) if when == "before" else None)
    return calls


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_tick_cut_off_before_any_of_its_calls_is_finished_by_the_next(make_world, scenario):
    calls = calls_of_a_tick(make_world, scenario)
    for index, before in enumerate([None, *calls[:-1]]):
        if before in READS:
            continue  # that leaves what a tick cut off before the read leaves
        world = make_world(slots=1)
        check = scenario(world)
        with pytest.raises(Killed):
            world.tick(around=At(index, throw(Killed())))

        settle(world)

        check()


def lost(operation: str) -> str:
    """Reads fail; writes take place, and their answer is lost."""
    return "before" if operation in READS else "after"


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_call_that_fails_or_whose_answer_is_lost_is_made_good_by_the_next_tick(make_world, scenario):
    for index in range(len(calls_of_a_tick(make_world, scenario))):
        world = make_world(slots=1)
        check = scenario(world)
        fault = At(index, throw(ConnectionError("the connection was reset")), lost)
        try:
            world.tick(around=fault)
        except (TickError, ConnectionError):
            pass
        else:
            pytest.fail("the error was swallowed")

        settle(world)

        check()


# Codes that say something about the request, or the record, which decides what follows: see test_tick.
MEANT = {
    "ConditionalCheckFailedException",
    "ConflictException",
    "IdempotentParameterMismatchException",
    "InvalidParameterException",
    "TransactionCanceledException",
}
OPERATIONS = {
    "dynamodb": ("GetItem", "BatchGetItem", "Query", "PutItem", "UpdateItem", "TransactWriteItems"),
    "ecs": ("RunTask", "DescribeTasks", "DescribeContainerInstances", "ListTasks", "StopTask"),
    "sqs": ("ReceiveMessage", "SendMessage", "DeleteMessage"),
}


def errors_of(service: str, operation: str) -> dict[str, int]:
    """What AWS may answer that says nothing about the run, each with its HTTP status."""
    model = aws_model.service_model(service).operation_model(operation)
    codes = aws_model.common_errors(model) | aws_model.own_errors(model)
    told = MEANT | (_BAD_REQUEST if operation == "RunTask" else set())
    return {code: aws_model.status_of(model, code) for code in sorted(codes.keys() - told)}


@pytest.mark.parametrize(
    ("service", "operation"),
    [(service, operation) for service, operations in OPERATIONS.items() for operation in operations],
)
def test_whatever_aws_answers_to_a_call_the_next_tick_makes_it_good(make_world, service, operation):
    calls = {scenario: calls_of_a_tick(make_world, scenario) for scenario in SCENARIOS}
    scenario, index = next((each, made.index(operation)) for each, made in calls.items() if operation in made)
    for code, status in errors_of(service, operation).items():
        world = make_world(slots=1)
        check = scenario(world)
        with pytest.raises((TickError, ClientError)):
            world.tick(around=At(index, throw(Rejected(code, "no", status))))

        settle(world)

        check()


@pytest.mark.parametrize("code", sorted(_BAD_REQUEST))
def test_a_request_that_ecs_cannot_take_ends_the_run(world, code):
    assert code in aws_model.own_errors(aws_model.service_model("ecs").operation_model("RunTask"))
    run_id = world.submit()
    world.ecs.reject(code, "the request is no good")

    world.tick()

    assert world.state(run_id) == states.FAILED
    assert "the request is no good" in world.reason(run_id)
    world.clock.advance(minutes=5)
    world.tick()
    assert world.runs.active() == []


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_rival_whose_whole_tick_falls_between_two_calls_does_no_harm(make_world, scenario):
    for index in range(len(calls_of_a_tick(make_world, scenario))):
        world = make_world(slots=1)
        check = scenario(world)
        rival = world.dispatcher(which="rival")

        world.tick(around=At(index, lambda rival=rival: rival.tick(lambda: 60)))

        assert len(world.ecs.wanted()) <= 1
        settle(world)
        check()


def test_four_dispatchers_at_once_never_pass_the_cap_and_start_no_run_twice(make_world):
    world = make_world(slots=3)
    runs = [world.submit() for __ in range(12)]
    for run_id in runs:
        world.send(message_body(run_id))
    one_call_at_a_time = (
        threading.Lock()
    )  # moto is no database: its calls must not overlap, their order may vary
    most, chance = 0, random.Random(7)

    def around(when: str, operation: str) -> None:
        nonlocal most
        if when == "before":
            one_call_at_a_time.acquire()
        else:
            most = max(most, len(world.ecs.wanted()))
            one_call_at_a_time.release()

    while any(world.state(run_id) != states.SUCCEEDED for run_id in runs):
        dispatchers = [world.dispatcher(around, which=f"racer {i}") for i in range(4)]
        threads = [threading.Thread(target=each.tick, args=(lambda: 60,)) for each in dispatchers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for task in list(world.ecs.wanted()):
            if chance.random() < 0.7:
                assert world.runs.move(task["startedBy"], states.STARTING, states.RUNNING, 1)
                assert world.runs.move(task["startedBy"], states.RUNNING, states.SUCCEEDED, 1)
                world.ecs.stop(task, 0)

    assert most == 3
    assert [len(world.ecs.of(run_id)) for run_id in runs] == [1] * 12
    world.tick()
    assert world.runs.active() == world.messages() == []
