"""What a run is for, on its record and in words."""

import pytest
from nerforge_contract import purposes


@pytest.mark.parametrize(
    ("purpose", "kind", "subject", "words"),
    [
        (None, "train", "people", None),
        (
            purposes.evaluate("people:6", "people:7"),
            "evaluate",
            "evaluate people:6",
            "data of people:7; it makes",
        ),
        (purposes.reproduce("people:7"), "reproduce", "reproduce people:7", "train people:7 once more"),
        ({"kind": "distil", "model": "people:7"}, "distil", "distil people:7", "distil people:7"),
    ],
)
def test_each_is_told_from_the_others(purpose, kind, subject, words):
    run = {"name": "people"} | ({"purpose": purpose} if purpose else {})
    assert purposes.kind(run) == kind
    assert purposes.subject(run) == subject
    assert purpose is None or words in purposes.sentence(purpose)
