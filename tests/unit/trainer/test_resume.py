"""Attempts that go on where another one ended, and end with what a run has that nobody touched.

Cases: across processes, SIGTERM in the middle of an epoch, in an evaluation, twice, and SIGKILL; a failed
attempt that is tried again; a retry of a cancelled run; another training; S3 that takes no checkpoint; a run
that moved on meanwhile; a registration whose answer was lost.
"""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from boto3.exceptions import S3UploadFailedError
from nerforge_contract import names, states, ulid
from nerforge_trainer.attempt import Attempt
from nerforge_trainer.interruption import Interrupted, Interruption
from nerforge_trainer.watch import Watch

# A trainer's process as ECS starts it, with an AWS that outlasts it in a folder. It sends itself signals:
# after a step, or in the middle of the evaluation of one.
PROCESS = """
import json, os, shutil, sys
plan = json.loads(sys.argv[1])
sys.path[:0] = plan["path"]
import boto3, conftest
from nerforge_contract import spec
from nerforge_trainer import __main__ as trainer, checkpoint, watch

class Lasting:
    def __init__(self, s3):
        self.s3 = s3
        # In the order in which they were made, as S3 dates them.
        for name in sorted(os.listdir(plan["home"])):
            with open(self.file(name), "rb") as file:
                s3.put_object(Bucket=conftest.BUCKET, Key=name.replace("+", "/"), Body=file.read())

    def file(self, key):
        return os.path.join(plan["home"], key.replace("/", "+"))

    def upload_file(self, path, bucket, key, **settings):
        shutil.copyfile(path, self.file(key))
        self.s3.upload_file(path, bucket, key, **settings)

    def delete_object(self, Bucket, Key):
        os.remove(self.file(Key))
        return self.s3.delete_object(Bucket=Bucket, Key=Key)

    def __getattr__(self, name):
        return getattr(self.s3, name)

def signal_after(method, count):
    original, calls = getattr(watch.Watch, method), iter(range(10000))
    def wrapper(self, *args):
        original(self, *args)
        if next(calls) >= count:
            for number in plan["signals"]:
                os.kill(os.getpid(), number)
    setattr(watch.Watch, method, wrapper)

if "when" in plan:
    signal_after(*plan["when"])
with conftest.mock_aws():
    aws = conftest.account()
    wanted = spec.with_defaults(conftest.spec_of(aws, conftest.sentences()) | plan["spec"])
    aws.runs.create(plan["run"], wanted)
    aws.runs.claim(plan["run"], 1)
    for attempt in range(1, plan["attempt"]):
        aws.runs.next_attempt(plan["run"], attempt)
    class Session(boto3.Session):
        def client(self, name, *args, **kwargs):
            made = super().client(name, *args, **kwargs)
            return Lasting(made) if name == "s3" else made
    boto3.Session = Session
    os.environ.update(NERFORGE_RUN=plan["run"], NERFORGE_ATTEMPT=str(plan["attempt"]),
                      NERFORGE_BUCKET=conftest.BUCKET, NERFORGE_RUNS_TABLE=conftest.RUNS_TABLE,
                      NERFORGE_MODELS_TABLE=conftest.MODELS_TABLE)
    code = trainer.main()
    run = aws.runs.get(plan["run"])
    versions, _ = aws.models.all()
    print(json.dumps({"code": code, "run": run, "sha256": [version["sha256"] for version in versions]}))
sys.exit(code)
"""
SPEC = {
    "language": "xx",  # quick to make
    "hyperparameters": {"max_steps": 32, "eval_frequency": 8, "width": 32, "depth": 2},
    "checkpoints": {"every_steps": 5},
    "seed": 7,
}


@pytest.fixture
def start(root, tmp_path):
    """Start an attempt of a run as a process; its AWS is the folder ``home``."""
    folders = (".nerforge/test-path", "containers/engine", "containers/trainer", "tests/unit/trainer")
    path = [str(root / folder) for folder in folders]
    started = []

    def start(home, attempt, **plan):
        (tmp_path / home).mkdir(exist_ok=True)
        plan |= {"path": path, "home": str(tmp_path / home), "spec": SPEC, "attempt": attempt}
        # Another order of all sets, in each process.
        environment = os.environ | {"PYTHONHASHSEED": str(attempt), "OMP_NUM_THREADS": "1"}
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", PROCESS, json.dumps(plan)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=environment,
            )
        )
        return started[-1]

    yield start
    for one in started:
        one.kill()


