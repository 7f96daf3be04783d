"""What each role may do is what its code does: nothing is missing, nothing is left over.

The code runs here against AWS in memory, through everything it does with AWS; each call that boto3 is given
is put to the policies that Terraform renders. What a service of AWS does by a role is compared with the
policy that AWS publishes for that.
"""

import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import boto3
import pytest
from aws_in_memory.world import World, clients, set_time
from boto3.exceptions import S3UploadFailedError
from botocore import xform_name
from botocore.stub import Stubber
from moto import mock_aws
from moto.iam.aws_managed_policies import aws_managed_policies_data
from nerforge_contract import names, runs, states
from nerforge_contract.models import Models
from nerforge_contract.runs import Runs
from nerforge_server.fetching import obtain
from nerforge_server.keys import Keys
from nerforge_server.settings import Settings as ServerSettings
from nerforge_trainer import card, publish
from nerforge_trainer.attempt import Attempt
from nerforge_trainer.interruption import Interrupted, Interruption
from nerforge_trainer.settings import Settings
from nerforge_trainer.watch import Watch
from support import aws_call_sites, serving
from support.aws_calls import Call, listen
from support.aws_double import answering, refused
from support.iam import Grant, Request, denied, grants, unused
from support.iam_requests import Account, requests
from support.stack_policies import Policies, policies_in
from support.terraform import states_of_runs
from unit.trainer import conftest as trainers

ACCOUNT = Account(
    task_roles=(
        "arn:aws:iam::123456789012:role/nerforge-execution",
        "arn:aws:iam::123456789012:role/nerforge-trainer",
    )
)
LOGS = {
    "logs:CreateLogStream",
    "logs:PutLogEvents",
}  # Lambda's and ECS's own, in the function's and tasks' names


@pytest.fixture(scope="module")
def training(terraform_in: Callable[[str], Callable[..., str]], root: Path) -> Policies:
    """The training stack's policies."""
    return _runs(root, "training", terraform_in("training"))["policies"]


@pytest.fixture(scope="module")
def serving_runs(terraform_in: Callable[[str], Callable[..., str]], root: Path) -> dict[str, Policies]:
    """The serving stack's policies: ``policies``, and ``policies_with_a_secret`` for keys in a secret."""
    return _runs(root, "serving", terraform_in("serving"))


def _runs(root: Path, stack: str, terraform: Callable[..., str]) -> dict[str, Policies]:
    """The policies in each run of ``permissions/policies.tftest.hcl``, by the run's name.

    Leaves for linters all that each run makes, and each policy in a file of its own.
    """
    found = states_of_runs(terraform("test", "-json", "-verbose", "-test-directory=tests/permissions"))
    for run, state in found.items():
        _keep(root / ".nerforge" / "stacks" / stack / f"{run}.json", state)
        for role, documents in policies_in(state).items():
            for name, document in documents.items():
                _keep(root / ".nerforge" / "policies" / stack / run / f"{role}.{name}.json", document)
    return {run: policies_in(state) for run, state in found.items()}


def _keep(file: Path, document: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document, indent=1))


def granted(policies: Policies, role: str) -> list[Grant]:
    """What a role may do; its log, which no code of ours writes, aside."""
    return [grant for grant in grants(policies[role].values()) if grant.action not in LOGS]


def assert_all_made(folder: str, calls: list[Call]) -> None:
    """Assert that every call to AWS that is written in a folder of the product's source was made."""
    written = {site.operation for site in aws_call_sites.in_source() if site.file.startswith(folder)}
    assert written - {xform_name(call.operation) for call in calls} == set()


def assert_just_enough(granted: list[Grant], asked: list[Request]) -> None:
    """Assert that every request is allowed, and that everything allowed is requested."""
    assert [str(grant) for grant in granted if "*" in grant.action] == []  # one of many would do as its use
    assert list(map(str, denied(granted, asked))) == []
    assert list(map(str, unused(granted, asked))) == []


# --- the dispatcher ---


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """AWS as the dispatcher meets it, with one slot."""
    made = World(slots=1)
    set_time(made.clock, monkeypatch)
    return made


