# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files a spec names: found or fetched, verified, and put into the bucket under their checksum."""

from __future__ import annotations

import functools
import hashlib
import http.client
import urllib.error
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ansible.module_utils.urls import open_url

from ..module_utils.contract import corpus, names
from ..module_utils.contract.errors import UserError
from .session import aws_errors
from .wording import Progress, Say, size

_CHUNK = 1 << 20
_TIMEOUT = 30  # seconds without a byte
_GONE = frozenset({"404", "NoSuchKey", "NoSuchBucket", "NotFound"})


@dataclass(frozen=True)
class Dataset:
    """One verified file: of examples, or a transformer's archive.

    Parameters
    ----------
    field:
        The spec's field that names it, such as ``data.train``.
    origin:
        Where the spec has it from, without secrets.
    path:
        Where it lies now.
    sha256:
        Its checksum.
    format:
        ``conll``, ``jsonl`` or ``spacy``; ``tar`` of an archive.
    """

    field: str
    origin: str
    path: Path
    sha256: str
    format: str

    @property
    def part(self) -> str:
        """Which part of the data it is: ``train``, ``dev``, ``test`` or ``all``."""
        return self.field.rpartition(".")[2]

    @property
    def name(self) -> str:
        """The file's own name."""
        return PurePosixPath(self.origin).name

    @property
    def where(self) -> str:
        """What errors in it begin with."""
        return f"{self.field}: {self.name}"

    @property
    def key(self) -> str:
        """Its key in the bucket."""
        return names.dataset_key(self.sha256, f".{self.format}")

    @property
    def size(self) -> str:
        """Its size, in words."""
        return size(self.path.stat().st_size)

    def submitted(self) -> dict[str, str]:
        """The source as a run's record has it."""
        return {"from": self.origin, "key": self.key, "sha256": self.sha256, "format": self.format}


