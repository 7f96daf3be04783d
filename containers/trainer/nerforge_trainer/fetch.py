"""The data of a run, out of S3 and checked."""

import hashlib
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from botocore.exceptions import ClientError
from nerforge_contract import corpus
from nerforge_contract.corpus import Example
from nerforge_contract.errors import UserError

_CHUNK = 1 << 20
_SUBMIT_AGAIN = "submit the spec again with train.yml, which uploads what is not there"


@dataclass(frozen=True)
class Part:
    """One part of the data: train, dev or test.

    Parameters
    ----------
    examples:
        What it holds.
    where:
        What the user calls its file.
    source:
        The file's ``key``, ``sha256`` and ``format``, as the run's spec has them.
    """

    examples: list[Example]
    where: str
    source: dict[str, str]


def fetch_parts(s3: Any, bucket: str, spec: dict[str, Any], folder: Path) -> dict[str, Part]:
    """Download, verify and read train, dev and, where there is one, test; ``all`` is cut into the three.

    Parameters
    ----------
    s3:
        A boto3 S3 client.
    bucket:
        The bucket the spec's keys are in.
    spec:
        The run's spec.
    folder:
        Where the files go.

    Raises
    ------
    UserError
        A file that is gone, is not the one submitted, or is not as its format has it.
    """
    data = spec["data"]
    if "all" in data:
        whole = _fetch_part(s3, bucket, "all", data["all"], spec["language"], folder)
        cuts = corpus.split(whole.examples, data["split"])
        return {
            part: Part(examples, whole.where, whole.source)
            for part, examples in zip(("train", "dev", "test"), cuts, strict=True)
        }
    return {
        part: _fetch_part(s3, bucket, part, data[part], spec["language"], folder)
        for part in ("train", "dev", "test")
        if part in data
    }


def fetch_archive(s3: Any, bucket: str, source: dict[str, str], folder: Path) -> tuple[Path, str]:
    """Download and verify the transformer's archive; returns its path, and what the user calls it."""
    path = folder / "transformer.tar"
    return path, _fetch(s3, bucket, "transformer", source, path)


def held_out(parts: Container[str]) -> str:
    """Which of these parts a model is scored on: test, or dev where there is none."""
    return "test" if "test" in parts else "dev"


def _fetch_part(s3: Any, bucket: str, part: str, source: dict[str, str], language: str, folder: Path) -> Part:
    path = folder / f"{part}.data"
    where = _fetch(s3, bucket, f"data.{part}", source, path)
    examples = corpus.read(path, source["format"], where, language)
    path.unlink()
    return Part(examples, where, {key: source[key] for key in ("key", "sha256", "format")})


def _fetch(s3: Any, bucket: str, field: str, source: dict[str, str], path: Path) -> str:
    """Save a file of the spec's; returns what the user calls it."""
    where = f"{field}: {PurePosixPath(source['from']).name}"  # as the submission calls it
    digest = _download(s3, bucket, source["key"], path, where)
    if digest != source["sha256"]:
        raise UserError(
            f"s3://{bucket}/{source['key']} has the sha256 {digest}, not {source['sha256']}",
            where,
            f"Put the right file in its place; or delete it, and {_SUBMIT_AGAIN}",
        )
    return where


def _download(s3: Any, bucket: str, key: str, path: Path, where: str) -> str:
    """Save an object; returns its sha256."""
    try:
        body = s3.get_object(Bucket=bucket, Key=key)["Body"]
    except ClientError as error:
        if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
            fix = f"Put that file back there; or {_SUBMIT_AGAIN}"
            raise UserError(f"s3://{bucket}/{key} is gone", where, fix) from None
        raise
    return save(body, path)


def save(body: Any, path: Path) -> str:
    """Write the body of an S3 object into a file; returns its sha256, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for chunk in body.iter_chunks(_CHUNK):
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()
