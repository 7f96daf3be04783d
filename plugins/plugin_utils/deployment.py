# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where releases go, and where what they need is found."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..module_utils.contract import names
from ..module_utils.contract.models import Models
from . import evaluation, keys, lineage, logs, service
from .evaluation import Evaluation
from .keys import NoKeys
from .service import Release, Service
from .session import Aws
from .wording import Say

_TRAINING = ("bucket", "cluster_name", "models_table", "server_log_group", *evaluation.PARAMETERS)

Record = dict[str, Any]
Manifest = dict[str, Any]


@dataclass(frozen=True)
class Deployment:
    """Where releases go, and where what they need is found.

    Parameters
    ----------
    models:
        The models table.
    service:
        The ECS service.
    template:
        The task definition revision that Terraform made.
    family:
        The family that releases are revisions of.
    desired_count:
        Tasks to run, where the service has none yet.
    manifest:
        Reads the manifest of a model's record.
    counts:
        What the version of a record finds in the held-out data of a manifest; a run finds it out if it is not
        recorded, unless the third says that nothing may be changed: then it is None.
    log:
        What a task complained of last in its log.
    keys:
        The edition of the API keys that a task started now would have; raises NoKeys if it would have none,
        and should.
    """

    models: Models
    service: Service
    template: str
    family: str
    desired_count: int
    manifest: Callable[[Record], Manifest]
    counts: Callable[[Record, Manifest, bool], Evaluation | None]
    log: Callable[[str], list[str]]
    keys: Callable[[], str | None]

    def pinned(self, record: Record) -> Release:
        """A version as it would be released now."""
        label = names.model_label(record["name"], record["version"])
        return Release(label, record["sha256"], self.template, self.edition()[0])

    def edition(self) -> tuple[str | None, NoKeys | None]:
        """The edition of the API keys; or why no task can start without there being one."""
        try:
            return self.keys(), None
        except NoKeys as error:
            return None, error

    def pointed_at(self, name: str, alias: str) -> int | None:
        """The version that an alias points at; None if it is not there."""
        return (self.models.alias(name, alias) or {}).get("version")


def open_deployment(aws: Aws, prefix: str, say: Say) -> Deployment:
    """The deployment under ``prefix``. Raises NotDeployed if a stack is not there."""
    training = aws.parameters(prefix, "training", dict.fromkeys(_TRAINING))
    serving = aws.parameters(prefix, "serving", service.PARAMETERS)
    how = json.loads(serving["deployment"])
    ecs = Service(aws.client("ecs"), training["cluster_name"], serving["service_name"], how)
    template = serving["template_task_definition_arn"]

    def manifest(record: Record) -> Manifest:
        return lineage.manifest(aws, training["bucket"], record)

    def counts(record: Record, of: Manifest, dry: bool) -> Evaluation | None:
        if dry:
            return evaluation.recorded_on(aws, training["bucket"], record, of)
        return evaluation.counts_on(aws, training, prefix, record, of, say)

    def log(task: str) -> list[str]:
        stream = names.log_stream(names.SERVER_CONTAINER, task)
        return logs.complaints(aws.client("logs"), training["server_log_group"], stream)

    return Deployment(
        models=Models(aws.table(training["models_table"])),
        service=ecs,
        template=template,
        family=serving["task_definition_family"],
        desired_count=int(serving["desired_count"]),
        manifest=manifest,
        counts=counts,
        log=log,
        keys=lambda: keys.edition(aws, ecs.api_keys(template)),
    )
