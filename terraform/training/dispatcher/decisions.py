"""What to do: with a message, with a task as DescribeTasks shows it, with ECS's refusal to start one.

Nothing here calls anything; every reason is a sentence for the person who waits for the run.
"""

import datetime
import json
from dataclasses import dataclass, field
from typing import Any

from demand import Demand
from nerforge_contract import states
from nerforge_contract.names import TRAINER_CONTAINER, log_stream
from nerforge_contract.runs import Run
from nerforge_contract.ulid import is_ulid

Task = dict[str, Any]  # as DescribeTasks gives it

MAX_INTERRUPTIONS = 20
MAX_WAIT = datetime.timedelta(hours=24)  # a run that nothing can be found for must not hold its slot for ever
CONSISTENCY = datetime.timedelta(minutes=2)  # how long ECS may not yet know a task that it has just made
LAST_WORDS = datetime.timedelta(minutes=1)  # how long a trainer may take to exit once its run has ended

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


# --- what can be decided ---


@dataclass(frozen=True)
class Leave:
    """Leave the run where it is; a reason, if there is one, says what it waits for."""

    reason: str = ""
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TryAgain:
    """Go on with the next attempt, and write ``fields`` with it."""

    reason: str
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Fail:
    """The run has failed."""

    reason: str


Decision = Leave | TryAgain | Fail


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


def after_refusal(run: Run, demand: Demand, refusal: Refusal, now: datetime.datetime) -> Decision:
    """What becomes of a STARTING run that ECS started no task for."""
    if refusal.kind == CAPACITY:
        decision = _wait_for_capacity(run, demand, refusal.words, now, began=now)
        if isinstance(decision, TryAgain):
            # No task was made, so the attempt stays; but ECS may repeat the answer it gave to a token for a
            # day, so the next request carries another.
            return Leave(decision.reason, decision.fields | {"refusals": run.get("refusals", 0) + 1})
        return decision
    if refusal.kind == CONFIGURATION:
        return _set_up_wrongly(refusal.words, demand)
    return _retry(run, demand, f"ECS started no task and said: {refusal.words}")


# --- a task as ECS shows it ---


def after_sighting(run: Run, demand: Demand, task: Task | None, now: datetime.datetime) -> Decision:
    """What becomes of a STARTING or RUNNING run whose task is as given (None: ECS does not know it)."""
    if task is None:
        if not may_be_gone(run, now):
            return Leave()
        return _retry(
            run, demand, f"attempt {run['attempt']} stopped without a word: ECS no longer knows its task"
        )
    if is_stopped(task):
        return _after_stop(run, demand, task, now)
    started = task.get("startedAt")
    limit = datetime.timedelta(minutes=demand.time_limit_minutes)
    if started and now - started > limit:
        return Fail(
            f"attempt {run['attempt']} was stopped after the {demand.time_limit_minutes} minutes it may run. "
            f"Raise time_limit_minutes in the spec, or let it train less. {_log_of(task)}"
        )
    return Leave(waits_for(task, demand) if run["state"] == states.STARTING else "")


def is_stopped(task: Task) -> bool:
    """Whether nothing of the task runs any more."""
    return task["lastStatus"] in ("STOPPED", "DELETED")


def may_be_gone(run: Run, now: datetime.datetime) -> bool:
    """Whether a task that ECS does not know is gone, rather than too new to be known."""
    return now - _time(run["task_recorded"]) >= CONSISTENCY


def should_stop(run: Run, task: Task, now: datetime.datetime) -> bool:
    """Whether the task of a run that has ended must be told to stop; most exit by themselves."""
    if task["desiredStatus"] == "STOPPED":
        return False
    ended = run.get("ended")
    return run["state"] == states.CANCELLED or not ended or now - _time(ended) > LAST_WORDS


