"""An attempt from the record to the registered model, against moto.

Cases: succeeded; no test part; a split; JSONL with misfits; a full config, and the weights of `spacy train`;
the same spec and seed give the same bytes; wrong data, spec or config; data gone or changed; no GPU;
superseded at the start and in training; an upload that is not whole; a version registered by a lost attempt;
interrupted (what comes after that is in test_resume.py).
"""

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time

import pytest
import spacy
from nerforge_contract import corpus, names, states
from nerforge_trainer import publish
from nerforge_trainer.attempt import Attempt, limit_threads
from nerforge_trainer.interruption import Interruption
from nerforge_trainer.watch import Watch
from spacy.cli.init_config import init_config
from support import aws_model
from support.aws_double import answering, refused


@pytest.fixture
def attempt(aws):
    """Do the attempt that settings name; returns the exit code."""

    def attempt(settings, s3=None):
        return Attempt(settings, aws.runs, aws.models, s3 or aws.s3, Interruption()).run()

    return attempt


def unpacked(content, folder):
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def artifact_key(version):
    return names.model_prefix("people", version) + names.ARTIFACT


def failure(aws, settings):
    run = aws.runs.get(settings.run_id)
    assert run["state"] == states.FAILED
    assert run["ended"]
    assert aws.objects() == []
    return run["reason"]


# The trainer's process as ECS starts it, except that its AWS is in it.
PROCESS = """
import os, sys
sys.path[:0] = {path!r}
import conftest
from nerforge_trainer.__main__ import main
with conftest.mock_aws():
    aws = conftest.account()
    wanted = conftest.spec_of(aws, {content!r})
    wanted["hyperparameters"] |= {hyperparameters!r}
    settings = aws.start(wanted)
    os.environ.update(NERFORGE_RUN=settings.run_id, NERFORGE_ATTEMPT="1", NERFORGE_BUCKET=settings.bucket,
                      NERFORGE_RUNS_TABLE=settings.runs_table, NERFORGE_MODELS_TABLE=settings.models_table)
    code = main()
    print(aws.runs.get(settings.run_id)["state"], *(model["sha256"] for model in aws.models.all()[0]))
sys.exit(code)
"""


@pytest.fixture
def process(root):
    """Start a trainer's process with this data, these hyperparameters and this environment."""
    folders = (".nerforge/test-path", "containers/engine", "containers/trainer", "tests/unit/trainer")
    path = [str(root / folder) for folder in folders]
    started = []

    def process(content, hyperparameters, **environment):
        script = PROCESS.format(path=path, content=content, hyperparameters=hyperparameters)
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", script],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=os.environ | environment,
            )
        )
        return started[-1]

    yield process
    for one in started:
        one.kill()


# --- the story ---


