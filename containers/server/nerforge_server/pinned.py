"""The pinned model version: fetched from S3, checked against its pin, and unpacked."""

import hashlib
import json
import shutil
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from botocore.exceptions import ClientError
from nerforge_contract import names
from nerforge_contract.errors import UserError

from .settings import Settings

_CHUNK = 1 << 20  # bytes
_PROMOTE = "Promote the version again; if that does not help, train it anew."


@dataclass(frozen=True)
class Pin:
    """The model version to serve, and the checksum its artifact must have."""

    bucket: str
    name: str
    version: int
    sha256: str

    @classmethod
    def of(cls, settings: Settings) -> "Pin":
        """The pin in the settings, which must name a model; UserError if it is not whole."""
        try:
            name, version = names.parse_model_label(settings.model)
        except ValueError as error:
            raise UserError(
                str(error), names.ENV_MODEL, "Promote a version that the models table holds."
            ) from error
        for variable, value in (
            (names.ENV_MODEL_SHA256, settings.sha256),
            (names.ENV_BUCKET, settings.bucket),
        ):
            if not value:
                raise UserError(
                    f"a model is pinned but {variable} is not set",
                    names.ENV_MODEL,
                    "Let promote.yml pin the model: it sets both.",
                )
        return cls(settings.bucket, name, version, settings.sha256)

    @property
    def label(self) -> str:
        """The version as people write it, ``people:7``."""
        return names.model_label(self.name, self.version)

    def key(self, file: str) -> str:
        """The S3 key of one of the version's files."""
        return names.model_prefix(self.name, self.version) + file


def fetch(s3: Any, pin: Pin, folder: Path) -> dict[str, Any]:
    """Bring the pinned version's artifact into ``folder``, and return its manifest.

    Parameters
    ----------
    s3:
        A boto3 S3 client. What it raises over a passing fault is left to the caller, who may try again.
    folder:
        An existing folder; the artifact's name in it is `names.ARTIFACT`.

    Raises
    ------
    UserError
        A file is missing, or the manifest or the artifact is not what was pinned; which one is said.
    """
    manifest = _manifest(_body(s3, pin, names.MANIFEST).read(), pin)
    sha256 = _save(_body(s3, pin, names.ARTIFACT), folder / names.ARTIFACT)
    if sha256 != pin.sha256:
        raise UserError(
            f"the artifact's sha256 is {sha256}, but {pin.sha256} was pinned",
            _where(pin, names.ARTIFACT),
            _PROMOTE,
        )
    return manifest


def unpack(artifact: Path, folder: Path) -> None:
    """Unpack a model's tar.gz into ``folder``; UserError if it holds anything but plain files and folders."""
    try:
        with tarfile.open(artifact, "r:gz") as archive:
            for member in archive:
                path = PurePosixPath(member.name)
                if path.is_absolute() or ".." in path.parts or not (member.isfile() or member.isdir()):
                    raise UserError(f"{member.name!r} is not a plain file or folder", artifact.name, _PROMOTE)
                target = folder / path
                if member.isdir():
                    target.mkdir(parents=True, exist_ok=True)
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                content: Any = archive.extractfile(member)
                with content as source, target.open("wb") as copy:
                    shutil.copyfileobj(source, copy)
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise UserError(f"it cannot be unpacked: {error}", artifact.name, _PROMOTE) from error


def _manifest(content: bytes, pin: Pin) -> dict[str, Any]:
    where = _where(pin, names.MANIFEST)
    try:
        manifest: dict[str, Any] = json.loads(content)
        found = names.model_label(manifest["name"], manifest["version"])
        sha256 = manifest["artifact"]["sha256"]
        missing = {"run", "created", "language", "labels", "scores"} - manifest.keys()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"it is not a model's manifest ({error!r})", where, _PROMOTE) from error
    if missing:
        raise UserError(f"it does not say {', '.join(sorted(missing))}", where, _PROMOTE)
    if found != pin.label:
        raise UserError(f"it describes {found}, but {pin.label} was pinned", where, _PROMOTE)
    if sha256 != pin.sha256:
        raise UserError(f"its sha256 is {sha256}, but {pin.sha256} was pinned", where, _PROMOTE)
    return manifest


def _body(s3: Any, pin: Pin, file: str) -> Any:
    try:
        return s3.get_object(Bucket=pin.bucket, Key=pin.key(file))["Body"]
    except ClientError as error:
        if error.response["Error"]["Code"] in ("NoSuchKey", "NoSuchBucket"):
            raise UserError("it is not there", _where(pin, file), _PROMOTE) from error
        raise


def _save(body: Any, path: Path) -> str:
    """Write the stream to a file; returns the sha256 of what was written."""
    sha256 = hashlib.sha256()
    with path.open("wb") as file:
        for chunk in body.iter_chunks(_CHUNK):
            sha256.update(chunk)
            file.write(chunk)
    return sha256.hexdigest()


def _where(pin: Pin, file: str) -> str:
    return f"s3://{pin.bucket}/{pin.key(file)}"
