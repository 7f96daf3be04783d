# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List the API keys."""

from __future__ import annotations

from typing import Any

from ..modules.api_key_info import DOCUMENTATION
from ..plugin_utils import keys
from ..plugin_utils.action import ControlAction
from ..plugin_utils.session import Aws


class ActionModule(ControlAction):
    """Lists the names of the keys, and says whether the server asks for one."""

    documentation = DOCUMENTATION

    def act(self, aws: Aws, params: dict[str, Any]) -> dict[str, Any]:
        """Read both; print them if asked to."""
        known = list(keys.open_keys(aws, params["prefix"]).recorded())
        told = keys.source(aws, params["prefix"])
        if params["display"]:
            self.say(f"keys: {', '.join(known) or 'none'}")
            self.say(f"the server takes its keys from {told}" if told else "the server asks for no key")
        return {"changed": False, "names": known, "asked": told is not None, "source": told}
