"""Whatever happens, in whatever order: no run is lost, doubled or left unexplained.

A state machine that hypothesis drives. Ticks of up to three dispatchers are suspended before and after each
try of each of their calls, so that trainers, operators, ECS, SQS, the clock and other ticks act in between;
any try may fail, lose its answer, or be the process's last. Trainers write by the same contract as the real
one. When the faults end and time passes, every run must have ended, and nothing be left.

NERFORGE_EXAMPLES sets how many sequences are tried.
"""

import collections
import datetime
import itertools
import os
import threading
from typing import Any

import hypothesis.strategies as st
import pytest
from aws_in_memory.dynamodb import cancelled
from aws_in_memory.wire import Clock, Rejected
from aws_in_memory.world import World, clients, set_time
from botocore.exceptions import ConnectTimeoutError, ReadTimeoutError
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from nerforge_contract import causes, states, ulid
from nerforge_contract.models import Models
from nerforge_contract.names import message_body
from nerforge_contract.runs import SLOTS, Runs
from tick import TickError

EXAMPLES, STEPS = int(os.environ.get("NERFORGE_EXAMPLES", "300")), 50
MOST_TICKS, MOST_RUNS = 3, 8
LIFE = datetime.timedelta(seconds=60)  # Lambda's limit
HANG = datetime.timedelta(seconds=3)  # a call that takes longer is cut off with its tick
LATENCY = datetime.timedelta(milliseconds=20)
PICK = st.integers(0, 11)

done = collections.Counter()  # what was done in all sequences, for the figures


class Killed(BaseException):
    """The process ends: nothing in the product may catch it."""


def fault_for(kind: str, when: str, operation: str) -> BaseException | None:
    """The fault of this kind for a call, before or after the service has done its work."""
    if kind == "kill":
        return Killed()
    if kind == "lose the call" and when == "before":
        return ConnectTimeoutError(endpoint_url=operation)
    if kind == "lose the answer" and when == "after":
        return ReadTimeoutError(endpoint_url=operation)
    if kind == "throttle" and when == "before":
        return Rejected("ThrottlingException", "Rate exceeded")
    if kind == "fail":
        return Rejected("InternalServerError", "come again", status=500)
    if kind == "conflict" and when == "before" and operation == "TransactWriteItems":
        return cancelled(["None", "TransactionConflict"])
    if kind == "conflict" and when == "before" and operation == "UpdateItem":
        return Rejected("TransactionConflictException")
    return None


FAULTS = st.sampled_from(["kill", "lose the call", "lose the answer", "throttle", "fail", "conflict"])
WHEN = st.sampled_from(["before", "after"])
OPERATIONS = st.sampled_from(
    [
        "RunTask",
        "UpdateItem",
        "TransactWriteItems",
        "DeleteMessage",
        "StopTask",
        "BatchGetItem",
        "DescribeTasks",
        "SendMessage",
        "Query",
        "ReceiveMessage",
    ]
)

RACE = [*[0, 1] * 6, 2, "cancel", "refuse"]  # which tick goes on, or what happens in between

# How a task may end but for what its trainer does: arguments for Ecs.stop.
ENDS: dict[str, dict[str, Any]] = {
    "fails": {"exit_code": 1},
    "is killed": {"exit_code": 137},
    "is out of memory": {"exit_code": 137, "reason": "OutOfMemoryError: Container killed"},
    "is told to stop": {"exit_code": states.EXIT_INTERRUPTED},
    "is interrupted": {"exit_code": states.EXIT_INTERRUPTED, "stopCode": "SpotInterruption"},
    "loses its host": {
        "stopCode": "TerminationNotice",
        "stoppedReason": "Host EC2 (instance i-1) terminated.",
    },
    "finds no instance": {"stopCode": "TaskFailedToStart", "stoppedReason": "RESOURCE:MEMORY"},
    "finds no image": {"stopCode": "TaskFailedToStart", "stoppedReason": "CannotPullContainerError: no"},
    "says nothing": {},
    "vanishes": {},
}
COSTLY = frozenset({"fails", "is killed", "finds no image", "says nothing", "vanishes"})


