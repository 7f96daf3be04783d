"""What to do: with a message, with a task as DescribeTasks shows it, with ECS's refusal to start one.

Nothing here calls anything; every reason is a sentence for the person who waits for the run, and every cause
is one of the contract's.
"""

import datetime
import json
from dataclasses import dataclass, field
from typing import Any

from demand import Demand
from nerforge_contract import causes, states
from nerforge_contract.life import is_stuck, last_sign
from nerforge_contract.names import TRAINER_CONTAINER, log_stream
from nerforge_contract.runs import Run, written
from nerforge_contract.ulid import is_ulid

Task = dict[str, Any]  # as DescribeTasks gives it

MAX_INTERRUPTIONS = 20
MAX_WAIT = datetime.timedelta(hours=24)  # a run that nothing can be found for must not hold its slot for ever
CONSISTENCY = datetime.timedelta(minutes=2)  # how long ECS may not yet know a task that it has just made
LAST_WORDS = datetime.timedelta(minutes=1)  # how long a trainer may take to exit once its run has ended

# Once so old, a record was not read in a state before that by any tick that may still ask ECS for a task:
# a tick begins nothing after 45 seconds, and its calls are short.
SETTLED = datetime.timedelta(seconds=50)

CAPACITY, CONFIGURATION, UNKNOWN = "capacity", "configuration", "unknown"

# Parts of ECS's words, in failures[].reason and stoppedReason alike. Those for capacity come first: ECS puts
# the more specific word last, and a run that waits in vain is told so, while one failed in vain is lost.
_WORDS = {
    CAPACITY: (
        "RESOURCE:",
        "AGENT",
        "EMPTY CAPACITY PROVIDER",
        "NO ACTIVE INSTANCES",
        "No Container Instances were found",
        "Capacity is unavailable",
        "provisioning capacity limit",
        "limit on the number of tasks",
    ),
    CONFIGURATION: (
        "ATTRIBUTE",
        "LOCATION",
        "MISSING",
        "INACTIVE",
        "InvalidParameter",
        "placement constraint",
    ),
}

_STOPPED_FROM_OUTSIDE = frozenset(
    {"SpotInterruption", "TerminationNotice", "InfrastructureHealth", "UserInitiated"}
)
_SIGKILL, _SIGTERM = 137, 143  # 128 and the signal's number, as the container's runtime says it
_SILENT = "no sign of life"


# --- what can be decided ---


@dataclass(frozen=True)
class Leave:
    """Leave the run where it is; a reason, if there is one, says what it waits for."""

    cause: str = ""
    reason: str = ""
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StopTask:
    """Write why, then stop the task; what becomes of the run is decided once the task is gone."""

    cause: str
    reason: str
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TryAgain:
    """Go on with the next attempt, and write ``fields`` with it."""

    cause: str
    reason: str
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Fail:
    """The run has failed."""

    cause: str
    reason: str


Decision = Leave | StopTask | TryAgain | Fail


@dataclass(frozen=True)
class Refusal:
    """ECS's answer to RunTask when it started nothing.

    Attributes
    ----------
    kind:
        CAPACITY, CONFIGURATION or UNKNOWN.
    words:
        What ECS said.
    """

    kind: str
    words: str


# --- messages ---


def read_message(body: str) -> tuple[str | None, str]:
    """The run that a message names (None if none), and what is wrong with the message (empty if nothing)."""
    try:
        content = json.loads(body)
    except ValueError:
        return None, "the message is not JSON"
    except RecursionError:
        return None, "the message is nested too deeply to be read"
    if not isinstance(content, dict):
        return None, "the message is not a JSON object"
    if not is_ulid(content.get("run")):
        return None, "the message names no run: its field run must be a ULID"
    others = ", ".join(map(ascii, sorted(content.keys() - {"run"})))
    return content["run"], f"the message has fields that mean nothing here: {others:.200}" if others else ""


# --- RunTask said no ---


def classify(words: str) -> str:
    """Whether ECS's words mean that capacity is wanting, that something is set up wrongly, or neither."""
    return next((kind for kind, parts in _WORDS.items() if any(part in words for part in parts)), UNKNOWN)


def may_ask(run: Run, now: datetime.datetime) -> bool:
    """Whether ECS may be asked for a task, after a refusal.

    The next request carries another token, and two tokens make two tasks: so it waits until nobody can still
    send the one before.
    """
    return "refused" not in run or now - _time(run["refused"]) >= SETTLED


