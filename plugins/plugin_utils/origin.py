# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an image says of the sources that it was built from."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from . import commit


def labels(collection: Path) -> dict[str, str]:
    """An image's labels, as the OCI names them.

    Parameters
    ----------
    collection:
        The collection's folder: a git checkout, or where ansible-galaxy has put it, which has no commit.

    See https://github.com/opencontainers/image-spec/blob/main/annotations.md
    """
    told = {"org.opencontainers.image.version": _version(collection)}
    if revision := commit.described(collection):
        told["org.opencontainers.image.revision"] = revision
    return told


def _version(collection: Path) -> str:
    installed = collection / "MANIFEST.json"
    version: str = (
        json.loads(installed.read_text())["collection_info"]["version"]
        if installed.exists()
        else yaml.safe_load((collection / "galaxy.yml").read_text())["version"]
    )
    return version
