"""Files into S3, against moto: what is larger than a part goes in parts.

Cases: just a part, and a byte more; what is asked of S3 for large ones; a part that is refused; a signal in
the middle; an object that is another than the file.
"""

import os
import signal
import time

import pytest
from boto3.exceptions import S3UploadFailedError
from nerforge_trainer import publish
from nerforge_trainer.interruption import Interrupted, Interruption
from support.aws_double import answering, refused

PART = 5 << 20  # S3 takes no smaller ones, but for the last
SENT = ("bucket", "models/people/1/model.tar.gz")


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(publish, "_PART", PART)


@pytest.fixture
def file(tmp_path):
    """Make a file of so many bytes."""

    def file(length):
        path = tmp_path / "file"
        path.write_bytes((b"nerforge" * (length // 8 + 1))[:length])
        return path

    return file


@pytest.fixture
def asked(aws):
    """The names of the calls that S3 gets, with their parameters."""
    calls = []

    def note(params, model, **__):
        calls.append((model.name, {name: value for name, value in params.items() if name != "Body"}))

    aws.s3.meta.events.register_last("before-parameter-build", note)
    return calls


def uploads(aws):
    """Those under way in S3, whose parts cost like objects."""
    return aws.s3.list_multipart_uploads(Bucket="bucket").get("Uploads", [])


@pytest.mark.parametrize("how", [publish.send, publish.upload])
@pytest.mark.parametrize(("length", "parts"), [(1, 1), (PART, 1), (PART + 1, 2), (3 * PART, 3)])
def test_a_file_is_an_object_of_the_same_bytes(aws, file, asked, how, length, parts):
    path = file(length)
    how(aws.s3, *SENT, path, "application/gzip")
    names = [name for name, __ in asked]
    assert (names.count("PutObject"), names.count("UploadPart")) == ((1, 0) if parts == 1 else (0, parts))
    found = aws.s3.get_object(Bucket=SENT[0], Key=SENT[1])
    assert (found["Body"].read(), found["ContentType"]) == (path.read_bytes(), "application/gzip")
    assert uploads(aws) == []


def test_s3_is_told_to_check_each_part(aws, file, asked):
    publish.send(aws.s3, *SENT, file(PART + 1), "application/gzip")
    (made,) = (request for name, request in asked if name == "CreateMultipartUpload")
    assert made["ChecksumAlgorithm"] == "SHA256"
    (whole,) = (request for name, request in asked if name == "CompleteMultipartUpload")
    assert all(len(part["ChecksumSHA256"]) == 44 for part in whole["MultipartUpload"]["Parts"])


def test_parts_of_an_upload_that_is_refused_are_removed(aws, file, asked):
    busy = answering(aws.s3, upload_part=refused("SlowDown"))
    with busy, pytest.raises(S3UploadFailedError, match="SlowDown"):
        publish.send(aws.s3, *SENT, file(PART + 1), "application/gzip")
    assert "AbortMultipartUpload" in [name for name, __ in asked]
    assert (aws.objects(), uploads(aws)) == ([], [])


def test_parts_of_an_upload_that_a_signal_ends_are_removed(aws, file, monkeypatch):
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    interruption = Interruption()

    def interrupt(**__):
        os.kill(os.getpid(), signal.SIGTERM)
        while not interruption.seen:  # the main thread's to see: this one is the transfer's
            time.sleep(0.01)
        raise refused("SlowDown")

    try:
        interruption.listen()
        with answering(aws.s3, upload_part=interrupt), pytest.raises(Interrupted):
            publish.send(aws.s3, *SENT, file(PART + 1), "application/gzip")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert (aws.objects(), uploads(aws)) == ([], [])


@pytest.mark.parametrize("how", [publish.send, publish.upload])
@pytest.mark.parametrize("length", [8, PART + 8])
def test_an_object_that_is_another_is_told(aws, file, monkeypatch, how, length):
    path = file(length)
    put = publish._put

    def put_another(*args):
        content = path.read_bytes()
        path.write_bytes(b"N" + content[1:])
        put(*args)
        path.write_bytes(content)

    monkeypatch.setattr(publish, "_put", put_another)
    with pytest.raises(publish.UploadError, match="s3://bucket/models/people/1/model"):
        how(aws.s3, *SENT, path, "application/gzip")
