"""One tick: see to every run that holds a slot, then start runs that wait while slots are free.

The order of the calls is the point: a run is QUEUED and has a message, or holds a slot, or has ended.
Wherever a tick is cut off, the next one finds one of the three and goes on. Two ticks at once do no harm:
each write that matters is conditional, and the loser leaves the run to the winner.
"""

import datetime
import json
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import metrics
from accounts import Accounts
from botocore.exceptions import BotoCoreError, ClientError
from decisions import (
    Decision,
    Fail,
    Leave,
    Refusal,
    StopTask,
    Task,
    TryAgain,
    account_of,
    after_refusal,
    after_sighting,
    is_stopped,
    may_ask,
    may_be_gone,
    may_have_no_task,
    overdue,
    read_message,
    should_stop,
    waits_for,
)
from demand import Demand
from messages import Message, Messages
from nerforge_contract import causes, states
from nerforge_contract.errors import UserError
from nerforge_contract.life import is_stuck
from nerforge_contract.runs import Run, Runs, written
from tasks import Tasks, attempt_of

MARGIN_SECONDS = 15  # nothing is begun with less time left: to be cut off does no harm, but costs a minute

# A run that is QUEUED for so long while the queue is empty has lost its message: longer than a tick that is
# cut off keeps one out of sight.
RESEND_AFTER = datetime.timedelta(minutes=5)
OVERTAKEN_BY = datetime.timedelta(hours=1)  # the same, while runs that are so much younger have their turn
AT_A_TIME = 100  # how many waiting runs to read at a time


class TickError(Exception):
    """Something unexpected went wrong in a tick; all else was done. The log says what."""


