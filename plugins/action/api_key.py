# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make or revoke an API key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..module_utils.contract import names
from ..module_utils.contract.errors import UserError
from ..modules.api_key import DOCUMENTATION
from ..plugin_utils import keys
from ..plugin_utils.action import ControlAction
from ..plugin_utils.session import Aws


class ActionModule(ControlAction):
    """Makes a key, whose text goes into a file and nowhere else, or revokes one."""

    documentation = DOCUMENTATION

    def act(self, aws: Aws, params: dict[str, Any]) -> dict[str, Any]:
        """Change the record; then publish it."""
        prefix, name = params["prefix"], params["name"]
        told = keys.source(aws, prefix)
        if told and told != names.api_keys_parameter(prefix):
            fix = "Change what it holds, and run deploy.yml, which rolls the service."
            raise UserError("the server takes its API keys from a secret of your own", told, fix)
        held = keys.open_keys(aws, prefix)
        if params["state"] == "absent":
            changed = self._revoke(held, name, last=told is None)
        else:
            changed = self._make(held, name, params["path"])
        # Also where nothing is to be recorded: it may be a command that was cut short.
        published = held.is_published() if self._task.check_mode else not held.publish()
        changed = changed or not published
        return {"changed": changed, "name": name, "names": list(held.recorded()), "asked": told is not None}

    def _make(self, held: keys.Keys, name: str, path: str | None) -> bool:
        if not path:
            raise UserError("no file is named for the key", "path", "Give one that is not there yet.")
        dry = self._task.check_mode
        makes = (keys.is_to_be_made if dry else keys.make)(held, name, Path(path))
        if not makes:
            self.say(f"{path} holds the key {name} already")
        elif dry:
            self.say(f"would make the key {name}, in {path}")
        else:
            self.say(f"made the key {name}: it is in {path}, which only you can read, and nowhere else")
        return makes

    def _revoke(self, held: keys.Keys, name: str, last: bool) -> bool:
        recorded = held.recorded()
        if name not in recorded:
            self.say(f"there is no key {name}")
            return False
        refused = not last and len(recorded) == 1
        if self._task.check_mode and not refused:
            self.say(f"would revoke the key {name}")
        elif refused or not held.remove(name, last):
            fix = "Make another first; or deploy with api_keys: false, and everybody is served."
            raise UserError(f"{name} is the last key, and the server does not start without one", "name", fix)
        else:
            self.say(f"revoked the key {name}")
        return True
