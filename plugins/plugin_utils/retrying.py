# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that has ended without a model is begun anew: a new run, of the same spec but for what may change."""

from __future__ import annotations

import difflib
from typing import Any

from ..module_utils.contract import causes, states
from ..module_utils.contract import spec as specs
from ..module_utils.contract.errors import UserError
from ..module_utils.contract.runs import Run, Runs

# What a retry may change: none of it has a part in the model that comes out.
CHANGEABLE = ("checkpoints", "resources", "retries", "time_limit_minutes")

# What the record of a retry has of the run's: what it is for, and where its spec and data come from.
_KEPT = ("purpose", "commit", "warnings")

# Causes that come again unless this field changes; None: no change that a retry can make helps.
_COMES_AGAIN = {causes.OUT_OF_MEMORY: "resources", causes.WRONG_INPUT: None}


def changed(spec: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A run's stored spec with changes, checked whole again.

    Parameters
    ----------
    spec:
        The spec as the record has it.
    changes:
        Fields of `CHANGEABLE`; a mapping changes only the fields that it names.

    Raises UserError naming the field that may not be changed, or that is wrong.
    """
    for field in changes:
        if field not in CHANGEABLE:
            raise _unchangeable(field)
    merged = spec | {field: _merged(spec.get(field), value) for field, value in changes.items()}
    specs.validate(merged, submitted=True)
    return specs.with_defaults(merged)


def check_ended(run: Run) -> None:
    """Raise UserError unless the run has ended without a model."""
    where = f"run {run['run_id']}"
    if run["state"] == states.SUCCEEDED:
        fix = "To train once more, submit the spec: train.yml -e spec=FILE."
        if purpose := run.get("purpose"):
            fix = f"To train once more and compare: reproduce.yml -e model={purpose['model']}."
        made = f" as {run['model']}" if run.get("model") else ""
        raise UserError(f"it has SUCCEEDED{made}, so there is nothing to retry", where, fix)
    if run["state"] not in states.TERMINAL:
        fix = f"Wait for its end, or cancel it first: cancel.yml -e run={run['run_id']}."
        raise UserError(f"it has not ended: it is {run['state']}", where, fix)


def kept(run: Run) -> dict[str, Any]:
    """The fields, beside the spec, that a retry of the run has too."""
    return {field: run[field] for field in _KEPT if run.get(field)}


def under_way(runs: Runs, old: Run) -> Run | None:
    """The run that retries this one and has not ended, if there is one."""
    other = runs.get(old["retried_as"]) if "retried_as" in old else None
    return other if other and other["state"] not in states.TERMINAL else None


def doubts(run: Run, changes: dict[str, Any]) -> str | None:
    """Why a retry will most likely end as the run did, if so."""
    cause = run.get("cause")
    if run.get("purpose") and cause == causes.WRONG_INPUT:
        return None  # its spec made a version: what was wrong lies in S3, and may be mended by now
    if cause not in _COMES_AGAIN or _COMES_AGAIN[cause] in changes:
        return None
    known = causes.CAUSES[cause]
    return f"the run failed because {known.meaning}, and will again with the same spec: {known.fix}"


def _merged(old: Any, new: Any) -> Any:
    return old | new if isinstance(old, dict) and isinstance(new, dict) else new


def _unchangeable(field: str) -> UserError:
    may = f"A retry may change {', '.join(CHANGEABLE)}"
    if field in specs.schema()["properties"]:
        return UserError(
            "would make another model", f"changes.{field}", f"{may}. For the rest edit the spec: train.yml."
        )
    close = difflib.get_close_matches(field, CHANGEABLE, 1)
    return UserError("unknown field", f"changes.{field}", f"Did you mean {close[0]}?" if close else f"{may}.")
