"""What the training stack shares with the rest of the project."""

import datetime
import json
import re
from collections.abc import Callable
from pathlib import Path

import dispatcher
import metrics
import pytest
from nerforge_contract import names, runs


@pytest.fixture(scope="module")
def terraform(terraform_in: Callable[[str], Callable[..., str]]) -> Callable[..., str]:
    """Runs Terraform in a copy of the stack."""
    return terraform_in("training")


@pytest.fixture
def source(root: Path) -> Callable[[str], str]:
    """The text of one of the stack's files."""
    return lambda name: (root / "terraform" / "training" / f"{name}.tf").read_text()


def block(text: str, opening: str) -> dict[str, str]:
    """The attributes of the block or map that begins with ``opening``, as they are written."""
    indent, body = re.search(
        rf"^( *){re.escape(opening)}\n(.*?)^\1\}}", text, re.DOTALL | re.MULTILINE
    ).groups()
    return dict(re.findall(rf"^{indent}  (\w+)\s+= (.*)$", body, re.MULTILINE))


def test_what_is_text_to_terraform_is_what_aws_takes(terraform, made, check_task_definition):
    found = made(terraform)
    trainers = {address: one for address, one in found.items() if "aws_ecs_task_definition" in address}
    assert trainers
    for trainer in trainers.values():
        check_task_definition(trainer)


def test_it_publishes_what_the_contract_names(source):
    assert tuple(block(source("parameters"), "parameters = {")) == names.TRAINING_PARAMETERS
    assert names.parameter("${var.prefix}", "training", "bucket").replace("bucket", "${each.key}") in source(
        "parameters"
    )


def test_prefixes_are_the_contracts(source):
    assert f"^{names.PREFIX_PATTERN}$" in source("variables")


def test_the_dispatcher_gets_the_settings_that_it_reads(source):
    variables = block(source("dispatcher"), "variables = {")
    settings = dispatcher.Settings.from_environment(
        {name: "{}" if name == "CAPACITY_PROVIDERS" else "1" for name in variables}
    )
    assert len(variables) == len(vars(settings))
    assert '"dispatcher.handler"' in source("dispatcher")
    assert callable(dispatcher.handler)


def test_the_rule_for_submissions_and_cancellations_matches_the_contracts_events(source):
    text = source("dispatcher")
    assert f'source      = ["{names.EVENT_SOURCE}"]' in text
    assert f'detail-type = ["{names.EVENT_RUN_SUBMITTED}", "{names.EVENT_RUN_CANCELLED}"]' in text
    assert "detail      = { prefix = [var.prefix] }" in text
    assert json.loads(names.event_detail("ner", "run"))["prefix"] == "ner"


def test_the_dispatcher_may_write_no_item_whole_but_its_own(source):
    assert f'"dynamodb:LeadingKeys" = ["{runs.DISPATCHER}"]' in source("iam")


def test_the_dispatcher_logs_the_metrics_that_alarms_watch(source):
    text = source("alarms")
    watched = re.findall(rf'namespace += "{metrics.NAMESPACE}".*\n +metric += "(\w+)"', text)
    assert watched == ["StuckRuns"]
    logged = json.loads(metrics.line("ner-dispatcher", datetime.datetime.now(datetime.UTC), StuckRuns=1))
    directive = logged["_aws"]["CloudWatchMetrics"][0]
    assert [metric["Name"] for metric in directive["Metrics"]] == watched
    assert [[re.search(r"dispatcher_dimensions = \{ (\w+) = ", text)[1]]] == directive["Dimensions"]


def test_the_trainer_gets_the_contracts_variables(source):
    text = source("trainer")
    variables = re.search(r"merge\(var\.container_environment, \{\n(.*?)\n {6}\}\)", text, re.DOTALL)[1]
    assert set(re.findall(r"^ +(\w+)", variables, re.MULTILINE)) == {
        "AWS_DEFAULT_REGION",
        names.ENV_BUCKET,
        names.ENV_RUNS_TABLE,
        names.ENV_MODELS_TABLE,
        names.ENV_IMAGE,
    }
    assert f'name        = "{names.TRAINER_CONTAINER}"' in text
    assert f'awslogs-stream-prefix = "{names.TRAINER_CONTAINER}"' in text


def test_folders_and_index_are_the_contracts(source):
    keys = names.checkpoint_prefix("run"), names.dataset_key("0", ".conll"), names.model_prefix("name", 1)
    folders = {key.split("/")[0] for key in keys}
    assert set(re.findall(r'"(\w+)"', re.search(r"for folder in \[(.*?)\]", source("iam"))[1])) == folders
    assert f'prefix = "{names.checkpoint_prefix("run").split("/")[0]}/"' in source("data")
    assert f'name            = "{runs.STATE_INDEX}"' in source("data")
    assert f"/index/{runs.STATE_INDEX}" in source("iam")
