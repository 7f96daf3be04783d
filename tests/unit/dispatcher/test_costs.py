"""What a run has cost stands in its record, whatever became of its attempts."""

import dataclasses

import pytest
from aws_in_memory.wire import Rejected
from nerforge_contract import prices, states
from tick import TickError

HOUR = prices.bundled().hourly("m6i.xlarge", spot=False)
SPOT_HOUR = prices.bundled().hourly("m6i.xlarge", spot=True)


def stopped_after(world, task, minutes, exit_code):
    world.clock.advance(minutes=minutes)
    world.ecs.stop(task, exit_code, stoppedAt=world.clock().timestamp())


def test_a_run_that_has_ended_has_the_price_of_its_instance_for_as_long_as_it_held_it(world):
    run_id, task = world.started()
    stopped_after(world, task, 30, 0)
    world.runs.move(run_id, states.RUNNING, states.SUCCEEDED, 1)
    world.clock.advance(minutes=1)  # the tick comes later, which costs nothing more

    world.tick()

    run = world.runs.get(run_id)
    assert (run["state"], world.runs.active()) == (states.SUCCEEDED, [])
    assert run["cost"]["usd"] == pytest.approx(HOUR / 2)
    assert run["cost"]["attempts"] == [
        {
            "attempt": 1,
            "seconds": 1800,
            "instance_type": "m6i.xlarge",
            "spot": False,
            "usd": pytest.approx(HOUR / 2),
            "prices": f"{prices.bundled().dated}, us-east-1",
        }
    ]


def test_attempts_add_up_spot_and_on_demand(world):
    run_id, task = world.started(retries=0, resources={"spot": True})
    stopped_after(world, task, 60, states.EXIT_INTERRUPTED)
    world.tick()
    assert world.runs.get(run_id)["cost"]["usd"] == pytest.approx(SPOT_HOUR)
    world.runs.annotate(run_id, states.STARTING, on_demand=True)
    second = world.ecs.of(run_id)[1]
    second["capacityProviderName"] = "nerforge-cpu"
    world.begin(run_id, second)
    stopped_after(world, second, 60, 1)

    world.tick()

    run = world.runs.get(run_id)
    assert run["state"] == states.FAILED
    assert [(each["attempt"], each["spot"]) for each in run["cost"]["attempts"]] == [(1, True), (2, False)]
    assert run["cost"]["usd"] == pytest.approx(SPOT_HOUR + HOUR)


def test_a_cancelled_run_costs_until_its_task_is_gone(world):
    run_id, task = world.started()
    world.runs.move(run_id, states.RUNNING, states.CANCELLED, 1)
    world.tick()
    assert task["desiredStatus"] == "STOPPED" and "cost" not in world.runs.get(run_id)
    stopped_after(world, task, 2, 75)

    world.tick()

    assert world.runs.get(run_id)["cost"]["attempts"][0]["seconds"] == pytest.approx(120, abs=2)


def test_an_attempt_that_never_had_an_instance_costs_nothing(world):
    run_id = world.submit()
    world.tick()
    (task,) = world.ecs.of(run_id)
    world.ecs.stop(task, stopCode="TaskFailedToStart", stoppedReason="RESOURCE:MEMORY")

    world.tick()

    assert "cost" not in world.runs.get(run_id)
    assert world.wire.called("DescribeContainerInstances") == []


@pytest.mark.parametrize("instance_type", [None, "x9.huge"])
def test_where_the_price_is_not_known_the_time_is_recorded(world, instance_type):
    run_id, task = world.started()
    world.ecs.instance_type = instance_type
    stopped_after(world, task, 30, 0)
    world.runs.move(run_id, states.RUNNING, states.SUCCEEDED, 1)

    world.tick()

    cost = world.runs.get(run_id)["cost"]
    assert cost["usd"] is None
    assert cost["attempts"][0]["instance_type"] == instance_type
    assert cost["attempts"][0]["seconds"] == 1800


def test_the_deployments_own_prices_come_before_those_of_the_code(world):
    table = dataclasses.asdict(prices.bundled()) | {"dated": "2031-01-01"}
    table["instances"]["m6i.xlarge"] |= {"on_demand": 3.6}
    world.runs.record_prices(table)
    run_id, task = world.started()
    stopped_after(world, task, 1, 0)
    world.runs.move(run_id, states.RUNNING, states.SUCCEEDED, 1)

    world.tick()

    (attempt,) = world.runs.get(run_id)["cost"]["attempts"]
    assert (attempt["usd"], attempt["prices"]) == (pytest.approx(0.06), "2031-01-01, us-east-1")


def test_no_run_waits_for_its_price(world):
    """The slot is free, the time is recorded and the error counted, even if the role lacks the permission."""
    run_id, task = world.started()
    stopped_after(world, task, 30, 0)
    world.runs.move(run_id, states.RUNNING, states.SUCCEEDED, 1)

    def refuse(when, operation):
        if (when, operation) == ("before", "DescribeContainerInstances"):
            raise Rejected("AccessDeniedException", "not authorized")

    with pytest.raises(TickError):
        world.tick(around=refuse)

    assert world.runs.active() == []
    cost = world.runs.get(run_id)["cost"]
    assert (cost["usd"], [each["seconds"] for each in cost["attempts"]]) == (None, [1800])


def test_where_the_deployments_own_prices_cannot_be_read_those_of_another_region_do_not_stand_in(world):
    world.runs.record_prices(dataclasses.asdict(prices.bundled()) | {"currency": "EUR"})
    run_id, task = world.started()
    stopped_after(world, task, 30, 0)
    world.runs.move(run_id, states.RUNNING, states.SUCCEEDED, 1)

    with pytest.raises(TickError):
        world.tick()

    cost = world.runs.get(run_id)["cost"]
    assert (cost["usd"], [each["seconds"] for each in cost["attempts"]]) == (None, [1800])
