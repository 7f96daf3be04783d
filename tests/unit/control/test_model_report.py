"""One version in full, and two side by side."""

import copy

import pytest
from ansible_collections.nerforge.aws.plugins.plugin_utils import gate, model_comparison, model_report

CONFIG = "[training]\ndropout = 0.1\nmax_steps = {steps}\n\n[paths]\ntrain = {folder}/train.spacy\n"
LISTED = {
    "model": "people:7",
    "name": "people",
    "version": 7,
    "run": "01JD4M5K6PQ7R8S9T0V1W2X3Y4",
    "created": "2026-03-01T09:14:02.411+00:00",
    "bytes": 4_211_200,
    "sha256": "5f" * 32,
    "aliases": ["production"],
    "serving": True,
}
MOVES = [
    ("production", {"version": 7, "before": 6, "at": LISTED["created"], "kind": "promote", "by": "anna"}),
    ("production", {"version": 6, "before": 7, "at": LISTED["created"], "kind": "rollback"}),
    (
        "production",
        {"version": 7, "at": LISTED["created"], "kind": "promote", "forced": "test data is wrong"},
    ),
]


def part(sha256):
    source = {"key": f"datasets/{sha256}.conll", "sha256": sha256, "format": "conll"}
    return source | {"sentences": 1400, "entities": {"LOC": 12, "PER": 30}}


@pytest.fixture
def manifest():
    """What the trainer says of people:7."""
    return {
        "name": "people",
        "version": 7,
        "spec": {
            "name": "people",
            "seed": 3,
            "hyperparameters": {"max_steps": 2000, "batch_words": [100, 1000]},
            "data": {"train": {"from": "people.conll"}, "test": {"from": "s3://lake/people.conll"}},
        },
        "config": CONFIG.format(steps=2000, folder="/tmp/one"),
        "scores": {
            **{"f": 0.871, "p": 0.88, "r": 0.862, "on": "test"},
            "labels": {
                "LOC": {"f": 0.9, "p": 0.9, "r": 0.9, "count": 1200},
                "PER": {"f": 0.8, "p": 0.85, "r": 0.75, "count": 30},
            },
        },
        "confusion": {"labels": ["LOC", "PER"], "counts": [[1080, 7, 113], [2, 24, 4], [60, 5, 0]]},
        "calibration": {
            "on": "test",
            "temperature": 1.37,
            "ece": 0.031,
            "ece_uncalibrated": 0.112,
            "bins": [],
        },
        "speed": {"words_per_second": 12345.6, "words": 20000},
        "artifact": {"sha256": "5f" * 32, "bytes": 4_211_200},
        "data": {"train": part("a" * 64), "test": part("b" * 64)},
        "libraries": {"spacy": "3.8.7", "thinc": "8.3.6"},
        "python": "3.11.2",
        "platform": "Linux-6.1",
        "cpu": "An Honest CPU",
        "image": "trainer@sha256:1234",
        "commit": {"id": "c0ffee", "changed": True},
        "examples": {"test": "e" * 64},
        "seconds": 750.2,
        "warnings": ["12 sentences of test are in train too"],
    }


def test_one_version_is_shown_whole(manifest):
    told = "\n".join(model_report.lines(LISTED, manifest, MOVES))
    for line in (
        "model people:7",
        "  serving     people@production, served now",
        "  made        2026-03-01 09:14:02 UTC, ",
        "by run 01JD4M5K6PQ7R8S9T0V1W2X3Y4, in 12:30",
        "  scores      ON TEST     F      P      R      ENTITIES",
        "all labels  0.871  0.880  0.862  1,230",
        "PER         0.800  0.850  0.750  30",
        "  confusion   GOLD, FOUND  LOC   PER  none",
        "LOC          1080  7    113",
        "none         60    5    0",
        "  calibration temperature 1.37: ECE 0.031, 0.112 without it, on test",
        "  speed       12,346 words/s, on 20,000 words",
        f"  size        4.2 MB, sha256 {'5f' * 32}",
        "  data        train: 1,400 sentences, 42 entities (LOC 12, PER 30)",
        f"  people.conll, sha256 {'a' * 64}",
        f"  s3://lake/people.conll, sha256 {'b' * 64}",
        "  spec        seed 3, hyperparameters.max_steps 2000, hyperparameters.batch_words [100, 1000]",
        "  git commit  c0ffee, with changes that were not committed",
        "  made with   spacy 3.8.7, thinc 8.3.6, Python 3.11.2, platform Linux-6.1, CPU An Honest CPU,\n"
        "              image trainer@sha256:1234\n",
        "  history     2026-03-01 09:14:02 UTC  production promoted from 6 to 7, by anna",
        "production rolled back from 7 to 6",
        "production promoted to 7; its gate was passed over: test data is wrong",
        "  warnings    12 sentences of test are in train too",
        "  next        See its card: card.yml -e model=people:7.",
    ):
        assert line in told
    assert "dropout" not in told


