"""Submission: what is checked before anything is written, and what is then written."""

import contextlib
import hashlib
import http.server
import json
import os
import shutil
import subprocess
import threading

import pytest
from ansible_collections.nerforge.aws.plugins.module_utils.contract import spec as specs
from ansible_collections.nerforge.aws.plugins.module_utils.contract.errors import UserError
from ansible_collections.nerforge.aws.plugins.plugin_utils import (
    commit,
    data_checks,
    datasets,
    debug_data,
    submission,
)
from ansible_collections.nerforge.aws.plugins.plugin_utils.datasets import Shelf
from botocore.exceptions import ClientError, EndpointConnectionError
from support.aws_double import refused
from support.transformer_archives import tarred

CONLL = "Ada B-PER\nof O\nLondon B-LOC\n\nRain O\n\n"
JSONL = '{"text": "Ada of London", "spans": [{"start": 0, "end": 3, "label": "PER"}]}\n'
CONFIG = "[nlp]\nlang = en\n[training]\nseed = ${system.seed}\n"
GPU = {"cpu": {"on_demand": "c", "spot": "s"}, "gpu": {"on_demand": "g", "spot": "h"}}


def sha(text):
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def folder(tmp_path):
    """A folder with good data; a test spoils or adds what it needs."""
    folder = tmp_path / "specs"
    folder.mkdir()
    (folder / "train.conll").write_text(CONLL)
    (folder / "dev.jsonl").write_text(JSONL)
    (folder / "full.cfg").write_text(CONFIG)
    return folder


@pytest.fixture
def ready(stack, folder, tmp_path, lines):
    """Loads and checks a spec as the plugin does: ``ready(name="people", ...)``."""

    def ready(providers=None, data_dir=None, bucket="nerforge-bucket", **spec):
        path = folder / "spec.yml"
        usual = {"name": "people", "data": {"train": "train.conll", "dev": "dev.jsonl"}}
        path.write_text(json.dumps(usual | spec))
        loaded = specs.load(path)
        ready.shelf = Shelf(stack.aws.client("s3"), bucket, folder, tmp_path, data_dir, lines)
        given = providers or json.loads(stack.deployment["capacity_providers"])
        return submission.check(path, loaded, given if bucket else None, ready.shelf, lines)

    return ready


@pytest.fixture
def submit(stack, ready, lines):
    """Submits a spec as the plugin does."""
    return lambda **spec: submission.submit(
        stack.aws, "nerforge", stack.deployment, ready(**spec), ready.shelf, lines
    )


def messages(stack):
    answer = stack.aws.client("sqs").receive_message(QueueUrl=stack.queue_url, MaxNumberOfMessages=10)
    return [json.loads(message["Body"]) for message in answer.get("Messages", [])]


def keys(stack):
    answer = stack.aws.client("s3").list_objects_v2(Bucket="nerforge-bucket")
    return [item["Key"] for item in answer.get("Contents", [])]


# --- what is wrong ---

