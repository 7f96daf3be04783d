# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a model version came from, out of its manifest; and its spec, made ready to run once more."""

from __future__ import annotations

import json
from typing import Any

from ..module_utils.contract import names
from ..module_utils.contract import spec as specs
from ..module_utils.contract.errors import UserError
from ..module_utils.contract.models import Model
from .session import Aws, aws_errors, is_missing


def manifest(aws: Aws, bucket: str, record: Model) -> dict[str, Any]:
    """The manifest of a version. Raises UserError if it is gone."""
    key = f"{record['prefix']}{names.MANIFEST}"
    try:
        found: dict[str, Any] = json.load(aws.client("s3").get_object(Bucket=bucket, Key=key)["Body"])
        return found
    except aws_errors() as error:
        if is_missing(error):
            raise _gone("manifest", bucket, key, record) from error
        raise


def check_artifact(aws: Aws, bucket: str, record: Model) -> None:
    """Raise UserError if the artifact of a version is gone."""
    key = f"{record['prefix']}{names.ARTIFACT}"
    try:
        aws.client("s3").head_object(Bucket=bucket, Key=key)
    except aws_errors() as error:
        if is_missing(error):
            raise _gone("artifact", bucket, key, record) from error
        raise


def _gone(what: str, bucket: str, key: str, record: Model) -> UserError:
    return UserError(
        f"its {what} is gone: s3://{bucket}/{key}",
        names.model_label(record["name"], record["version"]),
        "Take another version: models.yml lists them.",
    )


def spec_to_run(aws: Aws, bucket: str, manifest: dict[str, Any]) -> dict[str, Any]:
    """The spec that a version was trained by, as a run's record has it.

    Raises UserError if this nerforge does not take it, or if some of its data is no longer in the bucket.
    """
    label = names.model_label(manifest["name"], manifest["version"])
    spec = manifest["spec"]
    specs.validate(spec, submitted=True)
    for field, source in specs.inputs(spec).items():
        try:
            aws.client("s3").head_object(Bucket=bucket, Key=source["key"])
        except aws_errors() as error:
            if is_missing(error):
                raise UserError(
                    f"the data that {label} was made with is gone: s3://{bucket}/{source['key']}",
                    f"{field}: {source['from']}",
                    "Put that file back there; its sha256 is in its name.",
                ) from error
            raise
    return specs.with_defaults(spec)