def _dispatch(world: World, tick: Callable[..., Any]) -> None:
    """Everything that a dispatcher does with AWS."""
    world.send("a message that cannot be read")
    tick()
    lost = world.record()  # its message never came
    world.clock.advance(minutes=6)
    tick()
    world.show_all_messages()

    def take_the_slot(when: str, operation: str) -> None:
        if (when, operation) == ("before", "TransactWriteItems") and not world.runs.active():
            world.runs.claim(rival, 1)

    rival = world.record()
    tick(around=take_the_slot)  # the message goes back
    world.runs.release(rival)
    world.runs.move(rival, states.STARTING, states.CANCELLED)
    world.show_all_messages()
    tick()
    (task,) = world.ecs.of(lost)
    world.begin(lost, task)
    world.clock.advance(hours=2)
    world.ecs.overlooked.add(task["taskArn"])
    tick()  # stops the task that ECS does not list
    world.ecs.overlooked.clear()
    world.table.update_item(Key={"run_id": lost}, UpdateExpression="REMOVE task_arn, task_recorded")
    tick()  # finds a task by the run that it was started for
    world.ecs.stop(task, 75)
    tick()  # looks what it ran on


def test_the_dispatcher_may_do_what_it_does(training: Policies, world: World):
    calls: list[Call] = []
    its = clients("recorded", 1)
    for client in (its.runs.meta.client, its.sqs, its.ecs):
        listen(client, calls.append)
    _dispatch(world, functools.partial(world.tick, which="recorded"))
    assert_all_made("terraform/training/dispatcher", calls)
    assert_just_enough(granted(training, "nerforge-dispatcher"), requests(calls, ACCOUNT))


# --- the trainer ---


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[trainers.Aws]:
    """An account as trainers find it."""
    monkeypatch.setattr(card, "draw", lambda described, page: False)  # takes seconds, and asks AWS nothing
    with mock.patch.dict(os.environ), mock_aws():
        yield trainers.account()


def _train(
    account: trainers.Aws, attempt: Callable[[Settings], Any], interrupt: Callable[[Settings], Any]
) -> None:
    """Everything that a trainer does with AWS: an interrupted run that goes on, and runs about its model."""
    wanted = trainers.spec_of(account, trainers.sentences()) | {"checkpoints": {"every_steps": 8}}
    first = account.start(wanted)
    with pytest.raises(Interrupted):
        interrupt(first)
    assert account.runs.next_attempt(first.run_id, 1)
    attempt(Settings(**(vars(first) | {"attempt": 2})))
    for kind in ("evaluate", "reproduce"):
        about = account.start(wanted, purpose={"kind": kind, "model": "people:1", "of": "people:1"})
        attempt(about)
        assert account.runs.get(about.run_id)["state"] == states.SUCCEEDED


