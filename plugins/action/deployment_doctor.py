# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at every link of a deployment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..modules.deployment_doctor import DOCUMENTATION
from ..plugin_utils import doctor
from ..plugin_utils.action import ControlAction
from ..plugin_utils.session import Aws


class ActionModule(ControlAction):
    """Prints what is in order and what is not, and fails if anything is wrong."""

    documentation = DOCUMENTATION

    def act(self, aws: Aws, params: dict[str, Any]) -> dict[str, Any]:
        """Run the checks."""
        images = Path(params["process_images"]) if params["process_images"] else None
        findings = []
        for finding in doctor.examine(aws, params["prefix"], images):
            for line in finding.lines():
                self.say(line)
            findings.append(finding)
        wrong = [finding for finding in findings if finding.level == doctor.WRONG]
        self.say(doctor.summary(findings))
        result = {"changed": False, "findings": [finding.result() for finding in findings]}
        if wrong:
            named = ", ".join(dict.fromkeys(finding.check for finding in wrong))
            result |= {
                "failed": True,
                "msg": f"something is wrong with: {named}. The lines above say what to do.",
            }
        return result
