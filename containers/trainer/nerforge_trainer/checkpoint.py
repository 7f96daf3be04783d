"""A training's folder in S3, so that another attempt, on another machine, goes on with it."""

import io
import json
import shutil
import tarfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from boto3.exceptions import S3UploadFailedError
from botocore.exceptions import BotoCoreError, ClientError
from nerforge_contract import names, ulid
from nerforge_contract.runs import now

from . import publish

FORMAT = 4  # changes with what a training writes into its folder
KEPT = 2
SHARE = 0.02  # of the training's time goes into saving, at most

_ABOUT = "checkpoint.json"
_PAUSES = (1, 5, 25)  # seconds between tries
_CHUNK = 1 << 20

# A training does without checkpoints rather than end for one of these.
ERRORS = (BotoCoreError, ClientError, OSError, S3UploadFailedError, publish.UploadError)

About = dict[str, Any]
Answer = TypeVar("Answer")


class Unusable(Exception):
    """A checkpoint that is damaged, or another training's; the text says which."""


class Timetable:
    """When to save: after so many seconds or steps, whichever comes first.

    The seconds are stretched where saving is slow, so that it costs at most two percent of the time.

    Parameters
    ----------
    every_seconds, every_steps:
        The spec's ``checkpoints``.
    clock:
        Seconds, monotonic.
    """

    def __init__(
        self,
        every_seconds: int,
        every_steps: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds, self._steps, self._clock = every_seconds, every_steps, clock
        self._next = clock() + every_seconds

    def is_due(self, step: int) -> bool:
        """Whether to save after this step."""
        by_steps = bool(self._steps and step > 0 and step % self._steps == 0)
        return by_steps or self._clock() >= self._next

    def saved(self, seconds: float) -> None:
        """A save, or a try at it, has just ended, and took so long."""
        self._next = self._clock() + max(self._seconds, seconds / SHARE)


class Checkpoints:
    """The checkpoints of a run.

    Parameters
    ----------
    s3:
        A boto3 S3 client.
    bucket:
        The bucket.
    run_ids:
        The run; after it those that it is a retry of, whose checkpoints are only read.
    """

    def __init__(self, s3: Any, bucket: str, run_ids: Sequence[str]) -> None:
        self._s3, self._bucket = s3, bucket
        self._own, self._run_ids = run_ids[0], run_ids
        self._whole: list[str] = []  # keys of the run's own that are known to be whole, oldest first

    def restore(self, folder: Path, mark: Mapping[str, str]) -> About | None:
        """Fill the training's empty folder from the newest checkpoint that can be used.

        Why newer ones cannot is printed.

        Parameters
        ----------
        folder:
            The training's.
        mark:
            Its fingerprint: what makes another training of it, by name.

        Returns
        -------
        The checkpoint's ``step``, ``saved`` (when) and ``bytes``; None if there is none, and the folder is
        empty.
        """
        for run_id in self._run_ids:
            for key in self._keys_to_try(run_id):
                try:
                    about = self._fetch(key, folder, mark)
                except (Unusable, *ERRORS) as error:
                    print(f"checkpoint s3://{self._bucket}/{key} is passed over: {error}", flush=True)
                    _empty(folder)
                    continue
                if run_id == self._own:
                    self._whole = [key]
                return about
        return None

    def save(self, folder: Path, mark: Mapping[str, str], step: int) -> About:
        """Put what the training's folder holds after ``step`` into S3, whole; returns what `restore` will.

        Once that is made known, call `prune`. Raises one of `ERRORS`.
        """
        key = f"{names.checkpoint_prefix(self._own)}{ulid.new()}.tar"
        about = {"step": step, "saved": now()}
        archive = _beside(folder)
        try:
            pack(folder, archive, about | {"fingerprint": dict(mark)})
            size = archive.stat().st_size
            publish.send(self._s3, self._bucket, key, archive, "application/x-tar")
        finally:
            archive.unlink(missing_ok=True)
        self._whole.append(key)
        return about | {"bytes": size}

    def prune(self) -> None:
        """Remove all of the run's own but the newest two, once two are known to be whole."""
        self._whole = self._whole[-KEPT:]
        if len(self._whole) == KEPT:
            self._remove_but(self._whole)

    def clear(self) -> None:
        """Remove all of the run's own: it needs them no more."""
        self._remove_but([])

    def _remove_but(self, kept: Sequence[str]) -> None:
        try:
            for key in self._keys(self._own):
                if key not in kept:
                    self._s3.delete_object(Bucket=self._bucket, Key=key)
        except ERRORS as error:
            print(f"old checkpoints are left to the bucket's lifecycle: {error}", flush=True)

    def _keys_to_try(self, run_id: str) -> list[str]:
        try:
            return _insist(lambda: self._keys(run_id))
        except ERRORS as error:
            print(f"the checkpoints of run {run_id} are passed over: {error}", flush=True)
            return []

    def _keys(self, run_id: str) -> list[str]:
        """Newest first, by S3's clock: the one that all attempts share."""
        pages = self._s3.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=names.checkpoint_prefix(run_id)
        )
        found = [
            (entry["LastModified"], entry["Key"]) for page in pages for entry in page.get("Contents", ())
        ]
        return [key for __, key in sorted(found, reverse=True)]

    def _fetch(self, key: str, folder: Path, mark: Mapping[str, str]) -> About:
        archive = _beside(folder)
        try:
            _insist(lambda: self._download(key, archive))
            about = unpack(archive, folder)
            size = archive.stat().st_size
        finally:
            archive.unlink(missing_ok=True)
        found = about["fingerprint"]
        others = sorted(name for name in found.keys() | mark.keys() if found.get(name) != mark.get(name))
        if others:
            raise Unusable(f"it is another training's, with another {', '.join(others)}")
        return {"step": about["step"], "saved": about["saved"], "bytes": size}

    def _download(self, key: str, path: Path) -> None:
        with path.open("wb") as file:
            for chunk in self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].iter_chunks(_CHUNK):
                file.write(chunk)


