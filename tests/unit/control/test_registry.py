"""Finding and listing model versions, and the table they are shown in."""

import pytest
from ansible_collections.nerforge.aws.plugins.module_utils.contract.errors import UserError
from ansible_collections.nerforge.aws.plugins.module_utils.contract.models import ROLLBACK
from ansible_collections.nerforge.aws.plugins.plugin_utils import registry
from ansible_collections.nerforge.aws.plugins.plugin_utils.service import serving

RUNS = ["01JAAAAAAA0000000000000001", "01JAAAAAAA9000000000000002"]


@pytest.fixture
def models(stack):
    """people:1, people:2 (in production) and places:1, of the second run."""
    measured = {"on": "dev", "temperature": 1.5, "ece": 0.125, "ece_uncalibrated": 0.25, "bins": []}
    for name, version, calibration in (("people", 1, None), ("people", 2, measured), ("places", 1, measured)):
        stack.models.register(
            {
                "name": name,
                "version": version,
                "run": RUNS[name == "places"],
                "created": "2026-03-01T09:14:02.411+00:00",
                "artifact": {"sha256": "a" * 64, "bytes": 4_211_200},
                "language": "en",
                "labels": ["PER"],
                "scores": {"f": 0.5, "p": 0.25, "r": 0.75, "on": "dev"},
                "calibration": calibration,
            }
        )
    stack.models.move_alias("people", "production", 2, None)
    return stack.models


def test_models_with_their_aliases_and_which_is_served(models):
    listed = registry.listed(models, {"model": "people:1"})
    assert [(m["model"], m["aliases"], m["serving"]) for m in listed] == [
        ("people:2", ["production"], False),
        ("people:1", [], True),
        ("places:1", [], False),
    ]
    assert "item" not in listed[0]


def test_the_table_of_models(models):
    heads, *rows = (line.split() for line in registry.models_table(registry.listed(models, None)))
    assert heads == ["MODEL", "AGE", "SIZE", "F", "P", "R", "ECE", "ON", "RUN", "SERVING", "ALIASES"]
    newest, oldest, other = rows
    assert newest[0] == "people:2"
    assert " ".join(newest[2:]) == "4.2 MB 0.500 0.250 0.750 0.125 dev 01JAAAAAAA0 production"
    assert " ".join(oldest[2:]) == "4.2 MB 0.500 0.250 0.750 dev 01JAAAAAAA0"  # its ECE is not known
    assert other[-1] == "01JAAAAAAA9"  # as much of a run's id as tells it from the others here


def test_a_line_of_the_table_has_room_for_what_is_served(models):
    table = registry.models_table(registry.listed(models, {"model": "people:2"}))
    assert table[1].split()[-2:] == ["yes", "production"] and len(table[1]) <= 100


def test_a_long_name_cuts_off_nothing_that_is_told_of_a_version(models):
    (model,) = registry.listed(models, {"model": "people:2"}, "people", 2)
    long = model | {"model": f"{'n' * 63}:2", "aliases": ["production", "staging"]}
    assert registry.models_table([long])[1].endswith("01JAAAAAAA  yes      production, staging")


def test_one_model_or_one_version_is_listed(models):
    assert [m["model"] for m in registry.listed(models, None, "people")] == ["people:2", "people:1"]
    assert [m["model"] for m in registry.listed(models, None, "people", 1)] == ["people:1"]


@pytest.mark.parametrize(
    ("wanted", "version"), [("people", 2), ("people:1", 1), ("people@production", 2), ("places", 1)]
)
def test_a_model_is_resolved(models, wanted, version):
    assert registry.resolve(models, wanted)["version"] == version


@pytest.mark.parametrize(
    "wanted", ["", "@production", "people@", "people@ ", "People", "people 1", "people:", ":1"]
)
def test_what_names_no_model_is_told_before_anything_is_read(wanted):
    with pytest.raises(UserError, match=r"^model: .*Give name:number, name@alias, or the name alone\."):
        registry.resolve(None, wanted)


def test_a_model_that_is_not_there_is_told(models):
    with pytest.raises(UserError, match=r"there is no model peopel\. .*models\.yml"):
        registry.resolve(models, "peopel")


def test_a_pruned_version_is_not_found(models):
    models.mark_pruned("people", 1)
    with pytest.raises(UserError, match=r"people has no version 1\. Its versions are 2"):
        registry.resolve(models, "people:1")
    assert [m["model"] for m in registry.listed(models, None, "people")] == ["people:2"]


def test_the_moves_of_a_version_are_those_to_it_and_from_it(models):
    models.move_alias("people", "staging", 2, None)
    models.move_alias("people", "production", 1, 2, kind=ROLLBACK)

    def told(version):
        found = registry.moves(models, models.get("people", version))
        return [(alias, move.get("before"), move["version"]) for alias, move in found]

    assert told(2) == [("production", None, 2), ("staging", None, 2), ("production", 2, 1)]
    assert told(1) == [("production", 2, 1)]


@pytest.mark.parametrize(
    ("rollout", "told"),
    [
        ("COMPLETED", ""),
        ("IN_PROGRESS", ", which is being rolled out"),
        ("FAILED", ", whose rollout has failed"),
    ],
)
def test_what_is_served_is_told_in_a_line(rollout, told):
    found = {"model": "people:2", "rollout": rollout, "desired": 2, "running": 1}
    assert registry.served_line(found) == f"served: people:2{told}, 1 of 2 tasks run"
    assert registry.served_line(found | {"model": None}) == "served: nothing yet"
    assert "not deployed" in registry.served_line(None)


def test_nothing_is_served_where_the_serving_stack_is_not_there(stack):
    assert serving(stack.aws, "nerforge") is None
