import json
import re

import pytest
from nerforge_contract import names


def test_parameters_lie_under_the_prefix():
    assert names.parameter("nerforge", "training", "bucket") == "/nerforge/training/bucket"
    assert names.parameter("two", "serving", "url") == "/two/serving/url"


@pytest.mark.parametrize(("stack", "name"), [("training", "url"), ("serving", "bucket"), ("other", "bucket")])
def test_a_parameter_nobody_publishes(stack, name):
    with pytest.raises(KeyError):
        names.parameter("nerforge", stack, name)


def test_keys():
    assert names.dataset_key("ab" * 32, ".conll") == f"datasets/{'ab' * 32}.conll"
    assert names.model_prefix("people", 7) + names.MANIFEST == "models/people/7/manifest.json"
    assert names.checkpoint_prefix("01ARZ3") == "checkpoints/01ARZ3/"


@pytest.mark.parametrize(("name", "version"), [("people", 1), ("a", 10), ("a-b-9", 123456)])
def test_model_labels_there_and_back(name, version):
    assert names.parse_model_label(names.model_label(name, version)) == (name, version)


@pytest.mark.parametrize(
    "label",
    [
        "people",
        "people:",
        "people:0",
        "people:01",
        "people:-1",
        "people:1 ",
        "People:1",
        ":1",
        "a:1\n",
        "9a:1",
    ],
)
def test_what_is_no_model_label(label):
    with pytest.raises(ValueError, match="name:number, such as people:7"):
        names.parse_model_label(label)


@pytest.mark.parametrize(
    ("prefix", "good"),
    [("nerforge", True), ("ner-2", True), ("abc", True), ("ab", False), ("a" * 20, True), ("a" * 21, False)]
    + [(bad, False) for bad in ("Nerforge", "2ner", "ner-", "-ner", "ner_2")],
)
def test_prefixes(prefix, good):
    assert bool(re.fullmatch(names.PREFIX_PATTERN, prefix)) is good


def test_a_message_names_the_run_and_nothing_else():
    assert json.loads(names.message_body("01ARZ3")) == {"run": "01ARZ3"}


def test_an_event_names_the_deployment_and_the_run():
    assert json.loads(names.event_detail("ner", "01ARZ3")) == {"prefix": "ner", "run": "01ARZ3"}


def test_a_log_stream_is_named_as_the_awslogs_driver_does():
    assert names.log_stream("server", "arn:aws:ecs:x:1:task/c/abc") == "server/server/abc"