class Tick:
    """A dispatcher's tick in a thread of its own, which goes on only when told to."""

    def __init__(self, world: Any, which: str) -> None:
        self.which = which
        self.at: tuple[str, str] | None = None  # where it waits
        self.over = False
        self.disturbed = False
        self.error: Exception | None = None
        self.moved = world.clock()  # when it last went on
        self._ends = world.clock() + LIFE
        self._clock = world.clock
        self._dispatcher = world.dispatcher(self._wait, which=which, tries=3)
        self._fault: BaseException | None = None
        self._mine, self._yours = threading.Lock(), threading.Lock()  # whose turn it is
        self._mine.acquire()
        self._yours.acquire()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._yours.acquire()

    def go_on(self, kind: str | None = None) -> None:
        """Let it do what it waits at, with a fault if one is given, up to where it waits next."""
        self._fault = fault_for(kind, *self.at) if kind else None
        self.disturbed |= self._fault is not None
        self._clock.now += LATENCY
        self.moved = self._clock()
        self._mine.release()
        self._yours.acquire()
        if self.over:
            self._thread.join()

    def go_to(self, when: str, operation: str, nth: int = 1) -> None:
        """Let it go on until it is about to make the nth such call, or has just made it."""
        while not self.over and (nth := nth - (self.at == (when, operation))):
            self.go_on()

    def finish(self) -> None:
        """Let it go on to its end."""
        while not self.over:
            self.go_on()

    def _run(self) -> None:
        try:
            self._dispatcher.tick(self._seconds_left)
        except Killed:
            pass
        except Exception as error:
            self.error = error
        self.over = True
        self._yours.release()

    def _seconds_left(self) -> float:
        return (self._ends - self._clock()).total_seconds()

    def _wait(self, when: str, operation: str) -> None:
        self.at = (when, operation)
        self._yours.release()
        self._mine.acquire()
        if self._fault is not None:
            raise self._fault


class Trainer:
    """The trainer of one task: the writes of the real one, in its order."""

    def __init__(self, task: dict[str, Any], runs: Runs, models: Models, clock: Clock) -> None:
        self.task = task
        self.hangs = False
        self.exit_code: int | None = None
        self._runs, self._models, self._clock = runs, models, clock
        variables = task["overrides"]["containerOverrides"][0]["environment"]
        values = {variable["name"]: variable["value"] for variable in variables}
        self._run_id, self._attempt = values["NERFORGE_RUN"], int(values["NERFORGE_ATTEMPT"])
        self._next = self._begin
        self._record: dict[str, Any] = {}
        self._version = 0

    def go_on(self) -> None:
        """Do the next thing."""
        try:
            self._next = self._next() or self._superseded
        except Exception as error:
            self._runs.annotate(self._run_id, states.RUNNING, self._attempt, reason=f"it broke: {error}")
            self.exit_code = 1
        if self._next == self._superseded:
            self.exit_code = states.EXIT_SUPERSEDED

    def find_the_data_wrong(self) -> None:
        """Go on as the trainer does that finds the data wrong, if it has begun to look."""
        if self._next == self._begin:
            return
        ended = {"reason": "the data is wrong", "cause": causes.WRONG_INPUT, "ended": self._clock.text()}
        moved = self._runs.move(self._run_id, states.RUNNING, states.FAILED, self._attempt, **ended)
        self.exit_code = states.EXIT_WRONG_INPUT if moved else states.EXIT_SUPERSEDED

    def _superseded(self) -> None:
        raise AssertionError("it has ended")

    def _begin(self) -> Any:
        begun = {"reason": None, "cause": None, "running": self._clock.text()}
        if self._runs.move(self._run_id, states.STARTING, states.RUNNING, self._attempt, **begun):
            return self._look

    def _look(self) -> Any:
        self._record = self._runs.get(self._run_id)
        version = self._record.get("model_version")
        registered = version and self._models.get("people", version)
        if registered and registered["run"] == self._run_id:
            self._version = version
            return self._succeed
        return self._progress

    def _progress(self) -> Any:
        shown = {"progress": {"step": 1}, "reported": self._clock.text()}
        if self._runs.annotate(self._run_id, states.RUNNING, self._attempt, **shown):
            return self._reserve

    def _reserve(self) -> Any:
        number = self._record.get("model_version") or self._models.next_version("people")
        version = self._runs.reserve_version(self._run_id, self._attempt, number)
        if version is not None:
            self._version = version
            return self._register

    def _register(self) -> Any:
        manifest = {
            "name": "people",
            "version": self._version,
            "run": self._run_id,
            "created": self._clock.text(),
            "artifact": {"sha256": self._run_id, "bytes": 1},  # the same weights at each attempt
            "language": "en",
            "labels": [],
            "scores": {},
        }
        if self._models.register(manifest):
            return self._succeed

    def _succeed(self) -> Any:
        done = {"reason": "people", "model": f"people:{self._version}", "ended": self._clock.text()}
        if self._runs.move(self._run_id, states.RUNNING, states.SUCCEEDED, self._attempt, **done):
            self.exit_code = 0
            return self._superseded


