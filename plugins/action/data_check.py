# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check a training spec and its data."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from ..module_utils.contract import spec as specs
from ..module_utils.contract.findings import many
from ..modules.data_check import DOCUMENTATION
from ..plugin_utils import debug_data, submission
from ..plugin_utils.action import ControlAction
from ..plugin_utils.datasets import Shelf
from ..plugin_utils.session import Aws


class ActionModule(ControlAction):
    """Checks a spec and its data, for which it needs no deployment."""

    documentation = DOCUMENTATION

    def act(self, aws: Aws, params: dict[str, Any]) -> dict[str, Any]:
        """Read and check everything; then have spaCy look too, if asked to."""
        path = self.find(params["spec"])
        spec = specs.load(path)
        self.say(f"{path}: {spec['name']}")
        data_dir = Path(params["data_dir"]) if params["data_dir"] else None
        with tempfile.TemporaryDirectory(prefix="nerforge-") as name:
            scratch = Path(name)
            shelf = Shelf(aws.client("s3"), None, path.parent, scratch, data_dir, self.say)
            checked = submission.check(path, spec, None, shelf, self.say)
            if params["debug_data"]:
                debug_data.run(checked.spec, checked.data.examples, scratch, self.say)
        self.say(_summary(len(checked.data.findings)))
        return {"changed": False, "name": spec["name"], **checked.data.result()}


def _summary(findings: int) -> str:
    warnings = many(findings, "warning") if findings else "no warning"
    return f"the spec and its data can be trained on; {warnings}"