def _after_stop(run: Run, demand: Demand, task: Task, now: datetime.datetime) -> Decision:
    container = next((c for c in task.get("containers", []) if c.get("name") == TRAINER_CONTAINER), {})
    code = container.get("exitCode")
    stopped_because = task.get("stoppedReason") or "no reason given"
    words = " ".join(filter(None, (task.get("stoppedReason"), container.get("reason"))))
    attempt = f"attempt {run['attempt']}"
    if code == states.EXIT_WRONG_INPUT:
        return Fail(f"the trainer found the spec or its data wrong (exit code {code}). {_log_of(task)}")
    if "OutOfMemory" in words:
        return Fail(
            f"{attempt} needed more memory than it was given. "
            f"Raise resources.memory_mib in the spec (now {demand.memory_mib})"
        )
    if (
        code == states.EXIT_INTERRUPTED
        or task.get("stopCode") in _STOPPED_FROM_OUTSIDE
        or "Host EC2" in words
    ):
        return _after_interruption(run, f"{attempt} was interrupted: {stopped_because}")
    if code is None:
        kind = classify(words) if task.get("stopCode") == "TaskFailedToStart" else UNKNOWN
        if "CannotPull" in words:
            pulled = container.get("reason") or stopped_because
            return _retry(run, demand, f"the trainer's image could not be pulled: {pulled}")
        if kind == CAPACITY:
            return _wait_for_capacity(run, demand, words, now, began=task.get("createdAt", now))
        if kind == CONFIGURATION:
            return _set_up_wrongly(words, demand)
        return _retry(
            run, demand, f"{attempt} stopped before its container said how it ended: {stopped_because}"
        )
    if code == states.EXIT_DONE:
        return _retry(run, demand, f"{attempt} ended without registering a model. {_log_of(task)}")
    said = container.get("reason")
    return _retry(
        run,
        demand,
        f"{attempt} failed with exit code {code}{f' ({said})' if said else ''}"
        f"{_trainers_words(run)}. {_log_of(task)}",
    )


def _retry(run: Run, demand: Demand, what: str) -> Decision:
    used = run["retries_used"]
    if used < demand.retries:
        return TryAgain(
            f"retry {used + 1} of {demand.retries}: {what}", {"retries_used": used + 1, "waiting_since": None}
        )
    if demand.retries == 0:
        return Fail(f"{what} (the spec allows no retries)")
    return Fail(f"{what} (all {demand.retries} retries are used up)")


def _after_interruption(run: Run, what: str) -> Decision:
    count = run.get("interruptions", 0) + 1
    if count > MAX_INTERRUPTIONS:
        return Fail(
            f"interrupted {count} times; the last time, {what}. Set resources.spot to false in the spec, "
            "or train when spot capacity is easier to keep"
        )
    return TryAgain(
        f"going on after an interruption: {what}", {"interruptions": count, "waiting_since": None}
    )


def _wait_for_capacity(
    run: Run, demand: Demand, words: str, now: datetime.datetime, began: datetime.datetime
) -> TryAgain | Fail:
    since = run.get("waiting_since") or began.isoformat(timespec="milliseconds")
    wants = f"{_capacity_wanted(words, demand)} (ECS: {words})"
    if now - _time(since) > MAX_WAIT:
        hours = int(MAX_WAIT.total_seconds() // 3600)
        return Fail(f"after {hours} hours there was still no room: {wants}")
    return TryAgain(f"waiting for room since {_clock(_time(since))}: {wants}", {"waiting_since": since})


# --- words ---


def _capacity_wanted(words: str, demand: Demand) -> str:
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
        change = "set resources.spot to false" if demand.spot else "allow other instance types"
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
    return Fail(f"ECS cannot start the task: {words.rstrip('.')}. {fix}")


def waits_for(task: Task, demand: Demand) -> str:
    """What a STARTING run waits for, now that it has a task."""
    kind = f"{'GPU' if demand.gpus else 'CPU'}{' spot' if demand.spot else ''}"
    created = task.get("createdAt")
    since, at = (f" since {_clock(created)}", f" at {_clock(created)}") if created else ("", " just now")
    return {
        "PROVISIONING": f"waiting for an EC2 instance ({kind}){since}",
        "PENDING": f"an instance is fetching the image and starting the container (asked for{at})",
        "ACTIVATING": f"the container is starting (asked for{at})",
        "RUNNING": "the container has started; the trainer has not reported yet",
    }.get(task["lastStatus"], "")


def _trainers_words(run: Run) -> str:
    return f": {run['reason'].rstrip('.')}" if run["state"] == states.RUNNING and run.get("reason") else ""


def _log_of(task: Task) -> str:
    return f"Its log stream is {log_stream(TRAINER_CONTAINER, task['taskArn'])}"


def _clock(time: datetime.datetime) -> str:
    return time.astimezone(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")


def _time(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)
