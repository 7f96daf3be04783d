"""The models table, against moto's DynamoDB."""

import boto3
import pytest
from moto import mock_aws
from nerforge_contract.errors import UserError
from nerforge_contract.models import PROMOTE, ROLLBACK, Models, release_before


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
    assert [models.next_version("people") for __ in range(3)] == [1, 2, 3]
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


def register(models, *versions):
    for version in versions:
        assert models.register(manifest("people", version))


def test_an_alias_moves_only_from_where_its_mover_saw_it(models):
    register(models, 1, 2)
    assert models.alias("people", "production") is None
    assert models.move_alias("people", "production", 1, before=None)
    assert not models.move_alias("people", "production", 2, before=None)
    assert not models.move_alias("people", "production", 2, before=7)
    assert models.move_alias("people", "production", 2, before=1)

    assert models.alias("people", "production")["version"] == 2


def test_an_alias_keeps_its_history(models):
    register(models, 1, 2, 3)
    models.move_alias("people", "production", 1, before=None, by="arn:aws:iam::1:user/ada")
    models.move_alias("people", "production", 2, before=1, forced="the test data was wrong")
    assert not models.move_alias("people", "production", 3, before=1)
    models.move_alias("people", "staging", 2, before=None)
    models.move_alias("people", "production", 1, before=2, kind=ROLLBACK)

    history = models.history("people", "production")

    assert [(move["kind"], move.get("before"), move["version"]) for move in history] == [
        (PROMOTE, None, 1),
        (PROMOTE, 1, 2),
        (ROLLBACK, 2, 1),
    ]
    assert [move.get("by") for move in history] == ["arn:aws:iam::1:user/ada", None, None]
    assert [move.get("forced") for move in history] == [None, "the test data was wrong", None]
    assert all(move["at"] for move in history)
    assert len(models.history("people", "staging")) == 1


def test_an_alias_moves_only_while_the_claim_is_its_movers(models):
    register(models, 1)
    assert models.claimed() is None
    first, second = (models.claim("people", "production") for __ in range(2))
    claimed = models.claimed()
    assert (claimed["id"], claimed["of"], claimed["alias"]) == (second, "people", "production")
    assert not models.move_alias("people", "production", 1, before=None, claim=first)
    assert models.alias("people", "production") is None and models.history("people", "production") == []
    assert not claimed["done"] and not models.finish(first)
    assert models.move_alias("people", "production", 1, before=None, claim=second)
    assert models.claimed() == claimed | {"done": True}
    assert models.alias("people", "production")["version"] == 1
    assert [alias["alias"] for alias in models.all()[1]] == ["production"]


def test_a_release_that_moves_no_alias_says_that_it_is_done(models):
    first, second = (models.claim("people", "production") for __ in range(2))
    assert not models.finish(first) and not models.claimed()["done"]
    assert models.finish(second) and models.claimed()["done"]


def test_a_move_whose_answer_was_lost_is_not_taken_for_another_mover(models, monkeypatch):
    register(models, 1)
    write = models._client.transact_write_items

    def twice(**request):
        write(**request)
        return write(**request)  # boto3's own repetition, which finds the condition broken

    monkeypatch.setattr(models._client, "transact_write_items", twice)

    assert models.move_alias("people", "production", 1, before=None)
    assert len(models.history("people", "production")) == 1


@pytest.mark.parametrize(
    "moves, before",
    [
        ("", None),
        ("+1", None),
        ("+1 +2", 1),
        ("+1 +2 +3", 2),
        ("+1 +2 +3 -2", 1),
        ("+1 +2 +3 -2 -1", None),
        ("+1 +2 +3 -2 +4", 2),
    ],
)
def test_a_rollback_goes_to_the_release_before(moves, before):
    kinds = {"+": PROMOTE, "-": ROLLBACK}
    history = [{"kind": kinds[move[0]], "version": int(move[1:])} for move in moves.split()]
    assert release_before(history) == before


def test_a_rollback_knows_the_release_before_the_history_began():
    assert release_before([{"kind": PROMOTE, "version": 4, "before": 3}]) == 3


def test_no_alias_moves_to_a_version_that_is_pruned(models):
    register(models, 1, 2)
    models.move_alias("people", "production", 2, before=None)
    assert models.mark_pruned("people", 1)

    for version in (1, 3):
        with pytest.raises(UserError, match=f"there is no people:{version}, or no longer"):
            models.move_alias("people", "production", version, before=2)

    assert models.alias("people", "production")["version"] == 2
    assert len(models.history("people", "production")) == 1


def test_a_marked_version_is_seen_by_nobody_until_it_goes_or_stays(models):
    register(models, 1, 2)

    assert models.mark_pruned("people", 1) and models.mark_pruned("people", 1)
    assert models.get("people", 1) is None
    assert [version["version"] for version in models.all("people")[0]] == [2]
    assert [version["version"] for version in models.marked_pruned()] == [1]

    assert models.unmark_pruned("people", 1) and not models.unmark_pruned("people", 1)
    assert models.get("people", 1)["version"] == 1
    models.forget("people", 1)
    assert models.get("people", 1)["version"] == 1  # it is not marked

    assert not models.doom("people", 1)
    models.mark_pruned("people", 1)
    assert models.doom("people", 1) and models.doom("people", 1)
    assert not models.unmark_pruned("people", 1) and models.get("people", 1) is None
    models.forget("people", 1)
    models.forget("people", 1)
    assert models.marked_pruned("people") == []
    assert not models.mark_pruned("people", 1) and not models.doom("people", 1)


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
