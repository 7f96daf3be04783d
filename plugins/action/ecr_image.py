# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""See to it that ECR has an image."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from ..module_utils.contract.errors import UserError
from ..modules.ecr_image import DOCUMENTATION
from ..plugin_utils import ecr, origin
from ..plugin_utils.action import ControlAction
from ..plugin_utils.session import Aws

_COLLECTION = Path(__file__).resolve().parents[2]


class ActionModule(ControlAction):
    """Builds and pushes the image only where its tag is not there yet."""

    documentation = DOCUMENTATION

    def act(self, aws: Aws, params: dict[str, Any]) -> dict[str, Any]:
        """Look, and where the tag is missing, build and push; return the reference by digest."""
        client = aws.client("ecr")
        repository, tag = f"{params['prefix']}/{params['image']}", params["tag"]
        uri = ecr.repository_uri(client, repository)
        if uri is None and not self._task.check_mode:
            raise UserError(
                "ECR has no such repository", repository, "The training stack makes it: run deploy.yml"
            )
        name = f"{params['registry']}/{repository}" if params["registry"] else uri or repository
        digest = ecr.digest(client, repository, tag) if uri else None
        missing = digest is None
        if missing and not self._task.check_mode:
            self._build_and_push(client, f"{name}:{tag}", params)
            digest = ecr.digest(client, repository, tag)
        return {
            "changed": missing,
            "digest": digest,
            "reference": f"{name}@{digest}" if digest else f"{name}:{tag}",
        }

    def _build_and_push(self, client: Any, reference: str, params: dict[str, Any]) -> None:
        engine = shlex.split(params["engine"])
        base = ["--build-arg", f"BASE={params['base']}"] if params["base"] else []
        authorization = None if params["registry"] else ecr.authorization(client)

        def say(line: str) -> None:
            self.say(f"    {line}")

        self.say(f"  building {reference}")
        arguments = [*base, *params["build_arguments"]]
        ecr.build(engine, params["context"], reference, origin.labels(_COLLECTION), arguments, say)
        self.say(f"  pushing {reference}")
        ecr.push(engine, reference, authorization, say)
