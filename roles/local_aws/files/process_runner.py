"""Runs containers as processes, behind the part of the Docker Engine API that the emulator calls.

It takes the place of a Docker engine on a machine that has none. An image is a folder: the last component of
the reference's repository and its tag name ``<images>/<name>/<tag>/image.json``, which holds the
``entrypoint`` (a list), ``env`` and ``workdir`` to start. What differs from Docker:

- A container is a process in a session of its own, with the machine's files and network and the user's
  rights.
- It gets a loopback address of its own, told to it as NERFORGE_HOST and reported as its address, so that
  several containers can serve on the same port and none is reached from outside the machine (Linux; other
  systems have 127.0.0.1 alone).
- Its environment is Docker's: the image's and the request's, beside PATH, HOME, LANG and HOSTNAME. Nothing of
  the user's own environment reaches it.
- Standard output and error are one stream. Nothing confines it: user, capabilities, limits of CPU and memory,
  read-only root, volumes and health check are passed over.
"""

import argparse
import contextlib
import hashlib
import itertools
import json
import os
import random
import re
import shutil
import signal
import socketserver
import struct
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import parse_qs, unquote, urlsplit

from processes import identity

API_VERSION = "1.44"
NETWORK = "nerforge"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NEVER = "0001-01-01T00:00:00Z"
KILLED = 128 + signal.SIGKILL
STOP_SECONDS = 10  # Docker's own, where a request names none
STDOUT = 1
FOLLOW_SECONDS = 0.1


class ApiError(Exception):
    """What the API answers with: an HTTP status and Docker's ``message``."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def now() -> str:
    """The time as Docker writes it."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def find_image(images: Path, reference: str) -> tuple[str, dict[str, Any]]:
    """The id and the staged definition of the image that ``reference`` names. Raises ApiError 404 if there is
    none.
    """
    name, __, tag = reference.rpartition("/")[2].partition(":")
    file = images / name / (tag or "latest") / "image.json"
    try:
        if "@" in reference or ".." in (name, tag):
            raise FileNotFoundError
        content = file.read_bytes()
    except OSError:
        raise ApiError(404, f"No such image: {reference} (nothing is staged as {file})") from None
    return f"sha256:{hashlib.sha256(content).hexdigest()}", json.loads(content)


class Addresses:
    """Loopback addresses, each given out again only after 64,000 others.

    ``place`` picks the block, so that two runners on one machine keep apart.
    """

    def __init__(self, place: Path) -> None:
        block = 64 + hashlib.sha256(str(place).encode()).digest()[0] % 64
        # Not from the block's start: what still remembers an earlier runner's addresses must not meet new
        # containers.
        first = random.randrange(256 * 250)
        self._all = (f"127.{block}.{n // 250 % 256}.{1 + n % 250}" for n in itertools.count(first))
        self._lock = threading.Lock()

    def next(self) -> str:
        """An address that no living container has."""
        with self._lock:
            return next(self._all)