def test_a_run_ends_with_a_model_that_finds_entities(aws, attempt, wanted, conll, tmp_path, capsys):
    wanted["data"]["test"] = aws.put("test.conll", conll)
    settings = aws.start(wanted, commit={"id": "c0ffee", "changed": False})
    assert attempt(settings) == states.EXIT_DONE

    run = aws.runs.get(settings.run_id)
    assert run["state"] == states.SUCCEEDED
    assert run["model"] == "people:1"
    assert run["reason"] == f"people:1 has F {run['scores']['f']:.3f} on test"
    assert run["scores"]["on"] == "test"
    assert run["scores"]["f"] > 0.9
    assert run["scores"]["labels"]["LOC"]["count"] == 64
    assert run["progress"]["phase"] == "uploading"
    assert run["progress"]["step"] == 40
    assert run["started"] <= run["running"] < run["ended"]
    assert "warnings" not in run

    manifest = aws.manifest("people", 1)
    content = aws.read(artifact_key(1))
    folder = unpacked(content, tmp_path)
    assert manifest["artifact"] == {
        "file": "model.tar.gz",
        "sha256": publish.sha256_of(_saved(tmp_path / "artifact", content)),
        "bytes": len(content),
    }
    assert manifest["run"] == settings.run_id
    assert manifest["labels"] == ["LOC", "PER"]
    assert manifest["scores"] == run["scores"]
    calibration = manifest["calibration"]
    assert calibration["on"] == "test"
    assert 0 <= calibration["ece"] < 0.2
    assert calibration["temperature"] > 0
    right = sum(one["count"] * one["accuracy"] for one in calibration["bins"])
    assert right / sum(one["count"] for one in calibration["bins"]) == pytest.approx(run["scores"]["p"])
    table = manifest["confusion"]
    assert table["labels"] == ["LOC", "PER"]
    assert sum(table["counts"][0]) == 64
    assert manifest["speed"]["words"] == 32 * 8
    assert manifest["speed"]["words_per_second"] > 0
    assert manifest["cpu"]
    assert manifest["seconds"] > 0
    assert manifest["commit"] == {"id": "c0ffee", "changed": False}
    assert manifest["warnings"] == []

    source = _saved(tmp_path / "test.conll", conll.encode())
    fingerprint = corpus.fingerprint(corpus.read(source, "conll", "data.test"))
    assert manifest["examples"] == dict.fromkeys(("train", "dev", "test"), fingerprint)
    found = json.loads(aws.read(names.evaluation_key("people", 1, fingerprint)))
    counts = found.pop("counts")
    assert found == {
        "format": 1,
        "model": "people:1",
        "on": "test",
        "examples": fingerprint,
        "scores": manifest["scores"],
    }
    assert [right + missed for right, __, missed in counts] == [3] * 32
    right, spurious, missed = map(sum, zip(*counts, strict=True))
    assert round(2 * right / (2 * right + spurious + missed), 6) == manifest["scores"]["f"]
    card = json.loads(aws.read(names.model_prefix("people", 1) + names.CARD))
    assert card["manifest"] == manifest
    assert [point["step"] for point in card["curve"]] == [0, 20, 40]
    assert card["examples"]["test"] == {"LOC": 64, "PER": 32}
    assert manifest["data"]["test"]["entities"] == {"LOC": 64, "PER": 32}
    assert manifest["data"]["test"]["sha256"] == wanted["data"]["test"]["sha256"]
    assert manifest["data"]["train"]["sentences"] == 32
    assert manifest["spec"]["hyperparameters"]["dropout"] == 0.1
    assert manifest["seed"] == 7
    assert manifest["image"] == "registry/trainer:tag"
    assert manifest["libraries"]["spacy"] == spacy.__version__
    assert manifest["config"] == (folder / "config.cfg").read_text()
    assert "/" not in spacy.util.load_config_from_str(manifest["config"])["paths"].values()

    doc = spacy.load(folder)("Carol travelled from Oslo to New Cairo .")
    assert [(entity.text, entity.label_) for entity in doc.ents] == [
        ("Carol", "PER"),
        ("Oslo", "LOC"),
        ("New Cairo", "LOC"),
    ]
    registered = aws.models.get("people", 1)
    assert registered["sha256"] == manifest["artifact"]["sha256"]
    assert registered["labels"] == ["LOC", "PER"]
    assert registered["calibration"] == calibration
    printed = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in printed if line.startswith("step")] == [
        "step 0 of 40",
        "step 20 of 40",
        "step 40 of 40",
    ]


def _saved(path, content):
    path.write_bytes(content)
    return path


def test_without_a_test_part_dev_is_scored(aws, attempt, wanted):
    settings = aws.start(wanted)
    assert attempt(settings) == states.EXIT_DONE
    assert aws.runs.get(settings.run_id)["scores"]["on"] == "dev"
    assert aws.manifest("people", 1)["calibration"]["on"] == "dev"


def test_one_file_is_split_by_sentence_order(aws, attempt, wanted):
    wanted["data"] = {"all": wanted["data"]["train"], "split": [50, 25, 25]}
    assert attempt(aws.start(wanted)) == states.EXIT_DONE
    manifest = aws.manifest("people", 1)
    assert {part: data["sentences"] for part, data in manifest["data"].items()} == {
        "train": 16,
        "dev": 8,
        "test": 8,
    }
    assert manifest["scores"]["on"] == "test"