# --- a folder as one file ---


def pack(folder: Path, archive: Path, about: Mapping[str, Any]) -> None:
    """Write what a folder holds as a tar, after a member that says what it is, with a sha256 of each file."""
    paths = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*"))}
    members = {name: publish.sha256_of(path) for name, path in paths.items() if path.is_file()}
    text = json.dumps({"format": FORMAT, **about, "members": members}, indent=1).encode()
    with tarfile.open(archive, "w") as tar:
        entry = tarfile.TarInfo(_ABOUT)
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text))
        for name, path in paths.items():
            tar.add(path, name, recursive=False)


def unpack(archive: Path, folder: Path) -> dict[str, Any]:
    """Fill the empty folder with what was packed; returns what the tar says of it.

    Raises Unusable for a tar that is of another format, or not as it was written.
    """
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
        about: dict[str, Any] = json.loads((folder / _ABOUT).read_bytes())
        written, members = about["format"], about["members"]
    except (tarfile.TarError, EOFError, FileNotFoundError, ValueError, KeyError, TypeError) as error:
        raise Unusable(f"it is damaged: {error}") from None
    if written != FORMAT:
        raise Unusable(f"it is of format {written}, and this trainer reads {FORMAT}")
    (folder / _ABOUT).unlink()
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    for name in sorted(found | members.keys()):
        if name not in found or publish.sha256_of(folder / name) != members.get(name):
            raise Unusable(f"it is damaged: {name} is not as it was written")
    return about


def _beside(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.tar")


def _empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def _insist(call: Callable[[], Answer]) -> Answer:
    """Try again what AWS refused: hours of training may depend on it."""
    for pause in _PAUSES:
        try:
            return call()
        except (BotoCoreError, ClientError) as error:
            print(f"reading checkpoints again in {pause} s: {error}", flush=True)
            time.sleep(pause)
    return call()
