# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sees to it that ECR has an image; builds and pushes it only where the tag is not there yet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..modules.ecr_image import DOCUMENTATION
from ..plugin_utils import ecr
from ..plugin_utils.action import ControlAction
from ..plugin_utils.session import Aws


class ActionModule(ControlAction):
    """See the module of the same name for the documentation."""

    documentation = DOCUMENTATION

    def act(self, aws: Aws, params: dict[str, Any]) -> dict[str, Any]:
        """Look; where the tag is missing, build and push; return the reference by digest."""
        client = aws.client("ecr")
        repository, tag = f"{params['prefix']}/{params['image']}", params["tag"]
        uri = ecr.repository_uri(client, repository)
        reference = ecr.push_reference(uri, tag, params["registry"])
        digest = ecr.digest(client, repository, tag)
        missing = digest is None
        if missing and not self._task.check_mode:
            arguments = list(params["build_arguments"])
            if params["base"]:
                arguments += ["--build-arg", f"BASE={params['base']}"]
            login = None if params["registry"] else ecr.credentials(client)
            self.say(f"  building {reference}")
            ecr.build_and_push(
                params["engine"],
                Path(params["context"]),
                reference,
                login,
                arguments,
                lambda line: self.say(f"    {line}"),
            )
            digest = ecr.digest(client, repository, tag)
        name = reference.rsplit(":", 1)[0]
        return {
            "changed": missing,
            "digest": digest,
            "reference": f"{name}@{digest}" if digest else reference,
        }