def test_an_interrupted_run_ends_with_the_very_bytes_of_one_that_nobody_touched(start, tmp_path):
    untouched = start("untouched", 9, run=ulid.new())

    run, term, kill = ulid.new(), [signal.SIGTERM], [signal.SIGKILL]
    attempts = [
        # when, the signals, where the next one goes on from
        (("did", 3), term, 3),  # in the middle of an epoch, before any checkpoint by the timetable
        (("alive", 20), [signal.SIGINT, signal.SIGTERM, signal.SIGTERM], 8),  # in an evaluation, impatiently
        (("did", 11), kill, 15),  # no last words: step 19 is lost, and 16 too
        (("did", 0), term, 16),  # just after an evaluation
    ]
    for number, (when, signals, resumed) in enumerate(attempts, 1):
        trainer = start("touched", number, run=run, when=when, signals=signals)
        out, err = trainer.communicate(timeout=120)
        if signals == kill:
            assert trainer.returncode == -signal.SIGKILL
        else:
            assert trainer.returncode == states.EXIT_INTERRUPTED, err
            ended = json.loads(out.splitlines()[-1])["run"]
            assert ended["checkpoint"]["step"] == resumed
            assert ended["state"] == states.RUNNING
        if number > 1:
            assert f"goes on from step {attempts[number - 2][2]} of 32, saved at 2" in out
    trainer = start("touched", len(attempts) + 1, run=run)
    ended, expected = (
        json.loads(one.communicate(timeout=120)[0].splitlines()[-1]) for one in (trainer, untouched)
    )

    assert ended["run"]["state"] == expected["run"]["state"] == states.SUCCEEDED
    assert ended["run"]["progress"]["resumed"] == 16
    assert "resumed" not in expected["run"]["progress"]
    assert ended["sha256"] == expected["sha256"]
    assert ended["run"]["scores"] == expected["run"]["scores"]
    assert not [file.name for file in tmp_path.glob("*/checkpoints*")]
    resumed, whole = (curve(tmp_path / home) for home in ("touched", "untouched"))
    assert resumed == whole
    assert [point["step"] for point in whole] == [0, 8, 16, 24, 32]


def curve(home):
    """The learning curve of the version in this folder, but for how long it took."""
    card = json.loads((home / "models+people+1+card.json").read_text())
    return [{name: value for name, value in point.items() if name != "seconds"} for point in card["curve"]]


# --- in one process: what an attempt finds, and what it leaves ---


@pytest.fixture
def attempt(aws):
    """Do the attempt that settings name; returns the exit code."""

    def attempt(settings, s3=None, interruption=None):
        return Attempt(settings, aws.runs, aws.models, s3 or aws.s3, interruption or Interruption()).run()

    return attempt


@pytest.fixture
def interrupt(aws, attempt, monkeypatch):
    """Do an attempt, and interrupt it after a step."""

    def interrupt(settings, step, s3=None, meanwhile=lambda: None):
        interruption = Interruption()

        def did(self, done):
            if done.number == step:
                meanwhile()
                interruption.seen = "SIGTERM"

        with monkeypatch.context() as patched:
            patched.setattr(Watch, "did", did)
            return attempt(settings, s3, interruption)

    return interrupt


@pytest.fixture
def spec(wanted):
    return wanted | {name: SPEC[name] for name in ("language", "hyperparameters")}


def following(aws, settings):
    """What the next attempt of the run is told."""
    assert aws.runs.next_attempt(settings.run_id, settings.attempt)
    return type(settings)(**(vars(settings) | {"attempt": settings.attempt + 1}))


def checkpoints(aws, settings):
    return [key for key in aws.objects() if key.startswith(names.checkpoint_prefix(settings.run_id))]


def artifacts(aws):
    return [version["sha256"] for version in aws.models.all()[0]]


def test_an_interruption_leaves_a_checkpoint_and_says_so_on_the_record(aws, interrupt, spec):
    settings = aws.start(spec)
    with pytest.raises(Interrupted, match="SIGTERM"):
        interrupt(settings, 10)
    (key,) = checkpoints(aws, settings)
    run = aws.runs.get(settings.run_id)
    assert run["state"] == states.RUNNING
    assert run["checkpoint"]["step"] == 10
    assert run["checkpoint"]["bytes"] == len(aws.read(key))
    assert run["running"] < run["checkpoint"]["saved"] <= run["reported"]
    assert aws.runs.get(following(aws, settings).run_id)["checkpoint"] == run["checkpoint"]


def test_a_failed_attempt_that_is_tried_again_goes_on(aws, attempt, spec, monkeypatch, capsys):
    settings = aws.start(spec | {"checkpoints": {"every_steps": 6}})
    with monkeypatch.context() as failing:
        failing.setattr("nerforge_trainer.package.pack", lambda folder, artifact: 1 / 0)
        assert attempt(settings) == states.EXIT_ERROR
    assert len(checkpoints(aws, settings)) == 2
    capsys.readouterr()
    assert attempt(following(aws, settings)) == states.EXIT_DONE
    printed = capsys.readouterr().out
    assert "goes on from step 30 of 32, saved at " in printed
    assert [line.split(",")[0] for line in printed.splitlines() if line.startswith("step")] == [
        "step 32 of 32"
    ]
    assert checkpoints(aws, settings) == []
    assert "checkpoint" not in aws.runs.get(settings.run_id)


