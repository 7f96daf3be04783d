"""Starts, stops and removes the local AWS: the emulator, and the process runner where there is no Docker
engine.

Says on standard output, as JSON, whether it changed anything; what went wrong goes to standard error.
"""

import argparse
import contextlib
import errno
import hashlib
import http.client
import ipaddress
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import process_runner
from processes import identity

HERE = Path(__file__).resolve().parent
SOURCES = (
    "local_aws.py",
    "launcher.py",
    "container_options.py",
    "process_runner.py",
    "processes.py",
    "requirements.txt",
)
DOCKER_SOCKET = "unix:///var/run/docker.sock"
LOOPBACK = "127.0.0.1"
START_SECONDS = 60
# A task gets its stopTimeout, 120 s at most, before it is killed.
STOP_SECONDS = 150
SOCKET_PATH_LIMIT = 100
LOG_LINES = 20


class Failure(Exception):
    """What the user is told: what went wrong, and how to mend it."""


class Home:
    """The folder of one local AWS, and what lies where in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record = folder / "processes.json"
        self.containers = folder / "containers"
        self.logs = folder / "logs"

    @property
    def socket(self) -> Path:
        """The process runner's socket: elsewhere for a deep home, since a unix socket's path is short."""
        inside = self.folder / "docker.sock"
        if len(str(inside)) <= SOCKET_PATH_LIMIT:
            return inside
        name = hashlib.sha256(str(self.folder).encode()).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"nerforge-{os.getuid()}" / f"{name}.sock"

    def log(self, name: str) -> Path:
        """The log of one of the processes."""
        return self.logs / f"{name}.log"

    def processes(self) -> dict[str, dict[str, Any]]:
        """The processes that were started, by name; each with ``pid``, ``identity`` and ``settings``."""
        try:
            return json.loads(self.record.read_text())
        except FileNotFoundError:
            return {}

    def save(self, processes: dict[str, dict[str, Any]]) -> None:
        """Record the processes that were started."""
        draft = self.record.with_suffix(".new")
        draft.write_text(json.dumps(processes, indent=2))
        draft.replace(self.record)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask(url: str, path: str) -> bytes | None:
    """The body of a 200 from ``path`` at a ``unix://``, ``tcp://`` or ``http://`` url; None for anything
    else.
    """
    parts = urlsplit(url)
    if parts.scheme == "unix":
        connection: http.client.HTTPConnection = _UnixConnection(parts.path, timeout=5)
    elif parts.scheme in ("tcp", "http") and parts.hostname:
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=5)
    else:
        return None
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.read() if response.status == 200 else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


# ---- what is to run ----------------------------------------------------------------------------------------


def docker_engine(wanted: str) -> str | None:
    """The Docker engine to run tasks on, or None if they are to run as processes."""
    if wanted == "none":
        return None
    if wanted != "detect":
        if ask(wanted, "/_ping") is None:
            raise Failure(
                f"No Docker engine answers at {wanted}. Start it, or set local_aws_docker_host to another "
                "unix:// or tcp:// address, to 'detect', or to 'none' to run the tasks as processes."
            )
        return wanted
    candidates = filter(None, (os.environ.get("DOCKER_HOST"), DOCKER_SOCKET))
    return next((url for url in candidates if ask(url, "/_ping") is not None), None)


def task_address(engine: str | None) -> str:
    """The address that tasks reach the emulator by: loopback, or Docker's bridge.

    Raises Failure if this machine is not at the bridge's end: tasks and load balancer would never meet.
    """
    if engine is None:
        return LOOPBACK
    network = ask(engine, "/networks/bridge") or b'{"IPAM": {"Config": null}}'
    for config in json.loads(network)["IPAM"]["Config"] or []:
        # An engine that was never told a gateway names none: it has taken the subnet's first address.
        gateway = config.get("Gateway") or str(next(ipaddress.ip_network(config["Subnet"]).hosts()))
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind((gateway, 0))
            return gateway
    raise Failure(
        f"The containers of the Docker engine at {engine} cannot be reached from this machine: it has no "
        "bridge network, or runs rootless, in a virtual machine or elsewhere. Name another in DOCKER_HOST, "
        "or run the tasks as processes (Linux): -e '{\"images_engines\": []}'."
    )


def commands(home: Home, options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """The processes to run, in the order to start them: each with its ``argv`` and ``env``."""
    python = str(options.venv / "bin" / "python")
    base = {"PATH": process_runner.PATH, "HOME": str(home.folder), "LANG": "C.UTF-8"}
    engine = docker_engine(options.docker_host)
    if engine is None and sys.platform != "linux":
        raise Failure(
            "Tasks can run as processes on Linux alone, and no Docker engine answers here: start one, "
            "or name it by local_aws_docker_host."
        )
    runner = {
        "argv": [python, str(HERE / "process_runner.py"), "--socket", str(home.socket), "--images",
                 str(options.images), "--containers", str(home.containers)],
        "env": base,
    }  # fmt: skip
    addresses = dict.fromkeys((LOOPBACK, task_address(engine)))
    emulator = {
        "argv": [python, str(HERE / "launcher.py"), "--home", str(home.folder), "--port", str(options.port),
                 *(word for address in addresses for word in ("--bind", address))],
        "env": {**base, "TMPDIR": str(home.folder / "tmp"), "DOCKER_HOST": engine or f"unix://{home.socket}"},
    }  # fmt: skip
    return {"emulator": emulator} if engine else {"process-runner": runner, "emulator": emulator}


def fingerprint(command: dict[str, Any]) -> str:
    """Changes whenever a running process is not what would be started now."""
    digest = hashlib.sha256(json.dumps(command, sort_keys=True).encode())
    for name in SOURCES:
        digest.update(HERE.joinpath(name).read_bytes())
    return digest.hexdigest()


# ---- the three states --------------------------------------------------------------------------------------


def started(home: Home, options: argparse.Namespace) -> bool:
    """See to it that all runs and answers, as it is configured now. Returns whether anything was started."""
    wanted = commands(home, options)
    settings = {name: fingerprint(command) for name, command in wanted.items()}
    answers = {
        "process-runner": (f"unix://{home.socket}", "/_ping"),
        "emulator": (f"http://{LOOPBACK}:{options.port}", "/_ministack/health"),
    }
    running = {name: process["settings"] for name, process in home.processes().items() if is_alive(process)}
    if running == settings and all(ask(*answers[name]) is not None for name in wanted):
        return False
    if options.check:
        return True
    stopped(home)
    check_port(options.port)
    check_python(options.venv)
    prepare(home)
    processes: dict[str, dict[str, Any]] = {}
    for name, command in wanted.items():
        child = spawn(command, home.folder, home.log(name))
        processes[name] = {"pid": child.pid, "identity": identity(child.pid), "settings": settings[name]}
        home.save(processes)
        await_answer(name, child, answers[name], home)
    return True


def stopped(home: Home, check: bool = False) -> bool:
    """Stop all; the tasks first. Returns whether anything ran. With ``check``, nothing is done."""
    processes = home.processes()
    # The emulator before the runner: it has the tasks stop, and still answers them while they do.
    alive = [process for process in reversed(processes.values()) if is_alive(process)]
    if check:
        return bool(alive)
    for process in alive:
        end(process)
    left = process_runner.end_leftovers(home.containers)
    home.record.unlink(missing_ok=True)
    return bool(alive or left)


def absent(home: Home, check: bool = False) -> bool:
    """Stop all and remove the folder. Returns whether there was one. With ``check``, nothing is done."""
    if not home.folder.exists():
        return False
    if any(home.folder.iterdir()) and not home.logs.is_dir():
        raise Failure(
            f"{home.folder} is not the folder of a local AWS: it is left as it is. Check local_aws_home."
        )
    if check:
        return True
    stopped(home)
    home.socket.unlink(missing_ok=True)
    shutil.rmtree(home.folder)
    return True


# ---- steps -------------------------------------------------------------------------------------------------


def is_alive(process: dict[str, Any]) -> bool:
    """Whether a recorded process still runs, and is no stranger that was given its number."""
    return process["identity"] is not None and identity(process["pid"]) == process["identity"]


def end(process: dict[str, Any]) -> None:
    """SIGTERM, and SIGKILL for one that does not end in time."""
    for number, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, 10)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process["pid"], number)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not is_alive(process):
                return
            time.sleep(0.05)
    raise Failure(f"Process {process['pid']} does not end, not even by SIGKILL.")


def check_port(port: int) -> None:
    """Raise Failure if the port is taken, and say by whom where that can be seen."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            if error.errno == errno.EACCES:
                raise Failure(
                    f"Port {port} is the superuser's. Set local_aws_port to one above 1023."
                ) from None
            raise Failure(
                f"Port {port} of {LOOPBACK} is taken by {holder(port) or 'another process'}. Stop that, or "
                "choose another port: local_aws_port, or NERFORGE_PORT in the environment."
            ) from None