class Container:
    """One container: its record on disk, and its process while it runs.

    Whoever reads or changes the state or signals the process holds ``_lock``, and only then is the process
    reaped: so a signal never meets another process that was given the same number.
    """

    def __init__(self, folder: Path, record: dict[str, Any]) -> None:
        self.folder = folder
        self.record = record
        self.ended = threading.Event()
        if record["State"]["Status"] == "exited":
            self.ended.set()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """The file that takes its output."""
        return self.folder / "log"

    @property
    def scratch(self) -> Path:
        """Its TMPDIR, which goes when it ends, as a task's volume does."""
        return self.folder / "tmp"

    @property
    def running(self) -> bool:
        """Whether its process lives."""
        return self.record["State"]["Running"]

    def save(self) -> None:
        """Write the record, whole or not at all."""
        draft = self.folder / "container.json.new"
        with contextlib.suppress(FileNotFoundError):  # removed meanwhile
            draft.write_text(json.dumps(self.record))
            draft.replace(self.folder / "container.json")

    def start(self, image: dict[str, Any]) -> None:
        """Start the image's entrypoint. Raises ApiError if it cannot be started."""
        config = self.record["Config"]
        arguments = [*image["entrypoint"], *(config.get("Cmd") or [])]
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        self.scratch.mkdir(exist_ok=True)
        environment = {"PATH": PATH, "HOME": str(home), "LANG": "C.UTF-8", "HOSTNAME": config["Hostname"]}
        environment["TMPDIR"] = str(self.scratch)
        environment |= image.get("env") or {}
        environment |= dict(entry.partition("=")[::2] for entry in config.get("Env") or [])
        environment["NERFORGE_HOST"] = self.record["NetworkSettings"]["IPAddress"]
        with self._lock:
            if self.running:
                return
            try:
                with self.log.open("ab") as log:
                    self._process = subprocess.Popen(
                        arguments,
                        cwd=image.get("workdir") or "/",
                        env=environment,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,
                    )
            except OSError as error:
                raise ApiError(
                    400, f"cannot start {arguments[0]} of image {config['Image']}: {error}"
                ) from None
            self.ended.clear()
            pid = self._process.pid
            self.record["Identity"] = identity(pid)
            self._set_state("running", Pid=pid, StartedAt=now(), FinishedAt=NEVER, ExitCode=0)
        threading.Thread(target=self._watch, name=f"watch-{pid}", daemon=True).start()

    def signal(self, number: int) -> None:
        """Send a signal to its process, or SIGKILL to all it started. Does nothing if it does not run."""
        with self._lock:
            if self._process and self.running:
                (os.killpg if number == signal.SIGKILL else os.kill)(self._process.pid, number)

    def stop(self, seconds: float) -> None:
        """Send SIGTERM, and SIGKILL to what is left after ``seconds``."""
        self.signal(signal.SIGTERM)
        if self.running and not self.ended.wait(seconds):
            self.signal(signal.SIGKILL)
            self.ended.wait()

    def end_leftover(self) -> None:
        """End what an earlier runner left running, and record it as killed."""
        pid = self.record["State"]["Pid"]
        if identity(pid) == self.record.get("Identity"):
            os.killpg(pid, signal.SIGKILL)
        shutil.rmtree(self.scratch, ignore_errors=True)
        with self._lock:
            self._set_state("exited", Pid=0, FinishedAt=now(), ExitCode=KILLED)

    def read_log(self, follow: bool, tail: int | None) -> Iterator[bytes]:
        """Its output in pieces of whole lines; ``follow`` goes on until it ends, ``tail`` starts so many
        lines back.
        """
        with self.log.open("rb") as log:
            if tail is not None:
                log.seek(_start_of_tail(log, tail))
            rest = b""
            while True:
                # Asked before reading: what was written until the end is then read for certain.
                over = not follow or not self.running
                while piece := log.read(1 << 16):
                    lines, newline, rest = (rest + piece).rpartition(b"\n")
                    if newline:
                        yield lines + newline
                if over:
                    break
                self.ended.wait(FOLLOW_SECONDS)
            if rest:
                yield rest

    def _watch(self) -> None:
        process = self._process
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with self._lock:
            # As when the first process of a container ends: none of the others outlives it.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            code = process.wait()
            shutil.rmtree(self.scratch, ignore_errors=True)
            self._set_state("exited", Pid=0, FinishedAt=now(), ExitCode=code if code >= 0 else 128 - code)
            self.ended.set()

    def _set_state(self, status: str, **fields: Any) -> None:
        self.record["State"] |= {"Status": status, "Running": status == "running", **fields}
        self.save()


def _start_of_tail(log: BinaryIO, lines: int) -> int:
    content = log.read()
    kept = content.splitlines(keepends=True)[-lines:] if lines else []
    return len(content) - sum(map(len, kept))


def recorded(folder: Path) -> list[Container]:
    """The containers recorded in ``folder`` by a runner that is gone."""
    return [Container(file.parent, json.loads(file.read_text())) for file in folder.glob("*/container.json")]


def end_leftovers(folder: Path) -> list[Container]:
    """End the containers that a runner that is gone left running. Returns those."""
    left = [container for container in recorded(folder) if container.running]
    for container in left:
        container.end_leftover()
    return left


