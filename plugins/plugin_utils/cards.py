# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The card of a model version, fetched to this machine and opened in the browser."""

from __future__ import annotations

import os
import sys
import webbrowser
from collections.abc import Mapping
from pathlib import Path

from ..module_utils.contract import names
from ..module_utils.contract.errors import UserError
from ..module_utils.contract.models import Model
from .session import Aws, aws_errors, is_missing

_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")


def fetch(aws: Aws, bucket: str, record: Model) -> bytes:
    """The page of a version's card. Raises UserError if it has none."""
    label = names.model_label(record["name"], record["version"])
    key = names.model_prefix(record["name"], record["version"]) + names.CARD_PAGE
    try:
        page: bytes = aws.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        return page
    except aws_errors() as error:
        if is_missing(error):
            what = f"it has no page: there is no s3://{bucket}/{key}"
            fix = (
                "Either it is older than cards are, or its trainer's log says why. "
                f"For its figures: models.yml -e model={label}."
            )
            raise UserError(what, label, fix) from error
        raise


def is_kept(path: Path, page: bytes) -> bool:
    """Whether the file holds the page already."""
    return path.is_file() and path.read_bytes() == page


def keep(path: Path, page: bytes) -> None:
    """Write the page for its owner's eyes: it quotes the data. Raises UserError if that cannot be."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(page)
        draft.replace(path)
    except OSError as error:
        fix = "Name another folder."
        raise UserError(f"the card cannot be written there ({error.strerror})", str(path), fix) from error


def show(path: Path, environment: Mapping[str, str] | None = None, platform: str = sys.platform) -> bool:
    """Open a file in the browser, if there is a display to show it on. Returns whether one was opened."""
    environment = os.environ if environment is None else environment
    if platform != "darwin" and not any(environment.get(name) for name in _DISPLAYS):
        return False  # else a browser of the terminal would take it over
    return webbrowser.open(path.resolve().as_uri())
