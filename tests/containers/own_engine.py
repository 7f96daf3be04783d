"""An engine of the tests' own: Debian's, which leaves nothing of itself behind."""

import errno
import hashlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NoReturn

from . import debian
from .engine import Engine, build_arguments

PACKAGES = ("docker.io", "debootstrap", "iproute2")
START_SECONDS = 60
STOP_SECONDS = 60
# Where an engine keeps what no setting puts elsewhere.
PLACES = ("/etc/docker", "/opt/containerd", "/run/containerd", "/run/docker")
HIDE = 'for place in {}; do mount -t tmpfs tmpfs "$place" || exit; done; exec "$@"'.format(" ".join(PLACES))
# As the tasks' containers are run, with an image of one program.
CONFINED = (
    *("--memory=64m", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"),
    *("--user=10001:10001", "probe", "/tini-static", "--version"),
)
# The words of a kernel that does not let its root run containers, or was built without what they need.
REFUSALS = [
    os.strerror(code).lower()
    for code in (errno.EPERM, errno.EACCES, errno.EROFS, errno.ENOSYS, errno.EOPNOTSUPP)
]
REFUSALS += ["isn't mounted", "unknown device type"]  # cgroups, bridges


class Forbidden(Exception):
    """This machine runs no containers, for anybody; what its kernel said."""


class Place:
    """What an engine has outside its folder, under names made from the folder's.

    Two checkouts on one machine have two engines, and one that was killed is cleaned up after by the next.
    """

    def __init__(self, folder: Path) -> None:
        number = hashlib.sha256(str(folder).encode()).hexdigest()
        self.name = f"nerforge{number[:6]}"  # a network interface's has 15 characters at most
        # Not below the folder: the path of a socket has to be short.
        self.socket = Path("/tmp", f"{self.name}.sock")
        # 198.18.0.0/15 is for tests of networks (RFC 2544), so that no network of the machine has it.
        self.address = f"198.{18 + int(number[6:8], 16) % 2}.{int(number[8:10], 16)}.1/24"


@contextmanager
def own_engine(folder: Path, base_image: str) -> Iterator[Engine]:
    """Debian's engine, started here and ended again.

    It has a view of its own of processes and mounts, so that with it all of its containers end and nothing
    stays mounted. It touches no firewall and forwards nothing: builds use the machine's network, and tasks
    reach this machine alone, so that none can fetch anything from elsewhere.

    Parameters
    ----------
    folder:
        For what it needs. Programs and the base image's files stay there for the next time.
    base_image:
        The name under which it has a base image.

    Raises Forbidden where the kernel does not let it run containers.
    """
    programs = debian.unpack(folder / "root", *PACKAGES)
    place, data, log = Place(folder), folder / "data", folder / "dockerd.log"
    _clean(place, data, programs)
    with ExitStack() as undo:
        undo.enter_context(_mount_points())
        undo.callback(_clean, place, data, programs)
        _make_bridge(place, programs)
        dockerd = _start(place, data, programs, log)
        undo.callback(_end, dockerd)
        binaries = folder / "root" / "usr" / "bin"
        told = ["--network", "host", *build_arguments(folder)]
        # Docker's command line writes a number of its own into the folder of its settings when it builds.
        environment = {"DOCKER_HOST": f"unix://{place.socket}", "DOCKER_CONFIG": str(folder / "settings")}
        engine = Engine(str(binaries / "docker"), environment, told)
        _await(engine, dockerd, log)
        _try_a_container(engine, binaries)
        debian.base(folder / "base", programs)
        engine.import_image(base_image, folder / "base")
        yield engine


@contextmanager
def _mount_points() -> Iterator[None]:
    """Have the places that a tmpfs goes over, and remove those that were not there."""
    made = [Path(name) for name in PLACES if not Path(name).exists()]
    for each in made:
        each.mkdir(parents=True)
    try:
        yield
    finally:
        for each in made:
            with suppress(OSError):  # another engine has come
                each.rmdir()


def _start(place: Place, data: Path, programs: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    command = [
        *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
        *("sh", "-c", HIDE, "sh", "dockerd"),
        *(f"--host=unix://{place.socket}", f"--data-root={data}", "--pidfile=/run/docker/docker.pid"),
        *(f"--bridge={place.name}", "--iptables=false", "--ip-masq=false", "--ip-forward=false"),
        *(f"--cgroup-parent=/{place.name}", "--exec-opt=native.cgroupdriver=cgroupfs"),
    ]
    return debian.start(command, programs, log)


def _make_bridge(place: Place, programs: Mapping[str, str]) -> None:
    for told in (
        ["link", "add", "name", place.name, "type", "bridge"],
        ["address", "add", place.address, "dev", place.name],
        ["link", "set", place.name, "up"],
    ):
        done = subprocess.run(
            ["ip", *told], env=os.environ | programs, capture_output=True, text=True, check=False
        )
        if done.returncode:
            refuse(done.stderr)


def _await(engine: Engine, dockerd: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            engine("version")
            return
        except subprocess.CalledProcessError:
            if dockerd.poll() is not None or time.monotonic() > deadline:
                refuse(log.read_text())
            time.sleep(0.2)


def _try_a_container(engine: Engine, binaries: Path) -> None:
    try:
        engine.import_image("probe", binaries, "tini-static")
        engine("run", "--rm", *CONFINED)
    except subprocess.CalledProcessError as error:
        raise Forbidden(_last_words(error.stderr)) from None
    if engine("info", "--format", "{{.MemoryLimit}}") != "true":
        raise Forbidden("its kernel does not limit a container's memory")


def refuse(said: str) -> NoReturn:
    """Raise Forbidden if a program has failed because the kernel did not let it, else AssertionError."""
    words = _last_words(said)
    if any(refusal in words.lower() for refusal in REFUSALS):
        raise Forbidden(words)
    raise AssertionError(f"no engine: {words}")


def _last_words(said: str) -> str:
    """The last line that neither is of a log nor points to help."""
    lines = [line for line in said.splitlines() if line.strip()]
    told = [line for line in lines if " level=" not in line and "--help" not in line]
    return (told or lines or ["nothing"])[-1].strip()


def _end(dockerd: subprocess.Popen[bytes]) -> None:
    """Kill the first process of the namespace, and so all of them; unshare ends once they are gone."""
    children = Path(f"/proc/{dockerd.pid}/task/{dockerd.pid}/children")
    if dockerd.poll() is None:
        for child in children.read_text().split():
            with suppress(ProcessLookupError):  # it has just ended by itself
                os.kill(int(child), signal.SIGKILL)
    dockerd.wait(STOP_SECONDS)


def _clean(place: Place, data: Path, programs: Mapping[str, str]) -> None:
    """Remove what an engine leaves, this one or one before it that was killed."""
    subprocess.run(["rm", "-rf", data, place.socket], check=True)
    remove_groups(place.name)
    subprocess.run(
        ["ip", "link", "delete", place.name], env=os.environ | programs, capture_output=True, check=False
    )


def remove_groups(name: str, groups: Path = Path("/sys/fs/cgroup")) -> None:
    """Remove the cgroups below one of this name, of version 2 or of each of version 1's kinds."""
    # Of version 1's kinds some have two names more, which are links.
    for folder in {found.resolve() for found in (*groups.glob(name), *groups.glob(f"*/{name}"))}:
        subprocess.run(["find", folder, "-depth", "-type", "d", "-exec", "rmdir", "{}", "+"], check=True)