class Shelf:
    """Finds and keeps the files of one spec.

    Parameters
    ----------
    s3:
        An S3 client.
    bucket:
        The project's bucket, which may hold copies; None: no deployment is meant.
    folder:
        The spec's folder, from which relative paths go.
    scratch:
        A folder for what is downloaded.
    data_dir:
        A folder of copies: a file in it that has a source's checksum stands in for the source.
    say:
        Takes a line of progress.
    """

    def __init__(
        self, s3: Any, bucket: str | None, folder: Path, scratch: Path, data_dir: Path | None, say: Say
    ) -> None:
        if data_dir and not data_dir.is_dir():
            raise UserError(
                "no such folder", f"data_dir: {data_dir}", "Give a folder, or leave data_dir out."
            )
        self._s3, self._bucket, self._say = s3, bucket, say
        self._folder, self._scratch, self._data_dir = folder, scratch, data_dir

    def find(self, part: str, source: dict[str, str]) -> Dataset:
        """A part's file, on this machine and verified.

        Raises UserError if it cannot be had, or is not the one whose checksum the spec gives.
        """
        return self._find(f"data.{part}", source, source.get("format"))

    def find_archive(self, field: str, source: dict[str, str]) -> Dataset:
        """The tar that a field names, in the same way."""
        return self._find(field, source, "tar")

    def _find(self, field: str, source: dict[str, str], format: str | None) -> Dataset:
        origin, wanted = public(source["from"]), source.get("sha256")
        where = f"{field}: {PurePosixPath(origin).name}"
        format = format or _format(origin, where)
        path = wanted and (self._copies.get(wanted) or (self._bucket and self._uploaded(wanted, format)))
        path = path or self._fetch(source["from"], where)
        found = checksum(path)
        if wanted and found != wanted:
            raise UserError(
                f"its sha256 is {found}, and the spec says {wanted}",
                where,
                "Get the file the spec means, or give this one's sha256.",
            )
        return Dataset(field, origin, path, found, format)

    def keep(self, dataset: Dataset) -> bool:
        """Put the file into the bucket, unless it is there. Returns whether it had to be uploaded."""
        if self._has(dataset.key):
            return False
        if checksum(dataset.path) != dataset.sha256:  # else its key would hold another file for good
            raise UserError("it has changed since it was read", dataset.where, "Submit the spec again.")
        length = dataset.path.stat().st_size
        progress = Progress(f"uploading {dataset.name}", length, self._say)
        with dataset.path.open("rb") as file:
            self._s3.upload_fileobj(file, self._bucket, dataset.key, Callback=progress)
        return True

    # --- where a source may lie ---

    @functools.cached_property
    def _copies(self) -> dict[str, Path]:
        if self._data_dir is None:
            return {}
        files = [path for path in sorted(self._data_dir.rglob("*")) if path.is_file()]
        self._say(f"looking for the data among {len(files)} files in {self._data_dir}")
        sizes = [path.stat().st_size for path in files]
        progress = Progress(f"reading {self._data_dir}", sum(sizes), self._say)
        copies = {}
        for path, length in zip(files, sizes, strict=True):
            copies[checksum(path)] = path
            progress(length)
        return copies

    def _uploaded(self, wanted: str, format: str) -> Path | None:
        key = names.dataset_key(wanted, f".{format}")
        return self._download(self._bucket, key) if self._bucket and self._has(key) else None

    def _fetch(self, origin: str, where: str) -> Path:
        if origin.startswith("https://"):
            target = self._scratch / hashlib.sha256(origin.encode()).hexdigest()
            download(origin, target, where, self._say)
            return target
        if origin.startswith("s3://"):
            bucket, __, key = origin.removeprefix("s3://").partition("/")
            return self._given_object(bucket, key, origin, where)
        path: Path | str
        try:
            path = self._folder / Path(origin).expanduser()
            if path.is_file():
                return path
            what = "is a folder" if path.is_dir() else "no such file"
        except (OSError, RuntimeError) as error:  # a folder that may not be entered, a ~user that is none
            what, path = f"cannot be read: {getattr(error, 'strerror', None) or error}", origin
        raise UserError(
            what, f"{where} ({path})", "Paths go from the spec's folder; mend it, or put the file there."
        )

    def _given_object(self, bucket: str, key: str, origin: str, where: str) -> Path:
        try:
            return self._download(bucket, key)
        except aws_errors() as error:
            code = getattr(error, "response", {}).get("Error", {}).get("Code", "")
            if code in _GONE:
                raise UserError(
                    f"there is no {origin}", where, "Mend the URL, or upload the file there."
                ) from error
            if code in ("403", "AccessDenied"):
                fix = "Use credentials that may read it, or give a path."
                raise UserError(f"access to {origin} is denied", where, fix) from error
            raise

    def _has(self, key: str) -> bool:
        try:
            self._s3.head_object(Bucket=self._bucket, Key=key)
        except self._s3.exceptions.ClientError as error:
            if error.response["Error"]["Code"] in _GONE:
                return False
            raise
        return True

    def _download(self, bucket: str, key: str) -> Path:
        target = self._scratch / hashlib.sha256(f"{bucket}/{key}".encode()).hexdigest()
        progress = Progress(f"downloading s3://{bucket}/{key}", None, self._say)
        self._s3.download_file(bucket, key, str(target), Callback=progress)
        return target


def public(origin: str) -> str:
    """A source as it may be shown and recorded: a URL without user and query, which may be secrets."""
    if not origin.startswith("https://"):
        return origin
    url = urllib.parse.urlsplit(origin)
    return f"https://{url.netloc.rpartition('@')[2]}{url.path}"


def download(url: str, target: Path, where: str, say: Say) -> None:
    """Fetch ``url`` into the file ``target``. Raises UserError, at ``where``, if it cannot be had."""
    shown = public(url)
    fix = "Check the address and the network, or give data_dir=FOLDER, a folder that holds the file."
    try:
        with (
            open_url(url, http_agent="nerforge", timeout=_TIMEOUT) as answer,
            target.open("wb") as file,
        ):
            total = answer.headers.get("Content-Length")
            say(f"downloading {shown}{f' ({size(int(total))})' if total else ''}")
            progress = Progress(
                f"downloading {PurePosixPath(shown).name}", int(total) if total else None, say
            )
            for chunk in _chunks(answer.read):
                file.write(chunk)
                progress(len(chunk))
    except urllib.error.HTTPError as error:
        raise UserError(f"{shown} answered {error.code} {error.reason}", where, fix) from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise UserError(f"{shown} cannot be fetched: {reason}", where, fix) from error


def checksum(path: Path) -> str:
    """The file's SHA-256, in hexadecimal. Raises UserError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", str(path), "Mend its permissions.") from error


def _chunks(read: Callable[[int], bytes]) -> Iterator[bytes]:
    return iter(functools.partial(read, _CHUNK), b"")


def _format(origin: str, where: str) -> str:
    try:
        return corpus.format_of(PurePosixPath(origin).name)
    except UserError as error:
        raise UserError(error.what, where, error.fix) from error
