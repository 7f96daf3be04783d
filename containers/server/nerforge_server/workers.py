"""The processes that answer, and the one that watches over them.

Each worker has a row in memory that all share: when its loop last turned, and how many connections it holds.
The supervisor forks them, replaces one that dies, and kills one whose loop has stopped turning.
"""

import logging
import math
import mmap
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from .processes import end_with_parent, fork

STUCK_SECONDS = 60.0  # far more than any turn takes, also for a pipeline that cannot leave a long text
EARLY_SECONDS = 2.0  # a worker that dies this soon will do so again: the next is forked later and later
BACKOFF_SECONDS = (0.5, 1, 2, 4, 8)  # the last one is repeated
MORE = 1  # connection; so small a difference is not worth a delay
LATE_SECONDS = 3.0  # who has not turned for so long, idle or not, takes no connections either

log = logging.getLogger(__name__)


class Board:
    """A row for each worker, in memory shared with all processes forked from here."""

    def __init__(self, workers: int) -> None:
        self.turned = memoryview(mmap.mmap(-1, 8 * workers)).cast("d")  # seconds of time.monotonic()
        self.held = memoryview(mmap.mmap(-1, 8 * workers)).cast(
            "d"
        )  # connections; infinite: nobody sits here
        for slot in range(workers):
            self.held[slot] = math.inf


@dataclass(frozen=True)
class Seat:
    """A worker's row."""

    board: Board
    slot: int

    def beat(self, connections: int) -> None:
        """The worker's loop has turned, and it holds so many connections."""
        self.board.turned[self.slot] = time.monotonic()
        self.board.held[self.slot] = connections

    def ahead(self, connections: int) -> bool:
        """Whether a worker with so many connections holds more than another, who would take the next."""
        board, since = self.board, time.monotonic() - LATE_SECONDS
        rows = zip(board.held, board.turned, strict=True)
        least = min((held for held, turned in rows if turned > since), default=math.inf)
        return connections - least > MORE


class _Place:
    """What the supervisor knows of one worker."""

    def __init__(self, seat: Seat) -> None:
        self.seat = seat
        self.pid: int | None = None
        self.started = 0.0
        self.due = 0.0  # when to fork the next one
        self.early_deaths = 0


class Workers:
    """Keeps some workers running.

    Parameters
    ----------
    count:
        How many.
    work:
        What a worker runs, given its seat, in a process of its own; returns its exit code.
    replaced:
        Is called whenever a worker that died is replaced.
    """

    def __init__(
        self, count: int, work: Callable[[Seat], int], replaced: Callable[[], None] = lambda: None
    ) -> None:
        self._work = work
        self._replaced = replaced
        self._stopping = False
        self._parent = os.getpid()
        board = Board(count)
        self._places = [_Place(Seat(board, slot)) for slot in range(count)]
        self.failed = False  # whether one has ended otherwise than it should since `stop`

    @property
    def running(self) -> int:
        """How many there are at the moment."""
        return sum(place.pid is not None for place in self._places)

    def tend(self) -> None:
        """Replace the dead and kill the stuck. To be called whenever a child has ended, and now and then."""
        now = time.monotonic()
        for place in self._places:
            if place.pid is not None:
                self._reap(place, place.pid, now)
            if place.pid is not None:
                self._watch(place, place.pid, now)
            elif not self._stopping and now >= place.due:
                self._fork(place, now)

    def stop(self) -> None:
        """Tell all to answer what they have and end; from here on none is replaced."""
        self._stopping = True
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End what still runs, and count it as failed."""
        self._signal(signal.SIGKILL)
        for place in self._places:
            if place.pid is not None:
                os.waitpid(place.pid, 0)
                place.pid = None
                self.failed = True

    def _signal(self, number: int) -> None:
        for place in self._places:
            if place.pid is not None:
                os.kill(place.pid, number)

    def _fork(self, place: _Place, now: float) -> None:
        def worker() -> int:
            end_with_parent(self._parent)
            return self._work(place.seat)

        again = place.started > 0
        place.started = now
        place.seat.beat(0)
        place.pid = fork(worker)
        if again:
            log.info("Worker %d was replaced", place.seat.slot)
            self._replaced()

    def _reap(self, place: _Place, pid: int, now: float) -> None:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if not ended:
            return
        place.pid = None
        place.seat.board.held[place.seat.slot] = math.inf
        code = os.waitstatus_to_exitcode(status)
        if self._stopping:
            self.failed |= code != 0
            return
        early = now - place.started < EARLY_SECONDS
        place.early_deaths = place.early_deaths + 1 if early else 0
        wait = BACKOFF_SECONDS[min(place.early_deaths, len(BACKOFF_SECONDS)) - 1] if early else 0
        place.due = now + wait
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        log.error("Worker %d died (%s); a new one is started in %g s", place.seat.slot, how, wait)

    def _watch(self, place: _Place, pid: int, now: float) -> None:
        stuck = now - place.seat.board.turned[place.seat.slot]
        if stuck > STUCK_SECONDS:
            log.error("Worker %d has not turned for %.0f s and is killed", place.seat.slot, stuck)
            os.kill(pid, signal.SIGKILL)
