"""The models table, against moto's DynamoDB."""

import boto3
import pytest
from moto import mock_aws
from nerforge_contract.models import Models


@pytest.fixture
def models():
    with mock_aws():
        table = boto3.resource("dynamodb", region_name="us-east-1").create_table(
            TableName="models",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("name", "item")],
            KeySchema=[
                {"AttributeName": "name", "KeyType": "HASH"},
                {"AttributeName": "item", "KeyType": "RANGE"},
            ],
        )
        yield Models(table)


def manifest(name: str, version: int, run: str = "R1"):
    return {
        "name": name,
        "version": version,
        "run": run,
        "created": "2026-03-01T12:00:00.000+00:00",
        "language": "en",
        "labels": ["ORG", "PER"],
        "scores": {"f": 0.5, "p": 0.25, "r": 1.0, "labels": {}, "on": "test"},
        "calibration": {"on": "test", "temperature": 1.5, "ece": 0.03, "ece_uncalibrated": 0.1, "bins": []},
        "artifact": {"file": "model.tar.gz", "sha256": "ab" * 32, "bytes": 4_000_000},
    }


def test_version_numbers_count_up_for_each_name(models):
    assert [models.next_version("people") for _ in range(3)] == [1, 2, 3]
    assert models.next_version("places") == 1


def test_a_version_reads_back_as_it_was_registered(models):
    assert models.get("people", 1) is None

    assert models.register(manifest("people", 1))

    found = models.get("people", 1)
    assert found["labels"] == ["ORG", "PER"]
    assert found["scores"] == {"f": 0.5, "p": 0.25, "r": 1.0, "labels": {}, "on": "test"}
    assert found["calibration"]["ece"] == 0.03
    assert (found["version"], found["bytes"], found["prefix"]) == (1, 4_000_000, "models/people/1/")


def test_a_version_is_registered_once_and_never_changes(models):
    models.register(manifest("people", 1, run="R1"))

    assert not models.register(manifest("people", 1, run="R2"))

    assert models.get("people", 1)["run"] == "R1"


def test_a_registration_whose_answer_was_lost_is_made_again(models):
    assert models.register(manifest("people", 1))
    first = models.get("people", 1)
    assert models.register(manifest("people", 1))
    other = manifest("people", 1) | {"artifact": {"file": "model.tar.gz", "sha256": "cd" * 32, "bytes": 4}}
    assert not models.register(other)
    assert models.get("people", 1) == first


def test_an_alias_moves_only_from_where_its_mover_saw_it(models):
    assert models.alias("people", "production") is None
    assert models.move_alias("people", "production", 1, before=None)
    assert not models.move_alias("people", "production", 2, before=None)
    assert not models.move_alias("people", "production", 2, before=7)
    assert models.move_alias("people", "production", 2, before=1)

    assert models.alias("people", "production")["version"] == 2


def test_all_is_in_the_order_of_name_and_number(models):
    for name, version in [("places", 1), ("people", 10), ("people", 9)]:
        models.register(manifest(name, version))
        models.next_version(name)
    models.move_alias("people", "production", 9, before=None)

    versions, aliases = models.all()

    assert [(one["name"], one["version"]) for one in versions] == [
        ("people", 9),
        ("people", 10),
        ("places", 1),
    ]
    assert [(one["name"], one["alias"], one["version"]) for one in aliases] == [("people", "production", 9)]
    versions, aliases = models.all("places")
    assert [(one["name"], one["version"]) for one in versions] == [("places", 1)]
    assert aliases == []


def test_all_reads_every_page(models):
    padding = {"language": "x" * 300_000}
    for version in range(1, 8):
        models.register(manifest("people", version) | padding)

    assert [one["version"] for one in models.all()[0]] == list(range(1, 8))
    assert [one["version"] for one in models.all("people")[0]] == list(range(1, 8))
