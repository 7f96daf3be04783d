"""A bucket, the two tables and a run in them, in moto; and a corpus small enough to learn in seconds."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from unittest import mock

import boto3
import pytest
from moto import mock_aws
from nerforge_contract import corpus, names, spec, ulid
from nerforge_contract.models import Models
from nerforge_contract.runs import Runs
from nerforge_trainer import card
from nerforge_trainer.settings import Settings

BUCKET, RUNS_TABLE, MODELS_TABLE = "bucket", "runs", "models"
PEOPLE = ("Ada", "Bob", "Carol", "Dan", "Eve", "Frank", "Grace", "Heidi")
PLACES = ("Rome", "Oslo", "Paris", "Lima", "Quito", "Cairo", "Delhi", "Tokyo")


@dataclass
class Aws:
    """What a trainer finds in its account."""

    s3: Any
    runs: Runs
    models: Models

    def put(self, name: str, content: str | bytes, format: str | None = None) -> dict[str, str]:
        """Upload data; returns the source that a submitted spec has for it."""
        data = content.encode() if isinstance(content, str) else content
        sha256 = hashlib.sha256(data).hexdigest()
        key = names.dataset_key(sha256, PurePosixPath(name).suffix)
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=data)
        return {"from": name, "key": key, "sha256": sha256, "format": format or corpus.format_of(name)}

    def start(self, wanted: dict[str, Any], **fields: Any) -> Settings:
        """Submit a spec, with more fields, and claim the run; returns what its first attempt is told."""
        run_id = ulid.new()
        self.runs.create(run_id, spec.with_defaults(wanted), **fields)
        assert self.runs.claim(run_id, 10) == "claimed"
        return Settings(run_id, 1, BUCKET, RUNS_TABLE, MODELS_TABLE, "registry/trainer:tag")

    def objects(self) -> list[str]:
        """The keys of all objects but the data."""
        found = self.s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])
        return [entry["Key"] for entry in found if not entry["Key"].startswith("datasets/")]

    def read(self, key: str) -> bytes:
        """An object's content."""
        return self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()

    def manifest(self, name: str, version: int) -> dict[str, Any]:
        """A version's manifest."""
        return json.loads(self.read(names.model_prefix(name, version) + names.MANIFEST))


def account() -> Aws:
    """Make the bucket and the tables, all empty, in the mocked account."""
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    tables = boto3.resource("dynamodb")
    _create(tables, RUNS_TABLE, "run_id")
    _create(tables, MODELS_TABLE, "name", "item")
    return Aws(s3, Runs(tables.Table(RUNS_TABLE)), Models(tables.Table(MODELS_TABLE)))


def _create(tables, name, *keys):
    tables.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[
            {"AttributeName": key, "KeyType": kind}
            for key, kind in zip(keys, ("HASH", "RANGE"), strict=False)
        ],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
    )


def sentences() -> str:
    """CoNLL of one pattern, which a small CNN learns in a few steps."""
    return "".join(
        f"{person}\tB-PER\ntravelled\tO\nfrom\tO\n{place}\tB-LOC\nto\tO\nNew\tB-LOC\n{other}\tI-LOC\n.\tO\n\n"
        for person, place, other in zip(PEOPLE * 4, PLACES * 4, PLACES[3:] + PLACES * 4, strict=False)
    )


def spec_of(aws: Aws, content: str) -> dict[str, Any]:
    """A spec of a training that takes about a second, its data uploaded."""
    source = aws.put("people.conll", content)
    return {
        "name": "people",
        "data": {"train": source, "dev": source},
        "hyperparameters": {"max_steps": 40, "eval_frequency": 20, "width": 32, "depth": 2},
        "seed": 7,
    }


@pytest.fixture
def aws():
    """An account with the bucket and the tables, all empty; the environment is restored afterwards."""
    with mock.patch.dict(os.environ), mock_aws():
        yield account()


@pytest.fixture(autouse=True)
def pages_not_drawn(monkeypatch):
    """What has nothing to do with cards need not wait for their pages: each takes a second or two."""
    monkeypatch.setattr(card, "draw", lambda described, page: False)


@pytest.fixture(scope="session")
def conll():
    """32 sentences with a PER and two LOC each."""
    return sentences()


@pytest.fixture
def wanted(aws, conll):
    """A spec of a training that takes about a second, its data uploaded."""
    return spec_of(aws, conll)


@pytest.fixture(scope="session")
def made():
    """The files of people:1, a version that is good at its own data, by their keys."""
    from nerforge_trainer.attempt import Attempt
    from nerforge_trainer.interruption import Interruption

    with mock.patch.dict(os.environ), mock_aws():
        aws = account()
        settings = aws.start(spec_of(aws, sentences()))
        Attempt(settings, aws.runs, aws.models, aws.s3, Interruption()).run()
        return {key: aws.read(key) for key in aws.objects()}
