"""The verdict on a campaign: sound evidence passes, and each thing that can be wrong is found."""

import copy
import signal
from collections.abc import Callable
from typing import Any

import pytest
from chaos.campaign import Track
from chaos.verdict import Evidence, Version, violations
from chaos.workload import Blow, Kind, Plan

GARBAGE = "not JSON"
GOOD, WRONG, CANCELLED = "01GOOD", "01WRONG", "01CANCELLED"


def version(label: str, run: str, files: dict[str, str] | None = None) -> Version:
    files = files or {"ner/model": "a", "meta.json": "b"}
    found = str(sorted(files.items()))
    return Version(label, run, found, found, files, {"run": run, "artifact": {"sha256": found}})


REFERENCE = {1: version("chaos:1", "01REFERENCE")}


def record(run_id: str, state: str, **fields: Any) -> dict[str, Any]:
    return {"run_id": run_id, "state": state, "reason": "why", "ended": "then", "cause": None} | fields


@pytest.fixture
def tracks() -> list[Track]:
    cancelled = Track(Plan(1, Kind.CANCELLED), CANCELLED, cancelled=True)
    return [Track(Plan(1, Kind.GOOD), GOOD), Track(Plan(1, Kind.WRONG), WRONG), cancelled]


@pytest.fixture
def evidence() -> Evidence:
    return Evidence(
        records={
            GOOD: record(GOOD, "SUCCEEDED", model="chaos:2", history=[{"attempt": 1}, {"attempt": 2}]),
            WRONG: record(WRONG, "FAILED", cause="WRONG_INPUT"),
            CANCELLED: record(CANCELLED, "CANCELLED", cause="CANCELLED"),
            "01REFERENCE": record("01REFERENCE", "SUCCEEDED", model="chaos:1"),
        },
        versions=[REFERENCE[1], version("chaos:2", GOOD)],
        exits={GOOD: [137, 75, 0], WRONG: [64], CANCELLED: [75]},
        letters=[GARBAGE],
    )


def test_sound_evidence_passes(tracks, evidence):
    assert violations(tracks, evidence, REFERENCE, [GARBAGE]) == []


def test_a_cancelled_run_may_have_been_just_too_late(tracks, evidence):
    evidence.versions.append(version("chaos:3", CANCELLED))
    assert violations(tracks, evidence, REFERENCE, [GARBAGE]) == []


def replaced(label: str, made: Version) -> Callable[[Evidence], None]:
    def change(evidence: Evidence) -> None:
        evidence.versions = [each for each in evidence.versions if each.label != label] + [made]

    return change


def unnamed(evidence: Evidence) -> None:
    evidence.versions[1].manifest["run"] = WRONG


def unlike_its_manifest(evidence: Evidence) -> None:
    evidence.versions[1].manifest["artifact"]["sha256"] = "other"


CASES: dict[str, tuple[str | None, str, Callable[[Evidence], object]]] = {
    "lost": (GOOD, "lost: it is not recorded", lambda e: e.records.pop(GOOD)),
    "not ended": (GOOD, "ended as RUNNING, and", lambda e: e.records[GOOD].update(state="RUNNING")),
    "failed": (GOOD, "should have as SUCCEEDED: why", lambda e: e.records[GOOD].update(state="FAILED")),
    "unexplained": (WRONG, "without a reason", lambda e: e.records[WRONG].update(reason="")),
    "unknown cause": (CANCELLED, "no table knows", lambda e: e.records[CANCELLED].update(cause="BAD LUCK")),
    "wrong cause": (
        WRONG,
        "failed for the cause KILLED, and should have for WRONG_INPUT",
        lambda e: e.records[WRONG].update(cause="KILLED"),
    ),
    "trained twice": (GOOD, "was trained to success 2 times", lambda e: e.exits[GOOD].append(0)),
    "wrong input tried again": (WRONG, "was tried again", lambda e: e.exits[WRONG].append(64)),
    "right input called wrong": (GOOD, "its right input", lambda e: e.exits[GOOD].append(64)),
    "end untold": (
        GOOD,
        "tells how 1 of its 3 attempts ended, which was with [137, 75, 0]",
        lambda e: e.records[GOOD]["history"].pop(),
    ),
    "no version": (GOOD, "registered for it: none", lambda e: e.versions.pop()),
    "two versions": (GOOD, "['chaos:2', 'chaos:3']", lambda e: e.versions.append(version("chaos:3", GOOD))),
    "another version": (
        GOOD,
        "says it made chaos:9, and these are registered for it: ['chaos:2']",
        lambda e: e.records[GOOD].update(model="chaos:9"),
    ),
    "version of a failed run": (
        WRONG,
        "is FAILED and has the versions",
        lambda e: e.versions.append(version("chaos:3", WRONG)),
    ),
    "manifest of another run": (GOOD, f"the manifest of chaos:2 names run {WRONG}", unnamed),
    "artifact unlike its manifest": (GOOD, "and its manifest other", unlike_its_manifest),
    "artifact gone": (
        GOOD,
        "has the sha256 None",
        replaced("chaos:2", Version("chaos:2", GOOD, "x", None, {}, {"run": GOOD})),
    ),
    "other weights": (
        GOOD,
        "is not what an undisturbed run of seed 1 makes: ner/model differ",
        replaced("chaos:2", version("chaos:2", GOOD, {"ner/model": "other", "meta.json": "b"})),
    ),
    "stranger": (
        "01STRANGER",
        "nobody was told of this run, and it is QUEUED",
        lambda e: e.records.update({"01STRANGER": record("01STRANGER", "QUEUED")}),
    ),
    "version of nobody": (
        None,
        "chaos:3 names run 01NOBODY",
        lambda e: e.versions.append(version("chaos:3", "01NOBODY")),
    ),
    "slot held": (None, f"slots are still held: {GOOD}", lambda e: e.slots.append(GOOD)),
    "message left": (None, "1 messages are left", lambda e: setattr(e, "messages", 1)),
    "task left": (None, "1 trainers still run", lambda e: setattr(e, "tasks", 1)),
    "garbage gone": (None, "gone without a trace", lambda e: e.letters.clear()),
    "message given up": (None, "put into the dead letter queue", lambda e: e.letters.append("good")),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_is_found(tracks, evidence, case):
    run_id, words, change = CASES[case]
    evidence = copy.deepcopy(evidence)
    change(evidence)
    found = violations(tracks, evidence, REFERENCE, [GARBAGE])
    assert any(about == run_id and words in said for about, said in found), found


def test_a_terminal_state_that_changes_is_found(tracks, evidence):
    tracks[0].state = "FAILED"
    found = violations(tracks, evidence, REFERENCE, [GARBAGE])
    assert found == [(GOOD, "was FAILED, which is terminal, and became SUCCEEDED")]


def test_blows_are_told():
    from chaos.workload import described

    plan = Plan(1, Kind.GOOD, blows=(Blow(signal.SIGTERM, 7, 1.0), Blow(signal.SIGKILL, None, 2.5)))
    assert '["SIGTERM at call 7", "SIGKILL after 2.5 s"]' in described(plan)
