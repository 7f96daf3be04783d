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

from botocore.exceptions import BotoCoreError, ClientError
from decisions import (
    Decision,
    Fail,
    Leave,
    Refusal,
    Task,
    TryAgain,
    after_refusal,
    after_sighting,
    is_stopped,
    may_be_gone,
    read_message,
    should_stop,
    waits_for,
)
from demand import Demand
from messages import Message, Messages
from nerforge_contract import states
from nerforge_contract.errors import UserError
from nerforge_contract.runs import Run, Runs
from tasks import Tasks

MARGIN_SECONDS = 15  # nothing is begun with less time left: to be cut off does no harm, but costs a minute
RESEND_AFTER = datetime.timedelta(
    minutes=5
)  # longer than a tick that is cut off keeps a message out of sight

UNSEEN = object()  # DescribeTasks did not say


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
    clock:
        Tells the time, in UTC.
    """

    def __init__(
        self,
        runs: Runs,
        tasks: Tasks,
        messages: Messages,
        slots: int,
        clock: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        self._runs = runs
        self._tasks = tasks
        self._messages = messages
        self._slots = slots
        self._clock = clock
        self._seconds_left: Callable[[], float] = lambda: float("inf")
        self._errors = 0
        self._started: list[str] = []

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
        self._seconds_left, self._errors, self._started = seconds_left, 0, []
        with self._carrying_on("reconcile"):
            self._reconcile()
        with self._carrying_on("dispatch"):
            self._dispatch()
        if self._errors:
            raise TickError(f"unexpected errors in this tick, each in the log: {self._errors}")
        return {"started": self._started}

    # --- runs that hold a slot ---

    def _reconcile(self) -> None:
        held: list[Run] = []
        for run_id in self._runs.active():
            with self._carrying_on("read", run_id):
                run = self._runs.get(run_id)
                if run is None:
                    log("slot of a run that is not recorded", run_id)
                    self._runs.release(run_id)
                else:
                    held.append(run)
        sightings: dict[str, Task | None] = {}
        with self._carrying_on("describe tasks"):
            sightings = self._tasks.describe([run["task_arn"] for run in held if "task_arn" in run])
        for run in held:
            if self._out_of_time():
                return
            with self._carrying_on("see to", run["run_id"]):
                self._see_to(run, sightings)

    def _see_to(self, run: Run, sightings: dict[str, Task | None]) -> None:
        if "task_arn" not in run:
            if run["state"] in states.TERMINAL:
                self._close_without_task(run)
            elif not self._adopt(run):
                self._start(run)
            return
        task = sightings.get(run["task_arn"], UNSEEN)
        if task is UNSEEN:
            return
        if task is None or is_stopped(task):
            # What the trainer wrote last may be newer than what was read before the task was looked at.
            fresh = self._runs.get(run["run_id"])
            if fresh is None or fresh.get("task_arn") != run["task_arn"]:
                return
            run = fresh
        if run["state"] in states.TERMINAL:
            self._close(run, task)
            return
        try:
            decision = after_sighting(run, Demand.of(run["spec"]), task, self._clock())
        except UserError as error:
            decision = Fail(str(error))
        if self._carry_out(decision, run, task):
            fresh = self._runs.get(run["run_id"])
            if fresh is not None and fresh["state"] == states.STARTING and "task_arn" not in fresh:
                self._start(fresh)

    def _carry_out(self, decision: Decision, run: Run, task: Task | None = None) -> bool:
        """Write what was decided; True if the run now has an attempt that no task was asked for yet."""
        run_id, attempt = run["run_id"], run["attempt"]
        if isinstance(decision, Leave):
            if decision.fields or decision.reason not in ("", run.get("reason")):
                self._runs.annotate(
                    run_id, states.STARTING, attempt, reason=decision.reason, **decision.fields
                )
            return False
        if isinstance(decision, TryAgain):
            log("next attempt", run_id, attempt=attempt + 1, reason=decision.reason)
            return self._runs.next_attempt(run_id, attempt, reason=decision.reason, **decision.fields)
        log("failed", run_id, attempt=attempt, reason=decision.reason)
        written = {"reason": decision.reason, "ended": self._now()}
        if self._runs.move(run_id, states.ACTIVE, states.FAILED, attempt, **written):
            self._close(run | {"state": states.FAILED} | written, task, at_once=True)
        return False

    def _adopt(self, run: Run) -> bool:
        """Record the task of a tick that was cut off before it could; a client token forgets it in time."""
        made = self._tasks.started_for(run["run_id"])
        if made:
            self._runs.record_task(run["run_id"], run["attempt"], made[0])
        return bool(made)

    def _start(self, run: Run) -> None:
        """Ask ECS for the task of a STARTING run; harmless if it was asked before with no answer heard."""
        run_id, attempt = run["run_id"], run["attempt"]
        try:
            demand = Demand.of(run["spec"])
            answer = self._tasks.run(self._tasks.request(run, demand))
        except UserError as error:
            self._carry_out(Fail(str(error)), run)
            return
        except (BotoCoreError, ClientError) as error:
            self._runs.annotate(
                run_id,
                states.STARTING,
                attempt,
                reason=f"ECS could not be asked for a task, trying again: {error}",
            )
            raise
        if isinstance(answer, Refusal):
            log("refused", run_id, attempt=attempt, words=answer.words)
            # A next attempt, if that is the answer, is left to the next tick: ECS has just said no.
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
            self._carry_out(Leave(waits_for(answer, demand)), run)

    def _close(self, run: Run, task: Task | None, at_once: bool = False) -> None:
        """Release the slot of a run that has ended once its task is gone, and see that it goes."""
        if "task_arn" not in run:
            self._close_without_task(run)
        elif is_stopped(task) if task else may_be_gone(run, self._clock()):
            self._runs.release(run["run_id"])
            log("slot released", run["run_id"])
        elif task and (at_once or should_stop(run, task, self._clock())):
            self._tasks.stop(run["task_arn"], f"the run is {run['state']}: {run.get('reason', '')}"[:255])

    def _close_without_task(self, run: Run) -> None:
        """A tick that was cut off may have started a task and not recorded it."""
        started = self._tasks.started_for(run["run_id"])
        for task_arn in started:
            self._runs.record_task(run["run_id"], run["attempt"], task_arn)
            self._tasks.stop(task_arn, f"the run is {run['state']}")
        if not started:
            self._runs.release(run["run_id"])
            log("slot released", run["run_id"])

    # --- runs that wait ---

    def _dispatch(self) -> None:
        while not self._out_of_time():
            free = self._slots - len(self._runs.active())
            if free <= 0:
                self._say_that_all_slots_are_taken()
                return
            received = self._messages.receive(free)
            if not received:
                self._resend_lost_messages()
                return
            for i, message in enumerate(received):
                taken = False
                if not self._out_of_time():
                    with self._carrying_on("take message"):
                        taken = True  # unless told otherwise: a message that fails comes back by itself
                        taken = self._take(message)
                if not taken:
                    for left in received[i:]:
                        with self._carrying_on("give back message"):
                            self._messages.give_back(left)
                    break

    def _take(self, message: Message) -> bool:
        """Deal with a message; False if there was no slot for its run."""
        run_id, problem = read_message(message.body)
        run = self._runs.get(run_id) if run_id else None
        if run_id and run is None and not problem:
            problem = f"no run {run_id} is recorded"
        if not problem and run["state"] == states.QUEUED:
            try:
                self._tasks.request(run, Demand.of(run["spec"]))
            except UserError as error:
                problem = str(error)
        if problem:
            self._bury(message, run, problem)
            return True
        claimed = self._runs.claim(run_id, self._slots) if run["state"] == states.QUEUED else "not queued"
        if claimed == "full":
            return False
        self._messages.delete(message)
        if claimed == "claimed":
            log("claimed", run_id)
            self._start(run | {"state": states.STARTING, "attempt": 1})
        else:
            log("duplicate message", run_id)
        return True

    def _bury(self, message: Message, run: Run | None, problem: str) -> None:
        log("message buried", run["run_id"] if run else None, reason=problem)
        self._messages.bury(message, problem)
        if run is not None:
            self._runs.move(run["run_id"], states.QUEUED, states.FAILED, reason=problem, ended=self._now())
        self._messages.delete(message)

    def _say_that_all_slots_are_taken(self) -> None:
        reason = f"waiting: all {self._slots} slots are taken"
        for run in self._runs.in_state(states.QUEUED):
            if self._out_of_time():
                return
            if run.get("reason") != reason:
                with self._carrying_on("annotate", run["run_id"]):
                    self._runs.annotate(run["run_id"], states.QUEUED, reason=reason)

    def _resend_lost_messages(self) -> None:
        """The queue is empty: a run that has long been QUEUED has lost its message, or never got one."""
        now = self._clock()
        for run in self._runs.in_state(states.QUEUED):
            if self._out_of_time():
                return
            with self._carrying_on("resend message", run["run_id"]):
                last = run.get("resent", run["created"])
                if now - datetime.datetime.fromisoformat(last) > RESEND_AFTER and self._runs.annotate(
                    run["run_id"],
                    states.QUEUED,
                    resent=self._now(),
                    reason="its message was lost and has been sent again",
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

    def _now(self) -> str:
        return self._clock().isoformat(timespec="milliseconds")


def log(event: str, run_id: str | None = None, **fields: Any) -> None:
    """Print one line of JSON, which Lambda takes to CloudWatch Logs."""
    print(json.dumps({"event": event, "run": run_id, **fields}), flush=True)
