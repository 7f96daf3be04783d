"""Which calls fail, and how: drawn from one seed, at rates that AWS would be ashamed of."""

import random
import threading
from collections import Counter

from .proxy import Call, Fault

_ANY = {
    Fault.ERROR: 0.012,
    Fault.THROTTLE: 0.012,
    Fault.RESET: 0.012,
    Fault.LOST_ERROR: 0.015,
    Fault.LOST_RESET: 0.015,
}
RATES: dict[str, dict[Fault, float]] = {
    "trainer": _ANY | {Fault.CUT: 0.01},
    "dispatcher": _ANY | {Fault.LATE: 0.001, Fault.KILL_BEFORE: 0.004, Fault.KILL_AFTER: 0.006},
    "operator": _ANY | {Fault.UNHEARD: 0.3},
}
_ONLY_FOR = {Fault.CUT: ("s3", "GET"), Fault.UNHEARD: ("events", "PutEvents")}


class Faults:
    """Draws what befalls the calls of one caller, and counts it.

    Parameters
    ----------
    caller:
        Whose rates.
    seed:
        Of the draws. Which call gets which draw is up to the order in which processes run.
    """

    def __init__(self, caller: str, seed: int) -> None:
        self._rates, self._rng = RATES[caller], random.Random(f"{seed}/{caller}")
        self._luck = 1 - sum(self._rates.values())
        self._lock = threading.Lock()
        self.on = False
        self.calls: Counter[str] = Counter()  # by service
        self.counts: Counter[Fault] = Counter()

    def draw(self, call: Call) -> Fault | None:
        """What befalls a call."""
        with self._lock:
            self.calls[call.service] += 1
            (fault,) = self._rng.choices([*self._rates, None], [*self._rates.values(), self._luck])
            if not self.on or fault is None or not _applies(fault, call):
                return None
            self.counts[fault] += 1
            return fault


def _applies(fault: Fault, call: Call) -> bool:
    return fault not in _ONLY_FOR or (call.service, call.operation) == _ONLY_FOR[fault]
