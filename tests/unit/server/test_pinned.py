"""Fetching, checking, unpacking and loading the pinned model; every way in which it can be the wrong one."""

import contextlib
import hashlib
import io
import json
import os
import tarfile

import pytest
from botocore.exceptions import EndpointConnectionError
from nerforge_contract import names
from nerforge_contract.errors import UserError
from nerforge_engine.recognizer import Entity
from nerforge_server import fetching, loading, pinned
from nerforge_server.fetching import Fetched, model_folder, obtain
from nerforge_server.pinned import Pin
from nerforge_server.settings import Settings
from support import aws_model
from support.aws_double import answering, refused


@pytest.fixture
def settings(environment) -> Settings:
    return Settings.read(environment)


def _silent(reason):
    raise AssertionError(f"tried again: {reason}")


def test_the_pinned_model_answers(s3, put, settings, tmp_path, manifest):
    put(s3)
    assert obtain(settings, tmp_path, _silent, s3) == Fetched(manifest, None)
    [entities] = loading.load(model_folder(tmp_path), "people:7").entities(["Tim went to Oslo ."])
    assert [(entity.start, entity.end, entity.label) for entity in entities] == [
        (0, 3, "PER"),
        (12, 16, "LOC"),
    ]
    assert list(tmp_path.iterdir()) == [model_folder(tmp_path)]


MISSING = {"NoSuchBucket", "NoSuchKey"}  # which no waiting mends


@pytest.mark.parametrize("code", sorted(set(aws_model.codes("s3", "GetObject")) - MISSING))
def test_whatever_s3_answers_is_told_and_outlasted(s3, put, settings, tmp_path, manifest, monkeypatch, code):
    put(s3)
    monkeypatch.setattr(fetching, "RETRY_SECONDS", (0,))
    reasons = []
    with contextlib.ExitStack() as refusing:
        refusing.enter_context(answering(s3, get_object=refused(code)))

        def tell(reason):
            reasons.append(reason)
            refusing.close()

        assert obtain(settings, tmp_path, tell, s3) == Fetched(manifest, None)
    (reason,) = reasons
    assert f"S3 does not give the model ({code})" in reason


@pytest.mark.parametrize("code", sorted(MISSING))
def test_what_s3_does_not_have_ends_it_at_once(s3, put, settings, tmp_path, code):
    put(s3)
    with answering(s3, get_object=refused(code)):
        assert "it is not there" in _reason(s3, settings, tmp_path)


def test_a_temperature_changes_the_scores_and_nothing_else(s3, put, settings, tmp_path):
    put(s3)
    obtain(settings, tmp_path, _silent, s3)
    as_is, hotter = (
        loading.load(model_folder(tmp_path), "people:7", temperature).entities(["Tim went to Oslo ."])[0]
        for temperature in (1.0, 4.0)
    )
    assert [entity[:3] for entity in as_is] == [entity[:3] for entity in hotter]
    assert all(0 < cool.score < entity.score < 1 for entity, cool in zip(as_is, hotter, strict=True))


def _reason(s3, settings, folder) -> str:
    with pytest.raises(UserError) as refused:
        obtain(settings, folder, _silent, s3)
    return str(refused.value)


def test_another_artifact_than_the_pinned_one(s3, put, settings, tmp_path, artifact):
    changed = artifact[:-1] + bytes([artifact[-1] ^ 1])
    put(s3, artifact=changed)
    reason = _reason(s3, settings, tmp_path)
    assert f"the artifact's sha256 is {hashlib.sha256(changed).hexdigest()}" in reason
    assert settings.sha256 in reason
    assert names.ARTIFACT in reason


def test_another_pin_than_the_manifests(s3, put, environment, tmp_path, manifest):
    put(s3)
    reason = _reason(s3, Settings.read(environment | {names.ENV_MODEL_SHA256: "0" * 64}), tmp_path)
    assert f"its sha256 is {manifest['artifact']['sha256']}, but {'0' * 64} was pinned" in reason
    assert names.MANIFEST in reason


def test_a_manifest_of_another_version(s3, put, settings, tmp_path, manifest):
    put(s3, manifest=json.dumps(manifest | {"version": 8}).encode())
    assert "it describes people:8, but people:7 was pinned" in _reason(s3, settings, tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"\xff", b'{"name": "people", "version": 7, "artifact": 1}']
)
def test_a_manifest_that_is_none(s3, put, settings, tmp_path, content):
    put(s3, manifest=content)
    assert "it is not a model's manifest" in _reason(s3, settings, tmp_path)


def test_a_manifest_that_lacks_something(s3, put, settings, tmp_path, manifest):
    del manifest["scores"], manifest["labels"]
    put(s3, manifest=json.dumps(manifest).encode())
    assert "it does not say labels, scores" in _reason(s3, settings, tmp_path)


@pytest.mark.parametrize("missing", ["manifest", "artifact"])
def test_a_file_that_is_missing(s3, put, settings, tmp_path, missing):
    put(s3, **{missing: None})
    reason = _reason(s3, settings, tmp_path)
    assert "it is not there" in reason
    assert {"manifest": names.MANIFEST, "artifact": names.ARTIFACT}[missing] in reason


def test_no_model_pinned(s3, tmp_path):
    reason = _reason(s3, Settings.read({}), tmp_path)
    assert reason.startswith("no model pinned. Promote one")


