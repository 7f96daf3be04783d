"""A small trained model, as the trainer leaves it in S3, and an S3 to fetch it from."""

import copy
import hashlib
import io
import itertools
import json
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3
import pytest
import spacy
from moto import mock_aws
from nerforge_contract import names
from spacy.training import Example

BUCKET = "models-of-the-test"
MODEL = ("people", 7)
LABEL = names.model_label(*MODEL)

PEOPLE = ["Ada Lovelace", "Kofi Annan", "Marie Curie", "José Saramago", "Grace Hopper", "Tim"]
PLACES = ["London", "New York", "Genève", "Kyōto", "Oslo", "Cape Town"]
FRAMES = ["{} went to {} .", "In {1} we met {0} .", "🌍🌍 {} lives near {} now .", "Nobody saw {} leave {} ."]


def _examples(nlp):
    for frame, person, place in itertools.product(FRAMES, PEOPLE, PLACES):
        text = frame.format(person, place)
        spans = [
            (text.index(name), text.index(name) + len(name), label)
            for name, label in ((person, "PER"), (place, "LOC"))
        ]
        yield Example.from_dict(nlp.make_doc(text), {"entities": spans})


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory) -> Path:
    """A pipeline's folder: entity recognition, PER and LOC, trained in a few seconds."""
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
    spacy.util.fix_random_seed(1)
    examples = list(_examples(nlp))
    optimizer = nlp.initialize(lambda: examples)
    for _ in range(8):
        for start in range(0, len(examples), 16):
            nlp.update(examples[start : start + 16], sgd=optimizer)
    folder = tmp_path_factory.mktemp("model")
    nlp.to_disk(folder)
    return folder


@pytest.fixture
def nlp(model_folder):
    """The model in process; its own copy for each test."""
    return spacy.load(model_folder)


@pytest.fixture(scope="session")
def spacy_finds(model_folder):
    """The function that says what spaCy itself finds in each of some texts, by a copy of the model."""
    nlp = spacy.load(model_folder)

    def finds(texts: list[str]) -> list[list[dict]]:
        return [
            [{"text": e.text, "tag": e.label_, "start": e.start_char, "end": e.end_char} for e in doc.ents]
            for doc in nlp.pipe(texts)
        ]

    return finds


@pytest.fixture(scope="session")
def artifact(model_folder) -> bytes:
    """The model's folder as the trainer packs it."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for path in sorted(model_folder.iterdir()):
            archive.add(path, path.name)
    return packed.getvalue()


@pytest.fixture(scope="session")
def true_manifest(artifact) -> dict:
    """The model's manifest as the trainer writes it."""
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


@pytest.fixture
def manifest(true_manifest) -> dict:
    """The model's manifest, the test's own to change."""
    return copy.deepcopy(true_manifest)


@pytest.fixture(scope="session")
def environment(artifact) -> dict[str, str]:
    """The variables of a server that is told to serve the model."""
    return {
        names.ENV_MODEL: LABEL,
        names.ENV_MODEL_SHA256: hashlib.sha256(artifact).hexdigest(),
        names.ENV_BUCKET: BUCKET,
    }


@pytest.fixture
def put(artifact, manifest):
    """Put the model's files into an S3, given as its client, with some of them replaced (None: left out)."""

    def put(s3, **files: bytes | None) -> None:
        files = {"manifest": json.dumps(manifest).encode(), "artifact": artifact, **files}
        for file, content in files.items():
            if content is not None:
                key = (
                    names.model_prefix(*MODEL)
                    + {"manifest": names.MANIFEST, "artifact": names.ARTIFACT}[file]
                )
                s3.put_object(Bucket=BUCKET, Key=key, Body=content)

    return put


@pytest.fixture(scope="module")
def _s3_client():
    with mock_aws():
        yield boto3.client("s3")


@pytest.fixture
def s3(_s3_client):
    """An S3 with the bucket, in process."""
    _s3_client.create_bucket(Bucket=BUCKET)
    yield _s3_client
    for file in _s3_client.list_objects_v2(Bucket=BUCKET).get("Contents", ()):
        _s3_client.delete_object(Bucket=BUCKET, Key=file["Key"])
    _s3_client.delete_bucket(Bucket=BUCKET)


class _S3(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.server.faults:
            self.send_response(self.server.faults.pop(0))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = self.server.objects.get(self.path.partition("?")[0])
        error = b"<Error><Code>NoSuchKey</Code></Error>"
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Length", str(len(error if content is None else content)))
        self.end_headers()
        self.wfile.write(error if content is None else content)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="session")
def s3_over_http(true_manifest, artifact):
    """The same model behind a port on loopback, for a server in a process of its own.

    Attributes: ``url``; ``faults``, the statuses of the next answers.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), _S3)
    prefix = f"/{BUCKET}/{names.model_prefix(*MODEL)}"
    server.objects = {
        prefix + names.MANIFEST: json.dumps(true_manifest).encode(),
        prefix + names.ARTIFACT: artifact,
    }
    server.faults = []
    server.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()
