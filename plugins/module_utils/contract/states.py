"""The states of a run, the moves between them, and the exit codes of an attempt.

This module owns them: `runs.Runs` writes no other move, and each write is conditional on the state before.
"""

from typing import NamedTuple

QUEUED = "QUEUED"
STARTING = "STARTING"
RUNNING = "RUNNING"
SUCCEEDED = "SUCCEEDED"
FAILED = "FAILED"
CANCELLED = "CANCELLED"

MEANINGS = {
    QUEUED: "recorded, with its message on the queue; waits for a free slot",
    STARTING: "holds a slot; a task was asked for, or is about to be",
    RUNNING: "its trainer has said so itself",
    SUCCEEDED: "its model version is registered, or what else it was for is done",
    FAILED: "given up; the reason says why",
    CANCELLED: "ended by an operator",
}
STATES = tuple(MEANINGS)
ACTIVE = frozenset({STARTING, RUNNING})
TERMINAL = frozenset({SUCCEEDED, FAILED, CANCELLED})


class Transition(NamedTuple):
    """A move that a run may make.

    Attributes
    ----------
    source, to:
        The states.
    by:
        Who makes it.
    when:
        On what occasion.
    """

    source: str
    to: str
    by: str
    when: str


DISPATCHER, TRAINER, OPERATOR = "dispatcher", "trainer", "operator"
CONTROL = "train.yml, retry.yml"

TRANSITIONS = (
    Transition(QUEUED, STARTING, DISPATCHER, "a slot is free: claimed in the same transaction"),
    Transition(QUEUED, FAILED, DISPATCHER, "its spec cannot be used"),
    Transition(QUEUED, FAILED, CONTROL, "it could not be put on the queue"),
    Transition(QUEUED, CANCELLED, OPERATOR, "cancel.yml"),
    Transition(STARTING, STARTING, DISPATCHER, "the attempt is over before it began: the next one"),
    Transition(STARTING, RUNNING, TRAINER, "it begins"),
    Transition(STARTING, FAILED, DISPATCHER, "no attempt is left, or none can help"),
    Transition(STARTING, CANCELLED, OPERATOR, "cancel.yml"),
    Transition(RUNNING, STARTING, DISPATCHER, "the attempt is over without an end: the next one"),
    Transition(RUNNING, SUCCEEDED, TRAINER, "the model is registered, or what else it is for is done"),
    Transition(RUNNING, FAILED, TRAINER, "the spec or its data is wrong"),
    Transition(RUNNING, FAILED, DISPATCHER, "no attempt is left, or none can help"),
    Transition(RUNNING, CANCELLED, OPERATOR, "cancel.yml"),
)
MOVES: dict[str, frozenset[str]] = {
    state: frozenset(move.to for move in TRANSITIONS if move.source == state) for state in STATES
}

# What the trainer's process says with its exit code.
EXIT_DONE = 0
EXIT_ERROR = 1  # Python's own too: no meaning but that a retry may mend it
EXIT_WRONG_INPUT = 64
EXIT_INTERRUPTED = 75
EXIT_SUPERSEDED = 70


class ExitCode(NamedTuple):
    """What an exit code says.

    Attributes
    ----------
    meaning:
        Why the trainer has ended.
    then:
        What becomes of the run.
    """

    meaning: str
    then: str


EXIT_CODES: dict[int, ExitCode] = {
    EXIT_DONE: ExitCode("done", "it has SUCCEEDED"),
    EXIT_WRONG_INPUT: ExitCode("the spec or its data is wrong", "it has FAILED: no retry can help"),
    EXIT_SUPERSEDED: ExitCode("the run is no longer this attempt's to move", "whoever moved it sees to it"),
    EXIT_INTERRUPTED: ExitCode(
        "stopped from outside, as by a spot instance's end",
        "goes on from its last checkpoint in a new attempt, which uses up no retry",
    ),
}
OTHER_EXIT_CODE = ExitCode(
    "failed",
    "goes on from its last checkpoint in a new attempt while retries are left; out of memory: fails at once",
)