OVERLAP = '{"text": "Ada of London", "spans": [[0, 6, "PER"], [4, 13, "LOC"]]}\n'
WRONG = {
    "unknown field": ({"lables": []}, {}, "lables: unknown field. Did you mean labels?"),
    "missing file": (
        {"data": {"train": "gone.conll", "dev": "dev.jsonl"}},
        {},
        "data.train: gone.conll",
    ),
    "a folder": ({"data": {"train": "more.conll", "dev": "dev.jsonl"}}, {"more.conll/x": ""}, "is a folder"),
    "no entities": (
        {"data": {"train": "none.conll", "dev": "dev.jsonl"}},
        {"none.conll": "Rain O\n"},
        "data.train: no entities in 1 sentences",
    ),
    "overlapping spans": (
        {"data": {"train": "over.jsonl", "dev": "dev.jsonl"}},
        {"over.jsonl": JSONL + OVERLAP},
        "data.train: over.jsonl:2: overlapping spans",
    ),
    "wrong sha256": (
        {"data": {"train": {"from": "train.conll", "sha256": "0" * 64}, "dev": "dev.jsonl"}},
        {},
        f"data.train: train.conll: its sha256 is {sha(CONLL)}, and the spec says {'0' * 64}",
    ),
    "no GPU": (
        {"device": "gpu"},
        {},
        "resources.gpus: 1 asked for, and this deployment has no GPU instances",
    ),
    "a label without example": (
        {"labels": ["PER", "LOC", "ORG"]},
        {},
        "labels: no example in train has the label ORG",
    ),
    "entities that all lie within tokens": (
        {"data": {"train": "torn.jsonl", "dev": "dev.jsonl"}},
        {"torn.jsonl": '{"text": "Adalyn left", "spans": [[0, 3, "PER"]]}\n'},
        "data.train: torn.jsonl: not one of 1 entities begins and ends with a token; the first is 'Ada'",
    ),
    "a gate for no label": (
        {"gate": {"labels": {"ORG": 0.5}}},
        {},
        "gate.labels.ORG: no example in train has this label. Train has LOC, PER.",
    ),
    "an unknown language": ({"language": "qq"}, {}, "language: spaCy knows no language 'qq'"),
    "a config of another language": (
        {"config": "full.cfg", "language": "de"},
        {},
        "language: de here, and en in the config's [nlp]",
    ),
    "a config of an unknown language": (
        {"config": "b.cfg"},
        {"b.cfg": CONFIG.replace("en", '"qq"')},
        "language: spaCy knows no language 'qq'",
    ),
    "a name that is too long": (
        {"data": {"train": f"{'a' * 300}.conll", "dev": "dev.jsonl"}},
        {},
        "cannot be read: File name too long",
    ),
    "a home that is none": (
        {"data": {"train": "~nobody-of-that-name/a.conll", "dev": "dev.jsonl"}},
        {},
        "data.train: a.conll (~nobody-of-that-name/a.conll): cannot be read: Could not determine home",
    ),
    "a label that cannot be shown": (
        {"data": {"train": "odd.jsonl", "dev": "dev.jsonl"}},
        {"odd.jsonl": JSONL + '{"text": "Ada", "spans": [[0, 3, "\\ud800"]]}\n'},
        "data.train: line 2: the label '\\ud800' holds characters that cannot be shown",
    ),
    "an unknown ending": (
        {"data": {"train": "a.doc", "dev": "dev.jsonl"}},
        {"a.doc": CONLL},
        "data.train: a.doc: the ending '.doc'",
    ),
    "a config that is not there": ({"config": "no.cfg"}, {}, "no.cfg: cannot be read: No such file"),
    "a config with a broken line": (
        {"config": "b.cfg"},
        {"b.cfg": "[nlp]\n= 1\n"},
        "b.cfg:2: not a spaCy config",
    ),
    "a line before any section": (
        {"config": "b.cfg"},
        {"b.cfg": "lang = en\n"},
        "b.cfg:1: not a spaCy config",
    ),
    "half a config": (
        {"config": "b.cfg"},
        {"b.cfg": "[nlp]\n"},
        "a full spaCy config has a section [training]",
    ),
    "no such object": (
        {"data": {"train": "s3://nerforge-bucket/gone.conll", "dev": "dev.jsonl"}},
        {},
        "data.train: gone.conll: there is no s3://nerforge-bucket/gone.conll",
    ),
    "no such bucket": (
        {"data": {"train": "s3://nobody/gone.conll", "dev": "dev.jsonl"}},
        {},
        "there is no s3://nobody/gone.conll",
    ),
}


@pytest.mark.parametrize(("spec", "files", "told"), WRONG.values(), ids=WRONG)
def test_a_wrong_spec_gives_one_message_with_the_fix_and_leaves_nothing(
    stack, folder, submit, spec, files, told
):
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    with pytest.raises(UserError) as caught:
        submit(**spec)
    assert told in str(caught.value)
    assert caught.value.fix
    assert "\n" not in str(caught.value)
    assert messages(stack) == []
    assert keys(stack) == []
    assert list(stack.runs.in_state("QUEUED")) == []


