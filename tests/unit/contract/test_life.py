"""When a run last showed life, and from when on it counts as stuck."""

import datetime

import pytest
from nerforge_contract import life

NOW = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC)


def ago(minutes):
    return (NOW - datetime.timedelta(minutes=minutes)).isoformat()


@pytest.mark.parametrize(
    ("run", "minutes"),
    [
        ({"state": "RUNNING", "running": ago(90), "reported": ago(2)}, 2),
        ({"state": "RUNNING", "running": ago(90), "reported": None}, 90),
        ({"state": "STARTING", "started": ago(90)}, 90),
        ({"state": "STARTING", "started": ago(90), "attempt_started": ago(3)}, 3),
        # An attempt that only waits for room begins again and again: what counts is since when it waits.
        ({"state": "STARTING", "attempt_started": ago(1), "waiting_since": ago(60)}, 60),
        # What an attempt before wrote does not count.
        ({"state": "STARTING", "started": ago(90), "reported": ago(1)}, 90),
    ],
)
def test_the_last_sign(run, minutes):
    assert life.last_sign(run) == NOW - datetime.timedelta(minutes=minutes)
    assert life.is_stuck(run, NOW) is (minutes > 30)


@pytest.mark.parametrize(
    "run", [{"state": "QUEUED", "started": ago(90)}, {"state": "FAILED"}, {"state": "RUNNING"}]
)
def test_no_sign_is_no_stuck_run(run):
    assert life.last_sign(run) is None and not life.is_stuck(run, NOW)


def test_half_an_hour_is_not_yet_too_long():
    assert not life.is_stuck({"state": "RUNNING", "running": ago(30)}, NOW)