def _fail_to_upload(s3: Any, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a trainer does where S3 refuses parts of a file, of each kind that may be large."""
    path.write_bytes(bytes(1 + (5 << 20)))  # S3 takes no smaller parts than 5 MiB
    monkeypatch.setattr(publish, "_PART", 5 << 20)
    for folder in ("checkpoints", "models"):
        with answering(s3, upload_part=refused("SlowDown")), pytest.raises(S3UploadFailedError):
            publish.send(s3, trainers.BUCKET, f"{folder}/large", path, "application/x-tar")


def test_the_trainer_may_do_what_it_does(
    training: Policies, account: trainers.Aws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    calls: list[Call] = []
    session = boto3.Session()
    tables = session.resource("dynamodb")
    listen(tables.meta.client, calls.append)
    s3 = listen(session.client("s3"), calls.append)

    def attempt(settings: Settings, interruption: Interruption | None = None) -> int:
        runs, models = (tables.Table(name) for name in (settings.runs_table, settings.models_table))
        for table in (runs, models):
            listen(table.meta.client, calls.append)
        return Attempt(settings, Runs(runs), Models(models), s3, interruption or Interruption()).run()

    def interrupt(settings: Settings) -> None:
        interruption = Interruption()

        def did(self: Watch, done: Any) -> None:
            if done.number == 20:
                interruption.seen = "SIGTERM"

        with monkeypatch.context() as patched:
            patched.setattr(Watch, "did", did)
            attempt(settings, interruption)

    _train(account, attempt, interrupt)
    _fail_to_upload(s3, tmp_path / "large", monkeypatch)
    assert_all_made("containers/trainer", calls)
    assert_just_enough(granted(training, "nerforge-trainer"), requests(calls, ACCOUNT))


# --- the server ---


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A model's artifact."""
    folder = tmp_path_factory.mktemp("model")
    serving.train(folder)
    return serving.pack(folder)


@pytest.mark.parametrize(
    ("run", "reference", "service", "operation", "answer"),
    [
        (
            "policies",
            names.api_keys_parameter("nerforge"),
            "ssm",
            "get_parameter",
            lambda document: {"Parameter": {"Value": document}},
        ),
        (
            "policies_with_a_secret",
            "arn:aws:secretsmanager:us-east-1:123456789012:secret:keys-Ab12Cd",
            "secretsmanager",
            "get_secret_value",
            lambda document: {"SecretString": document},
        ),
    ],
    ids=["parameter", "secret"],
)
def test_the_server_may_do_what_it_does(
    serving_runs: dict[str, Policies],
    model: bytes,
    tmp_path: Path,
    run: str,
    reference: str,
    service: str,
    operation: str,
    answer: Callable[[str], dict[str, Any]],
):
    calls: list[Call] = []
    keys = listen(boto3.client(service), calls.append)
    with Stubber(keys) as stubbed:
        stubbed.add_response(operation, answer(json.dumps({"me": hashlib.sha256(b"key").hexdigest()})))
        Keys.fetch(reference, keys)
    with mock_aws():
        s3 = listen(boto3.client("s3"), calls.append)
        _put(model)
        settings = ServerSettings.read(serving.environment_of(model) | {names.ENV_BUCKET: "bucket"})
        obtain(settings, tmp_path, pytest.fail, s3)
    assert_just_enough(granted(serving_runs[run], "nerforge-server-task"), requests(calls, ACCOUNT))


def _put(model: bytes) -> None:
    s3, prefix = boto3.client("s3"), names.model_prefix(*serving.MODEL)
    s3.create_bucket(Bucket="bucket")
    s3.put_object(Bucket="bucket", Key=prefix + names.ARTIFACT, Body=model)
    manifest = json.dumps(serving.manifest_of(model)).encode()
    s3.put_object(Bucket="bucket", Key=prefix + names.MANIFEST, Body=manifest)


# --- what no role may do ---


@pytest.fixture(scope="module")
def every(training: Policies, serving_runs: dict[str, Policies]) -> Policies:
    """The policies of both stacks."""
    return training | serving_runs["policies"]


def test_a_permission_names_its_resource_where_aws_lets_it(every: Policies):
    found = {
        f"{role} {grant.action}" for role in every for grant in granted(every, role) if grant.resource == "*"
    }
    assert found == {
        "nerforge-dispatcher ecs:ListTasks",  # "*" where no instance is named; a condition names the cluster
        "nerforge-execution ecr:GetAuthorizationToken",  # the token is the registry's
        "nerforge-instance ecs:DiscoverPollEndpoint",  # asks for an address of the region
        "nerforge-server-deployment elasticloadbalancing:DescribeListeners",
        "nerforge-server-deployment elasticloadbalancing:DescribeRules",
        "nerforge-server-deployment elasticloadbalancing:DescribeTargetGroups",
        "nerforge-server-deployment elasticloadbalancing:DescribeTargetHealth",
        "nerforge-server-execution ecr:GetAuthorizationToken",
    }


IN_ITS_CLUSTER = {"ecs:cluster": (ACCOUNT.arn("ecs", "cluster/nerforge"),)}
IN_ANOTHER = {"context": {"ecs:cluster": (ACCOUNT.arn("ecs", "cluster/neighbour"),)}}
TO_ECS = {"iam:PassedToService": ("ecs-tasks.amazonaws.com",)}
ALLOWED = {
    "run": Request("ecs:RunTask", ACCOUNT.arn("ecs", "task-definition/nerforge-trainer:7"), IN_ITS_CLUSTER),
    "list": Request("ecs:ListTasks", "*", IN_ITS_CLUSTER),
    "stop": Request("ecs:StopTask", ACCOUNT.arn("ecs", "task/nerforge/1")),
    "tag": Request(
        "ecs:TagResource", ACCOUNT.arn("ecs", "task/nerforge/1"), {"ecs:CreateAction": ("RunTask",)}
    ),
    "pass a role": Request("iam:PassRole", ACCOUNT.task_roles[1], TO_ECS),
    "say what it did": Request(
        "dynamodb:PutItem",
        ACCOUNT.arn("dynamodb", "table/runs"),
        {"dynamodb:LeadingKeys": (runs.DISPATCHER,)},
    ),
    "read data": Request("s3:GetObject", "arn:aws:s3:::bucket/datasets/a"),
    "read a model": Request("s3:GetObject", "arn:aws:s3:::bucket/models/a/1/model.tar.gz"),
    "write a model": Request("s3:PutObject", "arn:aws:s3:::bucket/models/a/1/model.tar.gz"),
    "drop a checkpoint": Request("s3:DeleteObject", "arn:aws:s3:::bucket/checkpoints/a"),
    "change a run": Request("dynamodb:UpdateItem", ACCOUNT.arn("dynamodb", "table/runs")),
    "record a model": Request("dynamodb:PutItem", ACCOUNT.arn("dynamodb", "table/models")),
    "read its keys": Request(
        "ssm:GetParameter", ACCOUNT.arn("ssm", f"parameter{names.api_keys_parameter('nerforge')}")
    ),
}


@pytest.mark.parametrize(
    ("role", "may", "not_with"),
    [
        ("nerforge-dispatcher", "run", IN_ANOTHER),
        (
            "nerforge-dispatcher",
            "run",
            {"resource": ACCOUNT.arn("ecs", "task-definition/nerforge-server:7")},
        ),
        ("nerforge-dispatcher", "list", IN_ANOTHER),
        ("nerforge-dispatcher", "stop", {"resource": ACCOUNT.arn("ecs", "task/neighbour/1")}),
        ("nerforge-dispatcher", "tag", {"context": {}}),  # a task that is there already
        ("nerforge-dispatcher", "pass a role", {"resource": "arn:aws:iam::123456789012:role/admin"}),
        (
            "nerforge-dispatcher",
            "pass a role",
            {"context": {"iam:PassedToService": ("lambda.amazonaws.com",)}},
        ),
        ("nerforge-dispatcher", "say what it did", {"context": {"dynamodb:LeadingKeys": ("01J",)}}),
        ("nerforge-trainer", "read data", {"resource": "arn:aws:s3:::neighbour/datasets/a"}),
        ("nerforge-trainer", "write a model", {"resource": "arn:aws:s3:::bucket/datasets/a"}),
        ("nerforge-trainer", "write a model", {"action": "s3:DeleteObject"}),
        ("nerforge-trainer", "drop a checkpoint", {"resource": "arn:aws:s3:::bucket/datasets/a"}),
        ("nerforge-trainer", "change a run", {"action": "dynamodb:PutItem"}),
        ("nerforge-trainer", "change a run", {"action": "dynamodb:DeleteItem"}),
        ("nerforge-trainer", "record a model", {"action": "dynamodb:DeleteItem"}),
        ("nerforge-server-task", "read a model", {"resource": "arn:aws:s3:::bucket/datasets/a"}),
        ("nerforge-server-task", "read a model", {"action": "s3:PutObject"}),
        (
            "nerforge-server-task",
            "read its keys",
            {"resource": ACCOUNT.arn("ssm", "parameter/nerforge/other")},
        ),
    ],
)
def test_a_role_may_do_its_own_and_no_more(every: Policies, role: str, may: str, not_with: dict[str, Any]):
    more = dataclasses.replace(ALLOWED[may], **not_with)
    assert denied(granted(every, role), [ALLOWED[may], more]) == [more]


# --- roles by which AWS itself acts ---


def published(policy: str) -> set[str]:
    """The actions of a policy that AWS manages."""
    document = json.loads(aws_managed_policies_data)[policy]["Document"]
    return {grant.action for grant in grants([document])}


@pytest.mark.parametrize("role", ["nerforge-execution", "nerforge-server-execution"])
def test_ecs_may_start_a_task_and_no_more(every: Policies, role: str):
    (policy,) = every[role].values()
    assert {grant.action for grant in grants([policy])} == published("AmazonECSTaskExecutionRolePolicy")


def test_lambda_may_write_the_dispatchers_log(training: Policies):
    # The stack makes the group itself, and destroys it.
    needed = published("AWSLambdaBasicExecutionRole") - {"logs:CreateLogGroup"}
    granted = grants(training["nerforge-dispatcher"].values())
    assert {grant.action for grant in granted if grant.action.startswith("logs:")} == needed == LOGS


def test_the_agent_of_an_instance_may_serve_its_cluster_and_no_more(training: Policies):
    submitted = {
        "ecs:SubmitAttachmentStateChanges",
        "ecs:SubmitContainerStateChange",
        "ecs:SubmitTaskStateChange",
    }
    published_for_it = published("AmazonEC2ContainerServiceforEC2Role")
    not_needed = {
        "ec2:DescribeTags",  # an agent told to copy its instance's tags
        "ecs:CreateCluster",  # the cluster is there
        "ecs:ListTagsForResource",  # tags in a task's metadata
        "ecs:TagResource",  # tags that the agent gives
        *published("AmazonECSTaskExecutionRolePolicy"),  # the execution role does that
    }
    needed = published_for_it - not_needed - {"ecs:Submit*"} | submitted
    assert {grant.action for grant in grants(training["nerforge-instance"].values())} == needed


def test_ecs_may_shift_traffic_and_no_more(serving_runs: dict[str, Policies]):
    # Releases move the weights of a rule, never a listener's default.
    needed = published("AmazonECSInfrastructureRolePolicyForLoadBalancers") - {
        "elasticloadbalancing:ModifyListener"
    }
    granted = grants(serving_runs["policies"]["nerforge-server-deployment"].values())
    assert {grant.action for grant in granted} == needed