def test_a_file_that_cannot_be_read_is_told(ready, monkeypatch):
    def denied(*__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(datasets.hashlib, "file_digest", denied)
    with pytest.raises(UserError, match=r"train.conll: cannot be read: Permission denied. Mend"):
        ready()


def test_a_data_dir_that_is_not_there_is_told(ready, tmp_path):
    with pytest.raises(UserError, match=r"data_dir: .*nowhere: no such folder"):
        ready(data_dir=tmp_path / "nowhere")


# --- what is right ---


def test_a_good_spec_becomes_a_run_with_its_data_and_a_message(stack, submit, lines):
    run_id, asleep = submit(seed=3)
    assert asleep is None
    assert messages(stack) == [{"run": run_id}]
    run = stack.runs.get(run_id)
    assert run["state"] == "QUEUED" and run["name"] == "people"
    assert run["submitted_by"].startswith("arn:aws:")
    train = f"datasets/{sha(CONLL)}.conll"
    assert run["spec"]["data"]["train"] == {
        "from": "train.conll",
        "key": train,
        "sha256": sha(CONLL),
        "format": "conll",
    }
    assert run["spec"]["seed"] == 3 and run["spec"]["hyperparameters"]["max_steps"] == 20000
    specs.validate(run["spec"], submitted=True)
    body = stack.aws.client("s3").get_object(Bucket="nerforge-bucket", Key=train)["Body"].read()
    assert body.decode() == CONLL
    assert "train: 2 sentences, 2 entities (LOC 1, PER 1), of train.conll" in lines
    assert "uploaded: train.conll (37 B)" in lines


def test_the_same_data_is_uploaded_once(submit, lines):
    submit()
    lines.clear()
    submit()
    assert sum(line.startswith("in the bucket already") for line in lines) == 2
    assert not any(line.startswith("uploaded") for line in lines)


def test_a_file_that_changes_after_the_checks_is_not_uploaded(stack, folder, ready, lines):
    checked = ready()
    (folder / "train.conll").write_text(CONLL * 2)
    with pytest.raises(UserError, match=r"data.train: train.conll: it has changed since it was read. Submit"):
        submission.submit(stack.aws, "nerforge", stack.deployment, checked, ready.shelf, lines)
    assert keys(stack) == []
    assert list(stack.runs.in_state("QUEUED")) == []


def test_one_file_is_split_by_order(stack, folder, submit):
    (folder / "all.conll").write_text(CONLL * 10)
    run_id, __ = submit(data={"all": "all.conll", "split": [50, 25, 25]})
    data = stack.runs.get(run_id)["spec"]["data"]
    assert data["split"] == [50, 25, 25]
    assert data["all"]["key"].startswith("datasets/")


def test_a_config_goes_with_the_run_as_text(stack, submit):
    run_id, __ = submit(config="full.cfg")
    spec = stack.runs.get(run_id)["spec"]
    assert spec["config"] == CONFIG
    assert "hyperparameters" not in spec
    specs.validate(spec, submitted=True)


def test_a_gpu_is_given_where_there_is_one(ready):
    assert ready(providers=GPU, device="gpu").spec["resources"]["gpus"] == 1


def test_a_transformer_s_archive_is_looked_into_and_uploaded_with_the_data(stack, submit, folder, lines):
    files = {"config.json": b'{"model_type": "bert"}', "vocab.txt": b"[PAD]", "pytorch_model.bin": b"weights"}
    archive = tarred(files)
    stack.aws.client("s3").put_object(Bucket="nerforge-bucket", Key="in/tiny.tar", Body=archive)
    run_id, __ = submit(transformer="s3://nerforge-bucket/in/tiny.tar")
    spec = stack.runs.get(run_id)["spec"]
    specs.validate(spec, submitted=True)
    sha256 = hashlib.sha256(archive).hexdigest()
    key = f"datasets/{sha256}.tar"
    origin = "s3://nerforge-bucket/in/tiny.tar"
    assert spec["transformer"] == {"from": origin, "key": key, "sha256": sha256, "format": "tar"}
    assert stack.aws.client("s3").get_object(Bucket="nerforge-bucket", Key=key)["Body"].read() == archive
    assert any(line.startswith("transformer: tiny.tar") and line.endswith("a bert") for line in lines)


def test_an_archive_without_a_vocabulary_uploads_nothing(stack, submit, folder):
    files = {"config.json": b'{"model_type": "bert"}', "pytorch_model.bin": b"weights"}
    (folder / "tiny.tar").write_bytes(tarred(files))
    with pytest.raises(UserError, match=r"^transformer: tiny\.tar: there is no vocab\.txt in it"):
        submit(transformer="tiny.tar")
    assert "Contents" not in stack.aws.client("s3").list_objects_v2(Bucket="nerforge-bucket")


def test_data_from_s3(stack, submit):
    stack.aws.client("s3").put_object(Bucket="nerforge-bucket", Key="in/train.conll", Body=CONLL.encode())
    run_id, __ = submit(data={"train": "s3://nerforge-bucket/in/train.conll", "dev": "dev.jsonl"})
    assert stack.runs.get(run_id)["spec"]["data"]["train"]["key"] == f"datasets/{sha(CONLL)}.conll"


HTTPS = {
    "train": {"from": "https://corpora.invalid/people.conll", "sha256": sha(CONLL)},
    "dev": "dev.jsonl",
}


def test_a_download_is_verified_and_taken_from_the_bucket_the_next_time(submit, monkeypatch):
    fetched = []

    def fetch(url, target, where, say):
        fetched.append(url)
        target.write_text(CONLL)

    monkeypatch.setattr(datasets, "download", fetch)
    submit(data=HTTPS)
    submit(data=HTTPS)
    assert fetched == ["https://corpora.invalid/people.conll"]
    monkeypatch.setattr(datasets, "download", lambda url, target, where, say: target.write_text("x B-PER\n"))
    with pytest.raises(UserError, match=r"data.train: people.conll: its sha256 is"):
        submit(data=HTTPS | {"train": HTTPS["train"] | {"sha256": "1" * 64}})


def test_a_signed_url_is_fetched_whole_but_neither_shown_nor_recorded(stack, submit, lines, monkeypatch):
    fetched = []

    def fetch(url, target, where, say):
        fetched.append(url)
        target.write_text(CONLL)

    monkeypatch.setattr(datasets, "download", fetch)
    signed = "https://anna:pass@corpora.invalid/people.conll?signature=secret"
    run_id, __ = submit(data=HTTPS | {"train": HTTPS["train"] | {"from": signed}})
    assert fetched == [signed]
    assert stack.runs.get(run_id)["spec"]["data"]["train"]["from"] == "https://corpora.invalid/people.conll"
    assert "secret" not in lines.text and "pass" not in lines.text


def test_a_copy_in_data_dir_stands_in_for_a_download(submit, folder, tmp_path, monkeypatch):
    copies = tmp_path / "copies" / "deep"
    copies.mkdir(parents=True)
    shutil.copy(folder / "train.conll", copies / "other-name.txt")
    monkeypatch.setattr(datasets, "download", lambda *__: pytest.fail("nothing is to be downloaded"))
    assert submit(data=HTTPS, data_dir=tmp_path / "copies")[0]


# --- what is doubtful ---


def test_warnings_are_printed_with_their_places_and_kept_with_the_run(stack, folder, submit, lines):
    torn = ['{"text": "Adalyn of Bonn", "spans": [[0, 3, "PER"], [10, 14, "PER"]]}\n', JSONL * 6]
    (folder / "train.jsonl").write_text("".join(torn))
    run_id, __ = submit(data={"train": "train.jsonl", "dev": "dev.jsonl"})
    warnings = stack.runs.get(run_id)["warnings"]
    assert [warning.split(": ")[0] for warning in warnings] == [
        "data.train",
        "dev",
        "train",
        "train",
        "train",
    ]
    assert warnings[0] == (
        "data.train: train.jsonl: 1 of 8 entities do not begin and end with a token, and are not learnt: "
        "'Ada' (PER), line 1"
    )
    assert warnings[1] == (
        "dev: 1 of its 1 text found in train too: its scores flatter the model: "
        "dev.jsonl:1 is train.jsonl:2, 'Ada of London'"
    )
    told = lines[lines.index("warning: train: 5 repetitions among its 7 texts; they weigh more") :]
    assert told[1:5] == [
        *(f"    train.jsonl:{line} repeats train.jsonl:2, 'Ada of London'" for line in (3, 4, 5)),
        "    and 2 more",
    ]
    assert warnings[4].startswith("train: 5 repetitions") and warnings[4].endswith("; and 2 more")


def test_a_split_file_is_named_as_it_is(ready, folder):
    (folder / "all.conll").write_text(CONLL * 10)
    found = ready(data={"all": "all.conll", "split": [50, 25, 25]}).data.findings
    assert found[0].what.startswith("test: 2 of its 5 texts found in train too")
    assert found[0].places[0] == "all.conll:49 is all.conll:1, 'Ada of London'"


def test_tokens_are_left_to_the_trainer_where_they_cannot_be_had(ready, lines, monkeypatch):
    def missing(*__):
        raise ImportError("no spaCy here\nand more")

    monkeypatch.setattr(data_checks.alignment, "unfit", missing)
    ready()
    assert "that is left to the trainer: no spaCy here" in lines


def test_tokens_are_those_of_the_configs_language(stack, folder, submit):
    own = '[nlp]\nlang = "it"\n[nlp.tokenizer]\n@tokenizers = "spacy.Tokenizer.v1"\n[training]\n'
    (folder / "own.cfg").write_text(own)
    (folder / "it.jsonl").write_text('{"text": "l\'olio", "spans": [[2, 6, "X"]]}\n')
    run_id, __ = submit(config="own.cfg", data={"train": "it.jsonl", "dev": "it.jsonl"})
    run = stack.runs.get(run_id)
    assert run["spec"]["language"] == "it"
    assert not any("token" in warning for warning in run["warnings"])
    specs.validate(run["spec"], submitted=True)


def test_labels_by_the_thousand_are_told_in_a_line(stack, folder, submit):
    marked = [json.dumps({"text": "Ada left", "spans": [[0, 3, f"Q{n:05}"]]}) for n in range(9000)]
    (folder / "train.jsonl").write_text("\n".join([JSONL, *marked[:4500]]))
    (folder / "dev.jsonl").write_text("\n".join([JSONL, *marked[4500:]]))
    run_id, __ = submit(data={"train": "train.jsonl", "dev": "dev.jsonl"})
    warnings = stack.runs.get(run_id)["warnings"]
    assert warnings[0] == (
        "data.dev has 1 of label Q04500, 1 of label Q04501, 1 of label Q04502 and 4,497 more, which train "
        "has none of: they cannot be found"
    )
    assert any(
        line.startswith("dev has none of Q00000, Q00001, Q00002 and 4,497 more: ") for line in warnings
    )


def test_tokens_of_another_tokenizer_are_left_to_the_trainer(ready, folder, lines):
    own = '[nlp.tokenizer]\n@tokenizers = "own.Tokenizer.v1"\n'
    (folder / "own.cfg").write_text(CONFIG + own)
    ready(config="own.cfg")
    assert not any("tokens" in line for line in lines)


def test_spacy_is_left_alone_where_the_file_fixes_the_words(ready, lines, monkeypatch):
    monkeypatch.setattr(data_checks.alignment, "unfit", lambda *__: pytest.fail("nothing is to be compared"))
    ready(data={"train": "train.conll", "dev": "train.conll"})


def test_spacy_that_cannot_look_at_the_data_is_told(ready, folder, tmp_path, lines, monkeypatch):
    """Its exit code is that of one that found faults; it has no summary then."""
    python = tmp_path / "python"
    monkeypatch.setattr(debug_data.sys, "executable", str(python))
    checked = ready(config="full.cfg")
    for said, fails in (("Summary", False), ("Config validation error", True)):
        python.write_text(f'#!/bin/sh\ncat "$5"\necho; echo "{said}"\nexit 1\n')
        python.chmod(0o755)
        with pytest.raises(UserError, match="exit code 1") if fails else contextlib.nullcontext():
            debug_data.run(checked.spec, checked.data.examples, tmp_path, lines)
        assert lines[-1] == f"    {said}"
    assert f"    train = {tmp_path / 'train.spacy'}" in [line.replace('"', "") for line in lines]
    with pytest.raises(UserError, match=r"^debug_data: spaCy cannot look at the data: .*Mend what it says"):
        debug_data.run(checked.spec | {"config": "[a.b.c]"}, checked.data.examples, tmp_path, lines)


def test_large_files_show_progress(ready, folder, lines, monkeypatch):
    monkeypatch.setattr(data_checks, "_SLOW_BYTES", 20)
    monkeypatch.setattr(data_checks, "_SLOW_TEXTS", 1)
    ready()
    assert "reading train.conll (37 B)" in lines
    assert any(line.startswith("looking for leaks") for line in lines)


def test_without_a_deployment_neither_capacity_nor_copies_are_asked_for(ready, monkeypatch):
    monkeypatch.setattr(datasets, "download", lambda url, target, where, say: target.write_text(CONLL))
    assert ready(bucket=None, device="gpu", data=HTTPS).spec["resources"]["gpus"] == 1


# --- the commit ---


def git(folder, *command):
    who = ["-c", "user.name=Anna", "-c", "user.email=anna@example.org"]
    done = subprocess.run(
        ["git", "-C", folder, *who, *command], check=True, capture_output=True, text=True, env=os.environ
    )
    return done.stdout.strip()


def test_the_commit_of_the_spec_is_recorded(stack, folder, submit):
    run_id, __ = submit()
    assert "commit" not in stack.runs.get(run_id)
    git(folder, "init")
    assert "commit" not in stack.runs.get(submit()[0])  # there is no commit yet
    git(folder, "add", ".")
    git(folder, "commit", "-m", "first")
    expected = git(folder, "rev-parse", "HEAD")
    assert stack.runs.get(submit()[0])["commit"] == {"id": expected, "changed": False}
    assert stack.runs.get(submit(seed=5)[0])["commit"] == {"id": expected, "changed": True}


def test_what_the_spec_is_not_made_of_does_not_change_it(folder):
    (folder / "spec.yml").write_text("name: people\n")
    git(folder, "init")
    git(folder, "add", ".")
    git(folder, "commit", "-m", "first")
    (folder / "notes.txt").write_text("not of the spec")
    spec, config = folder / "spec.yml", folder / "full.cfg"
    assert not commit.of(folder, [spec, config])["changed"]
    config.write_text("[nlp]\n")
    assert not commit.of(folder, [spec])["changed"]
    assert commit.of(folder, [spec, config])["changed"]


def test_a_file_that_git_does_not_know_is_a_change(folder, tmp_path):
    git(folder, "init")
    git(folder, "commit", "--allow-empty", "-m", "first")
    assert commit.of(folder, [folder / "train.conll"])["changed"]
    outside = tmp_path / "outside.cfg"
    outside.write_text("")
    assert commit.of(folder, [outside])["changed"]


def test_a_file_that_gits_status_passes_over_is_a_change(folder, tmp_path):
    """One that is ignored; one behind a link; one that lies in another repository."""
    git(folder, "init")
    (folder / ".gitignore").write_text("*.local.yml\n")
    elsewhere = tmp_path / "elsewhere.yml"
    elsewhere.write_text("name: people\n")
    (folder / "link.yml").symlink_to(elsewhere)
    git(folder, "add", ".")
    git(folder, "commit", "-m", "first")
    inner = folder / "inner"
    inner.mkdir()
    git(inner, "init")
    for file in ("my.local.yml", "link.yml", "inner/full.cfg"):
        (folder / file).write_text("name: others\n")
        assert commit.of(folder, [folder / file])["changed"], file


def test_a_file_is_compared_as_git_keeps_it_and_by_its_own_name(folder):
    git(folder, "init")
    git(folder, "config", "core.autocrlf", "true")
    (folder / "sub").mkdir()
    for name in ("spec[1].yml", "spec1.yml", "sub/spec.yml"):
        (folder / name).write_text("name: people\r\n")
    git(folder, "add", ".")
    git(folder, "commit", "-m", "first")
    (folder / "spec1.yml").write_text("name: others\n")
    assert not commit.of(folder, [folder / "spec[1].yml"])["changed"]
    (folder / "link").symlink_to("sub")
    (folder / "link.yml").symlink_to("sub/spec.yml")
    assert not commit.of(folder / "link", [folder / "link/spec.yml"])["changed"]
    assert not commit.of(folder, [folder / "link.yml"])["changed"]
    assert not commit.of(folder / "sub", [folder / "sub/../full.cfg"])["changed"]


def test_without_git_there_is_no_commit(folder, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert commit.of(folder, []) is None


# --- AWS fails half way ---


def test_a_run_that_cannot_be_queued_is_recorded_as_failed(stack, submit, answer):
    answer(stack.aws.client("sqs"), send_message=refused("ServiceUnavailable", "try later"))
    with pytest.raises(UserError, match=r"could not be queued: .*try later.* recorded as FAILED. Queue it"):
        submit()
    (run,) = stack.runs.in_state("FAILED")
    assert "try later" in run["reason"] and run["ended"]
    assert run["cause"] == "NOT_QUEUED"


def test_a_run_whose_message_came_through_though_its_answer_was_lost_is_submitted(stack, submit, answer):
    def lose_the_answer(**__):
        (run,) = stack.runs.in_state("QUEUED")
        stack.runs.claim(run["run_id"], 1)
        raise EndpointConnectionError(endpoint_url="x")

    answer(stack.aws.client("sqs"), send_message=lose_the_answer)
    run_id, __ = submit()
    assert stack.runs.get(run_id)["state"] == "STARTING"


@pytest.fixture
def large(stack, tmp_path, lines):
    """A shelf, and a dataset of its folder that is larger than one part of an upload."""
    path = tmp_path / "large.jsonl"
    path.write_bytes(JSONL.encode() * (1 + 9 * 1024**2 // len(JSONL)))
    shelf = Shelf(stack.aws.client("s3"), "nerforge-bucket", tmp_path, tmp_path, None, lines)
    return shelf, shelf.find("train", {"from": "large.jsonl"})


def test_a_large_file_is_uploaded_in_parts_and_comes_back_whole(stack, large):
    shelf, dataset = large
    assert shelf.keep(dataset) and not shelf.keep(dataset)
    found = stack.aws.client("s3").head_object(Bucket="nerforge-bucket", Key=dataset.key)
    assert found["ETag"].endswith('-2"')
    dataset.path.unlink()
    source = {"from": f"s3://nerforge-bucket/{dataset.key}", "sha256": dataset.sha256}
    assert shelf.find("train", source).sha256 == dataset.sha256


def test_a_large_upload_that_breaks_off_leaves_no_parts(stack, large, answer):
    shelf, dataset = large
    s3 = stack.aws.client("s3")
    answer(s3, upload_part=refused("AccessDenied"))
    with pytest.raises(ClientError, match="AccessDenied"):
        shelf.keep(dataset)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket="nerforge-bucket")


def test_an_upload_that_aws_refuses_leaves_no_run(stack, submit):
    stack.aws.client("s3").delete_bucket(Bucket="nerforge-bucket")
    with pytest.raises(ClientError, match="NoSuchBucket"):
        submit()
    assert list(stack.runs.in_state("QUEUED")) == []


def test_the_event_names_this_deployment(stack, submit, answer):
    sent = []

    def put_events(Entries):
        sent.extend(Entries)
        return {"FailedEntryCount": 0, "Entries": [{}]}

    answer(stack.aws.client("events"), put_events=put_events)
    run_id, asleep = submit()
    assert asleep is None
    (event,) = sent
    assert (event["Source"], event["DetailType"]) == ("nerforge", "Run Submitted")
    assert json.loads(event["Detail"]) == {"prefix": "nerforge", "run": run_id}


def test_a_dispatcher_that_cannot_be_woken_is_no_failure(stack, submit, answer):
    answer(stack.aws.client("events"), put_events=refused("InternalException", "try later"))
    run_id, asleep = submit()
    assert "try later" in asleep
    assert messages(stack) == [{"run": run_id}]


def test_an_event_that_is_not_taken_is_told(stack, submit, answer):
    entry = {"ErrorCode": "InternalFailure", "ErrorMessage": "no such bus"}
    answer(stack.aws.client("events"), put_events={"FailedEntryCount": 1, "Entries": [entry]})
    assert submit()[1] == "no such bus"


def test_who_submits_is_the_local_user_where_sts_is_silent(stack, submit, answer, monkeypatch):
    answer(stack.aws.client("sts"), get_caller_identity=refused("ServiceUnavailable"))
    monkeypatch.setenv("LOGNAME", "anna")
    run_id, __ = submit()
    assert stack.runs.get(run_id)["submitted_by"] == "anna"


# --- downloads ---


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        found = self.path == "/people.conll"
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(CONLL) if found else 0))
        self.end_headers()
        self.wfile.write(CONLL.encode() if found else b"")

    def log_message(self, *__):
        pass


@pytest.fixture
def site():
    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=web.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{web.server_port}"
    web.shutdown()
    web.server_close()


def test_download(site, tmp_path, lines):
    target = tmp_path / "people"
    datasets.download(f"{site}/people.conll", target, "data.train", lines)
    assert target.read_text() == CONLL
    assert lines == [f"downloading {site}/people.conll (37 B)"]


def test_a_download_that_fails_says_how_to_do_without(site, tmp_path, lines):
    with pytest.raises(UserError, match=r"data.train: .*/gone answered 404 Not Found. .*data_dir=FOLDER"):
        datasets.download(f"{site}/gone", tmp_path / "x", "data.train", lines)
    with pytest.raises(UserError, match=r"cannot be fetched: .*refused"):
        datasets.download("http://127.0.0.1:9/x", tmp_path / "x", "data.train", lines)
