"""A small trained model, an AWS that holds it, and the server as it runs: processes and real sockets."""

import contextlib
import hashlib
import http.client
import io
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from nerforge_contract import names
from support import aws_model

ROOT = Path(__file__).resolve().parents[2]
READY_SECONDS = 60  # spaCy's import alone takes some, on a busy machine

BUCKET = "models-of-the-test"
MODEL = ("people", 7)
LABEL = names.model_label(*MODEL)

PEOPLE = ["Ada Lovelace", "Kofi Annan", "Marie Curie", "José Saramago", "Grace Hopper", "Tim"]
PLACES = ["London", "New York", "Genève", "Kyōto", "Oslo", "Cape Town"]
FRAMES = ["{} went to {} .", "In {1} we met {0} .", "🌍🌍 {} lives near {} now .", "Nobody saw {} leave {} ."]

# --- the model ---


def train(folder: Path) -> None:
    """Leave a pipeline in this folder: entity recognition, PER and LOC, trained in a few seconds."""
    import spacy
    from thinc.api import fix_random_seed

    nlp = spacy.blank("en")
    tok2vec = {
        "@architectures": "spacy.HashEmbedCNN.v2",
        "pretrained_vectors": None,
        "width": 48,
        "depth": 2,
        "embed_size": 1000,
        "window_size": 1,
        "maxout_pieces": 3,
        "subword_features": True,
    }
    nlp.add_pipe(
        "ner",
        config={
            "model": {
                "@architectures": "spacy.TransitionBasedParser.v2",
                "state_type": "ner",
                "extra_state_tokens": False,
                "hidden_width": 48,
                "maxout_pieces": 2,
                "use_upper": True,
                "tok2vec": tok2vec,
            }
        },
    )
    fix_random_seed(1)
    examples = list(_examples(nlp))
    optimizer = nlp.initialize(lambda: examples)
    for __ in range(8):
        for start in range(0, len(examples), 16):
            nlp.update(examples[start : start + 16], sgd=optimizer)
    nlp.to_disk(folder)


def _examples(nlp: Any) -> Iterator[Any]:
    from spacy.training import Example

    for frame, person, place in itertools.product(FRAMES, PEOPLE, PLACES):
        text = frame.format(person, place)
        spans = [
            (text.index(name), text.index(name) + len(name), label)
            for name, label in ((person, "PER"), (place, "LOC"))
        ]
        yield Example.from_dict(nlp.make_doc(text), {"entities": spans})


