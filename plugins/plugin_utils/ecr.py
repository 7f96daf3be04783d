# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images in ECR: look for them, build them, push them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..module_utils.contract.errors import UserError

Say = Callable[[str], None]

_LAST_LINES = 5
_MEND = "Mend what its last lines say, and deploy again"
_BUILDX = (
    "Install Docker's buildx plugin (Debian, Ubuntu: docker-buildx; Docker's own packages: "
    "docker-buildx-plugin), and deploy again"
)


def repository_uri(ecr: Any, repository: str) -> str | None:
    """The repository's URI, ``<registry>/<repository>``, or None if there is no such repository."""
    try:
        found = ecr.describe_repositories(repositoryNames=[repository])["repositories"]
    except ecr.exceptions.RepositoryNotFoundException:
        return None
    uri: str = found[0]["repositoryUri"]
    return uri


def digest(ecr: Any, repository: str, tag: str) -> str | None:
    """The digest of the image with this tag, ``sha256:…``, or None if there is none."""
    images = ecr.batch_get_image(repositoryName=repository, imageIds=[{"imageTag": tag}])["images"]
    return images[0]["imageId"]["imageDigest"] if images else None


def authorization(ecr: Any) -> str:
    """What the registry takes as a login for the next twelve hours, as engines write it into their files."""
    token: str = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    return token


def build(
    engine: list[str],
    context: str,
    reference: str,
    labels: Mapping[str, str],
    arguments: list[str],
    say: Say,
) -> None:
    """Build the folder ``context`` as ``reference``.

    Parameters
    ----------
    engine:
        The command line of a Docker-compatible engine.
    context:
        The folder, with its Dockerfile.
    reference:
        The image's name and tag.
    labels:
        What the image says of itself.
    arguments:
        More arguments of the build.
    say:
        Gets each line of the engine's output as it comes.

    Raises UserError with the engine's last lines if it fails.
    """
    # The Dockerfiles mount secrets: a Docker of before 23.0 has to be told to use BuildKit for that.
    # Attestations hold times: with them the digest would be another at each build.
    environment = os.environ | {"DOCKER_BUILDKIT": "1", "BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
    told = [word for name, value in labels.items() for word in ("--label", f"{name}={value}")]
    _run([*engine, "build"], ["--tag", reference, *told, *arguments, context], environment, say)


def push(engine: list[str], reference: str, authorization: str | None, say: Say) -> None:
    """Push ``reference``, with a login for this alone, or None for a registry that asks for none.

    Raises UserError with the engine's last lines if it fails.
    """
    if authorization is None:
        _run([*engine, "push"], [reference], os.environ, say)
        return
    with _logged_in(reference.split("/", 1)[0], authorization) as environment:
        _run([*engine, "push"], [reference], environment, say)


@contextlib.contextmanager
def _logged_in(registry: str, authorization: str) -> Iterator[dict[str, str]]:
    """An environment in which Docker and podman are logged in at ``registry``.

    The login stands in a folder of its own. From the user's own settings only the context is taken over: it
    says where the engine is.
    """
    own = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    settings: dict[str, Any] = {"auths": {registry: {"auth": authorization}}}
    with contextlib.suppress(OSError, ValueError, KeyError):
        settings["currentContext"] = json.loads((own / "config.json").read_text())["currentContext"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "contexts").symlink_to(own / "contexts")
        (folder / "config.json").write_text(json.dumps(settings))
        yield os.environ | {"DOCKER_CONFIG": name, "REGISTRY_AUTH_FILE": str(folder / "config.json")}


def _run(command: list[str], arguments: list[str], environment: Mapping[str, str], say: Say) -> None:
    try:
        process = subprocess.Popen(
            [*command, *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise UserError(
            f"it cannot be started ({error.strerror})", command[0], "Give the command line of an engine"
        ) from None
    last: deque[str] = deque(maxlen=_LAST_LINES)
    with process:
        for line in process.stdout or ():
            if line := line.rstrip():
                say(line)
                last.append(line.strip())
    if process.returncode:
        words = " / ".join(last)
        raise UserError(
            f"{' '.join(command)} ended with status {process.returncode}, after: {words}",
            arguments[-1],
            _BUILDX if "buildx component is missing" in words else _MEND,
        )
