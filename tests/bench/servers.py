"""The servers that are measured: how each is started with two workers, asked, and read.

Every peer serves the same model folder with spaCy 3.8.7, set as its documents advise for work that keeps the
CPU busy; where they leave a choice, the faster one on two cores was taken, as the line beside it says. Our
server is started as in production. BLAS may use one thread a process.
"""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import environments
import processes

WORKERS = 2
READY_SECONDS = 120
ONE_THREAD = dict.fromkeys(
    ("BLIS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"
)
OURS = "nerforge"

Entity = list[Any]  # [start, end, label]


def _text_or_texts(texts: Sequence[str]) -> dict:
    return {"text": texts[0]} if len(texts) == 1 else {"texts": list(texts)}


def _lists(answer: Any) -> list[list[Entity]]:
    return [[[e["start"], e["end"], e["tag"]] for e in entities] for entities in answer]


@dataclass(frozen=True)
class Kind:
    """A kind of server.

    Parameters
    ----------
    name:
        Of its folder in peers/, and of its environment.
    command:
        Its arguments after the Python, for a port and the folder of its files.
    question:
        The JSON document that asks for the entities of some texts.
    answer:
        The entities of each text in the answer's document.
    """

    name: str
    command: Callable[[int, Path], list[str]]
    path: str = "/ner"
    ready: str = "/ready"
    question: Callable[[Sequence[str]], dict] = _text_or_texts
    answer: Callable[[Any], list[list[Entity]]] = _lists
    variables: Callable[[int], dict[str, str]] = field(default=lambda port: {"PORT": str(port)})

    def python(self) -> Path:
        """The Python of its environment, which is made if need be."""
        return environments.server() if self.name == OURS else environments.peer(self.name)


# --- ours ---


def _ours_answer(answer: Any) -> list[list[Entity]]:
    if "results" in answer:
        return _lists([result["entities"] for result in answer["results"]])
    return _lists([answer["entities"]])


_OURS = Kind(
    OURS,
    lambda port, folder: ["-m", "nerforge_server"],
    answer=_ours_answer,
    variables=lambda port: {
        "NERFORGE_HOST": "127.0.0.1",
        "NERFORGE_PORT": str(port),
        "NERFORGE_WORKERS": str(WORKERS),
    },
)

# --- peers ---


def _v2(texts: Sequence[str]) -> dict:
    """The Open Inference Protocol's request."""
    return {"inputs": [{"name": "texts", "shape": [len(texts), 1], "datatype": "BYTES", "data": list(texts)}]}


PEERS = (
    # uvicorn takes uvloop and httptools where they are, as in uvicorn[standard].
    Kind(
        "fastapi",
        lambda port, folder: [
            *("-m", "uvicorn", "app:app", "--app-dir", str(folder), "--port", str(port)),
            *("--workers", str(WORKERS), "--no-access-log", "--log-level", "warning"),
        ],
    ),
    # gthread keeps connections open, which sync does not; a second thread would compete for the GIL.
    Kind(
        "gunicorn",
        lambda port, folder: [
            *("-m", "gunicorn", "app:app", "--chdir", str(folder), "--bind", f"127.0.0.1:{port}"),
            *("--workers", str(WORKERS), "--preload", "--log-level", "warning"),
            *("--worker-class", "gthread", "--threads", "1", "--keep-alive", "60"),
        ],
    ),
    Kind("litserve", lambda port, folder: [str(folder / "app.py")]),
    Kind(
        "bentoml",
        lambda port, folder: [
            *("-m", "bentoml", "serve", "app:Ner", "--working-dir", str(folder)),
            *("--host", "127.0.0.1", "--port", str(port)),
        ],
        ready="/readyz",
        question=lambda texts: {"texts": list(texts)},
        variables=lambda port: {"BENTOML_DO_NOT_TRACK": "True"},
    ),
    Kind(
        "mlserver",
        lambda port, folder: ["-c", "from mlserver.cli import main; main()", "start", str(folder)],
        path="/v2/models/ner/infer",
        ready="/v2/health/ready",
        question=_v2,
        answer=lambda answer: _lists([json.loads(one) for one in answer["outputs"][0]["data"]]),
        variables=lambda port: {
            "MLSERVER_HTTP_PORT": str(port),
            "MLSERVER_GRPC_PORT": str(_free_port()),
        },
    ),
)
KINDS = (_OURS, *PEERS)


class Server:
    """A running server of some kind.

    Parameters
    ----------
    model:
        The folder of the model, which peers load.
    published:
        The variables that tell ours the same model.
    """

    def __init__(self, kind: Kind, model: Path, published: dict[str, str]) -> None:
        self.kind = kind
        self.port = _free_port()
        self._scratch = Path(tempfile.mkdtemp(prefix="nerforge-bench-"))
        self.log = self._scratch / "log"
        folder = environments.PEERS / kind.name
        if kind.name == OURS:
            variables = {**published, "PYTHONPATH": os.pathsep.join(_our_path())}
        else:
            variables = ONE_THREAD | {
                "NERFORGE_BENCH_MODEL": str(model),
                "PYTHONPATH": os.pathsep.join(map(str, (environments.PEERS / "common", folder))),
            }
        variables |= kind.variables(self.port) | {"TMPDIR": str(self._scratch), "HOME": str(self._scratch)}
        clean = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        self.started = time.monotonic()
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [kind.python(), *kind.command(self.port, folder)],
                env=clean | variables,
                cwd=self._scratch,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Of the process from which all others of the server come."""
        return self._process.pid

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}{self.kind.path}"

    def wait_ready(self) -> float:
        """Return, once it is ready, the seconds since its start."""
        while True:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                connection.request("GET", self.kind.ready)
                status = connection.getresponse().status
                connection.close()
                if status < 300:
                    return time.monotonic() - self.started
            except (OSError, http.client.HTTPException):
                pass
            if self._process.poll() is not None or time.monotonic() - self.started > READY_SECONDS:
                raise SystemExit(
                    f"{self.kind.name} did not get ready; its log:\n{self.log.read_text()[-3000:]}"
                )
            time.sleep(0.02)

    def body(self, texts: Sequence[str]) -> str:
        """The body that asks for the entities of these texts."""
        return json.dumps(self.kind.question(texts), ensure_ascii=False)

    def find_each(self, requests: Sequence[Sequence[str]]) -> list[list[list[Entity]]]:
        """The entities of each text of some requests, sent one after the other over one connection."""
        found = []
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        for texts in requests:
            body = self.body(texts).encode()
            connection.request("POST", self.kind.path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            content = response.read()
            if response.status != 200:
                raise SystemExit(f"{self.kind.name} answers {response.status}: {content[:500]!r}")
            found.append(self.kind.answer(json.loads(content)))
        connection.close()
        return found

    def settle(self) -> None:
        """Return once it has done what clients that hung up had asked of it: some servers do not notice.

        Less than half a core counts as done, for some are never idle.
        """
        limit, quiet, before = time.monotonic() + READY_SECONDS, 0, self.cpu_seconds()
        while quiet < 2:
            if time.monotonic() > limit:
                raise SystemExit(f"{self.kind.name} is still busy {READY_SECONDS} s after the load")
            time.sleep(0.2)
            now = self.cpu_seconds()
            quiet = quiet + 1 if now - before < 0.1 else 0
            before = now

    def cpu_seconds(self) -> float:
        """CPU seconds of all its processes so far."""
        return processes.cpu_seconds(self.pid)

    def pss(self) -> float:
        """Memory of all its processes, in MiB."""
        return processes.pss(self.pid)

    def freeze(self) -> None:
        """Take the cores away from all its processes, until `thaw`."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Give them back."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        for pid in processes.family(self.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def stop(self) -> None:
        """End it and all its processes."""
        self.thaw()
        family = processes.family(self.pid)
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        shutil.rmtree(self._scratch, ignore_errors=True)


def _our_path() -> list[str]:
    containers = environments.ROOT / "containers"
    link = environments.HOME / "path"  # holds the contract under the name that its copy in the image has
    return [str(containers / "server"), str(containers / "engine"), str(link)]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]