def pack(model_folder: Path) -> bytes:
    """The model's folder as the trainer packs it."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for path in sorted(model_folder.iterdir()):
            archive.add(path, path.name)
    return packed.getvalue()


def manifest_of(artifact: bytes) -> dict[str, Any]:
    """The manifest of a packed model, as the trainer writes it."""
    name, version = MODEL
    return {
        "format": 1,
        "name": name,
        "version": version,
        "run": "01JD0000000000000000000000",
        "created": "2026-01-02T03:04:05.678+00:00",
        "language": "en",
        "labels": ["LOC", "PER"],
        "scores": {
            "f": 0.9,
            "p": 0.95,
            "r": 0.85,
            "on": "test",
            "labels": {label: {"f": 0.9, "p": 0.95, "r": 0.85, "count": 20} for label in ("LOC", "PER")},
        },
        "artifact": {
            "file": names.ARTIFACT,
            "sha256": hashlib.sha256(artifact).hexdigest(),
            "bytes": len(artifact),
        },
    }


def environment_of(artifact: bytes) -> dict[str, str]:
    """The variables of a server that is told to serve a packed model."""
    return {
        names.ENV_MODEL: LABEL,
        names.ENV_MODEL_SHA256: hashlib.sha256(artifact).hexdigest(),
        names.ENV_BUCKET: BUCKET,
    }


# --- an AWS on loopback ---


class AWS:
    """The S3 and the SSM that a server asks.

    Attributes: ``url``; ``faults``, the statuses of the next answers; ``parameters``, SSM's.
    """

    def __init__(self, artifact: bytes) -> None:
        prefix = f"/{BUCKET}/{names.model_prefix(*MODEL)}"
        self.objects = {
            prefix + names.MANIFEST: json.dumps(manifest_of(artifact)).encode(),
            prefix + names.ARTIFACT: artifact,
        }
        self.parameters: dict[str, str] = {}
        self.faults: list[int] = []
        self._server = _Endpoint(self)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Endpoint(ThreadingHTTPServer):
    def __init__(self, aws: AWS) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.aws = aws


class _Handler(BaseHTTPRequestHandler):
    server: _Endpoint

    def do_GET(self) -> None:
        content = self.server.aws.objects.get(self.path.partition("?")[0])
        if content is None:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        else:
            self._answer(200, content)

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        aws_model.check_unsent("ssm", "GetParameter", asked)
        value = self.server.aws.parameters.get(asked["Name"])
        if value is None:
            self._answer(400, json.dumps({"__type": "ParameterNotFound"}).encode())
        else:
            found = {"Parameter": {"Name": asked["Name"], "Type": "String", "Value": value}}
            aws_model.check_answer(aws_model.service_model("ssm").operation_model("GetParameter"), found)
            self._answer(200, json.dumps(found).encode())

    def _answer(self, status: int, content: bytes) -> None:
        if self.server.aws.faults:
            status, content = self.server.aws.faults.pop(0), b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *__: Any) -> None:
        pass


# --- the server ---

# Status, headers by their names in lower case, and what the JSON of the body says.
Answer = tuple[int, dict[str, str], Any]


class Server:
    """A running server.

    Parameters
    ----------
    environment:
        What it is told.
    aws_url:
        The AWS that it asks.
    folder:
        For its log and its temporary files.
    """

    def __init__(self, environment: Mapping[str, str], aws_url: str, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        path = [
            ROOT / "containers" / "server",
            ROOT / "containers" / "engine",
            ROOT / ".nerforge" / "test-path",
        ]
        self.log = folder / "log"
        self.scratch = folder / "scratch"
        self.scratch.mkdir(parents=True)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "nerforge_server"],
                env={
                    **os.environ,
                    names.ENV_HOST: "127.0.0.1",
                    names.ENV_PORT: str(self.port),
                    "AWS_ENDPOINT_URL": aws_url,
                    "AWS_ACCESS_KEY_ID": "test",
                    "AWS_SECRET_ACCESS_KEY": "test",
                    "AWS_DEFAULT_REGION": "us-east-1",
                    "PYTHONPATH": os.pathsep.join(map(str, path)),
                    "TMPDIR": str(self.scratch),
                    **environment,
                },
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def connect(self, timeout: float = 60) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def request(self, method: str, path: str, document: Any = None) -> Answer:
        """Make one request over a connection of its own."""
        with contextlib.closing(self.connect()) as connection:
            return exchange(connection, method, path, document)

    def wait_until(self, condition: Callable[[], Any], seconds: float = READY_SECONDS) -> None:
        limit = time.monotonic() + seconds
        while True:
            assert self.process.poll() is None, self.log.read_text()
            with contextlib.suppress(OSError, http.client.HTTPException):
                if condition():
                    return
            assert time.monotonic() < limit, self.log.read_text()
            time.sleep(0.05)

    def wait_ready(self) -> None:
        self.wait_until(lambda: self.request("GET", "/ready")[0] == 200)

    def workers(self) -> list[int]:
        """The process ids of its children."""
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def lines(self) -> list[dict[str, Any]]:
        """The log so far; every line of it must be JSON."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def said(self, words: str) -> bool:
        """Whether a line of the log holds these words."""
        return any(words in line["message"] for line in self.lines())

    def terminate(self) -> int:
        """Send SIGTERM and return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(40)

    def kill(self) -> None:
        """Make sure that it is gone, and its workers with it."""
        self.process.kill()
        self.process.wait()


def exchange(connection: http.client.HTTPConnection, method: str, path: str, document: Any = None) -> Answer:
    """Make one request over this connection."""
    headers = {} if document is None else {"Content-Type": "application/json"}
    connection.request(method, path, None if document is None else json.dumps(document), headers)
    answer = connection.getresponse()
    return (
        answer.status,
        {name.lower(): value for name, value in answer.getheaders()},
        json.loads(answer.read()),
    )


def unscored(entities: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Entities as the server answers them, without what spaCy itself does not say."""
    return [{key: value for key, value in entity.items() if key != "score"} for entity in entities]
