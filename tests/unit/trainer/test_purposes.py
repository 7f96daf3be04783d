"""Runs that make no model: one version evaluated on the data of another, and one trained once more.

Cases: evaluated on other data, and on its own again; reproduced; another seed; another environment; only
files without weights differ; interrupted; a version that is gone, changed or not recorded, or that needs
PyTorch; a purpose that nobody knows.
"""

import json

import pytest
from nerforge_contract import names, purposes, states
from nerforge_trainer import package, publish, reproduction
from nerforge_trainer.attempt import Attempt
from nerforge_trainer.interruption import Interrupted, Interruption
from nerforge_trainer.registered import pipeline
from nerforge_trainer.watch import Watch


@pytest.fixture
def attempt(aws):
    """Do the attempt that settings name; returns the run as it then is."""

    def attempt(settings):
        Attempt(settings, aws.runs, aws.models, aws.s3, Interruption()).run()
        return aws.runs.get(settings.run_id)

    return attempt


@pytest.fixture
def people(aws, made):
    """people:1, registered; its record."""
    for key, content in made.items():
        aws.s3.put_object(Bucket="bucket", Key=key, Body=content)
    assert aws.models.register(aws.manifest("people", 1))
    return aws.models.get("people", 1)


def other_data(aws):
    """The source of three sentences that people:1 cannot wholly get right, one of them without entities."""
    lines = [
        {"text": "Ada travelled from Oslo to New Lima .", "label": [[0, 3, "PER"], [19, 23, "LOC"]]},
        {"text": "Nobody met anybody .", "label": []},
        {"text": "travelled from somewhere", "label": [[0, 9, "EVENT"]]},
    ]
    return aws.put("other.jsonl", "\n".join(map(json.dumps, lines)))


def evaluation(aws, version, examples):
    return json.loads(aws.read(names.evaluation_key("people", version, examples)))


def f_of(counts):
    right, spurious, missed = (sum(column) for column in zip(*counts, strict=True))
    return 2 * right / (2 * right + spurious + missed)


# --- evaluate ---


def test_a_version_is_evaluated_on_the_held_out_data_of_another(aws, attempt, people, wanted):
    wanted["data"]["test"] = other_data(aws)
    run = attempt(aws.start(wanted, purpose=purposes.evaluate("people:1", "people:2")))

    assert run["state"] == states.SUCCEEDED
    assert "model" not in run and "scores" not in run
    assert run["progress"]["phase"] == "uploading"
    assert [model["version"] for model in aws.models.all()[0]] == [1]
    result = run["result"]
    found = evaluation(aws, 1, result["examples"])
    assert found["model"] == "people:1"
    assert (found["format"], found["on"]) == (1, "test")
    assert len(found["counts"]) == 3
    assert found["scores"]["labels"]["EVENT"] == {"f": 0.0, "p": 0.0, "r": 0.0, "count": 1}
    assert 0 < found["scores"]["f"] < 1
    assert found["scores"]["f"] == pytest.approx(f_of(found["counts"]), abs=1e-6)
    assert result == {"on": "test", "f": found["scores"]["f"], "examples": found["examples"]}
    assert run["reason"] == f"people:1 has F {result['f']:.3f} on the test data of people:2"


def test_evaluated_on_its_own_data_it_finds_what_it_found_when_it_was_made(aws, attempt, people, wanted):
    examples = aws.manifest("people", 1)["examples"]["dev"]
    before = evaluation(aws, 1, examples)
    aws.s3.delete_object(Bucket="bucket", Key=names.evaluation_key("people", 1, examples))

    run = attempt(aws.start(wanted, purpose=purposes.evaluate("people:1", "people:1")))

    assert run["result"]["examples"] == examples
    assert evaluation(aws, 1, examples) == before
    assert len(before["counts"]) == 32


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda aws, key: aws.s3.delete_object(Bucket="bucket", Key=key), "people:1: s3://bucket/models/"),
        (
            lambda aws, key: aws.s3.put_object(Bucket="bucket", Key=key, Body=b"other"),
            "people:1: its artifact has the sha256 d9298a10d1b0",
        ),
    ],
)
@pytest.mark.parametrize(
    "purpose", [purposes.evaluate("people:1", "people:1"), purposes.reproduce("people:1")]
)
def test_an_artifact_that_is_gone_or_another_fails_the_run_at_once(
    aws, attempt, people, wanted, harm, told, purpose
):
    harm(aws, f"{people['prefix']}{names.ARTIFACT}")
    run = attempt(aws.start(wanted, purpose=purpose))
    assert run["state"] == states.FAILED
    assert run["reason"].startswith(told)
    assert run["progress"]["phase"] in ("fetching", "evaluating")  # nothing was trained


def test_a_version_with_a_transformer_is_not_evaluated_without_pytorch(aws, attempt, made, wanted, tmp_path):
    pipeline = tmp_path / "pipeline"
    pipeline.mkdir()
    (pipeline / "config.cfg").write_text('[components.transformer]\nfactory = "curated_transformer"\n')
    artifact = tmp_path / names.ARTIFACT
    package.pack(pipeline, artifact)
    manifest = json.loads(made[names.model_prefix("people", 1) + names.MANIFEST])
    manifest["artifact"]["sha256"] = publish.sha256_of(artifact)
    aws.s3.put_object(Bucket="bucket", Key="models/people/1/model.tar.gz", Body=artifact.read_bytes())
    assert aws.models.register(manifest)
    run = attempt(aws.start(wanted, purpose=purposes.evaluate("people:1", "people:1")))
    assert run["state"] == states.FAILED
    assert run["reason"].startswith(
        "people:1: a transformer needs PyTorch, and this image was made without it. "
    )