class Dispatcher:
    """Starts tasks for queued runs, and sees to the runs that have one.

    Parameters
    ----------
    runs, tasks, messages:
        The runs table, ECS and the queues.
    slots:
        How many runs may have a task at once.
    name:
        The Lambda function's name, which its metrics carry.
    clock:
        Tells the time, in UTC.
    """

    def __init__(
        self,
        runs: Runs,
        tasks: Tasks,
        messages: Messages,
        slots: int,
        name: str,
        clock: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        self._runs = runs
        self._tasks = tasks
        self._messages = messages
        self._slots = slots
        self._name = name
        self._clock = clock
        self._begin(lambda: float("inf"))

    def _begin(self, seconds_left: Callable[[], float]) -> None:
        self._seconds_left = seconds_left
        self._began = self._clock()
        self._started: list[str] = []
        self._errors = self._active = self._stuck = self._queued_seen = 0
        self._accounts = Accounts(self._runs, self._tasks)

    def tick(self, seconds_left: Callable[[], float]) -> dict[str, Any]:
        """Do all there is to do now.

        Parameters
        ----------
        seconds_left:
            How many seconds this call may still take.

        Returns
        -------
        ``started``: the ids of the runs whose task was asked for.
        Raises TickError at the end if anything unexpected happened on the way.
        """
        self._begin(seconds_left)
        with self._carrying_on("reconcile"):
            self._reconcile()
        with self._carrying_on("dispatch"):
            self._dispatch()
        seconds = (self._clock() - self._began).total_seconds()
        with self._carrying_on("record the tick"):
            self._runs.record_tick(
                seconds=round(seconds),
                started=len(self._started),
                errors=self._errors,
                active=self._active,
                queued_seen=self._queued_seen,
                stuck=self._stuck,
            )
        figures = {"ActiveRuns": self._active, "StuckRuns": self._stuck, "TickErrors": self._errors}
        print(metrics.line(self._name, self._clock(), **figures, TickSeconds=seconds), flush=True)
        if self._errors:
            raise TickError(f"unexpected errors in this tick, each in the log: {self._errors}")
        return {"started": self._started}

    # --- runs that hold a slot ---

    def _reconcile(self) -> None:
        holders = self._holders()
        recorded = self._runs.get_many(holders)
        for run_id in holders:
            if run_id not in recorded:
                with self._carrying_on("release", run_id):
                    log("slot of a run that is not recorded", run_id)
                    self._runs.release(run_id)
        # Those that ECS must be asked for come last, the one asked least recently first: each gets its turn.
        held = sorted(recorded.values(), key=lambda run: ("task_arn" not in run, run.get("refused", "")))
        self._stuck = sum(is_stuck(run, self._clock()) for run in held)
        sightings: dict[str, Task | None] = {}
        with self._carrying_on("describe tasks"):
            sightings = self._tasks.describe([run["task_arn"] for run in held if "task_arn" in run])
        # What a trainer wrote last may be newer than what was read before its task was looked at.
        gone = {arn for arn, task in sightings.items() if task is None or is_stopped(task)}
        fresh = self._runs.get_many(run["run_id"] for run in held if run.get("task_arn") in gone)
        with self._carrying_on("look up what has stopped"):  # no run waits for its price
            self._accounts.look_up([task for task in sightings.values() if task and is_stopped(task)])
        for run in held:
            if self._out_of_time():
                return
            with self._carrying_on("see to", run["run_id"]):
                self._see_to(fresh.get(run["run_id"], run), sightings)

    def _see_to(self, run: Run, sightings: dict[str, Task | None]) -> None:
        if "task_arn" not in run:
            if run["state"] in states.TERMINAL:
                self._close_without_task(run)
            elif may_ask(run, self._clock()):
                self._start(run, perhaps_asked=True)
            return
        if run["task_arn"] not in sightings:
            return  # DescribeTasks did not say
        task = sightings[run["task_arn"]]
        if (
            task is None
            and may_be_gone(run, self._clock())
            and self._tasks.stop(run["task_arn"], "ECS did not list this task")
        ):
            return  # it is there after all, and going
        if run["state"] in states.TERMINAL:
            self._close(run, task)
            return
        try:
            decision = after_sighting(run, Demand.of(run["spec"]), task, self._clock())
        except UserError as error:
            decision = Fail(causes.WRONG_INPUT, str(error))
        if self._carry_out(decision, run, task):
            fresh = self._runs.get(run["run_id"])
            if fresh is not None and fresh["state"] == states.STARTING and "task_arn" not in fresh:
                self._start(fresh)

    def _carry_out(self, decision: Decision, run: Run, task: Task | None = None) -> bool:
        """Write what was decided; True if the run now has an attempt that no task was asked for yet."""
        run_id, attempt = run["run_id"], run["attempt"]
        if isinstance(decision, Leave | StopTask):
            if self._note(decision, run) and isinstance(decision, StopTask):
                log("stopping", run_id, attempt=attempt, reason=decision.reason)
                self._tasks.stop(run["task_arn"], decision.reason)
            return False
        now = self._clock()
        ended = account_of(run, decision, task, now)
        why = {"cause": decision.cause, "reason": decision.reason}
        if isinstance(decision, TryAgain):
            log("next attempt", run_id, attempt=attempt + 1, **why)
            fields = (
                {"attempt_started": self._now(), "refused": None} | decision.fields | self._cost(run, task)
            )
            return self._runs.next_attempt(run_id, attempt, ended=ended, **why, **fields)
        log("failed", run_id, attempt=attempt, **why)
        written = why | {"ended": self._now()}
        if self._runs.move(run_id, states.ACTIVE, states.FAILED, attempt, last=ended, **written):
            self._close(run | {"state": states.FAILED} | written, task, at_once=True)
        return False

    def _note(self, decision: Leave | StopTask, run: Run) -> bool:
        """Write what is new in a decision that leaves the run in its state; False if the run has moved on."""
        written = dict(decision.fields)
        if decision.reason:
            written["reason"] = decision.reason
        if decision.cause:
            written["cause"] = decision.cause
        if all(run.get(name) == value for name, value in written.items()):
            return True
        return self._runs.annotate(run["run_id"], run["state"], run["attempt"], **written)

    def _start(self, run: Run, perhaps_asked: bool = False) -> None:
        """Ask ECS for the task of a STARTING run; harmless if it was asked before with no answer heard."""
        run_id, attempt = run["run_id"], run["attempt"]
        try:
            demand = Demand.of(run["spec"])
            request = self._tasks.request(run, demand)
            if perhaps_asked and self._adopt(run):
                return
            if self._out_of_time():
                return  # `decisions.SETTLED` counts on it
            answer = self._tasks.run(request)
        except UserError as error:
            self._carry_out(Fail(causes.WRONG_INPUT, str(error)), run)
            return
        except (BotoCoreError, ClientError) as error:
            words = f"ECS could not be asked for a task, trying again: {error}"
            self._note(Leave(causes.UNREACHABLE, words + overdue(run, self._clock())), run)
            raise
        if isinstance(answer, Refusal):
            log("refused", run_id, attempt=attempt, words=answer.words)
            # A next attempt, if that is the answer, is left to a later tick: ECS has just said no.
            self._carry_out(after_refusal(run, demand, answer, self._clock()), run)
            return
        state = self._runs.record_task(run_id, attempt, answer["taskArn"])
        if state not in states.ACTIVE:
            # Another tick's task was recorded first, or the run has ended meanwhile: this task is nobody's.
            log("superfluous task", run_id, attempt=attempt, task=answer["taskArn"])
            self._tasks.stop(answer["taskArn"], "the run has another task or has ended")
            return
        log("started", run_id, attempt=attempt, task=answer["taskArn"])
        self._started.append(run_id)
        if state == states.STARTING:
            self._carry_out(waits_for(run, answer, demand, self._clock()), run)

    def _adopt(self, run: Run) -> bool:
        """Record the task of a tick that was cut off before it could; a client token forgets it in time.

        A task of an attempt that is over is stopped. Returns whether there was either.
        """
        made = self._tasks.started_for(run["run_id"])
        for task in made:
            if attempt_of(task) in (run["attempt"], None):
                self._runs.record_task(run["run_id"], run["attempt"], task["taskArn"])
            else:
                self._tasks.stop(task["taskArn"], "the attempt is over")
        return bool(made)

    def _close(self, run: Run, task: Task | None, at_once: bool = False) -> None:
        """Release the slot of a run that has ended once its task is gone, and see that it goes."""
        if "task_arn" not in run:
            self._close_without_task(run)
        elif is_stopped(task) if task else may_be_gone(run, self._clock()):
            if cost := self._cost(run, task):
                self._runs.annotate(run["run_id"], run["state"], run["attempt"], **cost)
            self._release(run)
        elif task and (at_once or should_stop(run, task, self._clock())):
            self._tasks.stop(run["task_arn"], f"the run is {run['state']}: {run.get('reason', '')}")

    def _close_without_task(self, run: Run) -> None:
        """A tick that was cut off may have started a task and not recorded it; another may be about to."""
        if not may_have_no_task(run, self._clock()):
            return
        started = self._tasks.started_for(run["run_id"])
        for task in started:
            self._runs.record_task(run["run_id"], run["attempt"], task["taskArn"])
            self._tasks.stop(task["taskArn"], f"the run is {run['state']}")
        if not started:
            self._release(run)

    def _cost(self, run: Run, task: Task | None) -> dict[str, Any]:
        """The record's field ``cost`` with what this attempt has cost; nothing where that cannot be told."""
        return self._accounts.cost(run, task, self._clock()) if task else {}

    def _release(self, run: Run) -> None:
        self._runs.release(run["run_id"])
        log("slot released", run["run_id"])

    def _holders(self) -> list[str]:
        holders = self._runs.active()
        self._active = len(holders)
        return holders

    # --- runs that wait ---

    def _dispatch(self) -> None:
        youngest = ""  # when the youngest run was submitted that had its turn
        while not self._out_of_time():
            free = self._slots - len(self._holders())
            if free <= 0:
                self._tell_who_waits_for_a_slot()
                break
            received = self._messages.receive(free)
            if not received:
                self._resend_lost_messages(self._ago(RESEND_AFTER))
                return
            youngest = max(youngest, self._take_all(received))
        if youngest:
            turn = datetime.datetime.fromisoformat(youngest)
            self._resend_lost_messages(min(turn - OVERTAKEN_BY, self._ago(RESEND_AFTER)))

    def _take_all(self, received: list[Message]) -> str:
        """Deal with messages, and give back those there is no slot or no time for.

        Returns when the youngest run was submitted that had its turn; empty if none had.
        """
        self._queued_seen += len(received)
        youngest = ""
        read = [read_message(message.body) for message in received]
        recorded = self._runs.get_many(run_id for run_id, __ in read if run_id)
        for i, (message, (run_id, problem)) in enumerate(zip(received, read, strict=True)):
            run = recorded.get(run_id) if run_id else None
            taken = False
            if not self._out_of_time():
                with self._carrying_on("take message", run_id):
                    taken = True  # unless told otherwise: a message that fails comes back by itself
                    taken = self._take(
                        message, run, problem or ("" if run else f"no run {run_id} is recorded")
                    )
            if not taken:
                for left in received[i:]:
                    with self._carrying_on("give back message"):
                        self._messages.give_back(left)
                break
            if run is not None:
                youngest = max(youngest, run["created"])
        return youngest

    def _take(self, message: Message, run: Run | None, problem: str) -> bool:
        """Deal with a message; False if there was no slot for its run."""
        if run is not None and not problem and run["state"] == states.QUEUED:
            try:
                self._tasks.request(run, Demand.of(run["spec"]))
            except UserError as error:
                problem = str(error)
        if run is None or problem:
            self._bury(message, run, problem)
            return True
        claimed = "not queued"
        if run["state"] == states.QUEUED:
            claimed = self._runs.claim(run["run_id"], self._slots)
        if claimed == "full":
            return False
        self._messages.delete(message)
        if claimed == "claimed":
            log("claimed", run["run_id"])
            self._start(run | {"state": states.STARTING, "attempt": 1})
        else:
            log("duplicate message", run["run_id"])
        return True

    def _bury(self, message: Message, run: Run | None, problem: str) -> None:
        log("message buried", run["run_id"] if run else None, reason=problem)
        self._messages.bury(message, problem)
        if run is not None:
            self._runs.move(
                run["run_id"],
                states.QUEUED,
                states.FAILED,
                cause=causes.WRONG_INPUT,
                reason=problem,
                ended=self._now(),
            )
        self._messages.delete(message)

    def _tell_who_waits_for_a_slot(self) -> None:
        """Each is told once.

        Read from the newest to the first hundred that were told before, and told from the oldest, so that
        wherever this is cut off, those not yet told are the newest still, where the next tick looks first.
        """
        reason = f"waiting: all {self._slots} slots are taken"
        untold: list[str] = []
        told = 0
        for run in self._runs.in_state(states.QUEUED, page=AT_A_TIME):
            self._queued_seen += 1
            told = told + 1 if run.get("reason") == reason else 0
            if not told:
                untold.append(run["run_id"])
            if told == AT_A_TIME or self._out_of_time():
                break
        for run_id in reversed(untold):
            if self._out_of_time():
                return
            self._runs.annotate(run_id, states.QUEUED, cause=causes.NO_SLOT, reason=reason)

    def _resend_lost_messages(self, submitted_before: datetime.datetime) -> None:
        """Runs that should have had their turn by now have lost their message, or never got one."""
        before, resent_before = written(submitted_before), self._ago(RESEND_AFTER)
        for run in self._runs.in_state(states.QUEUED, oldest_first=True, page=AT_A_TIME):
            if run["created"] >= before or self._out_of_time():
                return
            with self._carrying_on("resend message", run["run_id"]):
                last = datetime.datetime.fromisoformat(run.get("resent") or run["created"])
                if last < resent_before and self._runs.annotate(
                    run["run_id"],
                    states.QUEUED,
                    resent=self._now(),
                    cause=causes.SUBMITTED,
                    reason="its message was lost and has been sent again; waiting for the dispatcher",
                ):
                    log("message resent", run["run_id"])
                    self._messages.send(run["run_id"])

    # --- helpers ---

    @contextmanager
    def _carrying_on(self, what: str, run_id: str | None = None) -> Iterator[None]:
        """Log and count what goes wrong with one run, so that the others still get their turn."""
        try:
            yield
        except Exception as error:
            self._errors += 1
            log(
                "error",
                run_id,
                during=what,
                error=f"{type(error).__name__}: {error}",
                trace=traceback.format_exc(),
            )

    def _out_of_time(self) -> bool:
        return self._seconds_left() < MARGIN_SECONDS

    def _ago(self, age: datetime.timedelta) -> datetime.datetime:
        return self._clock() - age

    def _now(self) -> str:
        return written(self._clock())


def log(event: str, run_id: str | None = None, **fields: Any) -> None:
    """Print one line of JSON, which Lambda takes to CloudWatch Logs."""
    print(json.dumps({"event": event, "run": run_id, **fields}), flush=True)
