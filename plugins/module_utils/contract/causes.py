"""Why a run waits, tries again or has ended: one word for programs beside the reason in words for people.

What kind of thing happened is the cause; the reason on the record gives the particulars.
"""

from typing import NamedTuple


class Cause(NamedTuple):
    """One cause.

    Attributes
    ----------
    meaning:
        What has happened.
    then:
        What becomes of the run by itself.
    fix:
        What a person can do about it; empty if nothing need be done.
    """

    meaning: str
    then: str
    fix: str


SUBMITTED = "SUBMITTED"
NOT_QUEUED = "NOT_QUEUED"
NO_SLOT = "NO_SLOT"
STARTING = "STARTING"
NO_CAPACITY = "NO_CAPACITY"
NO_SPOT = "NO_SPOT"
UNREACHABLE = "UNREACHABLE"
INTERRUPTED = "INTERRUPTED"
IMAGE = "IMAGE"
KILLED = "KILLED"
ERROR = "ERROR"
VANISHED = "VANISHED"
OUT_OF_MEMORY = "OUT_OF_MEMORY"
TIME_LIMIT = "TIME_LIMIT"
CONFIGURATION = "CONFIGURATION"
WRONG_INPUT = "WRONG_INPUT"
CANCELLED = "CANCELLED"

_RETRY = "tries again while retries are left, then fails"
_AT_ONCE = "fails at once"

CAUSES: dict[str, Cause] = {
    SUBMITTED: Cause("waits for the dispatcher", "starts within a minute", "doctor.yml, if it lasts"),
    NOT_QUEUED: Cause("its message could not be put on the queue", _AT_ONCE, "doctor.yml; then retry.yml"),
    NO_SLOT: Cause(
        "max_concurrent_runs runs hold a task",
        "starts when one of them ends",
        "raise max_concurrent_runs, or cancel a run",
    ),
    STARTING: Cause("its task is on the way: an instance, the image, the container", "goes on", ""),
    NO_CAPACITY: Cause(
        "no instance has room for the task; the reason says for what, and since when",
        "asks again each minute or two, for 24 hours at most",
        "lower resources in the spec, or allow more or larger instances",
    ),
    NO_SPOT: Cause(
        "no spot capacity for resources.on_demand_after_minutes",
        "goes on with on-demand instances",
        "",
    ),
    UNREACHABLE: Cause(
        "ECS could not be asked for a task", "asks again each minute", "doctor.yml, if it lasts"
    ),
    INTERRUPTED: Cause(
        "the task was stopped from outside, as by a spot instance's end",
        "goes on from its last checkpoint; uses up no retry, 20 times at most",
        "set resources.spot to false, if it happens too often",
    ),
    IMAGE: Cause("the trainer's image cannot be pulled", _RETRY, "deploy.yml, which builds and pushes it"),
    KILLED: Cause("the trainer was killed from outside its container", _RETRY, "see the instance's own log"),
    ERROR: Cause(
        "the trainer failed with another exit code, or ECS said no in words that nobody here knows",
        _RETRY,
        "logs.yml -e run=ID, then retry.yml",
    ),
    VANISHED: Cause("ECS no longer knows the task", _RETRY, "see whether the cluster was changed by hand"),
    OUT_OF_MEMORY: Cause(
        "the trainer needed more memory than it was given",
        _AT_ONCE,
        "raise resources.memory_mib in retry.yml",
    ),
    TIME_LIMIT: Cause(
        "an attempt ran longer than time_limit_minutes",
        "is stopped, keeps its last checkpoint, and fails",
        "raise time_limit_minutes in retry.yml, which goes on from there",
    ),
    CONFIGURATION: Cause(
        "ECS refuses the task as it is asked for", _AT_ONCE, "what the reason says; then retry.yml"
    ),
    WRONG_INPUT: Cause(
        "the spec or its data is wrong", _AT_ONCE, "mend it as the reason says; then train.yml"
    ),
    CANCELLED: Cause("cancel.yml", "has ended", "retry.yml begins it anew, from its last checkpoint"),
}