def test_entities_that_fit_no_tokens_are_a_warning(aws, attempt, wanted):
    lines = [{"text": "Ada met Bob", "label": [[0, 3, "PER"], [8, 11, "PER"]]}] * 20
    lines.append({"text": "Adalyn left", "label": [[0, 3, "PER"]]})
    wanted["data"]["train"] = aws.put("train.jsonl", "\n".join(map(json.dumps, lines)))
    misfits = (
        "data.train: train.jsonl: 1 of 41 entities do not begin and end with a token, and are not learnt: "
        "'Ada' (PER), line 21"
    )
    unseen = "data.dev has 64 of label LOC, which train has none of: they cannot be found"
    settings = aws.start(wanted)
    assert attempt(settings) == states.EXIT_DONE
    assert aws.runs.get(settings.run_id)["warnings"] == [unseen, misfits]
    noted = ["train: 19 repetitions among its 21 texts; they weigh more", misfits]
    settings = aws.start(wanted, warnings=noted)  # as the submission may have noted them
    assert attempt(settings) == states.EXIT_DONE
    assert aws.runs.get(settings.run_id)["warnings"] == [*noted, unseen]
    assert aws.manifest(wanted["name"], 2)["warnings"] == [*noted, unseen]


def test_versions_count_up_and_the_same_seed_gives_the_same_bytes(aws, attempt, wanted):
    first, second = aws.start(wanted), aws.start(wanted)
    other = aws.start(wanted | {"seed": 8})
    for settings in (first, second, other):
        assert attempt(settings) == states.EXIT_DONE
    assert aws.read(artifact_key(1)) == aws.read(artifact_key(2)) != aws.read(artifact_key(3))
    assert aws.manifest("people", 1)["calibration"] == aws.manifest("people", 2)["calibration"]
    assert aws.runs.get(second.run_id)["model"] == "people:2"


def test_another_process_makes_the_same_bytes(process):
    """Sets have another order in each process: none of it may show."""
    content = "".join(f"word{i}\tB-LABEL{i}\n" for i in range(8)) * 2
    trainers = [process(content, {"max_steps": 3}, PYTHONHASHSEED=seed) for seed in ("1", "2")]
    ends = {trainer.communicate(timeout=300)[0].splitlines()[-1] for trainer in trainers}
    assert len(ends) == 1
    assert ends.pop().startswith(states.SUCCEEDED)


def test_a_full_config_is_used_and_the_weights_are_those_of_spacy_train(
    aws, attempt, wanted, conll, tmp_path
):
    config = init_config(lang="en", pipeline=["ner"], optimize="efficiency", gpu=False)
    config["training"] |= {"max_steps": 30, "eval_frequency": 10, "dropout": 0.2}
    config["components"]["tok2vec"]["model"]["encode"] |= {"width": 24, "depth": 1}
    del wanted["hyperparameters"]
    assert attempt(aws.start(wanted | {"config": config.to_str()})) == states.EXIT_DONE
    ours = unpacked(aws.read(artifact_key(1)), tmp_path / "ours")

    data = _docbin(conll, tmp_path / "data.spacy")
    config.to_disk(tmp_path / "config.cfg")
    subprocess.run(
        [sys.executable, "-m", "spacy", "train", tmp_path / "config.cfg", "--output", tmp_path / "theirs",
         "--paths.train", data, "--paths.dev", data, "--system.seed", "7"],
        check=True,
        capture_output=True,
    )  # fmt: skip
    theirs = tmp_path / "theirs" / "model-best"
    for weights in ("ner/model", "tok2vec/model", "vocab/strings.json"):
        assert (ours / weights).read_bytes() == (theirs / weights).read_bytes()
    saved = spacy.util.load_config(ours / "config.cfg")
    assert saved["training"]["dropout"] == 0.2
    assert saved["training"]["logger"] == {"@loggers": "spacy.ConsoleLogger.v1", "progress_bar": False}


def _docbin(conll, path):
    """As `spacy convert` makes it of IOB: words, and no say on spaces."""
    nlp = spacy.blank("en")
    docs = []
    for sentence in conll.strip().split("\n\n"):
        words, tags = zip(*(line.split("\t") for line in sentence.split("\n")), strict=True)
        docs.append(spacy.tokens.Doc(nlp.vocab, words=words, ents=tags))
    spacy.tokens.DocBin(docs=docs).to_disk(path)
    return path


# --- wrong input: FAILED, with the reason, and exit 64 ---


def test_wrong_data_fails_the_run_with_file_and_line(aws, attempt, wanted, conll, capsys):
    wanted["data"]["train"] = aws.put("bad.conll", conll + "Ada PERSON\n")
    settings = aws.start(wanted)
    assert attempt(settings) == states.EXIT_WRONG_INPUT
    assert failure(aws, settings).startswith("data.train: bad.conll:289: 'PERSON' is no IOB tag. ")
    assert capsys.readouterr().err.startswith("error: data.train: bad.conll:289: ")


