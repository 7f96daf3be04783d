# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Serve a model version."""

from __future__ import annotations

from typing import Any

from ..module_utils.contract.errors import UserError
from ..modules.model_release import DOCUMENTATION
from ..plugin_utils import gate, service
from ..plugin_utils.action import ControlAction
from ..plugin_utils.delivery import Order
from ..plugin_utils.deployment import open_deployment
from ..plugin_utils.release import release, withdraw
from ..plugin_utils.session import Aws, NotDeployed


class ActionModule(ControlAction):
    """Rolls the service to a model version and moves the alias, or deregisters all releases."""

    documentation = DOCUMENTATION

    def act(self, aws: Aws, params: dict[str, Any]) -> dict[str, Any]:
        """Find the deployment, and release, or withdraw what was released."""
        if params["state"] == "absent":
            return self._withdraw(aws, params["prefix"])
        if not params["model"]:
            raise UserError("no model is named", "model", "Give name:number; models.yml lists them.")
        order = Order(
            model=params["model"],
            alias=params["alias"],
            forced=gate.reason(params["force"]),
            timeout=params["timeout"],
            verify_url=params["verify_url"],
            by=aws.caller(),
            dry=self._task.check_mode,
        )
        return release(open_deployment(aws, params["prefix"], self.say), order, self.say)

    def _withdraw(self, aws: Aws, prefix: str) -> dict[str, Any]:
        try:
            cluster = aws.parameters(prefix, "training", ["cluster_name"])["cluster_name"]
            serving = aws.parameters(prefix, "serving", ["service_name", "task_definition_family"])
        except NotDeployed:
            return {"changed": False, "deregistered": []}
        ecs = service.Service(aws.client("ecs"), cluster, serving["service_name"])
        return withdraw(ecs, serving["task_definition_family"], self._task.check_mode, self.say)