def holder(port: int) -> str | None:
    """The process that listens on a port, in words; None where the system doesn't let us see it."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            rows = [line.split() for line in Path(table).read_text().splitlines()[1:]]
            inodes |= {
                f"socket:[{row[9]}]" for row in rows if row[3] == "0A" and row[1].endswith(f":{port:04X}")
            }
    for descriptor in Path("/proc").glob("[0-9]*/fd/*") if inodes else ():
        with contextlib.suppress(OSError):
            if str(descriptor.readlink()) in inodes:
                process = descriptor.parent.parent
                words = process.joinpath("cmdline").read_text(errors="replace").split("\0")
                return f"process {process.name} ({' '.join(words).strip()[:120]})"
    return None


def check_python(venv: Path) -> None:
    """Raise Failure if the virtual environment has no Python that runs."""
    python = venv / "bin" / "python"
    try:
        subprocess.run([python, "-c", ""], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        raise Failure(
            f"{python} does not run. Remove the folder {venv} and run again: it is then made anew."
        ) from None


def prepare(home: Home) -> None:
    """Make the folders, and empty the one for what is of use only while the emulator runs."""
    shutil.rmtree(home.folder / "tmp", ignore_errors=True)
    for folder in (home.folder, home.logs, home.containers, home.folder / "tmp"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if home.socket.parent != home.folder:
        home.socket.parent.mkdir(mode=0o700, exist_ok=True)
        if home.socket.parent.stat().st_uid != os.getuid():
            raise Failure(
                f"{home.socket.parent} belongs to someone else. Choose a shorter path for local_aws_home."
            )


def spawn(command: dict[str, Any], folder: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start a process that outlives us, its output in ``log``; what the one before it wrote is kept."""
    if log.exists():
        log.replace(log.with_suffix(".previous.log"))
    with log.open("wb") as output:
        return subprocess.Popen(
            command["argv"],
            cwd=folder,
            env=command["env"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def await_answer(name: str, child: subprocess.Popen[bytes], answer: tuple[str, str], home: Home) -> None:
    """Wait until a process answers. Raises Failure, after stopping all, if it ends or takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while ask(*answer) is None:
        if child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
            continue
        what = (
            f"does not answer after {START_SECONDS} s"
            if child.poll() is None
            else f"ended ({child.returncode})"
        )
        stopped(home)
        log = home.log(name)
        lines = log.read_text(errors="replace").splitlines()[-LOG_LINES:]
        raise Failure("\n".join([f"The {name} of the local AWS {what}. The end of {log}:", *lines]))


def main() -> None:
    """Bring the local AWS into the state that the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    states = parser.add_subparsers(dest="state", required=True)
    for state in ("started", "stopped", "absent"):
        options = states.add_parser(state)
        options.add_argument("--home", type=Path, required=True, help="folder for state, data and logs")
        options.add_argument("--check", action="store_true", help="only say whether anything would change")
        if state == "started":
            options.add_argument(
                "--venv", type=Path, required=True, help="virtual environment with the emulator"
            )
            options.add_argument(
                "--images", type=Path, required=True, help="folder with the staged process images"
            )
            options.add_argument("--port", type=int, required=True)
            options.add_argument(
                "--docker-host", default="detect", help="'detect', 'none', or the engine's address"
            )
    chosen = parser.parse_args()
    home = Home(chosen.home.absolute())
    try:
        if chosen.state == "started":
            chosen.venv, chosen.images = chosen.venv.absolute(), chosen.images.absolute()
            changed = started(home, chosen)
        else:
            changed = (stopped if chosen.state == "stopped" else absent)(home, chosen.check)
    except Failure as failure:
        sys.exit(str(failure))
    print(json.dumps({"changed": changed}))


if __name__ == "__main__":
    main()
