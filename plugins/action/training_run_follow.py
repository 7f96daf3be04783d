# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Follow a training run to its end."""

from __future__ import annotations

from typing import Any

from ..module_utils.contract.runs import Runs
from ..modules.training_run_follow import DOCUMENTATION
from ..plugin_utils import completion, listing, reproduction
from ..plugin_utils.action import ControlAction
from ..plugin_utils.session import Aws


class ActionModule(ControlAction):
    """Says what happens to a run until it ends; fails if the run does, or a reproduction differs."""

    documentation = DOCUMENTATION

    def act(self, aws: Aws, params: dict[str, Any]) -> dict[str, Any]:
        """Find the run and follow it."""
        published = aws.parameters(params["prefix"], "training", completion.PARAMETERS)
        run_id = listing.find(Runs(aws.table(published["runs_table"])), params["run"])["run_id"]
        try:
            run = completion.completed(aws, published, run_id, self.say, params["interval"])
        except completion.RunFailed as error:
            return {"changed": False, "run": error.run, "failed": True, "msg": str(error)}
        if difference := reproduction.difference(run):
            return {"changed": False, "run": run, "failed": True, "msg": difference}
        return {"changed": False, "run": run}
