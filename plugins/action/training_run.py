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
from ..plugin_utils import submission
from ..plugin_utils.action import ControlAction
from ..plugin_utils.datasets import Shelf
from ..plugin_utils.session import Aws


class ActionModule(ControlAction):
    """Checks a spec and its data, and submits a run."""

    documentation = DOCUMENTATION

    def act(self, aws: Aws, params: dict[str, Any]) -> dict[str, Any]:
        """Check everything; then, unless in check mode, submit."""
        path = self._find(params["spec"])
        spec = specs.load(path)
        self.say(f"{path}: {spec['name']}")
        deployment = aws.parameters(params["prefix"], "training", submission.PARAMETERS)
        providers = json.loads(deployment["capacity_providers"])
        data_dir = Path(params["data_dir"]) if params["data_dir"] else None
        with tempfile.TemporaryDirectory(prefix="nerforge-") as scratch:
            shelf = Shelf(
                aws.client("s3"), deployment["bucket"], path.parent, Path(scratch), data_dir, self.say
            )
            ready = submission.check(spec, path.parent, providers, shelf, self.say)
            for warning in ready.report.warnings:
                self.warn(warning)
            submit = None if self._task.check_mode else self._submit
            run_id = submit and submit(aws, params["prefix"], deployment, ready, shelf)
        return {
            "changed": True,
            "run_id": run_id,
            "name": spec["name"],
            "labels": list(ready.report.labels),
            "data": {
                part: {"sentences": sentences, "entities": ready.report.entities[part]}
                for part, sentences in ready.report.sentences.items()
            },
            "files": [dataset.submitted() for dataset in ready.datasets],
        }

    def _submit(
        self, aws: Aws, prefix: str, deployment: dict[str, str], ready: submission.Submission, shelf: Shelf
    ) -> str:
        run_id, asleep = submission.submit(aws, prefix, deployment, ready, shelf, self.say)
        if asleep:
            self.warn(f"the dispatcher was not woken, and takes the run within a minute: {asleep}")
        self.say(f"submitted as run {run_id}")
        return run_id

    def _find(self, spec: str) -> Path:
        """The path as the shell has it, or from the playbook's folder."""
        path = Path(spec)
        beside_playbook = Path(self._loader.get_basedir()) / path
        return path if path.exists() or not beside_playbook.exists() else beside_playbook