def test_the_seconds_of_all_attempts_are_the_versions(aws, attempt, interrupt, spec, monkeypatch):
    settings, real = aws.start(spec), time.monotonic
    with monkeypatch.context() as later, pytest.raises(Interrupted):
        interrupt(settings, 10, meanwhile=lambda: later.setattr(time, "monotonic", lambda: real() + 3600))
    assert attempt(following(aws, settings)) == states.EXIT_DONE
    card = json.loads(aws.read(names.model_prefix("people", 1) + names.CARD))
    assert 3600 < card["curve"][-1]["seconds"] <= card["manifest"]["seconds"] < 3700


def test_a_retry_goes_on_from_the_checkpoint_of_the_run_it_was_made_of(aws, attempt, interrupt, spec, capsys):
    old = aws.start(spec)
    with pytest.raises(Interrupted):
        interrupt(old, 10)
    aws.runs.move(old.run_id, states.RUNNING, states.CANCELLED)
    never_began = aws.start(spec)
    aws.runs.annotate(never_began.run_id, states.STARTING, retry_of=old.run_id)
    retry = aws.start(spec | {"resources": {"memory_mib": 4096}, "checkpoints": {"every_steps": 20}})
    aws.runs.annotate(retry.run_id, states.STARTING, retry_of=never_began.run_id)
    assert attempt(retry) == states.EXIT_DONE
    assert "goes on from step 10 of 32" in capsys.readouterr().out
    assert len(checkpoints(aws, old)) == 1
    assert checkpoints(aws, retry) == []

    assert attempt(aws.start(spec)) == states.EXIT_DONE
    resumed, untouched = artifacts(aws)
    assert resumed == untouched


def test_another_training_begins_anew(aws, attempt, interrupt, spec, capsys):
    old = aws.start(spec)
    with pytest.raises(Interrupted):
        interrupt(old, 10)
    changed = aws.start(spec | {"seed": 8})
    aws.runs.annotate(changed.run_id, states.STARTING, retry_of=old.run_id)
    assert attempt(changed) == states.EXIT_DONE
    printed = capsys.readouterr().out
    assert " is passed over: it is another training's, with another config\n" in printed
    assert "goes on" not in printed
    assert "step 0 of 32" in printed


class Refusing:
    """S3 that takes no checkpoint."""

    def __init__(self, s3):
        self._s3 = s3

    def upload_file(self, path, bucket, key, **settings):
        if key.startswith("checkpoints/"):
            raise S3UploadFailedError("Failed to upload: SlowDown")
        self._s3.upload_file(path, bucket, key, **settings)

    def __getattr__(self, name):
        return getattr(self._s3, name)


def test_a_training_that_cannot_be_saved_goes_on(aws, attempt, spec, capsys):
    settings = aws.start(spec | {"checkpoints": {"every_steps": 15}})
    assert attempt(settings, Refusing(aws.s3)) == states.EXIT_DONE
    printed = capsys.readouterr().out
    for step in (15, 30):
        assert f"step {step} was not saved: Failed to upload: SlowDown" in printed
    assert "checkpoint" not in aws.runs.get(settings.run_id)


def test_an_interruption_that_cannot_be_saved_is_one_all_the_same(aws, interrupt, spec):
    settings = aws.start(spec)
    with pytest.raises(Interrupted):
        interrupt(settings, 10, Refusing(aws.s3))


def test_a_signal_to_a_run_that_has_moved_on_ends_as_superseded(aws, interrupt, spec):
    settings = aws.start(spec | {"checkpoints": {"every_steps": 4}})

    def cancel():
        aws.runs.move(settings.run_id, states.RUNNING, states.CANCELLED)

    assert interrupt(settings, 10, meanwhile=cancel) == states.EXIT_SUPERSEDED
    run = aws.runs.get(settings.run_id)
    assert (run["state"], run["checkpoint"]["step"]) == (states.CANCELLED, 8)
    assert len(checkpoints(aws, settings)) == 3  # retry.yml may go on from the last; none is removed


def test_a_registration_whose_answer_was_lost_is_one(aws, attempt, spec, monkeypatch):
    settings = aws.start(spec)
    register = aws.models.register
    monkeypatch.setattr(aws.models, "register", lambda manifest: register(manifest) and register(manifest))
    assert attempt(settings) == states.EXIT_DONE
    assert aws.runs.get(settings.run_id)["model"] == "people:1"


def test_a_version_that_another_run_registered_is_left_to_it(aws, attempt, spec, monkeypatch):
    settings = aws.start(spec)
    register = aws.models.register
    monkeypatch.setattr(
        aws.models,
        "register",
        lambda manifest: register(manifest | {"run": "another"}) and register(manifest),
    )
    assert attempt(settings) == states.EXIT_SUPERSEDED
    assert aws.models.get("people", 1)["run"] == "another"
