"""Into S3, whole and verified."""

import base64
import hashlib
from functools import partial
from pathlib import Path
from typing import Any

from boto3.s3.transfer import TransferConfig

_CHUNK = 1 << 20
_PART = 64 << 20  # bytes; S3 takes 5 GB in one request, and 10,000 parts


class UploadError(Exception):
    """What S3 gives back is not what was sent."""


def sha256_of(path: Path) -> str:
    """A file's sha256, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def send(s3: Any, bucket: str, key: str, path: Path, content_type: str) -> None:
    """Upload a file, then ask S3 for its checksum.

    Parameters
    ----------
    s3:
        A boto3 S3 client.
    bucket, key:
        Where to.
    path:
        The file.
    content_type:
        Its media type.

    Raises UploadError when what S3 holds is another.
    """
    _put(s3, bucket, key, path, content_type)
    stored = s3.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
    checksum = stored.get("ChecksumSHA256", "").partition("-")[0]  # the number of parts comes after it
    if (stored["ContentLength"], checksum) != (path.stat().st_size, _checksum(path)):
        raise UploadError(f"s3://{bucket}/{key} is not what was sent")


def upload(s3: Any, bucket: str, key: str, path: Path, content_type: str) -> None:
    """Upload a file, then read it back: what a server will load can then be read.

    Parameters are those of `send`. Raises UploadError when the object read back is another.
    """
    _put(s3, bucket, key, path, content_type)
    sha256, digest = sha256_of(path), hashlib.sha256()
    for chunk in s3.get_object(Bucket=bucket, Key=key)["Body"].iter_chunks(_CHUNK):
        digest.update(chunk)
    if digest.hexdigest() != sha256:
        raise UploadError(
            f"s3://{bucket}/{key} has the sha256 {digest.hexdigest()} after the upload of {sha256}"
        )


def _put(s3: Any, bucket: str, key: str, path: Path, content_type: str) -> None:
    """Upload a file: in one request, or in parts, of which S3 shows nothing before it has them all.

    botocore sends each with its checksum, and S3 refuses one that does not have it. The parts of an upload
    that fails are removed; those of a process that is killed, by the bucket's lifecycle.
    """
    s3.upload_file(
        str(path),
        bucket,
        key,
        ExtraArgs={"ChecksumAlgorithm": "SHA256", "ContentType": content_type},
        Config=TransferConfig(multipart_threshold=_PART + 1, multipart_chunksize=_PART),
    )


def _checksum(path: Path) -> str:
    """A file's sha256 as S3 has it, in Base64: of what came in parts, the sha256 of all of theirs.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
    """
    with path.open("rb") as file:
        parts = [hashlib.sha256(part).digest() for part in iter(partial(file.read, _PART), b"")]
    digest = parts[0] if len(parts) == 1 else hashlib.sha256(b"".join(parts)).digest()
    return base64.b64encode(digest).decode()
