# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cancel a training run."""

from __future__ import annotations

from typing import Any

from ..module_utils.contract import names
from ..module_utils.contract.runs import Run, Runs
from ..modules.training_run_cancel import DOCUMENTATION
from ..plugin_utils import cancellation, listing
from ..plugin_utils.action import ControlAction
from ..plugin_utils.queueing import unwoken, wake
from ..plugin_utils.session import Aws


class ActionModule(ControlAction):
    """Ends a run for good, and waits until its task is gone."""

    documentation = DOCUMENTATION

    def act(self, aws: Aws, params: dict[str, Any]) -> dict[str, Any]:
        """Cancel the run; then see its task off."""
        published = aws.parameters(params["prefix"], "training", ["runs_table"])
        runs = Runs(aws.table(published["runs_table"]))
        run_id = listing.find(runs, params["run"])["run_id"]
        reason = ": ".join(filter(None, (f"cancelled by {aws.caller()}", params["reason"])))
        dry = self._task.check_mode
        run, changed = cancellation.cancel(runs, run_id, reason, dry)
        self._tell(run, changed, dry)
        result = {"changed": changed, "run": run}
        return result if dry else result | self._see_off(aws, params, runs, run, changed)

    def _tell(self, run: Run, changed: bool, dry: bool) -> None:
        if not changed:
            told = f" is CANCELLED already: {run.get('reason')}"
        else:
            told = f" is {run['state']}: it would be cancelled" if dry else f": {run['reason']}"
        self.say(f"run {run['run_id']} of {run['name']}{told}")

    def _see_off(
        self, aws: Aws, params: dict[str, Any], runs: Runs, run: Run, changed: bool
    ) -> dict[str, Any]:
        """Wake the dispatcher, which stops the task, and wait until the slot is free if that is asked for."""
        run_id = run["run_id"]

        def wake_dispatcher() -> str | None:
            return wake(aws, params["prefix"], run_id, names.EVENT_RUN_CANCELLED)

        if changed and (asleep := wake_dispatcher()):
            self.warn(unwoken(asleep, "sees to it"))
        if run_id not in runs.active():
            self.say("it has no task: nothing is left to stop")
            return {}
        self.say("its task is being stopped, which takes two minutes at most")
        if not params["follow"]:
            return {}
        if not cancellation.wait_until_gone(runs, run_id, wake_dispatcher, self.say, params["timeout"]):
            told = f"run {run_id} is CANCELLED, but its task has not ended in {params['timeout']} s"
            return {"failed": True, "msg": f"{told}. See what doctor.yml finds, then cancel it again."}
        self.say("its task is gone, and its slot is free")
        return {}
