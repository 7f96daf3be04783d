"""The recipes of the guide on adapting, with the very code that stands there.

Cases: a component of one's own, from the package to the server; a trainer that learns in another way; a
consumer that takes runs from the queue and trains them on this machine.
"""

import importlib
import importlib.metadata
import json
import subprocess
import sys

import boto3
import catalogue
import pytest
from nerforge_contract import causes, names, runs, spec, states, ulid
from nerforge_server import loading
from nerforge_trainer import registered
from nerforge_trainer.attempt import Attempt
from nerforge_trainer.interruption import Interruption
from spacy.cli.init_config import init_config
from support import documents
from thinc.api import Config


@pytest.fixture(scope="module")
def guide(root):
    """The guide's text."""
    return (root / "playbooks" / "guides" / "adapting.md").read_text()


@pytest.fixture
def write(guide, tmp_path):
    """Write a file of the guide into a folder, made if need be."""

    def write(name, folder=tmp_path):
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(documents.files(guide)[name])
        return folder

    return write


@pytest.fixture
def module(write, monkeypatch):
    """Import a module of the guide."""
    imported = []

    def module(name):
        monkeypatch.syspath_prepend(write(f"{name}.py"))
        imported.append(name)
        return importlib.import_module(name)

    yield module
    for name in imported:
        del sys.modules[name]


@pytest.fixture
def served(aws, tmp_path):
    """Do the attempt that settings name; the version it makes, as the server loads it."""

    def served(settings, kind=Attempt):
        code = kind(settings, aws.runs, aws.models, aws.s3, Interruption()).run()
        run = aws.runs.get(settings.run_id)
        assert code == states.EXIT_DONE, run
        version = aws.models.get(*names.parse_model_label(run["model"]))
        folder = registered.pipeline(aws.s3, settings.bucket, version, tmp_path / "served")
        return loading.load(folder, run["model"])

    return served


def found(recognizer, text):
    """What it finds in a text."""
    (entities,) = recognizer.entities([text])
    return [(text[entity.start : entity.end], entity.label) for entity in entities]


def test_a_component_of_ones_own_is_trained_and_served(
    aws, wanted, guide, write, served, monkeypatch, tmp_path
):
    package = write("people_components.py", tmp_path / "people-components")
    write("pyproject.toml", package)
    laid_out = tmp_path / "people-packages"
    (command,) = (each for each in documents.commands(guide) if "--target" in each.arguments)
    places = {"people-packages": str(laid_out), "./people-components": str(package)}
    arguments = [places.get(argument, argument) for argument in command.arguments]
    subprocess.run([sys.executable, *arguments, "--quiet", "--disable-pip-version-check"], check=True)
    monkeypatch.syspath_prepend(laid_out)
    # spaCy's registries look for entry points once, as the process begins.
    monkeypatch.setattr(catalogue, "AVAILABLE_ENTRY_POINTS", importlib.metadata.entry_points())
    try:
        config = init_config(lang="en", pipeline=["ner"], optimize="efficiency", silent=True)
        (changes,) = documents.blocks(guide, "ini")
        config = config.merge(Config().from_str(f"[components]\n{changes}", interpolate=False))
        config["training"] |= {"max_steps": 40, "eval_frequency": 20}
        config["components"]["tok2vec"]["model"]["encode"] |= {"width": 32, "depth": 2}
        del wanted["hyperparameters"]
        wanted["config"] = config.to_str(interpolate=False)

        recognizer = served(aws.start(wanted))

        assert recognizer.engine == "spacy"
        text = "Dr. Ada travelled from Rome to New Lima ."
        assert ("Dr. Ada", "PER") in found(recognizer, text)
    finally:
        sys.modules.pop("people_components", None)


def test_another_trainer_learns_in_another_way(aws, wanted, module, served):
    recognizer = served(aws.start(wanted), module("by_heart").ByHeart)

    assert found(recognizer, "Then Ada saw Rome and Atlantis.") == [("Ada", "PER"), ("Rome", "LOC")]
    assert aws.manifest("people", 1)["scores"]["f"] == 1


# --- another consumer ---

PREFIX = "test"


@pytest.fixture
def submit(aws, wanted):
    """Submit a run to the deployment's queue; returns its id."""
    key = [{"AttributeName": "state", "KeyType": "HASH"}, {"AttributeName": "run_id", "KeyType": "RANGE"}]
    index = {"IndexName": runs.STATE_INDEX, "KeySchema": key, "Projection": {"ProjectionType": "ALL"}}
    boto3.client("dynamodb").update_table(
        TableName="runs",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("state", "run_id")],
        GlobalSecondaryIndexUpdates=[{"Create": index}],
    )
    sqs = boto3.client("sqs")
    queues = {name: sqs.create_queue(QueueName=name)["QueueUrl"] for name in ("runs", "dead")}
    told = {
        "runs_table": "runs",
        "models_table": "models",
        "bucket": "bucket",
        "queue_url": queues["runs"],
        "dead_letter_queue_url": queues["dead"],
    }
    for name, value in told.items():
        path = names.parameter(PREFIX, "training", name)
        boto3.client("ssm").put_parameter(Name=path, Value=value, Type="String")

    def submit():
        run_id = ulid.new()
        aws.runs.create(run_id, spec.with_defaults(wanted))
        sqs.send_message(QueueUrl=queues["runs"], MessageBody=names.message_body(run_id))
        return run_id

    return submit


def ended(dispatcher, arn):
    """Wait for a trainer's process to end."""
    process, _started = dispatcher._tasks._processes[arn]
    process.wait(timeout=30)


def test_another_consumer_starts_trainers_and_takes_up_what_was_interrupted(aws, module, submit, tmp_path):
    told = tmp_path / "told"
    script = f"import json, os, sys; json.dump(dict(os.environ), open({str(told)!r}, 'w')); sys.exit(75)"
    run_id = submit()
    waiting = submit()
    dispatcher = module("machine").consumer(PREFIX, [sys.executable, "-c", script])

    assert dispatcher.tick(lambda: 60) == {"started": [run_id]}
    run = aws.runs.get(run_id)
    assert (run["state"], run["attempt"]) == (states.STARTING, 1)
    assert aws.runs.get(waiting)["state"] == states.QUEUED  # for want of a slot

    ended(dispatcher, run["task_arn"])
    environment = json.loads(told.read_text())
    assert environment[names.ENV_RUN] == run_id
    assert environment[names.ENV_BUCKET] == "bucket"
    dispatcher.tick(lambda: 60)
    run = aws.runs.get(run_id)
    assert (run["state"], run["attempt"], run["interruptions"]) == (states.STARTING, 2, 1)
    assert run["history"][0]["cause"] == causes.INTERRUPTED


def test_another_consumer_ends_what_was_cancelled(aws, module, submit):
    run_id = submit()
    dispatcher = module("machine").consumer(PREFIX, [sys.executable, "-c", "import time; time.sleep(60)"])
    dispatcher.tick(lambda: 60)
    arn = aws.runs.get(run_id)["task_arn"]
    assert aws.runs.move(run_id, states.STARTING, states.CANCELLED, reason="changed my mind")

    dispatcher.tick(lambda: 60)

    ended(dispatcher, arn)
    dispatcher.tick(lambda: 60)
    assert aws.runs.active() == []
