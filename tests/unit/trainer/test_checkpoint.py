"""Checkpoints in S3, against moto, and when they are made.

Cases: what was saved is restored; newest two kept; damaged, cut short, of another format, another training's:
the one before; a run's own before those of the run it is a retry of; an upload that is not whole; S3 that
refuses; the timetable.
"""

import io
import tarfile
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nerforge_trainer import checkpoint
from nerforge_trainer.checkpoint import Checkpoints, Timetable, Unusable
from nerforge_trainer.publish import UploadError
from support.aws_double import answering, refused

MARK = {"config": "1", "device": "cpu"}


@pytest.fixture
def folder(tmp_path):
    """A training's folder."""
    folder = tmp_path / "training"
    folder.mkdir()
    return folder


@pytest.fixture
def checkpoints(aws):
    return Checkpoints(aws.s3, "bucket", ["RUN"])


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(checkpoint, "_PAUSES", (0, 0, 0))


def fill(folder, text):
    (folder / "model-best" / "ner").mkdir(parents=True, exist_ok=True)
    (folder / "model-best" / "ner" / "model").write_text(text)
    (folder / "training.msgpack").write_text(text * 2)


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def saved(checkpoints, folder, step, mark=None):
    """Save a training that has done ``step``."""
    fill(folder, str(step))
    about = checkpoints.save(folder, mark or MARK, step)
    checkpoints.prune()
    return about


def restored(aws, folder, *run_ids):
    """The step that a new attempt goes on from, or None."""
    checkpoint._empty(folder)
    about = Checkpoints(aws.s3, "bucket", run_ids or ["RUN"]).restore(folder, MARK)
    if about is None:
        assert files(folder) == {}
        return None
    step = about["step"]
    text = str(step).encode()
    assert files(folder) == {"model-best/ner/model": text, "training.msgpack": text * 2}
    return step


def replace(aws, key, change):
    aws.s3.put_object(Bucket="bucket", Key=key, Body=change(aws.read(key)))


def test_what_was_saved_is_restored(aws, checkpoints, folder, tmp_path):
    assert restored(aws, folder) is None
    about = saved(checkpoints, folder, 40)
    (key,) = aws.objects()
    assert key.startswith("checkpoints/RUN/")
    assert about == {"step": 40, "saved": about["saved"], "bytes": len(aws.read(key))}
    checkpoint._empty(folder)
    assert Checkpoints(aws.s3, "bucket", ["RUN"]).restore(folder, MARK) == about
    assert restored(aws, folder) == 40
    assert list(tmp_path.iterdir()) == [folder]


def test_the_newest_two_are_kept(aws, checkpoints, folder):
    kept = []
    for step in range(1, 5):
        before = set(aws.objects())
        saved(checkpoints, folder, step)
        kept.append((set(aws.objects()) - before).pop())
        assert sorted(aws.objects()) == sorted(kept[-2:])
    assert restored(aws, folder) == 4
    checkpoints.clear()
    assert aws.objects() == []


def altered(archive, name, content):
    """The tar with other content in one of its members."""
    written = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(archive)) as old, tarfile.open(fileobj=written, mode="w") as new:
        for entry in old:
            data = old.extractfile(entry).read() if entry.isfile() else b""
            data = content if entry.name == name else data
            entry.size = len(data)
            new.addfile(entry, io.BytesIO(data))
    return written.getvalue()


def turned(archive):
    """The tar with one bit turned in the last byte of its last member, which is a digit."""
    content = archive.rstrip(b"\0")
    return content[:-1] + b"3" + archive[len(content) :]


