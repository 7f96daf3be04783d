# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Serve a model version."""

from __future__ import annotations

import json
from typing import Any

from ..module_utils.contract import names
from ..module_utils.contract.errors import UserError
from ..module_utils.contract.models import Models
from ..modules.model_release import DOCUMENTATION
from ..plugin_utils import keys, logs, service
from ..plugin_utils.action import ControlAction
from ..plugin_utils.release import Deployment, Order, release, withdraw
from ..plugin_utils.session import Aws, NotDeployed

_TRAINING = ("bucket", "cluster_name", "models_table", "server_log_group")


class ActionModule(ControlAction):
    """Rolls the service to a model version and moves the alias, or deregisters all releases."""

    documentation = DOCUMENTATION

    def act(self, aws: Aws, params: dict[str, Any]) -> dict[str, Any]:
        """Find the deployment, and release, or withdraw what was released."""
        if params["state"] == "absent":
            return self._withdraw(aws, params["prefix"])
        if not params["model"]:
            raise UserError("no model is named", "model", "Give name:number; status.yml lists them.")
        order = Order(
            model=params["model"],
            alias=params["alias"],
            force=params["force"],
            timeout=params["timeout"],
            verify_url=params["verify_url"],
            dry=self._task.check_mode,
        )
        return release(self._deployment(aws, params["prefix"]), order, self.say)

    def _withdraw(self, aws: Aws, prefix: str) -> dict[str, Any]:
        try:
            cluster = aws.parameters(prefix, "training", ["cluster_name"])["cluster_name"]
            serving = aws.parameters(prefix, "serving", ["service_name", "task_definition_family"])
        except NotDeployed:
            return {"changed": False, "deregistered": []}
        ecs = service.Service(aws.client("ecs"), cluster, serving["service_name"])
        return withdraw(ecs, serving["task_definition_family"], self._task.check_mode, self.say)

    def _deployment(self, aws: Aws, prefix: str) -> Deployment:
        training = aws.parameters(prefix, "training", _TRAINING)
        serving = aws.parameters(prefix, "serving", service.PARAMETERS)

        def manifest(record: dict[str, Any]) -> dict[str, Any]:
            key = f"{record['prefix']}{names.MANIFEST}"
            return json.load(aws.client("s3").get_object(Bucket=training["bucket"], Key=key)["Body"])

        ecs = service.Service(aws.client("ecs"), training["cluster_name"], serving["service_name"])
        template = serving["template_task_definition_arn"]
        return Deployment(
            models=Models(aws.table(training["models_table"])),
            service=ecs,
            template=template,
            family=serving["task_definition_family"],
            desired_count=int(serving["desired_count"]),
            manifest=manifest,
            log=lambda task: logs.tail(
                aws.client("logs"),
                training["server_log_group"],
                names.log_stream(names.SERVER_CONTAINER, task),
            ),
            keys=lambda: keys.edition(aws, ecs.api_keys(template)),
        )
