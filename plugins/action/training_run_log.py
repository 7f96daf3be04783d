# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show what a training run writes."""

from __future__ import annotations

from typing import Any, cast

from ..module_utils.contract.errors import UserError
from ..module_utils.contract.runs import Run, Runs
from ..modules.training_run_log import DOCUMENTATION
from ..plugin_utils import listing, logs
from ..plugin_utils.action import ControlAction
from ..plugin_utils.session import Aws


class ActionModule(ControlAction):
    """Prints the last lines of a run's log, and those that come."""

    documentation = DOCUMENTATION

    def act(self, aws: Aws, params: dict[str, Any]) -> dict[str, Any]:
        """Find the attempt's log and show it; then follow the run if that is asked for."""
        if not 1 <= params["lines"] <= logs.MOST:
            fix = f"Give a number from 1 to {logs.MOST:,}."
            raise UserError(f"{params['lines']} asked for", "lines", fix)
        published = aws.parameters(params["prefix"], "training", ["runs_table", "trainer_log_group"])
        runs = Runs(aws.table(published["runs_table"]))
        run = listing.find(runs, params["run"])
        run_id = run["run_id"]
        group = published["trainer_log_group"]
        streams: dict[logs.Attempt, logs.Stream] = {}

        def open_stream(attempt: logs.Attempt) -> logs.Stream:
            if attempt not in streams:
                streams[attempt] = logs.Stream(aws.client("logs"), group, attempt.stream)
            return streams[attempt]

        attempt = logs.chosen(run, params["attempt"])
        lines = open_stream(attempt).last(params["lines"]) if attempt else []
        if attempt and lines:
            self.say(f"run {run_id} of {run['name']}, attempt {attempt.number}, {attempt.stream} in {group}:")
        else:
            self.say(f"run {run_id} of {run['name']}: {logs.no_lines(run, attempt)}")
        for line in lines:
            self.say(line)
        if params["follow"]:
            run = logs.follow(lambda: cast(Run, runs.get(run_id)), open_stream, attempt, self.say)
            self.say(f"run {run_id} has {run['state']}: {listing.told(run) or run.get('model')}")
        return {
            "changed": False,
            "run_id": run_id,
            "attempt": attempt and attempt.number,
            "log_group": group,
            "log_stream": attempt and attempt.stream,
            "lines": lines,
        }
