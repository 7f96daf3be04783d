"""Whether a run that holds a slot still shows life."""

from __future__ import annotations

import datetime

from . import states
from .runs import Run

SILENCE = datetime.timedelta(minutes=30)  # without a sign of life for longer, an active run is stuck

# The fields that tell it, the one that says most first.
_SIGNS = {
    states.STARTING: ("waiting_since", "attempt_started", "started"),
    states.RUNNING: ("reported", "running"),
}


def last_sign(run: Run) -> datetime.datetime | None:
    """When an active run last showed that it goes on; None if it is not active, or nothing says."""
    found = (run[sign] for sign in _SIGNS.get(run["state"], ()) if run.get(sign))
    sign = next(found, None)
    return datetime.datetime.fromisoformat(sign) if sign else None


def is_stuck(run: Run, now: datetime.datetime) -> bool:
    """Whether an active run has given no sign of life for `SILENCE`."""
    since = last_sign(run)
    return since is not None and now - since > SILENCE
