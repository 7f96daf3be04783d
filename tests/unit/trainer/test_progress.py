"""Progress on the record: phases at once, steps every two seconds, and an end once the run has moved on."""

import pytest
from botocore.exceptions import ClientError
from nerforge_contract import states
from nerforge_trainer.progress import Progress, Superseded


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def settings(aws, wanted):
    """An attempt that is under way."""
    settings = aws.start(wanted)
    aws.runs.move(settings.run_id, states.STARTING, states.RUNNING, 1)
    return settings


@pytest.fixture
def progress(aws, settings, clock):
    return Progress(aws.runs, settings.run_id, 1, clock)


def test_a_phase_is_written_at_once(aws, settings, progress, clock):
    clock.now += 0.5
    progress.phase("training")
    assert aws.runs.get(settings.run_id)["progress"] == {"phase": "training", "seconds": 0.5}


def test_steps_are_written_at_most_every_two_seconds(aws, settings, progress, clock):
    written = []
    for step in range(100):
        clock.now += 0.25
        progress.step(step=step)
        shown = aws.runs.get(settings.run_id).get("progress")
        if shown and shown not in written:
            written.append(shown)
    assert written[0] == {"step": 7, "seconds": 2.0}
    assert len(written) == 12


def test_what_an_evaluation_found_is_shown_until_the_next(aws, settings, progress, clock):
    progress.step(step=200, f=0.5, loss=9.0)
    clock.now += 3
    progress.step(step=201)
    assert aws.runs.get(settings.run_id)["progress"] == {"step": 201, "f": 0.5, "loss": 9.0, "seconds": 3.0}


def test_each_write_is_a_sign_of_life(aws, settings, progress):
    progress.phase("training")
    first = aws.runs.get(settings.run_id)["reported"]
    progress.checkpoint({"step": 7, "saved": "2026-01-01T00:00:00.000+00:00", "bytes": 10})
    run = aws.runs.get(settings.run_id)
    assert run["checkpoint"] == {"step": 7, "saved": "2026-01-01T00:00:00.000+00:00", "bytes": 10}
    assert run["progress"]["phase"] == "training"
    assert first <= run["reported"]


def test_a_run_that_moved_on_is_told(aws, settings, progress):
    aws.runs.move(settings.run_id, states.RUNNING, states.CANCELLED)
    for say in (lambda: progress.phase("evaluating"), lambda: progress.checkpoint({"step": 7})):
        with pytest.raises(Superseded):
            say()


def test_a_write_that_aws_refuses_is_passed_over(clock, capsys):
    class Throttled:
        def annotate(self, *args, **options):
            raise ClientError({"Error": {"Code": "ThrottlingException", "Message": "slow"}}, "UpdateItem")

    Progress(Throttled(), "run", 1, clock).phase("training")
    assert "progress not recorded: " in capsys.readouterr().out
