# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Delete old model versions."""

from __future__ import annotations

import re
from typing import Any

from ..module_utils.contract import names
from ..module_utils.contract.errors import UserError
from ..module_utils.contract.models import Models
from ..module_utils.contract.runs import Runs
from ..modules.model_prune import DOCUMENTATION
from ..plugin_utils import pruning
from ..plugin_utils.action import ControlAction
from ..plugin_utils.service import Service
from ..plugin_utils.session import Aws, NotDeployed


class ActionModule(ControlAction):
    """Deletes the versions that the rule chooses and nothing uses."""

    documentation = DOCUMENTATION

    def act(self, aws: Aws, params: dict[str, Any]) -> dict[str, Any]:
        """Find the deployment, and prune."""
        if params["keep"] < 1:
            raise UserError(f"{params['keep']} versions cannot be kept", "keep", "Give 1 or more.")
        if params["older_than"] < 0:
            raise UserError("no version is made in the future", "older_than", "Give days, 0 or more.")
        if params["model"] is not None and not re.fullmatch(names.NAME_PATTERN, params["model"]):
            raise UserError(f"{params['model']!r} is no model's name", "model", "Give one such as people.")
        training = aws.parameters(
            params["prefix"], "training", ["bucket", "cluster_name", "models_table", "runs_table"]
        )
        models = Models(aws.table(training["models_table"]))
        runs = Runs(aws.table(training["runs_table"]))
        service = _service(aws, params["prefix"], training["cluster_name"])
        gone = pruning.prune(
            models,
            pruning.Rule(params["keep"], params["older_than"], params["model"]),
            lambda: pruning.uses(models, service, runs),
            lambda model: pruning.delete_files(aws.client("s3"), training["bucket"], model),
            self._task.check_mode,
            self.say,
        )
        labels = [names.model_label(model["name"], model["version"]) for model in gone]
        return {"changed": bool(gone), "pruned": labels}


def _service(aws: Aws, prefix: str, cluster: str) -> tuple[Service, str] | None:
    try:
        serving = aws.parameters(prefix, "serving", ["service_name", "task_definition_family"])
    except NotDeployed:
        return None
    service = Service(aws.client("ecs"), cluster, serving["service_name"])
    return service, serving["task_definition_family"]
