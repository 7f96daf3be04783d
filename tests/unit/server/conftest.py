"""A small trained model, as the trainer leaves it in S3, an S3 to fetch it from, and servers of it."""

import copy
import json
from pathlib import Path

import boto3
import pytest
import spacy
from moto import mock_aws
from nerforge_contract import names
from support import serving
from support.serving import BUCKET, MODEL


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory) -> Path:
    """A pipeline's folder: entity recognition, PER and LOC, trained in a few seconds."""
    folder = tmp_path_factory.mktemp("model")
    serving.train(folder)
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
    return serving.pack(model_folder)


@pytest.fixture(scope="session")
def true_manifest(artifact) -> dict:
    """The model's manifest as the trainer writes it."""
    return serving.manifest_of(artifact)


@pytest.fixture
def manifest(true_manifest) -> dict:
    """The model's manifest, the test's own to change."""
    return copy.deepcopy(true_manifest)


@pytest.fixture(scope="session")
def environment(artifact) -> dict[str, str]:
    """The variables of a server that is told to serve the model."""
    return serving.environment_of(artifact)


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


@pytest.fixture(scope="session")
def aws(artifact):
    """The same model behind a port on loopback, for a server in a process of its own."""
    aws = serving.AWS(artifact)
    yield aws
    aws.close()


@pytest.fixture
def start(environment, aws, tmp_path):
    """Start a server with some of its variables changed; it is killed at the test's end if it still runs."""
    started = []

    def start(**changed: str) -> serving.Server:
        folder = tmp_path / str(len(started))
        started.append(serving.Server(environment | changed, aws.url, folder))
        return started[-1]

    yield start
    aws.faults.clear()
    aws.parameters.clear()
    for server in started:
        server.kill()


@pytest.fixture
def server(start):
    """A server that answers, the test's own to stop."""
    server = start()
    server.wait_ready()
    return server


@pytest.fixture(scope="module")
def shared(environment, aws, tmp_path_factory):
    """A server that answers, for the tests that leave it running."""
    server = serving.Server(environment, aws.url, tmp_path_factory.mktemp("shared"))
    server.wait_ready()
    yield server
    server.kill()
