# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images in ECR under tags made from their content: look, build, push."""

from __future__ import annotations

import base64
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..module_utils.contract.errors import UserError


def repository_uri(ecr: Any, repository: str) -> str:
    """The repository's URI, ``<registry>/<repository>``. Raises UserError if there is no such repository."""
    try:
        return ecr.describe_repositories(repositoryNames=[repository])["repositories"][0]["repositoryUri"]
    except ecr.exceptions.RepositoryNotFoundException:
        raise UserError(
            "there is no such repository in ECR", repository, "deploy.yml makes it: run that first"
        ) from None


def digest(ecr: Any, repository: str, tag: str) -> str | None:
    """The digest of the image with this tag, ``sha256:…``, or None if ECR has none."""
    try:
        details = ecr.describe_images(repositoryName=repository, imageIds=[{"imageTag": tag}])["imageDetails"]
    except ecr.exceptions.ImageNotFoundException:
        return None
    return details[0]["imageDigest"]


def push_reference(uri: str, tag: str, registry: str | None) -> str:
    """What to push to and pull from: ECR's URI, or the same repository at ``registry`` where that is given.

    The embedded local AWS answers at its own address, not at the one its repository URIs name.
    """
    repository = uri.split("/", 1)[1]
    return f"{registry or uri.split('/', 1)[0]}/{repository}:{tag}"


def credentials(ecr: Any) -> tuple[str, str]:
    """User and password that the registry takes for the next twelve hours."""
    token = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    user, password = base64.b64decode(token).decode().split(":", 1)
    return user, password


def build_and_push(
    engine: str,
    context: Path,
    reference: str,
    login: tuple[str, str] | None,
    build_arguments: list[str],
    say: Callable[[str], None],
) -> None:
    """Build ``context`` as ``reference`` and push it, saying each line of the engine's output.

    The password goes by standard input into a configuration that is deleted afterwards.
    Raises UserError with the engine's last lines if a step fails.
    """
    with tempfile.TemporaryDirectory() as config:
        environment = os.environ | {"DOCKER_BUILDKIT": "1", "DOCKER_CONFIG": config}
        environment["REGISTRY_AUTH_FILE"] = f"{config}/auth.json"  # podman's name for the same
        _run([engine, "build", "--tag", reference, *build_arguments, str(context)], environment, say)
        if login:
            user, password = login
            registry = reference.split("/", 1)[0]
            _run(
                [engine, "login", "--username", user, "--password-stdin", registry],
                environment,
                say,
                password,
            )
        _run([engine, "push", reference], environment, say)


def _run(
    argv: list[str], environment: dict[str, str], say: Callable[[str], None], given: str | None = None
) -> None:
    process = subprocess.Popen(
        argv,
        env=environment,
        stdin=subprocess.PIPE if given is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if given is not None and process.stdin:
        process.stdin.write(given)
        process.stdin.close()
    last: list[str] = []
    for line in process.stdout or ():
        line = line.rstrip()
        if line:
            say(line)
            last = [*last[-14:], line]
    if process.wait():
        raise UserError(
            f"it ended with status {process.returncode}: " + " / ".join(last[-5:]),
            " ".join(argv[:2]),
            "Mend what the last lines say, and deploy again",
        )
