"""Cancelling a run, against everybody who may move it at the same time."""

import pytest
from ansible_collections.nerforge.aws.plugins.module_utils.contract.errors import UserError
from ansible_collections.nerforge.aws.plugins.plugin_utils import cancellation
from hypothesis import given, settings
from hypothesis import strategies as st

RUN = "01JAAAAAAA0000000000000001"
WHY = "cancelled by anna: wrong labels"


@pytest.fixture
def runs(stack):
    """One queued run."""
    stack.runs.create(RUN, {"name": "people"})
    return stack.runs


def start(runs):
    assert runs.claim(RUN, 1) == "claimed"


def train(runs):
    start(runs)
    assert runs.move(RUN, "STARTING", "RUNNING", 1)


def succeed(runs):
    train(runs)
    assert runs.move(RUN, "RUNNING", "SUCCEEDED", 1, model="people:1")


def fail(runs):
    start(runs)
    assert runs.move(RUN, "STARTING", "FAILED", 1, cause="OUT_OF_MEMORY", reason="it needed more")


@pytest.mark.parametrize("stage", [lambda runs: None, start, train], ids=["queued", "starting", "running"])
def test_a_run_is_cancelled_from_wherever_it_is(runs, stage):
    stage(runs)
    run, changed = cancellation.cancel(runs, RUN, WHY)
    assert changed and run == runs.get(RUN) | {"last_write": run["last_write"]}
    assert (run["state"], run["cause"], run["reason"]) == ("CANCELLED", "CANCELLED", WHY)
    assert run["ended"] >= run["created"]


def test_a_second_time_it_is_left_as_it_is(runs):
    cancellation.cancel(runs, RUN, WHY)
    before = runs.get(RUN)
    assert cancellation.cancel(runs, RUN, "cancelled by ben") == (before, False)
    assert runs.get(RUN) == before


@pytest.mark.parametrize(
    ("stage", "told"),
    [
        (succeed, rf"run {RUN}: it has ended already: SUCCEEDED as people:1\. There is nothing to cancel"),
        (fail, "it has ended already: FAILED, OUT_OF_MEMORY: it needed more. There is nothing to cancel"),
    ],
)
def test_a_run_that_has_ended_is_told_and_stays(runs, stage, told):
    stage(runs)
    before = runs.get(RUN)
    with pytest.raises(UserError, match=told):
        cancellation.cancel(runs, RUN, WHY)
    assert runs.get(RUN) == before


def test_of_a_run_that_made_no_model_none_is_said_to_be_served(runs):
    train(runs)
    assert runs.move(RUN, "RUNNING", "SUCCEEDED", 1, reason="people:1 is reproduced")
    with pytest.raises(UserError) as error:
        cancellation.cancel(runs, RUN, WHY)
    assert str(error.value).endswith("SUCCEEDED, people:1 is reproduced. There is nothing to cancel.")


def test_check_mode_changes_nothing(runs):
    before = runs.get(RUN)
    assert cancellation.cancel(runs, RUN, WHY, dry=True) == (before, True)
    assert runs.get(RUN) == before


def test_a_trainer_that_is_faster_by_a_moment_wins_and_is_told(runs, monkeypatch):
    train(runs)
    move = runs.move

    def raced(*arguments, **fields):
        move(RUN, "RUNNING", "SUCCEEDED", 1, model="people:1")
        return move(*arguments, **fields)

    monkeypatch.setattr(runs, "move", raced)
    with pytest.raises(UserError, match="it ended just before it could be cancelled: SUCCEEDED as people:1"):
        cancellation.cancel(runs, RUN, WHY)
    assert runs.get(RUN)["state"] == "SUCCEEDED"


def test_another_operator_who_is_faster_wins(runs, monkeypatch):
    move = runs.move

    def raced(*arguments, **fields):
        move(RUN, "QUEUED", "CANCELLED", reason="cancelled by ben")
        return move(*arguments, **fields)

    monkeypatch.setattr(runs, "move", raced)
    run, changed = cancellation.cancel(runs, RUN, WHY)
    assert not changed and run["reason"] == "cancelled by ben"


def test_a_run_that_moves_on_meanwhile_is_cancelled_all_the_same(runs, monkeypatch):
    get = runs.get
    monkeypatch.setattr(runs, "get", lambda run_id: (get(run_id), train(runs))[0])
    assert cancellation.cancel(runs, RUN, WHY)[1]
    assert get(RUN)["state"] == "CANCELLED"


# --- its task ---


class Slots:
    """The slot of a run, which is free after so many seconds."""

    def __init__(self, freed):
        self.freed, self.passed, self.woken = freed, 0.0, 0

    def active(self):
        return [RUN] if self.passed < self.freed else []

    def sleep(self, seconds):
        self.passed += seconds

    def wake(self):
        self.woken += 1


def wait(slots, say, timeout=300):
    return cancellation.wait_until_gone(
        slots, RUN, slots.wake, say, timeout, slots.sleep, lambda: slots.passed
    )


def test_it_waits_until_the_slot_is_free_and_says_so_now_and_then(lines):
    slots = Slots(freed=25)
    assert wait(slots, lines)
    assert lines == ["   0:10  its task has not ended yet", "   0:20  its task has not ended yet"]
    assert slots.woken == 2


def test_no_slot_no_wait(lines):
    slots = Slots(freed=0)
    assert wait(slots, lines) and lines == [] and slots.passed == 0


@settings(max_examples=30, deadline=None)
@given(freed=st.integers(0, 400), timeout=st.integers(0, 300))
def test_it_never_waits_longer_than_it_may(freed, timeout):
    slots = Slots(freed)
    assert wait(slots, [].append, timeout) is (freed <= timeout or slots.passed >= freed)
    assert slots.passed <= timeout + 1
