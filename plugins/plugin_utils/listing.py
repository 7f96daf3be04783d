# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs: found, listed, and laid out as a table."""

from __future__ import annotations

import heapq
import itertools
import operator
from collections.abc import Iterable, Iterator

from ..module_utils.contract import causes, purposes, states, ulid
from ..module_utils.contract.errors import UserError
from ..module_utils.contract.runs import Run, Runs
from .wording import age, score, seconds_since, table

_SHORT = 10  # characters of a ULID that tell its millisecond: runs made by hand differ in them
_AT_A_TIME = 50  # runs of a state to read at a time: each has its spec, and most are never looked at
_CANDIDATES = 5  # runs named when the beginning of an id fits more than one
_run_id = operator.itemgetter("run_id")

# Causes that add nothing to what state and reason say.
_PLAIN = frozenset({causes.SUBMITTED, causes.STARTING, causes.CANCELLED})


def short(run_ids: Iterable[str]) -> dict[str, str]:
    """The beginnings by which these runs can be told apart, all of one length."""
    known = set(run_ids)
    length = _SHORT
    while len({run_id[:length] for run_id in known}) < len(known):
        length += 1
    return {run_id: run_id[:length] for run_id in known}


def told(run: Run) -> str:
    """Why a run waits, tries again or has ended: the reason, behind the cause where that adds anything."""
    cause = run.get("cause")
    said = (cause if cause not in _PLAIN else None, run.get("reason"))
    return ": ".join(part for part in said if part)


def newest(runs: Runs, only: Iterable[str] = states.STATES, prefix: str = "") -> Iterator[Run]:
    """The runs in these states, newest first, those whose id begins with ``prefix``."""
    by_state = (runs.in_state(state, prefix=prefix, page=_AT_A_TIME) for state in only)
    merged = heapq.merge(*by_state, key=_run_id, reverse=True)
    # A run that moves while the states are read may be found in both.
    return (next(same) for __, same in itertools.groupby(merged, key=_run_id))


def find(runs: Runs, wanted: str) -> Run:
    """The run that is meant.

    Parameters
    ----------
    wanted:
        A run's id, the beginning of one, or ``latest``.

    Raises UserError if there is none, or more than one.
    """
    wanted = wanted.strip()
    if not wanted:  # every id begins so: where there is one run, it would be that
        raise UserError(
            "no run is named", "run", "Give an id, its beginning, or latest: status.yml lists them."
        )
    if wanted.lower() == "latest":
        heads = (runs.in_state(state, newest=1) for state in states.STATES)
        latest = max(itertools.chain.from_iterable(heads), key=_run_id, default=None)
        if latest is None:
            raise UserError("there are no runs yet", fix="Submit one: train.yml -e spec=FILE.")
        return _fresh(runs, latest)
    wanted = wanted.upper()
    if ulid.is_ulid(wanted):
        found = [run] if (run := runs.get(wanted)) else []
    else:
        found = list(itertools.islice(newest(runs, prefix=wanted), _CANDIDATES + 1))
    if not found:
        raise UserError(f"there is no run {wanted}", fix="See status.yml for the runs there are.")
    if len(found) > 1:
        named = short(map(_run_id, found))
        fits = [f"{named[run['run_id']]} ({run['name']}, {run['state']})" for run in found[:_CANDIDATES]]
        more = ", and more" if len(found) > _CANDIDATES else ""
        raise UserError(
            f"more than one run begins with {wanted}: {', '.join(fits)}{more}", fix="Give more of the id."
        )
    return _fresh(runs, found[0])


def _fresh(runs: Runs, run: Run) -> Run:
    """The run as it is now: the index that it was found by may lag behind."""
    return runs.get(run["run_id"]) or run


def runs_table(runs: Iterable[Run]) -> list[str]:
    """Runs, a line each; their ids are shortened to what tells these runs apart."""
    runs = list(runs)
    named = short(map(_run_id, runs))
    with_cost = any(map(_cost, runs))  # on the local AWS nothing costs
    heads = ("RUN", "MODEL", "STATE", "AGE", "STEP", "F", *["USD"] * with_cost, "REASON")
    return table(heads, ((named[run["run_id"]], *_run_row(run, with_cost)) for run in runs))


def _run_row(run: Run, with_cost: bool) -> tuple[str, ...]:
    progress = run.get("progress") or {}
    step = f"{progress['step']}/{progress['max_steps']}" if "step" in progress else ""
    scores = run.get("scores") or run.get("result") or {}  # of a run that makes no model
    return (
        run.get("model") or purposes.subject(run),
        run["state"],
        age(seconds_since(run["created"])),
        step,
        score(scores.get("f", progress.get("f"))),
        *[_cost(run)] * with_cost,
        told(run),
    )


def _cost(run: Run) -> str:
    """What the run's attempts have cost so far, as far as that is known."""
    amount = (run.get("cost") or {}).get("usd")
    return "" if amount is None else f"{amount:.2f}"
