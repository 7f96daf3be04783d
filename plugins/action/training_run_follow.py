# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Follow a training run to its end."""

from __future__ import annotations

from typing import Any

from ..module_utils.contract import names, states
from ..module_utils.contract.runs import Run, Runs
from ..modules.training_run_follow import DOCUMENTATION
from ..plugin_utils import listing, logs, run_report
from ..plugin_utils.action import ControlAction
from ..plugin_utils.follow import watch
from ..plugin_utils.session import Aws


class ActionModule(ControlAction):
    """Says what happens to a run until it ends; fails if the run does."""

    documentation = DOCUMENTATION

    def act(self, aws: Aws, params: dict[str, Any]) -> dict[str, Any]:
        """Find the run and follow it."""
        published = aws.parameters(params["prefix"], "training", ["runs_table", "trainer_log_group"])
        runs = Runs(aws.table(published["runs_table"]))
        run_id = listing.find(runs, params["run"])["run_id"]
        self.say(f"following run {run_id}")
        run = watch(lambda: runs.get(run_id), self.say, params["interval"])
        result = {"changed": False, "run": run}
        if run["state"] != states.SUCCEEDED:
            group = published["trainer_log_group"]
            self._show_log(aws, group, run)
            why = (listing.told(run) or "no reason is recorded").rstrip(".")
            msg = f"run {run_id} {run['state']}: {why}. Its log is in the log group {group}."
            result |= {"failed": True, "msg": " ".join([msg, *run_report.next_steps(run)])}
        return result

    def _show_log(self, aws: Aws, group: str, run: Run) -> None:
        if not run.get("task_arn"):
            return
        stream = names.log_stream(names.TRAINER_CONTAINER, run["task_arn"])
        if lines := logs.tail(aws.client("logs"), group, stream):
            self.say(f"the last lines of {stream} in {group}:")
            for line in lines:
                self.say(line)
