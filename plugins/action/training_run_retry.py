# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Begin a training run anew."""

from __future__ import annotations

import json
from typing import Any

from ..module_utils.contract import purposes
from ..module_utils.contract.errors import UserError
from ..module_utils.contract.runs import Run, Runs
from ..modules.training_run_retry import DOCUMENTATION
from ..plugin_utils import listing, queueing, retrying
from ..plugin_utils.action import ControlAction
from ..plugin_utils.session import Aws
from ..plugin_utils.submission import check_capacity


class ActionModule(ControlAction):
    """Submits the spec of a run that has ended without a model, as a new run."""

    documentation = DOCUMENTATION

    def act(self, aws: Aws, params: dict[str, Any]) -> dict[str, Any]:
        """Check everything; then, unless in check mode, queue the new run."""
        wanted = ("capacity_providers", *queueing.PARAMETERS)
        published = aws.parameters(params["prefix"], "training", wanted)
        runs = Runs(aws.table(published["runs_table"]))
        old = listing.find(runs, params["run"])
        run_id = old["run_id"]
        retrying.check_ended(old)
        spec = retrying.changed(old["spec"], params["changes"])
        check_capacity(spec["resources"], json.loads(published["capacity_providers"]))
        if other := retrying.under_way(runs, old):
            return self._leave_alone(old, other, params["changes"])
        if doubt := retrying.doubts(old, params["changes"]):
            self.warn(doubt)
        result = {"changed": True, "run_id": None, "retry_of": run_id, "spec": spec}
        self.say(f"run {run_id} ({purposes.subject(old)}): {old['state']}, {listing.told(old)}")
        self.say(f"it begins anew{_with(params['changes'])}, {_from(old)}")
        if self._task.check_mode:
            return result
        new, asleep = queueing.enqueue(
            aws, params["prefix"], published, spec, retry_of=old, **retrying.kept(old)
        )
        if asleep:
            self.warn(queueing.unwoken(asleep))
        self.say(f"submitted as run {new}")
        return result | {"run_id": new}

    def _leave_alone(self, old: Run, other: Run, changes: dict[str, Any]) -> dict[str, Any]:
        told = f"run {other['run_id']} retries it already, and is {other['state']}"
        if changes:
            fix = f"Cancel that one first: cancel.yml -e run={other['run_id']}."
            raise UserError(told, f"run {old['run_id']}", fix)
        self.say(told)
        return {
            "changed": False,
            "run_id": other["run_id"],
            "retry_of": old["run_id"],
            "spec": other["spec"],
        }


def _with(changes: dict[str, Any]) -> str:
    return f" with {json.dumps(changes)}" if changes else ""


def _from(old: Run) -> str:
    # The trainer may have saved one more after the record was no longer its own.
    saved = old.get("checkpoint")
    which = f"at step {saved['step']} or later" if saved else "if it saved one"
    return f"from its last checkpoint, {which}"
