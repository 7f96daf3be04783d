# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run is cancelled: the record first, and its task by whoever reads the record."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ..module_utils.contract import causes, states
from ..module_utils.contract.errors import UserError
from ..module_utils.contract.runs import Run, Runs, now
from .listing import told
from .wording import Say
from .wording import clock as shown

_CANCELLABLE = frozenset(states.MOVES) - states.TERMINAL
_LOOK_EVERY = 1.0  # seconds between two looks at the slots
_SAY_EVERY = 10.0  # seconds between two lines while the task goes; the dispatcher is woken as often


def cancel(runs: Runs, run_id: str, reason: str, dry: bool = False) -> tuple[Run, bool]:
    """Move a run to CANCELLED, wherever it stands by now.

    Parameters
    ----------
    reason:
        Who cancels it, and why.
    dry:
        Whether to leave the record alone.

    Returns the run as it then is, and whether this changed it: not if it was CANCELLED already.
    Raises UserError if it has SUCCEEDED or FAILED, be it a moment before.
    """
    run, raced = _read(runs, run_id), False
    if run["state"] in _CANCELLABLE:
        ended: dict[str, Any] = {"cause": causes.CANCELLED, "reason": reason, "ended": now()}
        if dry:
            return run, True
        if runs.move(run_id, _CANCELLABLE, states.CANCELLED, **ended):
            return run | ended | {"state": states.CANCELLED}, True
        run, raced = _read(runs, run_id), True
    if run["state"] == states.CANCELLED:
        return run, False
    raise _ended(run, raced)


def wait_until_gone(
    runs: Runs,
    run_id: str,
    wake: Callable[[], object],
    say: Say,
    timeout: float,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """Wait until the run holds no slot: its task, if it had one, is gone then.

    Parameters
    ----------
    wake:
        Wakes the dispatcher, which else would look again within a minute.
    say:
        Takes a line every ten seconds.
    timeout:
        Seconds to wait at most.

    Returns whether the slot is free.
    """
    began = said = clock()
    while run_id in runs.active():
        waited = clock() - began
        if waited > timeout:
            return False
        if clock() - said >= _SAY_EVERY:
            say(f"{shown(waited):>7}  its task has not ended yet")
            said = clock()
            wake()
        sleep(_LOOK_EVERY)
    return True


def _read(runs: Runs, run_id: str) -> Run:
    run = runs.get(run_id)
    if run is None:
        raise UserError(f"run {run_id} is gone from the table", fix="See status.yml for the runs there are.")
    return run


def _ended(run: Run, raced: bool) -> UserError:
    when = "ended just before it could be cancelled" if raced else "has ended already"
    how = f"{run['state']} as {run['model']}" if run.get("model") else f"{run['state']}, {told(run)}"
    fix = "There is nothing to cancel."
    if run.get("model"):
        fix = "There is nothing to cancel; its model is served only if promote.yml is told to."
    return UserError(f"it {when}: {how}", f"run {run['run_id']}", fix)
