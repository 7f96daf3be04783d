# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The git commit that a spec, or the collection itself, stands in."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_PATIENCE = 10  # seconds


def of(folder: Path, files: Iterable[Path]) -> dict[str, Any] | None:
    """The commit that a folder is at.

    Parameters
    ----------
    folder:
        A folder.
    files:
        The spec and what it is made of, but for the data, which has checksums.

    Returns ``id``, in hexadecimal, and ``changed``: whether one of the files is not as that commit has it.
    None where there is no git, no repository or no commit yet.
    """
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    if commit is None:
        return None
    return {"id": commit.strip(), "changed": not all(_is_committed(folder, file) for file in files)}


def described(folder: Path) -> str | None:
    """The commit that a checkout is at, in hexadecimal, and ``-dirty`` where a file has changed since.

    None where the folder is no checkout of its own, or there is no git or no commit yet.
    """
    if not (folder / ".git").exists():
        return None  # whatever repository it lies in is not its own
    told = _git(folder, "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty")
    return told and told.strip()


def _is_committed(folder: Path, file: Path) -> bool:
    # Not git's status: that passes over what is ignored, in a submodule, or behind a link.
    path = os.path.relpath(file.resolve(), folder.resolve())
    committed = _git(folder, "rev-parse", "--verify", f"HEAD:./{path}")
    return committed is not None and committed == _git(folder, "hash-object", "--", path)


def _git(folder: Path, *command: str) -> str | None:
    # A shell's GIT_DIR may mean another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", *command],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
