"""The emulator's environment, a process runner to ask, and a whole local AWS."""

import fcntl
import http.client
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import venv as venvs
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

FILES = Path(__file__).resolve().parents[3] / "roles" / "local_aws" / "files"
sys.path.append(str(FILES))


def wait_until(holds: Callable[[], Any], seconds: float = 20) -> Any:
    """What ``holds`` returns as soon as it is true."""
    deadline = time.monotonic() + seconds
    while not (result := holds()):
        assert time.monotonic() < deadline, f"still not so after {seconds} s: {holds}"
        time.sleep(0.05)
    return result


@pytest.fixture(scope="session", name="wait_until")
def wait_until_fixture() -> Callable[..., Any]:
    return wait_until


@pytest.fixture(scope="session")
def files() -> Path:
    """The role's files."""
    return FILES


@pytest.fixture(scope="session")
def emulator_venv(root: Path) -> Path:
    """The virtual environment that the role makes too, at the same place."""
    folder = root / ".nerforge" / "local-aws-venv"
    wanted, installed = FILES / "requirements.txt", folder / "requirements.txt"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run in several processes
        if not installed.exists() or installed.read_bytes() != wanted.read_bytes():
            venvs.create(folder, clear=True, with_pip=True)
            pip = [folder / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check"]
            subprocess.run([*pip, "--require-hashes", "-r", wanted], check=True)
            installed.write_bytes(wanted.read_bytes())
    return folder


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return probe.getsockname()[1]

    return find


class Images:
    """A folder of staged images."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def stage(self, name: str, tag: str, *entrypoint: str, **env: str) -> str:
        """Stage an image. Returns a reference to it, as a task definition has it."""
        place = self.folder / name / tag
        place.mkdir(parents=True, exist_ok=True)
        image = {"entrypoint": entrypoint, "env": env, "workdir": str(place)}
        place.joinpath("image.json").write_text(json.dumps(image))
        return f"000000000000.dkr.ecr.us-east-1.amazonaws.com/nerforge/{name}:{tag}"


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    return Images(tmp_path_factory.mktemp("images"))


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("runner", timeout=20)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class RunnerProcess:
    """A process runner in a process of its own, asked over its socket."""

    def __init__(self, images: Images, folder: Path) -> None:
        self.images = images
        self.folder = folder
        self.socket = folder / "s"
        self.start()

    def start(self) -> None:
        folders = ["--images", self.images.folder, "--containers", self.folder / "containers"]
        # Secrets in the runner's own environment must never reach a container.
        environment = {**os.environ, "AWS_SECRET_ACCESS_KEY": "the user's own", "SECRET": "leaks"}
        self.process = subprocess.Popen(
            [sys.executable, FILES / "process_runner.py", "--socket", self.socket, *folders],
            env=environment,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self._answers)

    def end(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)
        self.process.wait(20)

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """The status and the content, read as JSON if it is."""
        connection = _Connection(self.socket)
        connection.request(method, f"/v1.44{path}", json.dumps(body) if body is not None else None)
        response = connection.getresponse()
        content = response.read()
        is_json = response.getheader("Content-Type") == "application/json"
        connection.close()
        return response.status, json.loads(content) if is_json else content

    def create(self, image: str, **request: Any) -> str:
        status, answer = self.ask("POST", "/containers/create", {"Image": image, **request})
        assert status == 201, answer
        return answer["Id"]

    def run(self, image: str, **request: Any) -> str:
        container = self.create(image, **request)
        assert self.ask("POST", f"/containers/{container}/start") == (204, b"")
        return container

    def inspect(self, container: str) -> dict[str, Any]:
        status, answer = self.ask("GET", f"/containers/{container}/json")
        assert status == 200, answer
        return answer

    def wait(self, container: str) -> int:
        return self.ask("POST", f"/containers/{container}/wait")[1]["StatusCode"]

    def frames(self, container: str, query: str = "") -> list[bytes]:
        status, content = self.ask("GET", f"/containers/{container}/logs?stdout=1&stderr=1{query}")
        assert status == 200
        found = []
        while content:
            stream, length = struct.unpack(">BxxxL", content[:8])
            assert stream == 1
            found.append(content[8 : 8 + length])
            content = content[8 + length :]
        return found

    def log(self, container: str, query: str = "&follow=1") -> str:
        return b"".join(self.frames(container, query)).decode()

    def _answers(self) -> bool:
        try:
            return self.ask("GET", "/_ping") == (200, b"OK")
        except OSError:
            return False


@pytest.fixture(scope="session")
def runner(images: Images, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunnerProcess]:
    """A process runner for tests that leave it running."""
    runner = RunnerProcess(images, tmp_path_factory.mktemp("r"))
    yield runner
    runner.end()


@pytest.fixture
def own_runner(images: Images, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunnerProcess]:
    """A process runner for one test to end as it likes."""
    runner = RunnerProcess(images, tmp_path_factory.mktemp("r"))
    yield runner
    if runner.process.poll() is None:
        runner.end()


class LocalAws:
    """A local AWS under a folder of its own, on a free port."""

    def __init__(self, folder: Path, venv: Path, port: int) -> None:
        self.home = folder / "home"
        self.images = Images(folder / "images")
        self.venv = venv
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def command(self, state: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """What the role runs; ``options`` stand in for its own."""
        words = [sys.executable, FILES / "local_aws.py", state, f"--home={self.home}"]
        if options.pop("check", False):
            words.append("--check")
        if state == "started":
            own = {"venv": self.venv, "images": self.images.folder, "port": self.port, "docker-host": "none"}
            words += [f"--{name}={value}" for name, value in (own | options).items()]
        return subprocess.run(words, capture_output=True, text=True, check=False)

    def bring(self, state: str, **options: Any) -> bool:
        """Bring it into a state. Returns whether that changed anything."""
        done = self.command(state, **options)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["changed"]

    def client(self, service: str) -> Any:
        return boto3.client(service, endpoint_url=self.url)

    def resource(self, service: str) -> Any:
        return boto3.resource(service, endpoint_url=self.url)

    def processes(self) -> dict[str, int]:
        """The numbers of its processes, by name."""
        recorded = json.loads((self.home / "processes.json").read_text())
        return {name: process["pid"] for name, process in recorded.items()}


@pytest.fixture(scope="session")
def make_local_aws(emulator_venv: Path, free_port: Callable[[], int]) -> Callable[[Path], LocalAws]:
    return lambda folder: LocalAws(folder, emulator_venv, free_port())


@pytest.fixture(scope="session")
def local_aws(
    make_local_aws: Callable[[Path], LocalAws], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalAws]:
    """One that runs, for tests that leave it running."""
    local_aws = make_local_aws(tmp_path_factory.mktemp("aws"))
    local_aws.bring("started")
    yield local_aws
    local_aws.bring("absent")
