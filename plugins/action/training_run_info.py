# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List training runs."""

from __future__ import annotations

import itertools
from typing import Any

from ..module_utils.contract import states
from ..module_utils.contract.runs import Runs
from ..modules.training_run_info import DOCUMENTATION
from ..plugin_utils import listing, run_report
from ..plugin_utils.action import ControlAction
from ..plugin_utils.session import Aws


class ActionModule(ControlAction):
    """Lists runs, newest first."""

    documentation = DOCUMENTATION

    def act(self, aws: Aws, params: dict[str, Any]) -> dict[str, Any]:
        """Read the runs; print them if asked to."""
        published = aws.parameters(params["prefix"], "training", ["runs_table"])
        runs = Runs(aws.table(published["runs_table"]))
        if params["run"]:
            found = [listing.find(runs, params["run"])]
        else:
            only = [params["state"]] if params["state"] else states.STATES
            found = list(itertools.islice(listing.newest(runs, only), params["limit"]))
        if params["display"]:
            in_full = run_report.lines(found[0]) if params["run"] else None
            for line in in_full or (listing.runs_table(found) if found else ["no runs"]):
                self.say(line)
        return {"changed": False, "runs": found}