def test_what_it_has_cost_is_told_where_it_is_known(manifest):
    made = [
        line for line in model_report.lines(LISTED | {"cost": {"usd": 0.5}}, manifest, []) if "made  " in line
    ]
    assert made[0].endswith(", for 0.50 USD")
    assert not any("USD" in line for line in model_report.lines(LISTED | {"cost": None}, manifest, []))


def test_a_long_label_cuts_off_no_figure(manifest):
    manifest["scores"]["labels"]["L" * 90] = {"f": 0.25, "p": 0.125, "r": 0.5, "count": 4}
    told = "\n".join(model_report.lines(LISTED, manifest, []))
    assert f"{'L' * 90}  0.250  0.125  0.500  4\n" in told


def test_data_that_was_split_is_named_for_each_part(manifest):
    manifest["spec"]["data"] = {"all": "all.conll", "split": [80, 10, 10]}
    told = "\n".join(model_report.lines(LISTED, manifest, []))
    assert told.count("  all.conll, sha256 ") == 2


def test_the_config_is_shown_on_request(manifest):
    told = list(model_report.lines(LISTED, manifest, [], config=True))
    assert "  config      [training]" in told and "              dropout = 0.1" in told
    assert not any("history" in line for line in told)


def test_of_many_moves_the_newest_are_shown(manifest):
    move = {"version": 7, "at": LISTED["created"], "kind": "promote"}
    moves = [("production", move | {"by": f"operator {number:02}"}) for number in range(12)]
    told = "\n".join(model_report.lines(LISTED, manifest, moves))
    assert "  history     2 moves before these\n" in told
    assert "operator 01" not in told and "operator 02" in told and "operator 11" in told


def test_a_manifest_of_old_is_shown_without_what_it_lacks(manifest):
    for later in ("confusion", "calibration", "speed", "cpu", "commit", "seconds", "warnings", "examples"):
        del manifest[later]
    for of in manifest["scores"]["labels"].values():
        del of["count"]
    told = "\n".join(model_report.lines(LISTED | {"aliases": [], "serving": False}, manifest, []))
    assert "  serving     not served" in told and "all labels  0.871  0.880  0.862\n" in told
    assert not any(word in told for word in ("confusion", "commit", "CPU", "card.yml"))


# --- two versions ---


@pytest.fixture
def other(manifest):
    """people:6: half the steps, other training data, an older spaCy, no calibration."""
    other = copy.deepcopy(manifest) | {"version": 6, "cpu": "Another CPU"}
    other["spec"]["hyperparameters"]["max_steps"] = 1000
    other["config"] = CONFIG.format(steps=1000, folder="/tmp/two")
    other["scores"] |= {"f": 0.866, "labels": {"PER": {"f": 0.85}, "ORG": {"f": 0.4}}}
    other["data"]["train"] = part("d" * 64)
    other["libraries"]["spacy"] = "3.8.6"
    del other["calibration"], other["speed"], other["data"]["test"]
    return other


