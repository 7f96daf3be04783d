# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetch the card of a model version, and open it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..module_utils.contract.models import Models
from ..modules.model_card import DOCUMENTATION
from ..plugin_utils import cards, registry
from ..plugin_utils.action import ControlAction
from ..plugin_utils.session import Aws


class ActionModule(ControlAction):
    """Fetches the page into a private folder, says where it is, and opens it where there is a display."""

    documentation = DOCUMENTATION

    def act(self, aws: Aws, params: dict[str, Any]) -> dict[str, Any]:
        """Find the version; fetch its page, and show it."""
        published = aws.parameters(params["prefix"], "training", ["bucket", "models_table"])
        record = registry.resolve(Models(aws.table(published["models_table"])), params["model"])
        page = cards.fetch(aws, published["bucket"], record)
        path = Path(params["folder"]).expanduser().absolute() / f"{record['name']}-{record['version']}.html"
        changed = not cards.is_kept(path, page)
        if changed and not self._task.check_mode:
            cards.keep(path, page)
        opened = params["open"] and not self._task.check_mode and cards.show(path)
        self.say(f"{'would write' if changed and self._task.check_mode else 'card:'} {path}")
        return {"changed": changed, "path": str(path), "opened": opened}
