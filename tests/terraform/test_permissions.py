"""What each role may do is what its code does: nothing is missing, nothing is left over.

The code runs here against AWS in memory, through everything it does with AWS; each call that boto3 is given
is put to the policies that Terraform renders. What a service of AWS does by a role is compared with the
policy that AWS publishes for that.
"""

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
from botocore import xform_name
from botocore.stub import Stubber
from moto import mock_aws
from moto.iam.aws_managed_policies import aws_managed_policies_data
from nerforge_contract import names, states
from nerforge_contract.models import Models
from nerforge_contract.runs import Runs
from nerforge_server.fetching import obtain
from nerforge_server.keys import Keys
from nerforge_server.settings import Settings as ServerSettings
from nerforge_trainer import card
from nerforge_trainer.attempt import Attempt
from nerforge_trainer.interruption import Interrupted, Interruption
from nerforge_trainer.settings import Settings
from nerforge_trainer.watch import Watch
from support import aws_calls, serving, stack_policies
from support.iam import Grant, Request, denied, grants, unused
from support.iam_requests import Account, Recorder, requests
from support.stack_policies import Policies
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
    return _kept(root, "training", stack_policies.rendered(terraform_in("training")))["policies"]


@pytest.fixture(scope="module")
def serving_runs(terraform_in: Callable[[str], Callable[..., str]], root: Path) -> dict[str, Policies]:
    """The serving stack's policies: ``policies``, and ``policies_with_a_secret`` for keys in a secret."""
    return _kept(root, "serving", stack_policies.rendered(terraform_in("serving")))


def _kept(root: Path, stack: str, runs: dict[str, Policies]) -> dict[str, Policies]:
    """Leave each policy in a file of its own, for linters."""
    for run, policies in runs.items():
        for role, documents in policies.items():
            for name, document in documents.items():
                file = root / ".nerforge" / "policies" / stack / run / f"{role}.{name}.json"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(json.dumps(document, indent=1))
    return runs


def granted(policies: Policies, role: str) -> list[Grant]:
    """What a role may do; its log, which no code of ours writes, aside."""
    return [grant for grant in grants(policies[role].values()) if grant.action not in LOGS]


def assert_all_made(folder: str, recorder: Recorder) -> None:
    """Assert that every call to AWS that is written in a folder of the product's source was made."""
    written = {call.operation for call in aws_calls.in_source() if call.file.startswith(folder)}
    assert written - {xform_name(call.operation) for call in recorder.calls} == set()


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
    recorder, its = Recorder(), clients("recorded", 1)
    for client in (its.runs.meta.client, its.sqs, its.ecs):
        recorder.listen(client)
    _dispatch(world, functools.partial(world.tick, which="recorded"))
    assert_all_made("terraform/training/dispatcher", recorder)
    assert_just_enough(granted(training, "nerforge-dispatcher"), requests(recorder.calls, ACCOUNT))


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


def test_the_trainer_may_do_what_it_does(
    training: Policies, account: trainers.Aws, monkeypatch: pytest.MonkeyPatch
):
    recorder, session = Recorder(), boto3.Session()
    tables = session.resource("dynamodb")
    recorder.listen(tables.meta.client)
    s3 = recorder.listen(session.client("s3"))

    def attempt(settings: Settings, interruption: Interruption | None = None) -> int:
        runs, models = (tables.Table(name) for name in (settings.runs_table, settings.models_table))
        for table in (runs, models):
            recorder.listen(table.meta.client)
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
    assert_all_made("containers/trainer", recorder)
    assert_just_enough(granted(training, "nerforge-trainer"), requests(recorder.calls, ACCOUNT))


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
    recorder = Recorder()
    keys = recorder.listen(boto3.client(service))
    with Stubber(keys) as stubbed:
        stubbed.add_response(operation, answer(json.dumps({"me": hashlib.sha256(b"key").hexdigest()})))
        Keys.fetch(reference, keys)
    with mock_aws():
        s3 = recorder.listen(boto3.client("s3"))
        _put(model)
        settings = ServerSettings.read(serving.environment_of(model) | {names.ENV_BUCKET: "bucket"})
        obtain(settings, tmp_path, pytest.fail, s3)
    assert_just_enough(granted(serving_runs[run], "nerforge-server-task"), requests(recorder.calls, ACCOUNT))


def _put(model: bytes) -> None:
    s3, prefix = boto3.client("s3"), names.model_prefix(*serving.MODEL)
    s3.create_bucket(Bucket="bucket")
    s3.put_object(Bucket="bucket", Key=prefix + names.ARTIFACT, Body=model)
    manifest = json.dumps(serving.manifest_of(model)).encode()
    s3.put_object(Bucket="bucket", Key=prefix + names.MANIFEST, Body=manifest)


# --- roles by which AWS itself acts ---


def published(policy: str) -> set[str]:
    """The actions of a policy that AWS manages."""
    document = json.loads(aws_managed_policies_data)[policy]["Document"]
    return {grant.action for grant in grants([document])}


@pytest.mark.parametrize("role", ["nerforge-execution", "nerforge-server-execution"])
def test_ecs_may_start_a_task_and_no_more(training: Policies, serving_runs: dict[str, Policies], role: str):
    (policy,) = (training | serving_runs["policies"])[role].values()
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
