# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a version finds in the held-out data of another, sentence by sentence: read, or found out by a run."""

from __future__ import annotations

import json
from typing import Any

from ..module_utils.contract import names, purposes
from ..module_utils.contract import spec as specs
from ..module_utils.contract.errors import UserError
from ..module_utils.contract.models import Model
from . import completion, queueing
from .lineage import spec_to_run
from .session import Aws, aws_errors, is_missing
from .wording import Say

PARAMETERS = ("bucket", *queueing.PARAMETERS, *completion.PARAMETERS)

Counts = list[list[int]]  # true positives, false positives and false negatives of each sentence
Evaluation = tuple[dict[str, Any], Counts]  # the scores, as a manifest has them, and what they come from


def counts_on(
    aws: Aws,
    deployment: dict[str, str],
    prefix: str,
    record: Model,
    candidate: dict[str, Any],
    say: Say,
) -> Evaluation:
    """What a version finds in the held-out data that another was scored on.

    Parameters
    ----------
    deployment:
        What the training stack published, of `PARAMETERS` at least.
    record:
        The version's record in the models table.
    candidate:
        The manifest of the other version; it may be of the same one.
    say:
        Takes a line.

    Returns the scores and the counts. If they are not recorded, a run is submitted that finds them out, and
    followed: a minute or so, after which they are recorded.
    Raises UserError if the data is gone, or the run does not succeed.
    """
    return recorded_on(aws, deployment["bucket"], record, candidate) or _found_out(
        aws, deployment, prefix, record, candidate, say
    )


def recorded_on(aws: Aws, bucket: str, record: Model, candidate: dict[str, Any]) -> Evaluation | None:
    """As `counts_on`, of what is recorded; None if this is not."""
    examples = candidate.get("examples", {}).get(candidate["scores"]["on"])
    return _read(aws, bucket, record, examples) if examples else None


def _found_out(
    aws: Aws, deployment: dict[str, str], prefix: str, record: Model, candidate: dict[str, Any], say: Say
) -> Evaluation:
    label = names.model_label(record["name"], record["version"])
    of = names.model_label(candidate["name"], candidate["version"])
    on = candidate["scores"]["on"]
    say(f"{label} was not yet evaluated on the {on} data of {of}: a run does so now")
    spec = _on_a_cpu(spec_to_run(aws, deployment["bucket"], candidate))
    purpose = purposes.evaluate(label, of)
    run_id, asleep = queueing.enqueue(aws, prefix, deployment, spec, purpose=purpose)
    if asleep:
        say(queueing.unwoken(asleep))
    try:
        run = completion.completed(aws, deployment, run_id, say)
    except completion.RunFailed as error:
        what = f"{label} could not be evaluated on the {on} data of {of}: {error.what}"
        raise UserError(what, fix=f"{error.fix} Then give the same command again.") from error
    # A version from before examples had checksums: only the run knows theirs.
    examples = run["result"]["examples"]
    found = _read(aws, deployment["bucket"], record, examples)
    if found is None:
        key = names.evaluation_key(record["name"], record["version"], examples)
        raise UserError(
            f"the run has SUCCEEDED, but there is no s3://{deployment['bucket']}/{key}",
            f"run {run_id}",
            "Give the same command again.",
        )
    return found


def _read(aws: Aws, bucket: str, record: Model, examples: str) -> Evaluation | None:
    key = names.evaluation_key(record["name"], record["version"], examples)
    try:
        found = json.load(aws.client("s3").get_object(Bucket=bucket, Key=key)["Body"])
    except aws_errors() as error:
        if is_missing(error):
            return None
        raise
    return found["scores"], found["counts"]


def _on_a_cpu(spec: dict[str, Any]) -> dict[str, Any]:
    """Finding entities needs no GPU; and what fits a GPU instance may be too large for the others."""
    if spec["device"] == "cpu":
        return spec
    others = {field: value for field, value in spec.items() if field != "resources"}
    return specs.with_defaults(others | {"device": "cpu"})