def after_refusal(run: Run, demand: Demand, refusal: Refusal, now: datetime.datetime) -> Decision:
    """What becomes of a STARTING run that ECS started no task for."""
    if refusal.kind == CONFIGURATION:
        return _set_up_wrongly(refusal.words, demand)
    if refusal.kind == UNKNOWN:
        return _retry(
            run,
            demand,
            causes.ERROR,
            f"ECS started no task and said: {refusal.words}",
            {"refused": written(now)},
        )
    since = _waits_since(run, now)
    decision: TryAgain | Fail
    if _is_tired_of_spot(run, demand, since, now):
        decision = TryAgain(causes.NO_SPOT, _leaves_spot(demand, since), {"on_demand": True})
    else:
        decision = _wait_for_capacity(run, demand, refusal.words, now, began=now)
    if isinstance(decision, Fail):
        return decision
    # No task was made, so the attempt stays; but ECS may repeat the answer it gave to a token for a day, so
    # the next request carries another.
    asked = {"refusals": run.get("refusals", 0) + 1, "refused": written(now)}
    return Leave(decision.cause, decision.reason, decision.fields | asked)


# --- a task as ECS shows it ---


def after_sighting(run: Run, demand: Demand, task: Task | None, now: datetime.datetime) -> Decision:
    """What becomes of a STARTING or RUNNING run whose task is as given (None: ECS does not know it)."""
    if task is None:
        if not may_be_gone(run, now):
            return Leave()
        words = f"attempt {run['attempt']} stopped without a word: ECS no longer knows its task"
        return _retry(run, demand, causes.VANISHED, words)
    if is_stopped(task):
        return _after_stop(run, demand, task, now)
    started = task.get("startedAt")
    limit = datetime.timedelta(minutes=demand.time_limit_minutes)
    if started and now - started > limit:
        return Fail(
            causes.TIME_LIMIT,
            f"attempt {run['attempt']} was stopped after the {demand.time_limit_minutes} minutes it may run. "
            f"Raise time_limit_minutes in the spec, or let it train less. {_log_of(task)}",
        )
    if run["state"] == states.RUNNING:
        return _listen(run, now)
    if task["desiredStatus"] == "STOPPED":
        return Leave()
    since = _waits_since(run, task.get("createdAt", now))
    if task["lastStatus"] == "PROVISIONING" and _is_tired_of_spot(run, demand, since, now):
        gives_up = {"on_demand": True, "last_spot_attempt": run["attempt"]}
        return StopTask(causes.NO_SPOT, _leaves_spot(demand, since), gives_up)
    return waits_for(run, task, demand, now)


def is_stopped(task: Task) -> bool:
    """Whether nothing of the task runs any more."""
    return task["lastStatus"] in ("STOPPED", "DELETED")


def may_be_gone(run: Run, now: datetime.datetime) -> bool:
    """Whether a task that ECS does not know is gone, rather than too new to be known."""
    return now - _time(run["task_recorded"]) >= CONSISTENCY


def may_have_no_task(run: Run, now: datetime.datetime) -> bool:
    """Whether a run that ended without a task will get none: no tick that saw it before is still at it."""
    return "ended" not in run or now - _time(run["ended"]) >= SETTLED


def should_stop(run: Run, task: Task, now: datetime.datetime) -> bool:
    """Whether the task of a run that has ended must be told to stop; most exit by themselves."""
    if task["desiredStatus"] == "STOPPED":
        return False
    ended = run.get("ended")
    return run["state"] == states.CANCELLED or not ended or now - _time(ended) > LAST_WORDS


def waits_for(run: Run, task: Task, demand: Demand, now: datetime.datetime) -> Leave:
    """What a STARTING run waits for, now that it has a task."""
    kind = f"{'GPU' if demand.gpus else 'CPU'}{' spot' if on_spot(run, demand) else ''}"
    created = task.get("createdAt")
    since, at = (f" since {_clock(created)}", f" at {_clock(created)}") if created else ("", " just now")
    then = _and_then(run, demand, _waits_since(run, created or now))
    words = {
        "PROVISIONING": f"waiting for an EC2 instance ({kind}){since}{then}",
        "PENDING": f"an instance is fetching the image and starting the container (asked for{at})",
        "ACTIVATING": f"the container is starting (asked for{at})",
        "RUNNING": "the container has started; the trainer has not reported yet",
    }.get(task["lastStatus"])
    return Leave(causes.STARTING, words + overdue(run, now)) if words else Leave()


def overdue(run: Run, now: datetime.datetime) -> str:
    """What to add to the reason of a STARTING run: a sentence if it is stuck, or nothing."""
    since = last_sign(run)
    if since is None or not is_stuck(run, now):
        return ""
    return f". It has been starting since {_clock(since)}: doctor.yml looks for what keeps it"


