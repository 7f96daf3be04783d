"""A registered version, out of S3 and verified."""

import json
import tarfile
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from nerforge_contract import names
from nerforge_contract.errors import UserError
from nerforge_contract.models import Model

from .fetch import save


def pipeline(s3: Any, bucket: str, record: Model, folder: Path) -> Path:
    """The folder of a version's pipeline, unpacked.

    Parameters
    ----------
    s3:
        A boto3 S3 client.
    bucket:
        The bucket that it lies in.
    record:
        The version's record in the models table.
    folder:
        The folder to make.

    Raises UserError if its artifact is gone, or is not the one registered.
    """
    artifact = folder.with_name(f"{folder.name}.tar.gz")
    digest = save(_object(s3, bucket, record, names.ARTIFACT), artifact)
    if digest != record["sha256"]:
        raise UserError(
            f"its artifact has the sha256 {digest}, and was registered with {record['sha256']}",
            _label(record),
            "It was changed in S3: restore the object's version, or take another model",
        )
    with tarfile.open(artifact) as archive:
        archive.extractall(folder, filter="data")
    artifact.unlink()
    return folder


def manifest(s3: Any, bucket: str, record: Model) -> dict[str, Any]:
    """A version's manifest. Raises UserError if it is gone."""
    found: dict[str, Any] = json.load(_object(s3, bucket, record, names.MANIFEST))
    return found


def _object(s3: Any, bucket: str, record: Model, file: str) -> Any:
    key = f"{record['prefix']}{file}"
    try:
        return s3.get_object(Bucket=bucket, Key=key)["Body"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchKey":
            raise
        fix = "Take another version: models.yml lists them"
        raise UserError(f"s3://{bucket}/{key} is gone", _label(record), fix) from None


def _label(record: Model) -> str:
    return names.model_label(record["name"], record["version"])
