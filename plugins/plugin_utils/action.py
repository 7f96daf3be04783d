# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the control plugins share: options as documented, lines as they come, failures in one message."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import yaml
from ansible.plugins.action import ActionBase
from ansible_collections.amazon.aws.plugins.module_utils.modules import aws_argument_spec

from ..doc_fragments.deployment import ModuleDocFragment
from ..module_utils.contract.errors import UserError
from .session import Aws, aws_errors

_DEPLOYMENT = "nerforge.aws.deployment"  # the fragment of those that work on a deployment
_OPTION_RULES = ("type", "elements", "required", "default", "choices", "aliases")


def argument_spec(documentation: str) -> dict[str, Any]:
    """The argument spec that a module's DOCUMENTATION describes, with what it shares with the others."""
    of_module = yaml.safe_load(documentation)
    shared = {}
    if _DEPLOYMENT in of_module["extends_documentation_fragment"]:
        shared = yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"]
    documented = {**shared, **of_module["options"]}
    own = {
        name: {rule: option[rule] for rule in _OPTION_RULES if rule in option}
        for name, option in documented.items()
    }
    spec: dict[str, Any] = aws_argument_spec() | own
    return spec


class ControlAction(ActionBase):
    """An action plugin that works on the control node, by boto3, and tells what it does line by line.

    A subclass names its module's DOCUMENTATION and does the work in `act`.
    """

    documentation: ClassVar[str]

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Do the task; what a user can put right comes back as a failed result with one message."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        __, params = self.validate_argument_spec(argument_spec(self.documentation))
        try:
            aws = Aws(params)
            try:
                return result | self.act(aws, params)
            except aws_errors() as error:
                raise aws.explained(error) from error
        except UserError as error:
            return result | {"failed": True, "msg": str(error)}

    @abstractmethod
    def act(self, aws: Aws, params: dict[str, Any]) -> dict[str, Any]:
        """Do the work and return what the task returns."""

    def find(self, file: str) -> Path:
        """A file's path as the shell has it, or from the playbook's folder."""
        path = Path(file)
        beside_playbook = Path(self._loader.get_basedir()) / path
        return path if path.exists() or not beside_playbook.exists() else beside_playbook

    def say(self, line: str) -> None:
        """Print a line now."""
        self._display.display(line)

    def warn(self, line: str) -> None:
        """Print a warning now."""
        self._display.warning(line)
