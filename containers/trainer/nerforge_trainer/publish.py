"""Into S3, whole and verified."""

import base64
import hashlib
from pathlib import Path
from typing import Any

_CHUNK = 1 << 20


class UploadError(Exception):
    """What S3 gives back is not what was sent."""


def sha256_of(path: Path) -> str:
    """A file's sha256, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def send(s3: Any, bucket: str, key: str, path: Path, content_type: str) -> str:
    """Upload a file in one request, which S3 refuses if the body does not have the checksum.

    Parameters
    ----------
    s3:
        A boto3 S3 client.
    bucket, key:
        Where to.
    path:
        The file, at most 5 GB.
    content_type:
        Its media type.

    Returns
    -------
    The checksum: sha256, in Base64, as S3 writes it.
    """
    checksum = base64.b64encode(bytes.fromhex(sha256_of(path))).decode()
    with path.open("rb") as body:
        s3.put_object(
            Bucket=bucket,
            Key=key,
            Body=body,
            ContentType=content_type,
            ChecksumAlgorithm="SHA256",
            ChecksumSHA256=checksum,
        )
    return checksum


def upload(s3: Any, bucket: str, key: str, path: Path, content_type: str) -> None:
    """Upload a file, then read it back: what a server will load can then be read.

    Parameters are those of `send`. Raises UploadError when the object read back is another.
    """
    send(s3, bucket, key, path, content_type)
    sha256, digest = sha256_of(path), hashlib.sha256()
    for chunk in s3.get_object(Bucket=bucket, Key=key)["Body"].iter_chunks(_CHUNK):
        digest.update(chunk)
    if digest.hexdigest() != sha256:
        raise UploadError(
            f"s3://{bucket}/{key} has the sha256 {digest.hexdigest()} after the upload of {sha256}"
        )