def test_a_fixed_label_that_no_example_has_fails_the_run(aws, attempt, wanted):
    settings = aws.start(wanted | {"labels": ["PER", "LOC", "ORG"]})
    assert attempt(settings) == states.EXIT_WRONG_INPUT
    assert failure(aws, settings).startswith("labels: no example in train has the label ORG")


def test_a_spec_that_is_none_fails_the_run(aws, attempt, wanted):
    settings = aws.start(wanted | {"optimise": "accuracy"})
    assert attempt(settings) == states.EXIT_WRONG_INPUT
    assert failure(aws, settings).startswith("optimise: unknown field. Did you mean optimize?")


def test_data_that_changed_since_it_was_submitted_fails_the_run(aws, attempt, wanted):
    aws.s3.put_object(Bucket="bucket", Key=wanted["data"]["dev"]["key"], Body=b"other")
    settings = aws.start(wanted)
    assert attempt(settings) == states.EXIT_WRONG_INPUT
    told = failure(aws, settings)
    assert "has the sha256 d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa, not" in told
    assert "Put the right file in its place; or delete it, and submit" in told


def test_data_that_is_gone_fails_the_run(aws, attempt, wanted):
    aws.s3.delete_object(Bucket="bucket", Key=wanted["data"]["dev"]["key"])
    settings = aws.start(wanted)
    assert attempt(settings) == states.EXIT_WRONG_INPUT
    assert " is gone. Put that file back there; or submit the spec again" in failure(aws, settings)


@pytest.mark.parametrize("code", sorted(set(aws_model.codes("s3", "GetObject")) - {"NoSuchKey"}))
def test_data_that_s3_does_not_give_is_left_to_another_attempt(aws, attempt, wanted, code):
    settings = aws.start(wanted)
    with answering(aws.s3, get_object=refused(code)):
        assert attempt(settings) == states.EXIT_ERROR
    assert aws.runs.get(settings.run_id)["state"] == states.RUNNING


def test_a_wrong_config_fails_the_run_with_its_section(aws, attempt, wanted):
    del wanted["hyperparameters"]
    settings = aws.start(
        wanted | {"config": '[nlp]\nlang = "en"\npipeline = ["ner"]\n[training]\ndropuot = 1\n'}
    )
    assert attempt(settings) == states.EXIT_WRONG_INPUT
    assert failure(aws, settings).startswith("config: ")


def test_a_transformer_where_the_image_has_none_fails_the_run(aws, attempt, wanted):
    del wanted["hyperparameters"]
    settings = aws.start(wanted | {"transformer": aws.put("tiny.tar", b"", format="tar")})
    assert attempt(settings) == states.EXIT_WRONG_INPUT
    reason = failure(aws, settings)
    assert reason.startswith("transformer: a transformer needs PyTorch, and this image was made without it.")


def test_a_gpu_where_none_is_fails_the_run(aws, attempt, wanted, monkeypatch):
    monkeypatch.setattr("thinc.util.has_gpu", False)  # what a machine without one says
    settings = aws.start(wanted | {"device": "gpu"})
    assert attempt(settings) == states.EXIT_WRONG_INPUT
    reason = failure(aws, settings)
    assert reason.startswith("device: gpu is asked for, and no GPU can be used: ")
    assert "Set device: cpu; or" in reason


# --- the run has moved on: exit 70, and nothing written ---


@pytest.mark.parametrize("state", [states.CANCELLED, states.RUNNING])
def test_a_run_that_does_not_wait_for_this_attempt_is_left_alone(aws, attempt, wanted, state):
    settings = aws.start(wanted)
    aws.runs.move(settings.run_id, states.STARTING, state)
    before = aws.runs.get(settings.run_id)
    assert attempt(settings) == states.EXIT_SUPERSEDED
    assert aws.runs.get(settings.run_id) == before


def test_an_earlier_attempt_is_superseded(aws, attempt, wanted):
    settings = aws.start(wanted)
    assert aws.runs.next_attempt(settings.run_id, 1)
    assert attempt(settings) == states.EXIT_SUPERSEDED
    assert aws.runs.get(settings.run_id)["state"] == states.STARTING


