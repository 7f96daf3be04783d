# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A version trained once more from what is recorded of it: submitted, and what came out, in words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ..module_utils.contract import names, purposes
from ..module_utils.contract.models import Model
from ..module_utils.contract.runs import Run
from . import lineage, queueing
from .session import Aws
from .submission import check_capacity
from .wording import Say, score

PARAMETERS = ("bucket", "capacity_providers", "models_table", *queueing.PARAMETERS)


def spec_of(aws: Aws, deployment: dict[str, str], record: Model) -> dict[str, Any]:
    """The spec that a version was trained by, checked against what is there now.

    Parameters
    ----------
    deployment:
        What the training stack published, of `PARAMETERS` at least.
    record:
        The version's record in the models table.

    Raises UserError if its manifest, its artifact or its data is gone, this nerforge does not take its spec,
    or the deployment has no instances of the kind.
    """
    manifest = lineage.manifest(aws, deployment["bucket"], record)
    lineage.check_artifact(aws, deployment["bucket"], record)
    spec = lineage.spec_to_run(aws, deployment["bucket"], manifest)
    check_capacity(spec["resources"], json.loads(deployment["capacity_providers"]))
    return spec


def submit(
    aws: Aws, prefix: str, deployment: dict[str, str], record: Model, spec: dict[str, Any], say: Say
) -> str:
    """Queue a run that trains by this spec, as `spec_of` has it, and compares; returns the run's id."""
    purpose = purposes.reproduce(names.model_label(record["name"], record["version"]))
    run_id, asleep = queueing.enqueue(aws, prefix, deployment, spec, purpose=purpose)
    if asleep:
        say(queueing.unwoken(asleep))
    return run_id


def difference(run: Run) -> str | None:
    """What to say against a run that has SUCCEEDED: its version's weights did not come out again.

    None for one that they did in, and one that does not reproduce.
    """
    if purposes.kind(run) != purposes.REPRODUCE or run["result"]["weights"]:
        return None
    return f"{'; '.join([run['reason'], *lines(run['result'])])}."


def lines(result: dict[str, Any]) -> Iterator[str]:
    """What a run that reproduces has found, beyond the sentence that is its reason."""
    if result["files"]:
        yield f"files that differ: {', '.join(result['files'])}"
    if not result["weights"]:
        yield f"F {score(result['f_then'])} then, {score(result['f'])} now"
    for name, (then, now) in result["environment"].items():
        yield f"{name}: {then or 'not known'} then, {now or 'not known'} now"
    if not result["environment"]:
        yield "libraries, Python, platform, CPU and image are the same as then"