@pytest.mark.parametrize(
    ("purpose", "told"),
    [
        (purposes.evaluate("people:9", "people:1"), "people:9: there is no such version any more"),
        (purposes.reproduce("people:9"), "people:9: there is no such version any more"),
        ({"kind": "distil", "model": "people:1"}, "purpose: this trainer knows no runs that distil"),
    ],
)
def test_what_cannot_be_done_fails_the_run(aws, attempt, wanted, purpose, told):
    run = attempt(aws.start(wanted, purpose=purpose))
    assert run["state"] == states.FAILED
    assert run["reason"].startswith(told)


# --- reproduce ---


def test_a_version_is_reproduced_to_the_bit(aws, attempt, people, wanted):
    before = aws.objects()
    run = attempt(aws.start(wanted, purpose=purposes.reproduce("people:1")))
    assert run["state"] == states.SUCCEEDED
    f = people["scores"]["f"]
    same = {"identical": True, "weights": True, "files": [], "environment": {}, "f": f, "f_then": f}
    assert run["result"] == same
    assert run["reason"] == "people:1 is reproduced, bit by bit"
    assert "model" not in run and "model_version" not in run
    assert aws.objects() == before
    assert [model["version"] for model in aws.models.all()[0]] == [1]


def test_another_seed_and_another_environment_are_told(aws, attempt, people, wanted):
    manifest = aws.manifest("people", 1)
    manifest["libraries"] |= {"spacy": "3.0.0", "blis": "1.0.0"}  # whose matrix products make the weights
    del manifest["cpu"]
    key = f"{people['prefix']}{names.MANIFEST}"
    aws.s3.put_object(Bucket="bucket", Key=key, Body=json.dumps(manifest).encode())

    other = {"seed": 8, "hyperparameters": wanted["hyperparameters"] | {"max_steps": 1}}
    run = attempt(aws.start(wanted | other, purpose=purposes.reproduce("people:1")))

    assert run["state"] == states.SUCCEEDED
    result = run["result"]
    assert (result["identical"], result["weights"]) == (False, False)
    assert {"ner/model", "tok2vec/model", "config.cfg"} <= set(result["files"])
    assert result["environment"].keys() == {"blis", "cpu", "spacy"}
    assert result["environment"]["spacy"][0] == "3.0.0"
    assert result["environment"]["cpu"][0] is None
    assert result["f_then"] == manifest["scores"]["f"]
    assert 0 <= result["f"] < result["f_then"] / 2  # it has hardly learnt
    assert run["reason"] == (
        "people:1 is not reproduced: the weights differ; different from then: blis, cpu, spacy"
    )


def test_a_reproduction_that_was_interrupted_goes_on_and_comes_out_the_same(
    aws, attempt, people, wanted, monkeypatch, capsys
):
    settings = aws.start(wanted, purpose=purposes.reproduce("people:1"))
    interruption = Interruption()
    did = Watch.did

    def interrupt(watch, step):
        interruption.seen = "SIGTERM"
        did(watch, step)

    monkeypatch.setattr(Watch, "did", interrupt)
    with pytest.raises(Interrupted):
        Attempt(settings, aws.runs, aws.models, aws.s3, interruption).run()
    monkeypatch.undo()
    assert aws.runs.get(settings.run_id)["checkpoint"]["step"] < 40

    assert aws.runs.next_attempt(settings.run_id, 1)
    second = type(settings)(**{**vars(settings), "attempt": 2})
    assert attempt(second)["result"]["identical"]
    assert "goes on from step" in capsys.readouterr().out


def test_files_without_weights_may_differ(aws, people, tmp_path):
    one = pipeline(aws.s3, "bucket", people, tmp_path / "one")
    other = pipeline(aws.s3, "bucket", people, tmp_path / "other")
    assert reproduction.differing_files(one, other) == []
    (other / "meta.json").write_text("{}")
    (other / "extra").write_text("")
    (other / "ner" / "model").write_bytes(b"")
    assert reproduction.differing_files(one, other) == ["extra", "meta.json", "ner/model"]
    assert not any(map(reproduction.is_weights, ("extra", "meta.json", "vocab/strings.json")))
    assert all(map(reproduction.is_weights, ("ner/model", "vocab/vectors", "vocab/key2row")))


@pytest.mark.parametrize(
    ("result", "sentence"),
    [
        (
            {
                "identical": False,
                "weights": True,
                "files": ["meta.json"],
                "environment": {"spacy": ["1", "2"]},
            },
            "people:7 is reproduced: its weights are bit-identical, though not meta.json",
        ),
        (
            {"identical": False, "weights": False, "files": ["ner/model"], "environment": {}},
            "people:7 is not reproduced: the weights differ, in the same environment",
        ),
    ],
)
def test_the_verdict_in_a_sentence(result, sentence):
    assert reproduction.verdict("people:7", result) == sentence
