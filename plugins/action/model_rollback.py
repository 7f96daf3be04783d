# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Serve the release before."""

from __future__ import annotations

from typing import Any

from ..modules.model_rollback import DOCUMENTATION
from ..plugin_utils.action import ControlAction
from ..plugin_utils.delivery import Order
from ..plugin_utils.deployment import open_deployment
from ..plugin_utils.release import rollback
from ..plugin_utils.session import Aws


class ActionModule(ControlAction):
    """Rolls the service back, and the alias with it."""

    documentation = DOCUMENTATION

    def act(self, aws: Aws, params: dict[str, Any]) -> dict[str, Any]:
        """Find the deployment, and roll it back."""
        order = Order(
            model=params["name"],
            alias=params["alias"],
            timeout=params["timeout"],
            verify_url=params["verify_url"],
            by=aws.caller(),
            dry=self._task.check_mode,
        )
        return rollback(open_deployment(aws, params["prefix"], self.say), order, self.say)
