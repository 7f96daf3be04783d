# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stack's variables as Terraform would have them: what it is given, over its own defaults."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from ..module_utils.contract.errors import UserError

_BLOCK = re.compile(r'^variable "(\w+)" \{\n(.*?)^\}', re.DOTALL | re.MULTILINE)
_DEFAULT = re.compile(r"^  default +?= (.+)$", re.MULTILINE)


def of_stack(folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    """The variables of the stack in ``folder``, but for those with neither a value nor a default.

    Raises UserError for a stack without a ``variables.tf``, and for a default that is not written as JSON is.
    """
    path = folder / "variables.tf"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        fix = "Give the folder that holds training/ and serving/."
        raise UserError(f"cannot be read: {error.strerror}", str(path), fix) from error
    defaults = {}
    for name, body in _BLOCK.findall(text):
        if found := _DEFAULT.search(body):
            try:
                defaults[name] = json.loads(found[1])
            except ValueError as error:
                fix = "Write it on one line, as JSON would have it."
                raise UserError(f"the default of {name} cannot be read", str(path), fix) from error
    return defaults | given