def test_what_differs_between_two_versions_is_all_that_is_told(manifest, other):
    found = model_comparison.differences(manifest, other)
    assert found == {
        "spec": {"hyperparameters.max_steps": [2000, 1000]},
        "config": {"training.max_steps": ["2000", "1000"]},
        "data": {
            "train.sha256": ["a" * 64, "d" * 64],
            "test.sha256": ["b" * 64, None],
            "test.sentences": [1400, None],
            "test.entities.LOC": [12, None],
            "test.entities.PER": [30, None],
        },
        "environment": {"spacy": ["3.8.7", "3.8.6"], "CPU": ["An Honest CPU", "Another CPU"]},
    }
    assert not any(model_comparison.differences(manifest, copy.deepcopy(manifest)).values())


def side_by_side(ours, theirs, evidence=None):
    found = model_comparison.differences(ours, theirs)
    return list(model_comparison.lines(["people:7", "people:6"], [ours, theirs], found, evidence))


def test_scores_stand_side_by_side(manifest, other):
    lines = [line.split() for line in side_by_side(manifest, other)]
    for line in (
        ["people:7", "people:6", "DIFFERENCE"],
        ["F", "0.871", "0.866", "+0.005"],
        ["F", "of", "PER", "0.800", "0.850", "-0.050"],
        ["F", "of", "ORG", "0.400"],
        ["ECE", "0.031"],
        ["words/s", "12,346"],
        ["hyperparameters.max_steps", "2000", "1000"],
        ["test.sentences", "1400", "none"],
    ):
        assert line in lines
    assert [line for line in lines if line[:1] == ["R"]] == [["R", "0.862", "0.862", "+0.000"]]


def test_long_names_cut_off_no_figure(manifest, other):
    names = [f"{'n' * 63}:{version}" for version in (7, 6)]
    found = model_comparison.differences(manifest, other)
    lines = list(model_comparison.lines(names, [manifest, other], found, None))
    assert lines[0].split() == [*names, "DIFFERENCE"]
    assert ["F", "0.871", "0.866", "+0.005"] in [line.split() for line in lines]


@pytest.mark.parametrize(
    ("ours", "theirs", "told"),
    [
        ("3.8.7", "3.8.6", ["3.8.7", "3.8.6"]),
        (f"{'r' * 60}@sha256:aaaa", f"{'r' * 60}@sha256:bbbb", ["…rrrr@sha256:aaaa", "…rrrr@sha256:bbbb"]),
        (["A" * 30, "B"], ["A" * 30, "B", "C"], ['…AAAAAA", "B"]', '…AAAAAA", "B", "C"]']),
        ("s" * 50, "s" * 50 + "t" * 50, ["…ssssssssssss", f"…ssssssssssss{'t' * 22}…"]),
        ("s" * 50, None, [f"{'s' * 35}…", "none"]),
    ],
)
def test_of_two_long_values_what_differs_is_shown(manifest, ours, theirs, told):
    found = {"spec": {"path": [ours, theirs]}}
    lines = list(model_comparison.lines(["people:7", "people:6"], [manifest, manifest], found, None))
    assert lines[-1].split("  ", 1)[0] == "path"
    assert [part.strip() for part in lines[-1][4:].split("  ") if part] == told


def test_what_is_the_same_is_said_in_a_word(manifest):
    lines = side_by_side(manifest, copy.deepcopy(manifest))
    assert lines[-7::2] == ["spec: the same", "config: the same", "data: the same", "environment: the same"]


@pytest.mark.parametrize(
    ("low", "high", "told"),
    [
        (0.001, 0.02, "people:7 is better by more than chance:"),
        (-0.02, -0.001, "people:6 is better by more than chance:"),
        (-0.01, 0.02, "the difference may be chance:"),
        (0.0, 0.0, "the difference may be chance:"),
    ],
)
def test_the_interval_says_whether_it_may_be_chance(manifest, other, low, high, told):
    evidence = gate.Difference(0.871, 0.866, low, high, 1400)
    lines = side_by_side(manifest, other, evidence)
    assert lines[lines.index(told) + 1] == f"  {evidence}"


def test_versions_that_were_never_tried_on_the_same_sentences(manifest, other):
    assert any("not evaluated on the same sentences" in line for line in side_by_side(manifest, other))
