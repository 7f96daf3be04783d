"""The states of a run, the moves between them, and the exit codes of an attempt."""

QUEUED = "QUEUED"  # recorded, and its message sent
STARTING = "STARTING"  # holds a slot; an ECS task was asked for or is about to be
RUNNING = "RUNNING"  # the trainer has said so itself
SUCCEEDED = "SUCCEEDED"
FAILED = "FAILED"
CANCELLED = "CANCELLED"

ACTIVE = frozenset({STARTING, RUNNING})
TERMINAL = frozenset({SUCCEEDED, FAILED, CANCELLED})

# A move from an active state to STARTING is the next attempt of the same run.
MOVES: dict[str, frozenset[str]] = {
    QUEUED: frozenset({STARTING, FAILED, CANCELLED}),
    STARTING: frozenset({STARTING, RUNNING, FAILED, CANCELLED}),
    RUNNING: frozenset({STARTING, SUCCEEDED, FAILED, CANCELLED}),
    SUCCEEDED: frozenset(),
    FAILED: frozenset(),
    CANCELLED: frozenset(),
}
STATES = tuple(MOVES)

# What the trainer's process says with its exit code.
# Every other code means: failed, retry while retries are left.
EXIT_DONE = 0
EXIT_WRONG_INPUT = 64  # the spec or its data is wrong: never retry
EXIT_INTERRUPTED = 75  # stopped from outside: go on in a new attempt, which uses up no retry
EXIT_SUPERSEDED = 70  # the run is no longer this attempt's to move
