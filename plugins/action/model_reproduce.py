# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Train a model version once more, and compare."""

from __future__ import annotations

from typing import Any

from ..module_utils.contract import names
from ..module_utils.contract.models import Models
from ..modules.model_reproduce import DOCUMENTATION
from ..plugin_utils import completion, registry, reproduction
from ..plugin_utils.action import ControlAction
from ..plugin_utils.session import Aws

_PARAMETERS = (*reproduction.PARAMETERS, *completion.PARAMETERS)


class ActionModule(ControlAction):
    """Trains a version again from its lineage; fails unless its weights come out again."""

    documentation = DOCUMENTATION

    def act(self, aws: Aws, params: dict[str, Any]) -> dict[str, Any]:
        """Check everything; then, unless in check mode, submit the run and follow it."""
        prefix = params["prefix"]
        deployment = aws.parameters(prefix, "training", _PARAMETERS)
        record = registry.resolve(Models(aws.table(deployment["models_table"])), params["model"])
        label = names.model_label(record["name"], record["version"])
        spec = reproduction.spec_of(aws, deployment, record)
        result = {"changed": True, "model": label}
        if self._task.check_mode:
            self.say(f"would train {label} once more from its spec and data, which are all there")
            return result
        self.say(f"{label} is trained once more, from its recorded spec and data")
        run_id = reproduction.submit(aws, prefix, deployment, record, spec, self.say)
        run = completion.completed(aws, deployment, run_id, self.say)
        for line in reproduction.lines(run["result"]):
            self.say(line)
        result |= {"run_id": run_id, **run["result"]}
        if difference := reproduction.difference(run):
            result |= {"failed": True, "msg": difference}
        return result
