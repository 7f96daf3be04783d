"""A stop from outside: SIGTERM from ECS (spot, a deadline, a cancelled run) or an operator's Ctrl-C."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(BaseException):
    """Raised in the main thread by a signal; no ``except Exception`` on the way holds it up."""


class Interruption:
    """Turns SIGTERM and SIGINT into `Interrupted`, wherever the main thread is, unless they are held.

    Python drops an exception that is raised inside a finalizer; so ``seen`` remembers the signal, and work
    that takes long calls `check` now and then.
    """

    def __init__(self) -> None:
        self.seen: str | None = None
        self._held = False

    def listen(self) -> None:
        """Install the handlers; only the main thread may."""
        signal.signal(signal.SIGTERM, self._handle)
        signal.signal(signal.SIGINT, self._handle)

    def check(self) -> None:
        """Raise if a signal has come."""
        if self.seen:
            raise Interrupted(self.seen)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Within, a signal is only remembered, however often it comes: the work looks at ``seen``."""
        self._held = True
        try:
            self.check()  # one that came before
            yield
        finally:
            self._held = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.seen = signal.Signals(number).name
        if not self._held:
            self.check()