class Runner:
    """All containers.

    Parameters
    ----------
    images:
        Folder with the staged images.
    folder:
        Folder for the records and output of the containers; no other runner may use it.
    """

    def __init__(self, images: Path, folder: Path) -> None:
        self._images = images
        self._folder = folder
        self._addresses = Addresses(folder)
        self._closed = False
        folder.mkdir(parents=True, exist_ok=True)
        end_leftovers(folder)
        self._containers = {container.record["Id"]: container for container in recorded(folder)}

    def image(self, reference: str) -> dict[str, Any]:
        """What Docker tells of an image."""
        image_id, image = find_image(self._images, reference)
        config = {"Entrypoint": image["entrypoint"], "WorkingDir": image.get("workdir", "/")}
        return {"Id": image_id, "RepoTags": [reference], "RepoDigests": [], "Config": config}

    def create(self, name: str, request: dict[str, Any]) -> Container:
        """A new container, not started."""
        image_id, __ = find_image(self._images, request["Image"])
        container_id = uuid.uuid4().hex * 2
        address = self._addresses.next()
        state = {"Status": "created", "Running": False, "Pid": 0, "ExitCode": 0, "OOMKilled": False}
        record = {
            "Id": container_id,
            "Name": f"/{name or container_id[:12]}",
            "Created": now(),
            "Image": image_id,
            "State": {**state, "StartedAt": NEVER, "FinishedAt": NEVER},
            "Config": {
                "Hostname": container_id[:12],
                "Image": request["Image"],
                "Cmd": request.get("Cmd"),
                "Env": request.get("Env") or [],
                "Labels": request.get("Labels") or {},
                "Tty": False,
            },
            "HostConfig": {"NetworkMode": NETWORK, "LogConfig": {"Type": "json-file", "Config": {}}},
            "NetworkSettings": {
                "IPAddress": address,
                "Ports": {},
                "Networks": {NETWORK: {"IPAddress": address}},
            },
        }
        container = Container(self._folder / container_id, record)
        container.folder.mkdir(mode=0o700)
        container.log.touch()
        container.save()
        self._containers[container_id] = container
        return container

    def start(self, container: Container) -> None:
        """Start a container. Raises ApiError 503 once the runner itself is stopping."""
        if self._closed:
            raise ApiError(503, "the process runner is stopping")
        container.start(find_image(self._images, container.record["Config"]["Image"])[1])

    def get(self, reference: str) -> Container:
        """The container with this id, start of an id, or name. Raises ApiError 404 if there is none."""
        if container := self._containers.get(reference):
            return container
        for container in list(self._containers.values()):
            if container.record["Name"] == f"/{reference}" or container.record["Id"].startswith(reference):
                return container
        raise ApiError(404, f"No such container: {reference}")

    def list(self, all_states: bool, labels: list[str]) -> list[dict[str, Any]]:
        """What Docker tells of the containers that have all ``labels`` (``name`` or ``name=value``)."""
        return [
            {
                "Id": container.record["Id"],
                "Names": [container.record["Name"]],
                "Image": container.record["Config"]["Image"],
                "Labels": container.record["Config"]["Labels"],
                "State": container.record["State"]["Status"],
                "NetworkSettings": {"Networks": container.record["NetworkSettings"]["Networks"]},
            }
            for container in list(self._containers.values())
            if (all_states or container.running) and _has(container.record["Config"]["Labels"], labels)
        ]

    def remove(self, container: Container, force: bool) -> None:
        """Forget a container and delete its files. Raises ApiError 409 if it runs, without ``force``."""
        if container.running and not force:
            raise ApiError(409, f"cannot remove container {container.record['Name']}: it is running")
        container.stop(0)
        self._containers.pop(container.record["Id"], None)
        shutil.rmtree(container.folder, ignore_errors=True)

    def close(self, seconds: float) -> None:
        """Stop all containers, together, and start no more."""
        self._closed = True
        running = [container for container in self._containers.values() if container.running]
        if running:
            with ThreadPoolExecutor(len(running)) as pool:
                list(pool.map(lambda container: container.stop(seconds), running))


def _has(labels: dict[str, str], wanted: list[str]) -> bool:
    pairs = (label.partition("=") for label in wanted)
    return all(name in labels and (not equals or labels[name] == value) for name, equals, value in pairs)


