"""A thousand runs at once: none is lost, the cap holds, and each costs as many calls to AWS as one of few.

Each try of a call takes its time on the clock, so that a tick may run out of it.
"""

import collections
import datetime
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from aws_in_memory.wire import Rejected
from aws_in_memory.world import World
from nerforge_contract import causes, states
from tick import TickError

CAP = 50
TIME_LIMIT = 60  # seconds, as the stack gives the function
SECONDS = {"RunTask": 0.2}
USUAL_SECONDS = 0.02
MINUTES_OF_TRAINING = 3


@dataclass
class Figures:
    """What a load cost."""

    runs: int
    calls: collections.Counter = field(default_factory=collections.Counter)  # tries, by operation
    ticks: int = 0
    errors: int = 0
    longest: float = 0.0  # tick, in seconds
    most: int = 0  # tasks alive at once

    def per_run(self) -> dict[str, float]:
        return {operation: count / self.runs for operation, count in self.calls.items()}

    def __str__(self) -> str:
        lines = [
            f"{self.runs} runs, cap {CAP}: {self.ticks} ticks, {self.errors} of them with errors; the "
            f"longest took {self.longest:.1f} of {TIME_LIMIT} s; at most {self.most} tasks at once",
            f"  calls per run: {sum(self.calls.values()) / self.runs:.2f}",
        ]
        lines += [f"    {count:6.2f}  {operation}" for operation, count in sorted(self.per_run().items())]
        return "\n".join(lines)


def carry(world: World, runs: int, throttled: float = 0.0) -> Figures:
    """Submit so many runs at once and let a tick come each minute until all have succeeded.

    ``throttled``: the share of tries that AWS refuses for now.
    """
    figures, chance = Figures(runs), random.Random(7)
    submitted = [world.submit() for __ in range(runs)]

    def around(when: str, operation: str) -> None:
        if when == "before":
            figures.calls[operation] += 1
            world.clock.advance(seconds=SECONDS.get(operation, USUAL_SECONDS))
            if chance.random() < throttled:
                raise Rejected("ThrottlingException", "Rate exceeded")
        elif operation == "RunTask":
            figures.most = max(figures.most, len(world.ecs.alive()))

    dispatcher = world.dispatcher(around, tries=3)
    while world.runs.active() or any(
        item["state"]["S"] != states.SUCCEEDED for item in world.run_items.items.values() if "state" in item
    ):
        assert figures.ticks < runs, "it does not end"
        began = world.clock()
        try:
            dispatcher.tick(lambda began=began: TIME_LIMIT - (world.clock() - began).total_seconds())
        except TickError:
            figures.errors += 1
        took = (world.clock() - began).total_seconds()
        figures.ticks += 1
        figures.longest = max(figures.longest, took)
        train(world)
        world.clock.advance(seconds=max(0, 60 - took))
    assert {run_id for run_id in submitted if len(world.ecs.of(run_id)) == 1} == set(submitted)
    return figures


def train(world: World) -> None:
    """Trainers of the tasks that ECS has report, and succeed after a few minutes."""
    for task in world.ecs.alive():
        run_id = task["startedBy"]
        if task["lastStatus"] == "PROVISIONING":
            world.begin(run_id, task)
        elif world.clock().timestamp() - task["startedAt"] > MINUTES_OF_TRAINING * 60:
            ended = {"reason": "people:1 has F 0.9", "ended": world.clock.text()}
            assert world.runs.move(run_id, states.RUNNING, states.SUCCEEDED, 1, **ended)
            world.ecs.stop(task, 0)


def test_calls_per_run_do_not_depend_on_how_many_there_are(
    make_world: Callable[..., World], capsys: pytest.CaptureFixture[str]
) -> None:
    few, many = (carry(make_world(slots=CAP), runs) for runs in (250, 1000))

    with capsys.disabled():
        print(f"\n{few}\n{many}")
    for figures in (few, many):
        assert figures.errors == 0
        assert figures.most == CAP
        assert figures.longest < TIME_LIMIT
    for operation, calls in many.per_run().items():
        assert calls <= few.per_run()[operation] * 1.1 + 0.01, operation


def test_under_throttling_nothing_is_lost(
    make_world: Callable[..., World], capsys: pytest.CaptureFixture[str]
) -> None:
    world = make_world(slots=CAP)

    figures = carry(world, 1000, throttled=0.15)

    with capsys.disabled():
        print(f"\nwith 15 % of the tries throttled: {figures}")
    assert figures.errors > 0
    assert figures.most == CAP
    assert figures.longest < TIME_LIMIT
    world.show_all_messages()
    world.tick()
    assert world.messages() == world.runs.active() == world.dead_letters() == []


def test_a_thousand_waiting_runs_are_told_what_they_wait_for(make_world: Callable[..., World]) -> None:
    world = make_world(slots=1)
    runs = [world.submit() for __ in range(1000)]
    tick = world.dispatcher(lambda when, __: world.clock.advance(seconds=USUAL_SECONDS / 2)).tick

    for __ in range(2):
        ends = world.clock() + datetime.timedelta(seconds=TIME_LIMIT)
        tick(lambda ends=ends: (ends - world.clock()).total_seconds())

    waiting = [run for run in map(world.runs.get, runs) if run["state"] == states.QUEUED]
    assert len(waiting) == 999
    assert {(run["cause"], run["reason"]) for run in waiting} == {
        (causes.NO_SLOT, "waiting: all 1 slots are taken")
    }
    before = len(world.wire.calls)
    tick(lambda: TIME_LIMIT)
    read = [request for operation, request in world.wire.calls[before:] if operation == "Query"]
    assert [request["Limit"] for request in read] == [100]
