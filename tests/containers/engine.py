"""A Docker engine: the one that answers, or one of the tests' own."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from . import debian

START_SECONDS = 60
STOP_SECONDS = 60
BRIDGE = "docker0"
BASE = "python:3.11-slim-bookworm"
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

    def containers(self, name: str) -> list[dict[str, Any]]:
        """The running containers that ECS started under this name, the newest first."""
        label = f"label=com.amazonaws.ecs.container-name={name}"
        found = (self._try_inspect(each) for each in self("ps", "--quiet", "--filter", label).split())
        return [container for container in found if container]

    def _try_inspect(self, container: str) -> dict[str, Any] | None:
        try:
            return self.inspect(container)
        except subprocess.CalledProcessError:
            return None  # it has ended meanwhile


def engine(folder: Path, environment: dict[str, str]) -> AbstractContextManager[Engine]:
    """The engine that answers the shell's docker; without one, Debian's, started here and stopped again.

    Parameters
    ----------
    folder:
        For what the own engine needs. The base image's files stay there for the next time.
    environment:
        In which Debian's programs run.
    """
    if docker := shutil.which("docker"):
        theirs = Engine(docker, {}, [])
        try:
            theirs("version", "--format", "{{.Server.Version}}")
        except subprocess.CalledProcessError:
            pass
        else:
            return nullcontext(theirs)
    return _own_engine(folder, environment)


@contextmanager
def _own_engine(folder: Path, environment: dict[str, str]) -> Iterator[Engine]:
    data = folder / "data"
    _end_leftover(folder)
    _remove(data)
    had_bridge = Path("/sys/class/net", BRIDGE).exists()
    # Not below the folder: the path of a socket has to be short.
    with tempfile.TemporaryDirectory(prefix="nerforge-", ignore_cleanup_errors=True) as short:
        socket = f"unix://{short}/docker.sock"
        # It touches no firewall and forwards nothing: builds use the machine's network, and tasks reach this
        # machine alone, so that none can fetch anything from elsewhere.
        daemon = [
            "dockerd", f"--host={socket}", f"--data-root={data}", f"--exec-root={short}/exec",
            f"--pidfile={folder / 'dockerd.pid'}",
            "--iptables=false", "--ip-masq=false", "--ip-forward=false",
        ]  # fmt: skip
        with (folder / "dockerd.log").open("wb") as log:
            dockerd = subprocess.Popen(
                daemon,
                env=os.environ | environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            docker = folder / "root" / "usr" / "bin" / "docker"
            own = Engine(str(docker), {"DOCKER_HOST": socket}, _build_arguments(folder))
            _await(own, dockerd, folder / "dockerd.log")
            _import_base(own, debian.base(folder, environment))
            yield own
            for container in own("ps", "--all", "--quiet").split():
                own("rm", "--force", "--volumes", container)
        finally:
            _end(dockerd)
            _remove(data)
            if not had_bridge:
                subprocess.run(["ip", "link", "delete", BRIDGE], env=os.environ | environment, check=False)


def _build_arguments(folder: Path) -> list[str]:
    """Builds ask the index that this machine's pip asks, by the certificates that it trusts."""
    pip_conf = folder / "pip.conf"
    pip_conf.write_text("[global]\ncert = /run/secrets/ca_bundle\n")
    if index := os.environ.get("PIP_INDEX_URL"):
        pip_conf.write_text(f"{pip_conf.read_text()}index-url = {index}\n")
    secrets = {"pip_conf": pip_conf, "ca_bundle": CERTIFICATES}
    told = [word for name, file in secrets.items() for word in ("--secret", f"id={name},src={file}")]
    return ["--network", "host", *told]


def _await(engine: Engine, dockerd: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            engine("version")
            return
        except subprocess.CalledProcessError:
            if dockerd.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(
                    f"dockerd does not answer; it says:\n{log.read_text()[-4000:]}"
                ) from None
            time.sleep(0.2)


def _import_base(engine: Engine, root: Path) -> None:
    """Make the image that the Dockerfiles start from, under the name that they know it by."""
    tar = subprocess.Popen(["tar", "--directory", root, "--create", "."], stdout=subprocess.PIPE)
    with tar:
        engine("import", "-", BASE, stdin=tar.stdout)
    assert tar.returncode == 0


def _end_leftover(folder: Path) -> None:
    """End the engine of tests that were killed."""
    try:
        pid = int((folder / "dockerd.pid").read_text())
        ours = str(folder / "data") in Path(f"/proc/{pid}/cmdline").read_text()
    except (OSError, ValueError):
        return
    if ours:
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
            time.sleep(0.1)


def _end(dockerd: subprocess.Popen[bytes]) -> None:
    dockerd.terminate()
    try:
        dockerd.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        dockerd.kill()
        dockerd.wait()


def _remove(data: Path) -> None:
    """Remove an engine's data, which may still have mounts of containers that were killed."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in reversed([mount for mount in mounts if Path(mount).is_relative_to(data)]):
        subprocess.run(["umount", "--lazy", mount], check=False)
    shutil.rmtree(data, ignore_errors=True)