def test_a_run_cancelled_while_it_trains_stops_and_leaves_no_model(aws, attempt, wanted, monkeypatch):
    settings = aws.start(wanted)
    monkeypatch.setattr("nerforge_trainer.progress.SECONDS_BETWEEN_WRITES", 0)
    did = Watch.did

    def cancel(self, step):
        did(self, step)
        if step.number == 20:
            aws.runs.move(settings.run_id, states.RUNNING, states.CANCELLED, reason="by hand")

    monkeypatch.setattr(Watch, "did", cancel)
    assert attempt(settings) == states.EXIT_SUPERSEDED
    run = aws.runs.get(settings.run_id)
    assert run["state"] == states.CANCELLED
    assert run["reason"] == "by hand"
    assert run["progress"]["step"] == 20
    assert aws.objects() == []


# --- errors that a retry may mend: exit 1, still RUNNING ---


class Lying:
    """S3 that gives back something else than was put."""

    def __init__(self, s3):
        self._s3 = s3

    def get_object(self, Bucket, Key):
        if Key.startswith("models/"):
            self._s3.put_object(Bucket=Bucket, Key=Key, Body=b"half")
        return self._s3.get_object(Bucket=Bucket, Key=Key)

    def __getattr__(self, name):
        return getattr(self._s3, name)


def test_an_upload_that_is_not_whole_is_no_model(aws, attempt, wanted):
    settings = aws.start(wanted)
    assert attempt(settings, s3=Lying(aws.s3)) == states.EXIT_ERROR
    run = aws.runs.get(settings.run_id)
    assert run["state"] == states.RUNNING
    assert run["reason"].startswith("UploadError: s3://bucket/models/people/1/model.tar.gz has the sha256 ")
    assert aws.models.all() == ([], [])


def test_a_retry_uses_the_version_number_it_reserved(aws, attempt, wanted):
    settings = aws.start(wanted)
    attempt(settings, s3=Lying(aws.s3))
    aws.runs.next_attempt(settings.run_id, 1)
    again = type(settings)(**(vars(settings) | {"attempt": 2}))
    assert attempt(again) == states.EXIT_DONE
    assert aws.runs.get(settings.run_id)["model"] == "people:1"
    assert aws.models.next_version("people") == 2


def test_a_version_that_a_lost_attempt_registered_is_kept_as_it_is(aws, attempt, wanted, monkeypatch):
    settings = aws.start(wanted)
    with monkeypatch.context() as lost:
        lost.setattr(Attempt, "_end", lambda self, state, **fields: 1 / 0)
        assert attempt(settings) == states.EXIT_ERROR
    registered, manifest = aws.models.get("people", 1), aws.manifest("people", 1)
    aws.runs.next_attempt(settings.run_id, 1)
    again = type(settings)(**(vars(settings) | {"attempt": 2}))
    assert attempt(again) == states.EXIT_DONE
    run = aws.runs.get(settings.run_id)
    assert (run["state"], run["model"], run["scores"]) == (states.SUCCEEDED, "people:1", manifest["scores"])
    assert aws.models.get("people", 1) == registered
    assert aws.manifest("people", 1) == manifest


# --- interrupted: exit 75 ---


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_process_at_once_in_the_middle_of_training(process, conll, tmp_path, stop):
    trainer = process(conll, {"max_steps": 100_000, "patience": 0}, TMPDIR=str(tmp_path))
    for line in trainer.stdout:
        if line.startswith("step 20 "):
            break
    began = time.monotonic()
    trainer.send_signal(stop)
    out, err = trainer.communicate(timeout=60)
    took = time.monotonic() - began
    assert trainer.returncode == states.EXIT_INTERRUPTED
    assert f"stopped by {stop.name}" in err
    assert out.splitlines()[-1] == states.RUNNING
    assert took < 5
    assert list(tmp_path.iterdir()) == []


# --- threads ---


@pytest.mark.parametrize(("vcpu", "threads"), [(0.25, "1"), (2, "2"), (3.5, "3")])
def test_threads_are_as_many_as_the_task_has_cpus(vcpu, threads):
    environment = {"OMP_NUM_THREADS": "64"}
    limit_threads(vcpu, environment)
    assert set(environment.values()) == {threads}
