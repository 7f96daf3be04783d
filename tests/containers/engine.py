"""A Docker engine, asked by its command line."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


class Engine:
    """A Docker engine, asked by its command line.

    Parameters
    ----------
    command:
        Docker's command line.
    environment:
        What that needs beside the shell's own.
    build_arguments:
        What builds need here, and elsewhere do not.
    """

    def __init__(self, command: str, environment: Mapping[str, str], build_arguments: list[str]) -> None:
        self.command = command
        self.environment = dict(environment)
        self.build_arguments = build_arguments

    def __call__(self, *arguments: str | Path, stdin: Any = subprocess.DEVNULL) -> str:
        """What a command of the engine prints. Raises CalledProcessError if it fails."""
        done = subprocess.run(
            [self.command, *arguments],
            env=os.environ | self.environment | {"DOCKER_BUILDKIT": "1"},
            stdin=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            print(
                f"$ docker {' '.join(map(str, arguments))}  (exit {done.returncode})\n{done.stderr[-4000:]}"
            )
        done.check_returncode()
        return done.stdout.strip()

    def inspect(self, what: str) -> dict[str, Any]:
        """What the engine tells of a container or an image."""
        return json.loads(self("inspect", what))[0]

    def containers(self, cluster: str, name: str) -> list[dict[str, Any]]:
        """The running containers that a cluster of ECS started under this name, the newest first."""
        label = f"label=com.amazonaws.ecs.container-name={name}"
        found = (self._try_inspect(each) for each in self("ps", "--quiet", "--filter", label).split())
        return [
            container
            for container in found
            if container
            and container["Config"]["Labels"]["com.amazonaws.ecs.cluster"].endswith(f"/{cluster}")
        ]

    def _try_inspect(self, container: str) -> dict[str, Any] | None:
        try:
            return self.inspect(container)
        except subprocess.CalledProcessError:
            return None  # it has ended meanwhile

    def volumes(self) -> set[str]:
        """The names of all volumes."""
        return set(self("volume", "ls", "--quiet").split())

    def images(self, pattern: str) -> list[str]:
        """The images whose repository matches, by tag, or by digest where they have none."""
        shown = self(
            *("image", "ls", "--digests", "--filter", f"reference={pattern}"),
            *("--format", "{{.Repository}} {{.Tag}} {{.Digest}}"),
        )
        rows = [line.split() for line in shown.splitlines()]
        return [
            f"{repository}@{digest}" if tag == "<none>" else f"{repository}:{tag}"
            for repository, tag, digest in rows
        ]

    def forget(self, pattern: str) -> None:
        """Remove the images whose repository matches; what has another name besides stays under that."""
        for image in self.images(pattern):
            self("image", "rm", "--force", image)

    def import_image(self, name: str, folder: Path, inside: str = ".") -> None:
        """Make an image of a folder, or of one thing in it."""
        tar = subprocess.Popen(["tar", "--create", "--directory", folder, inside], stdout=subprocess.PIPE)
        with tar:
            self("import", "-", name, stdin=tar.stdout)
        assert tar.returncode == 0


def build_arguments(folder: Path) -> list[str]:
    """Have builds ask the index that this machine's pip asks, by the certificates that it trusts.

    What they are told lies in ``folder``.
    """
    settings = {"cert": "/run/secrets/ca_bundle"} if CERTIFICATES.exists() else {}
    if index := os.environ.get("PIP_INDEX_URL"):
        settings["index-url"] = index
    pip_conf = folder / "pip.conf"
    pip_conf.write_text("".join(f"{line}\n" for line in ("[global]", *map(" = ".join, settings.items()))))
    secrets = {"pip_conf": pip_conf} | ({"ca_bundle": CERTIFICATES} if CERTIFICATES.exists() else {})
    return [word for name, file in secrets.items() for word in ("--secret", f"id={name},src={file}")]


def found(folder: Path) -> Engine | None:
    """The engine that answers the shell's docker, if one does; ``folder`` is for what its builds need."""
    docker = shutil.which("docker")
    if docker is None:
        return None
    try:
        Engine(docker, {}, [])("version", "--format", "{{.Server.Version}}")
    except subprocess.CalledProcessError:
        return None
    return Engine(docker, {}, build_arguments(folder))