DAMAGES = {
    "cut short": (lambda tar: tar[: len(tar) // 3], "it is damaged: "),
    "empty": (lambda tar: b"", "it is damaged: "),
    "no tar": (lambda tar: b"x" * len(tar), "it is damaged: "),
    "one member altered": (
        lambda tar: altered(tar, "training.msgpack", b"33"),
        "it is damaged: training.msgpack is not as it was written",
    ),
    "one bit turned": (
        turned,
        "it is damaged: training.msgpack is not as it was written",
    ),
    "not described": (lambda tar: altered(tar, "checkpoint.json", b"{}"), "it is damaged: 'format'"),
    "another format": (
        lambda tar: altered(tar, "checkpoint.json", b'{"format": 9, "members": {}}'),
        f"it is of format 9, and this trainer reads {checkpoint.FORMAT}",
    ),
}


@pytest.mark.parametrize(("damage", "why"), DAMAGES.values(), ids=DAMAGES)
def test_for_a_damaged_checkpoint_the_one_before_is_taken(aws, checkpoints, folder, capsys, damage, why):
    saved(checkpoints, folder, 1)
    (first,) = aws.objects()
    saved(checkpoints, folder, 2)
    (newest,) = set(aws.objects()) - {first}
    replace(aws, newest, damage)
    assert restored(aws, folder) == 1
    assert f"checkpoint s3://bucket/{newest} is passed over: {why}" in capsys.readouterr().out
    replace(aws, first, damage)
    assert restored(aws, folder) is None


def test_a_damaged_checkpoint_gives_way_to_the_next_two(aws, checkpoints, folder):
    saved(checkpoints, folder, 1)
    (good,) = aws.objects()
    saved(checkpoints, folder, 2)
    (bad,) = set(aws.objects()) - {good}
    replace(aws, bad, DAMAGES["cut short"][0])
    attempt = Checkpoints(aws.s3, "bucket", ["RUN"])
    checkpoint._empty(folder)
    assert attempt.restore(folder, MARK)["step"] == 1
    saved(attempt, folder, 3)
    assert bad not in aws.objects()
    assert good in aws.objects()
    assert restored(aws, folder) == 3


def test_another_trainings_checkpoint_is_passed_over_and_soon_removed(aws, folder, capsys):
    saved(Checkpoints(aws.s3, "bucket", ["RUN"]), folder, 9, MARK | {"config": "2", "numpy": "3"})
    (others,) = aws.objects()
    attempt = Checkpoints(aws.s3, "bucket", ["RUN"])
    checkpoint._empty(folder)
    assert attempt.restore(folder, MARK) is None
    assert "it is another training's, with another config, numpy" in capsys.readouterr().out
    saved(attempt, folder, 1)
    assert restored(aws, folder) == 1
    saved(attempt, folder, 2)
    assert others not in aws.objects()
    assert len(aws.objects()) == 2


def test_a_run_takes_its_own_before_those_of_the_run_it_is_a_retry_of(aws, folder):
    saved(Checkpoints(aws.s3, "bucket", ["OLD"]), folder, 5)
    (old,) = aws.objects()
    assert restored(aws, folder, "NEW", "OLD") == 5
    attempt = Checkpoints(aws.s3, "bucket", ["NEW", "OLD"])
    checkpoint._empty(folder)
    attempt.restore(folder, MARK)
    for step in (6, 7, 8):
        saved(attempt, folder, step)
    assert restored(aws, folder, "NEW", "OLD") == 8
    attempt.clear()
    assert aws.objects() == [old]


class Faulty:
    """S3 that refuses some calls a number of times."""

    def __init__(self, s3, **refusals):
        self._s3, self._refusals = s3, refusals

    def __getattr__(self, name):
        self._refuse(name)
        return getattr(self._s3, name)

    def _refuse(self, name):
        if self._refusals.get(name):
            self._refusals[name] -= 1
            raise ClientError({"Error": {"Code": "InternalError", "Message": "again"}}, name)


class Halving:
    """S3 that keeps half of what it is sent."""

    def __init__(self, s3):
        self._s3 = s3

    def upload_file(self, path, *args, **kwargs):
        content = Path(path).read_bytes()
        Path(path).write_bytes(content[: len(content) // 2])
        self._s3.upload_file(path, *args, **kwargs)
        Path(path).write_bytes(content)

    def __getattr__(self, name):
        return getattr(self._s3, name)


def test_an_upload_that_is_not_whole_is_no_checkpoint(aws, checkpoints, folder):
    saved(checkpoints, folder, 1)
    with pytest.raises(UploadError, match="is not what was sent"):
        saved(Checkpoints(Halving(aws.s3), "bucket", ["RUN"]), folder, 2)
    assert restored(aws, folder) == 1


def test_an_upload_that_s3_refuses_leaves_nothing_behind(aws, checkpoints, folder, tmp_path):
    with answering(aws.s3, put_object=refused("InternalError")), pytest.raises(checkpoint.ERRORS):
        saved(checkpoints, folder, 2)
    assert aws.objects() == []
    assert list(tmp_path.iterdir()) == [folder]


def test_reading_is_tried_four_times(aws, checkpoints, folder, capsys):
    saved(checkpoints, folder, 1)
    checkpoint._empty(folder)
    for refusals in ({"get_object": 3}, {"get_paginator": 3}):
        assert Checkpoints(Faulty(aws.s3, **refusals), "bucket", ["RUN"]).restore(folder, MARK)["step"] == 1
        checkpoint._empty(folder)
    for refusals in ({"get_object": 4}, {"get_paginator": 4}):
        assert Checkpoints(Faulty(aws.s3, **refusals), "bucket", ["RUN"]).restore(folder, MARK) is None
    printed = capsys.readouterr().out
    assert printed.count("reading checkpoints again in 0 s: An error occurred (InternalError)") == 12
    assert printed.count("passed over: An error occurred (InternalError)") == 2


def test_old_ones_that_cannot_be_removed_are_left(aws, folder, capsys):
    attempt = Checkpoints(Faulty(aws.s3, delete_object=1), "bucket", ["RUN"])
    for step in (1, 2, 3):
        saved(attempt, folder, step)
    assert "old checkpoints are left to the bucket's lifecycle: " in capsys.readouterr().out
    assert len(aws.objects()) == 3
    saved(attempt, folder, 4)
    assert len(aws.objects()) == 2


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(
    content=st.dictionaries(st.sampled_from(["a", "b/c", "b/d", "e/f/g", "ü" * 80]), st.binary()),
    place=st.floats(0, 1, exclude_max=True),
)
def test_a_packed_folder_is_unpacked_as_it_was_or_not_at_all(tmp_path_factory, content, place):
    home = tmp_path_factory.mktemp("home")
    folder, found, archive = home / "folder", home / "found", home / "archive.tar"
    for name, data in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    (folder / "empty" / "too").mkdir(parents=True)
    checkpoint.pack(folder, archive, {"step": 3})
    assert checkpoint.unpack(archive, found)["step"] == 3
    assert files(found) == content
    assert (found / "empty" / "too").is_dir()

    archive.write_bytes(archive.read_bytes()[: int(place * archive.stat().st_size)])
    try:
        checkpoint.unpack(archive, home / "half")
    except Unusable:
        return
    assert files(home / "half") == content


# --- when ---


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_a_save_is_due_after_seconds_or_steps_whichever_come_first(clock):
    timetable = Timetable(60, 100, clock)
    assert [step for step in range(201) if timetable.is_due(step)] == [100, 200]
    clock.now += 59
    assert not timetable.is_due(7)
    clock.now += 1
    assert timetable.is_due(7)
    timetable.saved(0.1)
    assert not timetable.is_due(8)


@pytest.mark.parametrize(("cost", "interval"), [(0.1, 60), (1.2, 60), (1.5, 75), (30, 1500)])
def test_saving_takes_at_most_two_percent_of_the_time(clock, cost, interval):
    timetable = Timetable(60, clock=clock)
    clock.now += 60 + cost
    timetable.saved(cost)
    clock.now += interval - 0.01
    assert not timetable.is_due(5)
    clock.now += 0.02
    assert timetable.is_due(6)
    assert cost / interval <= 0.02
