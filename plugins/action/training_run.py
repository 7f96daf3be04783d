# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Submit a training spec."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from ..module_utils.contract import spec as specs
from ..modules.training_run import DOCUMENTATION
from ..plugin_utils import queueing, submission
from ..plugin_utils.action import ControlAction
from ..plugin_utils.datasets import Shelf
from ..plugin_utils.session import Aws


class ActionModule(ControlAction):
    """Checks a spec and its data, and submits a run."""

    documentation = DOCUMENTATION

    def act(self, aws: Aws, params: dict[str, Any]) -> dict[str, Any]:
        """Check everything; then, unless in check mode, submit."""
        path = self.find(params["spec"])
        spec = specs.load(path)
        self.say(f"{path}: {spec['name']}")
        deployment = aws.parameters(params["prefix"], "training", submission.PARAMETERS)
        providers = json.loads(deployment["capacity_providers"])
        data_dir = Path(params["data_dir"]) if params["data_dir"] else None
        with tempfile.TemporaryDirectory(prefix="nerforge-") as scratch:
            shelf = Shelf(
                aws.client("s3"), deployment["bucket"], path.parent, Path(scratch), data_dir, self.say
            )
            ready = submission.check(path, spec, providers, shelf, self.say)
            submit = None if self._task.check_mode else self._submit
            run_id = submit and submit(aws, params["prefix"], deployment, ready, shelf)
        return {
            "changed": True,
            "run_id": run_id,
            "name": spec["name"],
            **ready.data.result(),
        }

    def _submit(
        self, aws: Aws, prefix: str, deployment: dict[str, str], ready: submission.Submission, shelf: Shelf
    ) -> str:
        run_id, asleep = submission.submit(aws, prefix, deployment, ready, shelf, self.say)
        if asleep:
            self.warn(queueing.unwoken(asleep))
        self.say(f"submitted as run {run_id}")
        return run_id