def account_of(
    run: Run, decision: TryAgain | Fail, task: Task | None, now: datetime.datetime
) -> dict[str, Any] | None:
    """The entry in the run's history for the attempt that this decision ends, or None.

    None for an attempt that only waited for room: there may be hundreds in a day, and a record has an end.
    """
    if decision.cause == causes.NO_CAPACITY and isinstance(decision, TryAgain):
        return None
    return {
        "attempt": run["attempt"],
        "task_arn": run.get("task_arn"),
        "exit_code": _trainers_container(task).get("exitCode") if task else None,
        "cause": decision.cause,
        "reason": decision.reason,
        "ended": written(now),
    }


def _after_stop(run: Run, demand: Demand, task: Task, now: datetime.datetime) -> Decision:
    container = _trainers_container(task)
    code, said = container.get("exitCode"), container.get("reason")
    stopped_because = task.get("stoppedReason") or "no reason given"
    words = " ".join(filter(None, (task.get("stoppedReason"), said)))
    attempt = f"attempt {run['attempt']}"
    if code == states.EXIT_WRONG_INPUT:
        return Fail(
            causes.WRONG_INPUT,
            f"the trainer found the spec or its data wrong (exit code {code}). {_log_of(task)}",
        )
    if "OutOfMemory" in words:
        return Fail(
            causes.OUT_OF_MEMORY,
            f"{attempt} needed more memory than it was given. "
            f"Raise resources.memory_mib in the spec (now {demand.memory_mib})",
        )
    if (
        code == states.EXIT_INTERRUPTED
        or task.get("stopCode") in _STOPPED_FROM_OUTSIDE
        or "Host EC2" in words
    ):
        if run.get("last_spot_attempt") == run["attempt"]:
            return _go_on_without_spot()
        return _after_interruption(run, f"{attempt} was interrupted: {stopped_because}")
    if code is None:
        kind = classify(words) if task.get("stopCode") == "TaskFailedToStart" else UNKNOWN
        if "CannotPull" in words:
            return _retry(
                run,
                demand,
                causes.IMAGE,
                f"the trainer's image could not be pulled: {said or stopped_because}. "
                "deploy.yml builds and pushes it",
            )
        if kind == CONFIGURATION:
            return _set_up_wrongly(words, demand)
        if run.get("last_spot_attempt") == run["attempt"]:
            return _go_on_without_spot()
        if kind == CAPACITY:
            return _wait_for_capacity(run, demand, words, now, began=task.get("createdAt", now))
        words = f"{attempt} stopped before its container said how it ended: {stopped_because}"
        return _retry(run, demand, causes.ERROR, words)
    if code == states.EXIT_DONE:
        words = f"{attempt} ended without registering a model. {_log_of(task)}"
        return _retry(run, demand, causes.ERROR, words)
    if code in (_SIGKILL, _SIGTERM):
        words = _killed(attempt, code, said or stopped_because, demand)
        return _retry(run, demand, causes.KILLED, f"{words}. {_log_of(task)}")
    words = (
        f"{attempt} failed with exit code {code}{f' ({said})' if said else ''}"
        f"{_trainers_words(run)}. {_log_of(task)}"
    )
    return _retry(run, demand, causes.ERROR, words)


def _listen(run: Run, now: datetime.datetime) -> Leave:
    since = last_sign(run)
    if since is not None and is_stuck(run, now):
        return Leave(
            reason=f"{_SILENT} from attempt {run['attempt']} since {_clock(since)}: "
            "see its log with logs.yml, and end it with cancel.yml if it hangs"
        )
    return Leave(fields={"reason": None}) if _is_about_silence(run) else Leave()


def _retry(
    run: Run, demand: Demand, cause: str, what: str, fields: dict[str, Any] | None = None
) -> TryAgain | Fail:
    used = run["retries_used"]
    if used < demand.retries:
        written = {"retries_used": used + 1, "waiting_since": None} | (fields or {})
        return TryAgain(cause, f"retry {used + 1} of {demand.retries}: {what}", written)
    if demand.retries == 0:
        return Fail(cause, f"{what} (the spec allows no retries)")
    return Fail(cause, f"{what} (all {demand.retries} retries are used up)")


def _after_interruption(run: Run, what: str) -> Decision:
    count = run.get("interruptions", 0) + 1
    if count > MAX_INTERRUPTIONS:
        return Fail(
            causes.INTERRUPTED,
            f"interrupted {count} times; the last time, {what}. Set resources.spot to false in the spec, "
            "or train when spot capacity is easier to keep",
        )
    return TryAgain(
        causes.INTERRUPTED,
        f"going on after an interruption: {what}",
        {"interruptions": count, "waiting_since": None},
    )


