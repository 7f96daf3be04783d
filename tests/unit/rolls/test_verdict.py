"""The verdict on rolls: what may be passes, and each answer that may not be is found."""

import pytest
from rolls.load import Answer
from rolls.verdict import Roll, violations

# One is served; at 10 s it is replaced by two, at 30 s a bad version is tried, at 50 s one comes back.
PROMOTED = Roll("promote to two", "promote", "one", frozenset({"two"}), "two", 10, 20)
REFUSED = Roll("promote bad", "crashes", "two", frozenset(), "two", 30, 40)
BACK = Roll("rollback to one", "rollback", "two", frozenset({"one"}), "one", 50, 85)
ROLLS = (PROMOTED, REFUSED, BACK)


def answer(model: str | None, began: float, seconds: float = 0.1, wrong: str = "") -> Answer:
    return Answer(began, began + seconds, True, model, wrong)


RIGHT = [
    answer("one", 5),
    answer("one", 12),
    answer("two", 12),
    answer("one", 19, seconds=3),  # had been asked before the command returned
    answer("two", 25),
    answer("two", 35),
    answer("two", 45),
    answer("two", 79),
    answer("one", 90),
]


def test_what_may_be_passes():
    assert violations(RIGHT, ROLLS, "one") == []


@pytest.mark.parametrize(
    "found, words",
    [
        (answer("two", 5), "before the first roll"),
        (answer("one", 20.5), "10.50 s after the command to promote to two"),
        (answer("one", 35), "only two may"),
        (answer("bad", 35), "only two may"),
        (answer("two", 95), "only one may"),
        (answer(None, 12, wrong="502: no target"), "502: no target"),
        (answer("two", 80.1), "30.2 s until one alone answered"),
    ],
)
def test_what_may_not_be_is_found(found: Answer, words: str):
    (wrong,) = violations([*RIGHT, found], ROLLS, "one")
    assert words in wrong


def test_a_roll_after_which_nobody_asked_shows_nothing():
    (wrong,) = violations(RIGHT[:-1], ROLLS, "one")
    assert wrong == "after rollback to one no answer came: this shows nothing"
