# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List model versions."""

from __future__ import annotations

from typing import Any

from ..module_utils.contract.models import Models
from ..modules.model_info import DOCUMENTATION
from ..plugin_utils import listing
from ..plugin_utils.action import ControlAction
from ..plugin_utils.service import serving
from ..plugin_utils.session import Aws


class ActionModule(ControlAction):
    """Lists model versions, their aliases, and which is served."""

    documentation = DOCUMENTATION

    def act(self, aws: Aws, params: dict[str, Any]) -> dict[str, Any]:
        """Read the models and the service; print them if asked to."""
        published = aws.parameters(params["prefix"], "training", ["models_table"])
        table = Models(aws.table(published["models_table"]))
        served = serving(aws, params["prefix"])
        wanted = params["model"] or ""
        if ":" in wanted or "@" in wanted:
            one = listing.resolve(table, wanted)
            found = listing.models(table, served, one["name"], one["version"])
        else:
            found = listing.models(table, served, wanted or None)
        if params["display"]:
            for line in listing.models_table(found) if found else ["no models"]:
                self.say(line)
        return {"changed": False, "models": found, "serving": served}