def _wait_for_capacity(
    run: Run, demand: Demand, words: str, now: datetime.datetime, began: datetime.datetime
) -> TryAgain | Fail:
    since = _waits_since(run, began)
    wants = f"{_capacity_wanted(run, words, demand)} (ECS: {words})"
    if now - since > MAX_WAIT:
        hours = int(MAX_WAIT.total_seconds() // 3600)
        return Fail(causes.NO_CAPACITY, f"after {hours} hours there was still no room: {wants}")
    return TryAgain(
        causes.NO_CAPACITY,
        f"waiting for room since {_clock(since)}: {wants}{_and_then(run, demand, since)}",
        {"waiting_since": written(since)},
    )


# --- spot first ---


def on_spot(run: Run, demand: Demand) -> bool:
    """Whether the run is to have a spot instance: it asks for one, and spot was not given up."""
    return demand.spot and not run.get("on_demand")


def _is_tired_of_spot(run: Run, demand: Demand, since: datetime.datetime, now: datetime.datetime) -> bool:
    """Whether it is time to give spot up; also if it was given up in this attempt, whose task lives on."""
    if demand.spot and run.get("last_spot_attempt") == run["attempt"]:
        return True
    return on_spot(run, demand) and now - since >= datetime.timedelta(minutes=demand.on_demand_after_minutes)


def _and_then(run: Run, demand: Demand, since: datetime.datetime) -> str:
    if not on_spot(run, demand):
        return ""
    turn = since + datetime.timedelta(minutes=demand.on_demand_after_minutes)
    return f"; on-demand from {_clock(turn)}"


def _leaves_spot(demand: Demand, since: datetime.datetime) -> str:
    return (
        f"no spot capacity since {_clock(since)}: after {demand.on_demand_after_minutes} minutes "
        "(resources.on_demand_after_minutes) the run goes on with on-demand instances"
    )


def _go_on_without_spot() -> TryAgain:
    return TryAgain(
        causes.NO_SPOT,
        "going on with on-demand instances, for want of spot capacity",
        {"waiting_since": None},
    )


# --- words ---


def _capacity_wanted(run: Run, words: str, demand: Demand) -> str:
    kind = "GPU" if demand.gpus else "CPU"
    larger = f"larger {kind} instance type or a higher maximum of {kind} instances in the training stack"
    if "RESOURCE:GPU" in words:
        return f"no instance has {demand.gpus} GPUs free. Wait, lower resources.gpus, or allow a {larger}"
    if "RESOURCE:CPU" in words:
        return f"no instance has {demand.vcpu:g} vCPUs free. Wait, lower resources.vcpu, or allow a {larger}"
    if "RESOURCE:MEMORY" in words:
        free = f"{demand.memory_mib} MiB"
        return f"no instance has {free} free. Wait, lower resources.memory_mib, or allow a {larger}"
    if "AGENT" in words:
        return "the ECS agent of the instance is not connected. Wait, or terminate that instance"
    if "Capacity is unavailable" in words:
        change = "set resources.spot to false" if on_spot(run, demand) else "allow other instance types"
        return f"AWS has no capacity of this kind now. Wait, or {change}"
    return f"no {kind} instance can take the task now. Wait, or allow a {larger}"


def _set_up_wrongly(words: str, demand: Demand) -> Fail:
    fix = "Deploy the training stack again, then submit the spec again"
    if "ATTRIBUTE" in words or "constraint" in words:
        kind = "GPU" if demand.gpus else "CPU"
        fix = f"The {kind} instances lack what the task needs: check their AMI and instance type"
    elif "InvalidParameter" in words:
        fix = (
            f"Check resources in the spec (vcpu {demand.vcpu:g}, memory_mib {demand.memory_mib}, "
            f"gpus {demand.gpus})"
        )
    return Fail(causes.CONFIGURATION, f"ECS cannot start the task: {words.rstrip('.')}. {fix}")


def _killed(attempt: str, code: int, said: str, demand: Demand) -> str:
    if code == _SIGTERM:
        return f"{attempt} was told to end before it could save anything (exit code {code}: SIGTERM; {said})"
    return (
        f"{attempt} was killed (exit code {code}: SIGKILL; {said}). If its instance ran out of memory, raise "
        f"resources.memory_mib (now {demand.memory_mib})"
    )


def _trainers_container(task: Task) -> dict[str, Any]:
    return next((c for c in task.get("containers", []) if c.get("name") == TRAINER_CONTAINER), {})


def _trainers_words(run: Run) -> str:
    if run["state"] != states.RUNNING or not run.get("reason") or _is_about_silence(run):
        return ""
    return f": {run['reason'].rstrip('.')}"


def _is_about_silence(run: Run) -> bool:
    return (run.get("reason") or "").startswith(_SILENT)


def _log_of(task: Task) -> str:
    return f"Its log stream is {log_stream(TRAINER_CONTAINER, task['taskArn'])}"


# --- times ---


def _waits_since(run: Run, began: datetime.datetime) -> datetime.datetime:
    return _time(run["waiting_since"]) if "waiting_since" in run else began


def _clock(time: datetime.datetime) -> str:
    return time.astimezone(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")


def _time(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)