class Handler(BaseHTTPRequestHandler):
    """Turns requests into calls of the server's ``runner``."""

    protocol_version = "HTTP/1.1"
    server_version = "nerforge-process-runner"
    server: "Server"

    def do_GET(self) -> None:
        self._answer(GET)

    def do_HEAD(self) -> None:
        self._answer(GET)

    def do_POST(self) -> None:
        self._answer(POST)

    def do_DELETE(self) -> None:
        self._answer(DELETE)

    def ping(self) -> None:
        self._send(200, b"OK", "text/plain")

    def version(self) -> None:
        system = os.uname()
        self._send_json({"Version": self.server_version, "ApiVersion": API_VERSION, "MinAPIVersion": "1.24",
                         "Os": system.sysname.lower(), "Arch": system.machine})  # fmt: skip

    def inspect_image(self, reference: str) -> None:
        self._send_json(self.server.runner.image(reference))

    def pull_image(self) -> None:
        reference = self.query["fromImage"]
        if tag := self.query.get("tag"):
            reference += ("@" if ":" in tag else ":") + tag
        self.server.runner.image(reference)
        self._send_json({"status": f"Status: Image is up to date for {reference}"})

    def no_digest(self, reference: str) -> None:
        # A staged image is named by its tag alone: with a digest, the emulator would ask for it by that.
        raise ApiError(404, f"manifest of {reference} not found: staged images have none")

    def list_containers(self) -> None:
        labels = json.loads(self.query.get("filters", "{}")).get("label", [])
        self._send_json(self.server.runner.list(_is_true(self.query.get("all")), labels))

    def create_container(self) -> None:
        container = self.server.runner.create(self.query.get("name", ""), self.body)
        self._send_json({"Id": container.record["Id"], "Warnings": []}, 201)

    def inspect_container(self, reference: str) -> None:
        self._send_json(self.server.runner.get(reference).record)

    def start_container(self, reference: str) -> None:
        runner = self.server.runner
        runner.start(runner.get(reference))
        self._send(204)

    def stop_container(self, reference: str) -> None:
        container = self.server.runner.get(reference)
        if not container.running:
            self._send(304)
            return
        container.stop(float(self.query.get("t", STOP_SECONDS)))
        self._send(204)

    def kill_container(self, reference: str) -> None:
        container = self.server.runner.get(reference)
        if not container.running:
            raise ApiError(409, f"container {reference} is not running")
        container.signal(signal.Signals[f"SIG{self.query.get('signal', 'KILL').removeprefix('SIG')}"])
        self._send(204)

    def wait_for_container(self, reference: str) -> None:
        container = self.server.runner.get(reference)
        container.ended.wait()
        self._send_json({"StatusCode": container.record["State"]["ExitCode"]})

    def remove_container(self, reference: str) -> None:
        runner = self.server.runner
        runner.remove(runner.get(reference), _is_true(self.query.get("force")))
        self._send(204)

    def container_logs(self, reference: str) -> None:
        container = self.server.runner.get(reference)
        tail = self.query.get("tail", "all")
        self.send_response(200)
        self.send_header("Content-Type", "application/vnd.docker.raw-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        with contextlib.suppress(OSError):  # whoever followed has gone
            for piece in container.read_log(
                _is_true(self.query.get("follow")), int(tail) if tail != "all" else None
            ):
                self.wfile.write(struct.pack(">BxxxL", STDOUT, len(piece)) + piece)

    def _answer(self, routes: list[tuple[re.Pattern[str], Callable[..., None]]]) -> None:
        url = urlsplit(self.path)
        path = re.sub(r"^/v\d+\.\d+(?=/)", "", url.path)
        self.query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        try:
            length = int(self.headers.get("Content-Length") or 0)
            self.body = json.loads(self.rfile.read(length) or b"{}")
            for pattern, handle in routes:
                if match := pattern.fullmatch(path):
                    handle(self, *map(unquote, match.groups()))
                    return
            raise ApiError(404, f"the process runner does not know {self.command} {path}")
        except ApiError as error:
            self._send_json({"message": str(error)}, error.status)

    def _send_json(self, content: Any, status: int = 200) -> None:
        self._send(status, json.dumps(content).encode(), "application/json")

    def _send(self, status: int, content: bytes = b"", content_type: str | None = None) -> None:
        self.send_response(status)
        self.send_header("Api-Version", API_VERSION)
        if content_type:
            self.send_header("Content-Type", content_type)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def address_string(self) -> str:
        return "emulator"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        # The emulator inspects each running container ten times a second.
        if self.command != "GET":
            super().log_request(code, size)


def _is_true(value: str | None) -> bool:
    return value in ("1", "true", "True")


def _routes(table: dict[str, Callable[..., None]]) -> list[tuple[re.Pattern[str], Callable[..., None]]]:
    return [(re.compile(pattern), handle) for pattern, handle in table.items()]


GET = _routes({
    r"/containers/([^/]+)/json": Handler.inspect_container,
    r"/containers/([^/]+)/logs": Handler.container_logs,
    r"/containers/json": Handler.list_containers,
    r"/_ping": Handler.ping,
    r"/version": Handler.version,
    r"/images/(.+)/json": Handler.inspect_image,
    r"/distribution/(.+)/json": Handler.no_digest,
})  # fmt: skip
POST = _routes({
    r"/containers/create": Handler.create_container,
    r"/containers/([^/]+)/start": Handler.start_container,
    r"/containers/([^/]+)/stop": Handler.stop_container,
    r"/containers/([^/]+)/kill": Handler.kill_container,
    r"/containers/([^/]+)/wait": Handler.wait_for_container,
    r"/images/create": Handler.pull_image,
})  # fmt: skip
DELETE = _routes({r"/containers/([^/]+)": Handler.remove_container})


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """The API on a unix socket that only its owner can open."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, socket: Path, runner: Runner) -> None:
        self.runner = runner
        socket.unlink(missing_ok=True)
        mask = os.umask(0o177)
        try:
            super().__init__(str(socket), Handler)
        finally:
            os.umask(mask)


def main() -> None:
    """Serve until SIGTERM, then stop all containers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--socket", type=Path, required=True, help="unix socket to serve on")
    parser.add_argument("--images", type=Path, required=True, help="folder with the staged images")
    parser.add_argument("--containers", type=Path, required=True, help="folder for the containers' records")
    options = parser.parse_args()

    runner = Runner(options.images, options.containers)
    server = Server(options.socket, runner)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *__: stop.set())
    stop.wait()
    runner.close(STOP_SECONDS)
    options.socket.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