def test_a_pin_that_is_not_whole(s3, environment, tmp_path):
    for variable in (names.ENV_MODEL_SHA256, names.ENV_BUCKET):
        reason = _reason(s3, Settings.read(environment | {variable: ""}), tmp_path)
        assert variable in reason
    reason = _reason(s3, Settings.read(environment | {names.ENV_MODEL: "people"}), tmp_path)
    assert "not of the form name:number" in reason


def _pack(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def _member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize(
    "member",
    [
        _member("/tmp/outside"),
        _member("../outside"),
        _member("vocab/../../outside"),
        _member("vocab", tarfile.SYMTYPE, "/etc"),
        _member("vocab", tarfile.LNKTYPE, "../outside"),
        _member("pipe", tarfile.FIFOTYPE),
        _member("device", tarfile.CHRTYPE),
    ],
    ids=lambda member: f"{member.name}-{member.type}",
)
def test_an_archive_that_reaches_outside(tmp_path, member):
    archive = tmp_path / names.ARTIFACT
    archive.write_bytes(_pack((member, b"")))
    with pytest.raises(UserError, match="is not a plain file or folder"):
        pinned.unpack(archive, tmp_path / "model")
    assert not (tmp_path / "outside").exists()


def test_an_archive_that_is_none(tmp_path, artifact):
    archive = tmp_path / names.ARTIFACT
    for content in (b"", b"no archive", artifact[: len(artifact) // 2], artifact[:20] + b"x" * 5000):
        archive.write_bytes(content)
        with pytest.raises(UserError, match="it cannot be unpacked"):
            pinned.unpack(archive, tmp_path / "model")


def test_an_archive_with_no_model_in_it(s3, put, environment, tmp_path, manifest):
    content = _pack((_member("meta.json"), b"{}"))
    sha256 = hashlib.sha256(content).hexdigest()
    manifest["artifact"]["sha256"] = sha256
    put(s3, artifact=content, manifest=json.dumps(manifest).encode())
    obtain(Settings.read(environment | {names.ENV_MODEL_SHA256: sha256}), tmp_path, _silent, s3)
    with pytest.raises(UserError, match="people:7: spaCy cannot load it"):
        loading.load(model_folder(tmp_path), "people:7")


def test_a_transformer_in_an_image_without_pytorch(tmp_path):
    (tmp_path / "config.cfg").write_text(
        '[nlp]\nlang = "en"\npipeline = ["transformer"]\n'
        '[components]\n[components.transformer]\nfactory = "curated_transformer"\n'
    )
    (tmp_path / "meta.json").write_text('{"lang": "en", "spacy_version": ">=3.8"}')
    with pytest.raises(UserError, match=r"people:7: a transformer needs PyTorch.* images_transformers: true"):
        loading.load(tmp_path, "people:7")


def test_a_passing_fault_of_s3_is_waited_out(s3, put, settings, tmp_path, monkeypatch):
    put(s3)
    waits, reasons = [], []
    monkeypatch.setattr(fetching.time, "sleep", waits.append)
    get, faults = s3.get_object, 8

    def get_object(**request):
        nonlocal faults
        faults -= 1
        if faults >= 0:
            raise EndpointConnectionError(endpoint_url="nowhere")
        return get(**request)

    monkeypatch.setattr(s3, "get_object", get_object)
    assert obtain(settings, tmp_path, reasons.append, s3).manifest["name"] == "people"
    assert waits == [1, 2, 4, 8, 15, 30, 30, 30]
    assert reasons[4] == "S3 does not give the model (EndpointConnectionError). Trying again in 15 s."


class _Recognizer:
    engine, reason = "stub", "a test"

    def __init__(self, answers):
        self.answers = answers

    def entities(self, texts):
        return self.answers


def test_a_model_that_loads_but_fails_is_not_ready():
    with pytest.raises(UserError, match="it loads but cannot be used: ValueError"):
        loading.attempt(_Recognizer([]), "people:7")
    for start, end in ((0, 1_000), (5, 5), (-1, 3)):
        answers = [[], [Entity(start, end, "PER", None)], []]
        with pytest.raises(UserError, match="its offsets do not fit the text"):
            loading.attempt(_Recognizer(answers), "people:7")


@pytest.mark.parametrize("workers", ["0", "-1", "many", "257", "1.5"])
def test_a_number_of_workers_that_is_none(workers):
    with pytest.raises(UserError, match=names.ENV_WORKERS):
        Settings.read({names.ENV_WORKERS: workers})


def test_as_many_workers_as_there_are_cpus_unless_told():
    assert Settings.read({names.ENV_WORKERS: "3"}).workers == 3
    assert Settings.read({}).workers == Settings.read({names.ENV_WORKERS: ""}).workers
    assert 1 <= Settings.read({}).workers <= len(os.sched_getaffinity(0))


@pytest.mark.parametrize("port", ["", "http", "0", "65536", "-1", "8080.0", "٨٠٨٠"])
def test_a_port_that_is_none(port):
    with pytest.raises(UserError, match=names.ENV_PORT):
        Settings.read({names.ENV_PORT: port})


def test_the_pin_knows_its_keys():
    assert Pin("bucket", "people", 7, "x").key("manifest.json") == "models/people/7/manifest.json"