def check_write(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Every single write to a run leaves its state, or makes a move that the table of states has."""
    old, new = before.get("state", {}).get("S"), after.get("state", {}).get("S")
    if old is None:
        assert new in (states.QUEUED, None)
    elif old in states.TERMINAL:
        assert new == old, f"a run that was {old} became {new}"
    else:
        assert new == old or new in states.MOVES[old], f"{old} became {new}"


class Interleavings(RuleBasedStateMachine):
    """The world, and all that may happen in it."""

    @initialize(
        slots=st.integers(1, 3),
        keeps_refusals=st.booleans(),
        lag=st.sampled_from([0, 2]),
        batch=st.integers(1, 3),
        minutes=st.integers(0, 2),
        order=st.lists(st.sampled_from(RACE), max_size=40),
    )
    def begin(
        self, slots: int, keeps_refusals: bool, lag: int, batch: int, minutes: int, order: list[int | str]
    ) -> None:
        """More runs than slots, that dispatchers race for, unless all goes well with them at first."""
        clock = Clock()
        self.patch = pytest.MonkeyPatch()
        set_time(clock, self.patch)
        self.patch.setattr("time.sleep", lambda seconds: None)
        self.patch.setattr(ulid, "new", _ulids(clock))
        self.patch.setattr("builtins.print", lambda *args, **kwargs: None)
        self.world = World(slots, clock, checked=False)  # for speed: other tests check
        self.world.ecs.keeps_refusals = keeps_refusals
        self.world.ecs.lag = datetime.timedelta(seconds=lag)
        self.world.dynamodb.keys_a_batch = batch
        self.world.run_items.watch = check_write
        its = clients("trainer", 3)
        its.world, its.around = self.world, self._around_trainer
        self.trainer_fault: str | None = None
        self.trainers_runs, self.trainers_models = Runs(its.runs), Models(its.models)
        self.ticks: list[Tick] = []
        self.trainers: dict[str, Trainer] = {}
        self.zombies: list[Trainer] = []  # trainers whose task ECS believes to be gone
        self.run_ids: list[str] = []
        self.costly: collections.Counter[str] = collections.Counter()  # ends that may use up a retry, by run
        self.strange_words = 0
        done["sequences"] += 1
        for spot in (True, False, True, False):
            self.submit(messages=1, spot=spot, retries=1, wrong=False)
        for __ in range(minutes):
            self.all_goes_well(steps=0)
        if order:
            self.race(order, None)

    def _around_trainer(self, when: str, operation: str) -> None:
        fault, kind = None, self.trainer_fault
        if kind:
            fault = fault_for(kind, when, operation)
        if fault is not None:
            self.trainer_fault = None  # the next try of the same call succeeds
            raise fault

    # --- people ---

    @precondition(lambda self: len(self.run_ids) < MOST_RUNS)
    @rule(
        messages=st.sampled_from([1, 1, 1, 0, 2]),
        spot=st.booleans(),
        retries=st.integers(0, 2),
        wrong=st.sampled_from([False, False, False, True]),
    )
    def submit(self, messages: int, spot: bool, retries: int, wrong: bool) -> None:
        """Somebody submits a run, whose message may never reach the queue, or twice."""
        resources = {"spot": spot, "memory_mib": None if wrong else 3072}
        run_id = self.world.record(retries=retries, resources=resources, time_limit_minutes=10)
        self.run_ids.append(run_id)
        for __ in range(messages):
            self.world.send(message_body(run_id))

    @precondition(lambda self: self._open())
    @rule(which=PICK)
    def cancel(self, which: int) -> None:
        """An operator cancels a run."""
        open_states = {states.QUEUED, *states.ACTIVE}
        ended = {"cause": causes.CANCELLED, "reason": "cancelled by ops", "ended": self.world.clock.text()}
        self.world.runs.move(pick(self._open(), which), open_states, states.CANCELLED, **ended)

    def _open(self) -> list[str]:
        items = self.world.run_items.items
        return [run_id for run_id in self.run_ids if items[(run_id,)]["state"]["S"] not in states.TERMINAL]

    @precondition(lambda self: len(self.ticks) < MOST_TICKS)
    @rule(steps=st.integers(0, 2))
    def all_goes_well(self, steps: int) -> None:
        """For a minute."""
        self.time_passes(60)
        self.tick()
        for task in self.world.ecs.alive():
            self._move(task)
            self._move(task)
        for trainer in list(self.trainers.values()):
            self._train(trainer, steps)

    # --- dispatchers ---

    @precondition(lambda self: len(self.ticks) < MOST_TICKS)
    @rule()
    def tick(self) -> None:
        """An event calls the dispatcher, which does all there is to do."""
        self._begin_tick().finish()
        self._drop_ticks_that_are_over()

    @precondition(lambda self: len(self.ticks) < MOST_TICKS)
    @rule(when=WHEN, operation=OPERATIONS, nth=st.integers(1, 3), fault=FAULTS)
    def disturbed_tick(self, when: str, operation: str, nth: int, fault: str) -> None:
        """A whole tick, with one fault."""
        tick = self._begin_tick()
        tick.go_to(when, operation, nth)
        if not tick.over:
            tick.go_on(fault)
        tick.finish()
        self._drop_ticks_that_are_over()

    @precondition(lambda self: len(self.ticks) < MOST_TICKS)
    @rule(to=st.integers(1, 24) | st.tuples(WHEN, OPERATIONS))
    def begin_tick(self, to: int | tuple[str, str]) -> None:
        """An event calls the dispatcher, which goes some way."""
        tick = self._begin_tick()
        if isinstance(to, int):
            for __ in range(to):
                if not tick.over:
                    tick.go_on()
        else:
            tick.go_to(*to)
        self._drop_ticks_that_are_over()

    @precondition(lambda self: self.ticks)
    @rule(which=PICK, calls=st.integers(0, 12), fault=st.none() | FAULTS)
    def go_on(self, which: int, calls: int, fault: str | None) -> None:
        """A tick goes on for some calls; the last of them may meet a fault."""
        tick = pick(self.ticks, which)
        for __ in range(calls):
            if not tick.over:
                tick.go_on()
        if not tick.over:
            tick.go_on(fault)
        self._drop_ticks_that_are_over()

    @rule(
        order=st.lists(st.sampled_from(RACE), min_size=10, max_size=40),
        fault=st.none() | FAULTS,
    )
    def race(self, order: list[int | str], fault: str | None) -> None:
        """Several events call the dispatcher at once, and more happens; in the end a fault, perhaps."""
        while len(self.ticks) < 2:
            self._begin_tick()
        racers = list(self.ticks)
        for turn, what in enumerate(order):
            if what == "cancel":
                if self._open():
                    self.cancel(turn)
            elif what == "refuse":
                self.ecs_refuses(turn % 2, "RESOURCE:CPU")
            elif not pick(racers, what).over:
                pick(racers, what).go_on()
        for tick in racers:
            if not tick.over:
                tick.go_on(fault)
            fault = None
            tick.finish()
        self._drop_ticks_that_are_over()

    def _begin_tick(self) -> Tick:
        names = {f"tick {i}" for i in range(MOST_TICKS)} - {tick.which for tick in self.ticks}
        tick = Tick(self.world, min(names))
        self.ticks.append(tick)
        done["ticks"] += 1
        return tick

    def _drop_ticks_that_are_over(self) -> None:
        for tick in self.ticks:
            if not tick.over and self.world.clock() - tick.moved > HANG:
                tick.go_on("kill")
        for tick in [tick for tick in self.ticks if tick.over]:
            self.ticks.remove(tick)
            if tick.error is not None and not (tick.disturbed and isinstance(tick.error, TickError)):
                raise tick.error

    # --- ECS, and the trainers in its tasks ---

    @precondition(lambda self: self.world.ecs.alive())
    @rule(which=PICK, steps=st.integers(1, 3))
    def task_moves(self, which: int, steps: int) -> None:
        """A task gets an instance, its image and its container; one that was told to stop, stops."""
        task = pick(self.world.ecs.alive(), which)
        for __ in range(steps):
            self._move(task)

    @precondition(lambda self: self.trainers or self.zombies)
    @rule(which=PICK, steps=st.integers(0, 5), fault=FAULTS)
    def train(self, which: int, steps: int, fault: str) -> None:
        """A trainer goes on; a call of the last thing that it does meets a fault."""
        trainer = pick([*self.trainers.values(), *self.zombies], which)
        self._train(trainer, steps)
        if trainer.exit_code is None:
            self.trainer_fault = fault
            self._train(trainer, 1)
            self.trainer_fault = None

    @precondition(lambda self: self.trainers)
    @rule(which=PICK, hangs=st.booleans())
    def trainer_fails(self, which: int, hangs: bool) -> None:
        """A trainer does nothing more until it is told to stop, or finds its data wrong."""
        trainer = pick(list(self.trainers.values()), which)
        trainer.hangs |= hangs
        if not hangs:
            trainer.find_the_data_wrong()
            self._train(trainer, 0)

    @precondition(lambda self: self.world.ecs.alive())
    @rule(which=PICK, how=st.sampled_from(sorted(ENDS)), lives_on=st.booleans())
    def task_ends(self, which: int, how: str, lives_on: bool) -> None:
        """A task ends in some other way; cut off from ECS, its trainer may live on unknown."""
        task = pick(self.world.ecs.alive(), which)
        trainer = self.trainers.pop(task["taskArn"], None)
        self.costly[task["startedBy"]] += how in COSTLY
        if how == "vanishes":
            self.world.ecs.forget(task)
        else:
            self.world.ecs.stop(task, **ENDS[how])
        if lives_on and trainer and ENDS[how].get("exit_code") is None:
            self.zombies.append(trainer)

    @rule(times=st.integers(0, 3), words=st.sampled_from(["RESOURCE:CPU", "AGENT", "ATTRIBUTE", "NEWS"]))
    def ecs_refuses(self, times: int, words: str) -> None:
        """ECS has no room, or finds something wrong, for the next requests; or has room again."""
        if not times:
            self.world.ecs.next_answers.clear()
        for __ in range(times):
            self.world.ecs.refuse(words)
        self.strange_words += times if words == "NEWS" else 0

    @precondition(lambda self: self.world.ecs.alive())
    @rule(which=PICK)
    def ecs_overlooks(self, which: int) -> None:
        """ECS shows a task no more, or again."""
        self.world.ecs.overlooked ^= {pick(self.world.ecs.alive(), which)["taskArn"]}

    def _move(self, task: dict[str, Any]) -> None:
        if task["lastStatus"] == "STOPPED":
            return
        trainer = self.trainers.get(task["taskArn"])
        if task["desiredStatus"] == "STOPPED":
            self.trainers.pop(task["taskArn"], None)
            self.world.ecs.stop(task, states.EXIT_INTERRUPTED if trainer else None)
        elif task["lastStatus"] == "PROVISIONING":
            task["lastStatus"] = "PENDING"
        elif task["lastStatus"] == "PENDING":
            self.world.ecs.set_running(task)
            made = Trainer(task, self.trainers_runs, self.trainers_models, self.world.clock)
            self.trainers[task["taskArn"]] = made

    def _train(self, trainer: Trainer, steps: int) -> None:
        for __ in range(steps):
            if trainer.exit_code is None and not trainer.hangs:
                try:
                    trainer.go_on()
                except Killed:
                    trainer.exit_code = 137
        if trainer.exit_code is None:
            return
        if trainer in self.zombies:
            self.zombies.remove(trainer)
            return
        run_id, arn = trainer.task["startedBy"], trainer.task["taskArn"]
        if trainer.exit_code == states.EXIT_SUPERSEDED:
            run = self.world.runs.get(run_id)
            its_own = run["state"] in states.ACTIVE and run.get("task_arn") == arn
            assert not its_own, "a trainer was told that its run had moved on, and it had not"
        self.costly[run_id] += trainer.exit_code not in (0, states.EXIT_WRONG_INPUT, states.EXIT_INTERRUPTED)
        del self.trainers[arn]
        self.world.ecs.stop(trainer.task, trainer.exit_code)

    # --- SQS, DynamoDB and the clock ---

    @precondition(lambda self: self.world.queue.messages or self.world.queue.deleted)
    @rule(which=PICK, lost=st.booleans(), turn=st.integers(0, 3))
    def sqs_is_sqs(self, which: int, lost: bool, turn: int) -> None:
        """A message is gone, or one out of sight or even deleted is delivered again; in another order."""
        queue = self.world.queue
        message = pick([*queue.messages, *queue.deleted], which)
        if not lost:
            self.world.sqs_service.deliver_again(queue, message)
        elif message in queue.messages:
            queue.messages.remove(message)
        self.world.sqs_service.choose = lambda found: found[turn:] + found[:turn]

    @rule(lagging=st.booleans())
    def index_lags(self, lagging: bool) -> None:
        """The index over the states shows no writes for a while, or again."""
        self.world.run_items.lagging = lagging
        self.world.run_items.catch_up()

    @rule(seconds=st.sampled_from([1, 2, 30, 60, 130, 400, 1200, 90_000, -60, -180]))
    def time_passes(self, seconds: int) -> None:
        """Or the clock is set. Ticks that are at a call for so long are cut off."""
        for tick in self.ticks:
            if seconds < 0:
                tick.go_on("kill")
        self.world.clock.advance(seconds=seconds)
        self._drop_ticks_that_are_over()

    # --- what must hold at any time ---

    @invariant()
    def nothing_is_wrong(self) -> None:
        """After each step."""
        done["steps"] += 1
        items = plain(self.world.run_items.items)
        slots = set(items.get(SLOTS, {}).get("active", ()))
        assert len(slots) <= self.world.slots
        alive = [task["startedBy"] for task in self.world.ecs.alive()]
        assert len(alive) <= self.world.slots, "more tasks than slots"
        assert len(alive) == len(set(alive)), "two tasks of one run"
        assert set(alive) <= slots, "a task whose run holds no slot"
        registered = collections.Counter(
            item["run"] for item in plain(self.world.model_items.items).values() if "run" in item
        )
        assert max(registered.values(), default=0) <= 1, "two models of one run"
        for run_id in self.run_ids:
            run = items[run_id]
            if run["state"] in states.ACTIVE:
                assert run_id in slots, "an active run without a slot"
            if run["state"] in (states.QUEUED, states.STARTING, states.FAILED, states.CANCELLED):
                assert run.get("reason"), "no reason"
                assert run["cause"] in causes.CAUSES, "no cause"
            if run["state"] == states.SUCCEEDED:
                assert registered[run_id] == 1, "a success without a model"
            history = run.get("history", [])
            attempts = [past["attempt"] for past in history]
            assert attempts == sorted(set(attempts)), "an attempt that ended twice"
            assert all(past["cause"] in causes.CAUSES and past["reason"] for past in history)
            assert run["retries_used"] <= self.costly[run_id] + self.strange_words, "a retry for nothing"

    def teardown(self) -> None:
        """The faults end, and time passes: every run ends, and nothing is left."""
        try:
            if hasattr(self, "world"):
                self._settle()
        finally:
            self.patch.undo()

    def _settle(self) -> None:
        for tick in self.ticks:
            tick.go_on("kill")
        self._drop_ticks_that_are_over()
        self.zombies.clear()
        self.world.ecs.overlooked.clear()
        self.world.ecs.next_answers.clear()
        self.index_lags(False)
        for rounds in itertools.count():
            if self._is_over():
                break
            assert rounds < 60, f"not over after so long: {self._left()}"
            self.all_goes_well(steps=6)
            self.nothing_is_wrong()
            self.world.clock.advance(minutes=4)
        for run in self._recorded().values():
            done[run["state"]] += 1

    def _recorded(self) -> dict[str, dict[str, Any]]:
        items = plain(self.world.run_items.items)
        return {run_id: items[run_id] for run_id in self.run_ids}

    def _is_over(self) -> bool:
        return not any(self._left().values())

    def _left(self) -> dict[str, Any]:
        """What must not be left in the end."""
        return {
            "runs": self._open(),
            "messages": self.world.messages(),
            "slots": self.world.run_items.items.get((SLOTS,), {}).get("active"),
            "tasks": self.world.ecs.alive(),
        }


Interleavings.TestCase.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestInterleavings = Interleavings.TestCase


def pick(among: list[Any], which: int) -> Any:
    """One of them."""
    return among[which % len(among)]


def plain(items: dict[tuple[str, ...], Any]) -> dict[str, dict[str, Any]]:
    """What a table holds, by the last part of the key, in Python's types."""
    return {key[-1]: {name: _value(value) for name, value in item.items()} for key, item in items.items()}


def _value(value: dict[str, Any]) -> Any:
    # Cheaper than boto3's reader: each step reads all there is.
    ((kind, content),) = value.items()
    if kind == "N":
        return int(content)
    if kind == "L":
        return [_value(each) for each in content]
    if kind == "M":
        return {name: _value(each) for name, each in content.items()}
    return None if kind == "NULL" else content


def _ulids(clock: Clock) -> Any:
    made, new = itertools.count(1), ulid.new
    return lambda: new(int(clock().timestamp() * 1000), next(made).to_bytes(10))
