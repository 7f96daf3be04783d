# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List model versions, show one whole, or compare two."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from ..module_utils.contract.errors import UserError
from ..module_utils.contract.models import Model, Models
from ..module_utils.contract.runs import Runs
from ..modules.model_info import DOCUMENTATION
from ..plugin_utils import evaluation, gate, lineage, model_comparison, model_report, registry
from ..plugin_utils.action import ControlAction
from ..plugin_utils.service import serving
from ..plugin_utils.session import Aws

Served = dict[str, Any] | None


class ActionModule(ControlAction):
    """Lists model versions, their aliases and which is served; or tells all there is to say of one or two."""

    documentation = DOCUMENTATION

    def act(self, aws: Aws, params: dict[str, Any]) -> dict[str, Any]:
        """Read the models and the service; print them if asked to."""
        wanted, other = params["model"] or "", params["with"]
        if other and not wanted:
            raise UserError("one model alone is named", "with", "Give model too, the version to compare.")
        training = aws.parameters(params["prefix"], "training", ["bucket", "models_table", "runs_table"])
        table, bucket = Models(aws.table(training["models_table"])), training["bucket"]
        runs = Runs(aws.table(training["runs_table"]))
        served = serving(aws, params["prefix"])
        found: dict[str, Any]
        if other:
            lines, found = _two(aws, table, bucket, served, (wanted, other))
        elif ":" in wanted or "@" in wanted:
            lines, found = _one(aws, table, runs, bucket, served, wanted, params["config"])
        else:
            models = registry.listed(table, served, wanted or None)
            none = str(registry.no_model(wanted)) if wanted else "no models"
            rows = registry.models_table(models) if models else [none]
            lines, found = [*rows, registry.served_line(served)], {"models": models}
        for line in lines if params["display"] else ():
            self.say(line)
        return {"changed": False, "serving": served} | found


def _one(
    aws: Aws, table: Models, runs: Runs, bucket: str, served: Served, wanted: str, config: bool
) -> tuple[Iterable[str], dict[str, Any]]:
    """A version in full: the lines that tell it, and what the task returns."""
    record = registry.resolve(table, wanted)
    made_by = runs.get(record["run"]) or {}
    model = _listed(table, served, record) | {"cost": made_by.get("cost")}
    manifest = lineage.manifest(aws, bucket, record)
    moves = registry.moves(table, record)
    history = [{"alias": alias} | move for alias, move in moves]
    lines = model_report.lines(model, manifest, moves, config)
    return lines, {"models": [model], "manifest": manifest, "history": history}


def _two(
    aws: Aws, table: Models, bucket: str, served: Served, wanted: tuple[str, str]
) -> tuple[Iterable[str], dict[str, Any]]:
    """Two versions side by side: the lines that tell it, and what the task returns."""
    records = [registry.resolve(table, name) for name in wanted]
    models = [_listed(table, served, record) for record in records]
    manifests = [lineage.manifest(aws, bucket, record) for record in records]
    differences = model_comparison.differences(*manifests)
    apart = _apart(aws, bucket, records, manifests)
    lines = model_comparison.lines([model["model"] for model in models], manifests, differences, apart)
    interval = apart and dataclasses.asdict(apart)
    return lines, {"models": models, "differences": differences, "apart": interval}


def _listed(table: Models, served: Served, record: Model) -> dict[str, Any]:
    return registry.listed(table, served, record["name"], record["version"])[0]


def _apart(
    aws: Aws, bucket: str, records: list[Model], manifests: list[dict[str, Any]]
) -> gate.Difference | None:
    """How far apart two versions are on the held-out data of one of them, where both were evaluated on it."""
    for manifest in manifests:
        ours, theirs = (evaluation.recorded_on(aws, bucket, record, manifest) for record in records)
        if ours and theirs:
            return gate.compare(ours[1], theirs[1])
    return None
