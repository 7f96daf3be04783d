"""What the run's record shows of the attempt while it is under way."""

import time
from collections.abc import Callable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from nerforge_contract import states
from nerforge_contract.runs import Runs, now

SECONDS_BETWEEN_WRITES = 2.0

FETCHING = "fetching"
TRAINING = "training"
EVALUATING = "evaluating"
COMPARING = "comparing"
UPLOADING = "uploading"


class Superseded(Exception):
    """The run is no longer this attempt's: it was cancelled, or another attempt has it."""


class Progress:
    """Writes ``progress`` on the run's record, steps at most every two seconds, and ``checkpoint``.

    Each write is a sign of life, and says in ``reported`` when it was given.

    A write that AWS fails to take is passed over: the next one says more, and training goes on meanwhile.

    Parameters
    ----------
    runs:
        The runs table.
    run_id, attempt:
        Whose progress it is.
    clock:
        Seconds, monotonic.
    """

    def __init__(
        self, runs: Runs, run_id: str, attempt: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._runs, self._run_id, self._attempt, self._clock = runs, run_id, attempt, clock
        self._began = self._written = clock()
        self._fields: dict[str, Any] = {}

    def phase(self, name: str) -> None:
        """Say at once what the attempt is doing now. Raises `Superseded`."""
        self._fields["phase"] = name
        self._write()

    def step(self, **fields: Any) -> None:
        """Say how far training is; what is not given again stays as it was. Raises `Superseded`."""
        self._fields.update(fields)
        if self._clock() - self._written >= SECONDS_BETWEEN_WRITES:
            self._write()

    def checkpoint(self, about: dict[str, Any]) -> None:
        """Say at once what the run can go on from. Raises `Superseded`."""
        self._annotate(checkpoint=about)

    def _write(self) -> None:
        self._written = self._clock()
        self._annotate(progress=self._fields | {"seconds": round(self._written - self._began, 1)})

    def _annotate(self, **fields: Any) -> None:
        try:
            ours = self._runs.annotate(self._run_id, states.RUNNING, self._attempt, reported=now(), **fields)
        except (BotoCoreError, ClientError) as error:
            print(f"{' and '.join(fields)} not recorded: {error}", flush=True)
            return
        if not ours:
            raise Superseded
