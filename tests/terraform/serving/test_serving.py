"""What the serving stack shares with the rest of the project."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import botocore.session
import pytest
from nerforge_contract import names
from support import aws_model


@pytest.fixture(scope="module")
def terraform(terraform_in: Callable[[str], Callable[..., str]]) -> Callable[..., str]:
    """Runs Terraform in a copy of the stack."""
    return terraform_in("serving")


@pytest.fixture
def source(root: Path) -> Callable[[str], str]:
    """The text of one of the stack's files."""
    return lambda name: (root / "terraform" / "serving" / f"{name}.tf").read_text()


def test_what_is_text_to_terraform_is_what_aws_takes(terraform, made, check_task_definition):
    found = made(terraform)
    check_task_definition(found["aws_ecs_task_definition.server"])
    told = json.loads(found['aws_ssm_parameter.serving["deployment"]']["value"])
    aws_model.check_unsent("ecs", "UpdateService", {"service": "ner-server", **told})


def test_it_publishes_what_the_contract_names(source):
    block = re.search(r"parameters = \{\n(.*?)\n  \}", source("parameters"), re.DOTALL)[1]
    assert tuple(re.findall(r"^ {4}(\w+)\s+=", block, re.MULTILINE)) == names.SERVING_PARAMETERS


def test_it_reads_only_what_the_contract_names(root: Path):
    texts = [path.read_text() for path in (root / "terraform" / "serving").glob("*.tf")]
    read = {name for text in texts for name in re.findall(r"local\.training\.(\w+)", text)}
    assert {"bucket", "vpc_id"} <= read <= set(names.TRAINING_PARAMETERS)


def test_prefixes_are_the_contracts(source):
    assert f"^{names.PREFIX_PATTERN}$" in source("variables")


def test_the_container_is_the_contracts(source):
    text = source("task")
    assert f"server_port = {names.SERVER_PORT}" in text
    assert f'name      = "{names.SERVER_CONTAINER}"' in text
    assert f'awslogs-stream-prefix = "{names.SERVER_CONTAINER}"' in text
    variables = re.search(r"merge\(\n(.*?)\n  \)", text, re.DOTALL)[1]
    told = {names.ENV_BUCKET, names.ENV_IMAGE, names.ENV_WORKERS, names.ENV_API_KEYS}
    assert told <= set(re.findall(r"(\w+) +=", variables))


def test_the_keys_are_where_the_contract_says(source):
    parameter = names.api_keys_parameter("${var.prefix}")
    assert f'api_keys_parameter = "{parameter}"' in source("task")


def test_permissions_outlive_the_service(root: Path, source):
    """Without them ECS cannot take a task out of its target group, and the service drains for ever."""
    texts = [path.read_text() for path in (root / "terraform" / "serving").glob("*.tf")]
    policies = {name for text in texts for name in re.findall(r'"aws_iam_role_policy" "(\w+)"', text)}
    needed = re.search(r"depends_on = \[(.*?)\]", source("service"), re.DOTALL)[1]
    assert {"task", "deployment"} <= policies == set(re.findall(r"aws_iam_role_policy\.(\w+)", needed))


def test_what_releases_move_is_none_of_terraforms(source):
    """The provider also fails to take alarms away again: its next plan would change them once more."""
    ignored = re.search(r"ignore_changes = \[(.*?)\]", source("service"))[1].split(", ")
    assert {"alarms", "desired_count", "load_balancer", "task_definition"} == set(ignored)
    assert 'alarms"' not in source("service")


def test_releases_are_told_of_what_ecs_knows(source):
    """A plan cannot tell: to the provider it is a parameter's text."""
    ecs = botocore.session.get_session().get_service_model("ecs")
    update = ecs.operation_model("UpdateService").input_shape.members
    configuration, balancer = update["deploymentConfiguration"], update["loadBalancers"].member
    parts = [configuration, balancer, balancer.members["advancedConfiguration"]]
    parts += map(configuration.members.get, ("canaryConfiguration", "linearConfiguration", "alarms"))
    known = {name for shape in parts for name in shape.members} | update.keys()
    told = set(re.findall(r"\b([a-z]+[A-Z]\w+)\s+=", source("deployment")))
    assert {"deploymentConfiguration", "alternateTargetGroupArn", "canaryPercent"} <= told <= known
    strategies = set(re.findall(r'strategy += "(\w+)"', source("deployment")))
    assert strategies == set(configuration.members["strategy"].enum)
