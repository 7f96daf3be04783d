"""A deployment for the control plugins to work on: moto's services, and an ECS that rolls as the real one."""

import contextlib
import datetime
import itertools
import json
import re
from types import SimpleNamespace

import pytest
from ansible_collections.nerforge.aws.plugins.module_utils.contract import names
from ansible_collections.nerforge.aws.plugins.module_utils.contract.models import Models
from ansible_collections.nerforge.aws.plugins.module_utils.contract.runs import STATE_INDEX, Runs
from ansible_collections.nerforge.aws.plugins.plugin_utils.session import Aws
from moto import mock_aws
from support.aws_double import REGION, Double, answering

PREFIX = "nerforge"
ACCOUNT = "arn:aws:ecs:us-east-1:123456789012"
PROVIDERS = {"cpu": {"on_demand": "cpu", "spot": "cpu-spot"}, "gpu": None}


def build_training_stack(aws, providers=None):
    """Make what the training stack leaves behind."""
    aws.client("s3").create_bucket(Bucket="nerforge-bucket")
    queue = aws.client("sqs").create_queue(QueueName="nerforge-runs")["QueueUrl"]
    dead_letters = aws.client("sqs").create_queue(QueueName="nerforge-runs-dead-letters")["QueueUrl"]
    dynamodb = aws.client("dynamodb")
    dynamodb.create_table(
        TableName="nerforge-runs",
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "run_id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("run_id", "state")],
        GlobalSecondaryIndexes=[
            {
                "IndexName": STATE_INDEX,
                "KeySchema": [
                    {"AttributeName": "state", "KeyType": "HASH"},
                    {"AttributeName": "run_id", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
    )
    dynamodb.create_table(
        TableName="nerforge-models",
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[
            {"AttributeName": "name", "KeyType": "HASH"},
            {"AttributeName": "item", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("name", "item")],
    )
    published = {
        "bucket": "nerforge-bucket",
        "capacity_providers": json.dumps(providers or PROVIDERS),
        "cluster_name": "nerforge",
        "dead_letter_queue_url": dead_letters,
        "models_table": "nerforge-models",
        "queue_url": queue,
        "runs_table": "nerforge-runs",
        "server_log_group": "/nerforge/server",
        "trainer_log_group": "/nerforge/trainer",
    }
    for name, value in published.items():
        path = names.parameter(PREFIX, "training", name)
        aws.client("ssm").put_parameter(Name=path, Value=value, Type="String")
    return SimpleNamespace(
        aws=aws,
        queue_url=queue,
        deployment=published,
        runs=Runs(aws.table("nerforge-runs")),
        models=Models(aws.table("nerforge-models")),
    )


@pytest.fixture(scope="session")
def aws():
    """Clients of moto's in-process services, made once: making them is what takes the time."""
    with mock_aws():
        return Aws({"region": REGION})


@pytest.fixture
def stack(aws):
    """A fresh training stack in this process."""
    with mock_aws():
        yield build_training_stack(aws)


@pytest.fixture
def answer():
    """Gives a client other answers for the rest of the test, see `answering`."""
    with contextlib.ExitStack() as stack:
        yield lambda client, **answers: stack.enter_context(answering(client, **answers))


@pytest.fixture
def permissions(root):
    """For a command, the actions that the runbook says it needs; all need ssm:GetParameters besides."""
    rows = re.findall(r"^\| (`\w+\.yml`) \| (`\w+:.*) \|$", (root / "playbooks/RUNBOOK.md").read_text(), re.M)
    return {command.strip("`"): set(re.findall(r"`(.+?)`", actions)) for command, actions in rows}


@pytest.fixture
def lines():
    """Collects what is said."""
    return Lines()


class Lines(list):
    """A list that is called to add to it."""

    __call__ = list.append

    @property
    def text(self):
        return "\n".join(self)


# --- ECS ---


class FakeEcs(Double):
    """One service, and an ECS that rolls it as told: ``up``, ``crash``, ``vanish``, ``hang``, ``twin``,
    ``rekey`` or ``usurp``, a step a look.
    """

    service = "ecs"

    def __init__(self):
        self.definitions = {}
        self.stopped = []
        self.plot = "up"
        self.steps = iter(())
        self.events = []
        self.count = itertools.count(1)
        self.template = self._add(
            {"family": "nerforge-server", "containerDefinitions": [server()], "networkMode": "bridge"},
            [{"key": "Name", "value": "nerforge"}],
        )
        self.desired = 0
        self.deployments = [deployment(self.template, "PRIMARY", "COMPLETED")]

    def _add(self, definition, tags):
        arn = f"{ACCOUNT}:task-definition/{definition['family']}:{len(self.definitions) + 1}"
        extra = {"taskDefinitionArn": arn, "revision": 1, "status": "ACTIVE", "requiresAttributes": []}
        self.definitions[arn] = (definition | extra, tags)
        return arn

    def do_register_task_definition(self, tags, **definition):
        return {"taskDefinition": {"taskDefinitionArn": self._add(definition, tags)}}

    def do_describe_task_definition(self, taskDefinition, include):
        definition, tags = self.definitions[taskDefinition]
        return {"taskDefinition": json.loads(json.dumps(definition)), "tags": list(tags)}

    def do_list_task_definitions(self, familyPrefix, status, nextToken="0"):
        known = [
            arn
            for arn, (definition, __) in self.definitions.items()
            if definition["family"].startswith(familyPrefix) and definition["status"] == status
        ]
        start, end = int(nextToken), int(nextToken) + 2
        return {"taskDefinitionArns": known[start:end]} | ({"nextToken": str(end)} if known[end:] else {})

    def do_deregister_task_definition(self, taskDefinition):
        self.definitions[taskDefinition][0]["status"] = "INACTIVE"
        return {}

    def do_update_service(self, cluster, service, taskDefinition, desiredCount=None):
        assert (cluster, service) == ("nerforge", "nerforge-server")
        self.desired = self.desired if desiredCount is None else desiredCount
        for item in self.deployments:
            item["status"] = "ACTIVE"
        ours = deployment(taskDefinition, "PRIMARY", "IN_PROGRESS", desired=self.desired)
        self.deployments.insert(0, ours)
        self.steps = iter(getattr(self, f"_{self.plot}")(ours)) if self.desired else iter(())
        return {}

    def do_describe_services(self, cluster, services):
        assert (cluster, services) == ("nerforge", ["nerforge-server"])
        next(self.steps, None)
        described = {
            "serviceName": "nerforge-server",
            "status": "ACTIVE",
            "desiredCount": self.desired,
            "runningCount": sum(item["runningCount"] for item in self.deployments),
            "deployments": json.loads(json.dumps(self.deployments)),
            "events": list(self.events),
        }
        return {"services": [described], "failures": []}

    def do_list_tasks(self, cluster, serviceName, desiredStatus, nextToken="0"):
        assert desiredStatus == "STOPPED"
        known = [task["taskArn"] for task in self.stopped]
        start, end = int(nextToken), int(nextToken) + 2
        return {"taskArns": known[start:end]} | ({"nextToken": str(end)} if known[end:] else {})

    def do_describe_tasks(self, cluster, tasks):
        return {"tasks": [task for task in self.stopped if task["taskArn"] in tasks]}

    # --- plots: each step happens at one look ---

    def _event(self, message):
        self.events.insert(
            0, {"id": f"event-{next(self.count)}", "message": f"(service nerforge-server) {message}"}
        )

    def _up(self, ours):
        yield ours.update(pendingCount=1)
        yield ours.update(pendingCount=0, runningCount=1)
        self._event("has begun draining connections on 1 tasks.")
        yield ours.update(rolloutState="COMPLETED")

    def _crash(self, ours):
        yield ours.update(pendingCount=1)
        for attempt in range(1, 4):
            self.stopped.append(
                {
                    "taskArn": f"{ACCOUNT}:task/nerforge/task{attempt}",
                    "taskDefinitionArn": ours["taskDefinition"],
                    "stoppedReason": "Essential container in task exited",
                    "stoppedAt": datetime.datetime.now(datetime.UTC),
                    "containers": [{"name": "server", "exitCode": 3}],
                }
            )
            yield ours.update(failedTasks=attempt)
        self._event("deployment failed: tasks failed to start.")
        ours.update(rolloutState="FAILED", rolloutStateReason="ECS deployment circuit breaker: tasks failed.")
        ours.update(status="ACTIVE", pendingCount=0)
        back, *__ = [item for item in self.deployments if item["rolloutState"] == "COMPLETED"]
        yield back.update(status="PRIMARY", rolloutState="IN_PROGRESS", desiredCount=self.desired)

    def _vanish(self, ours):
        yield ours.update(pendingCount=1)
        self.deployments.remove(ours)
        yield self.deployments[0].update(status="PRIMARY")

    def _hang(self, ours):
        self._event("was unable to place a task because no container instance met its requirements.")
        yield ours.update(pendingCount=1)

    def _twin(self, ours):
        yield ours.update(pendingCount=1)
        self.plot = "up"
        definition, tags = self.definitions[ours["taskDefinition"]]
        yield self.do_update_service("nerforge", "nerforge-server", self._add(dict(definition), list(tags)))

    def _rekey(self, ours):
        yield ours.update(pendingCount=1)
        self.plot = "up"
        self.rekeyed()
        definition, tags = self.definitions[ours["taskDefinition"]]
        tags = [tag | {"value": "two"} if tag["value"] == "one" else tag for tag in tags]
        yield self.do_update_service("nerforge", "nerforge-server", self._add(dict(definition), tags))

    def _usurp(self, ours):
        yield ours.update(pendingCount=1)
        other = self._add({"family": "nerforge-server", "containerDefinitions": [server("other:9")]}, [])
        yield self.do_update_service("nerforge", "nerforge-server", other)


def server(model=None):
    environment = [{"name": "NERFORGE_BUCKET", "value": "nerforge-bucket"}]
    if model:
        environment.append({"name": names.ENV_MODEL, "value": model})
    return {"name": "server", "image": "server:1", "environment": environment, "essential": True}


def deployment(revision, status, state, desired=0):
    return {
        "id": f"ecs-svc/{revision[-2:]}",
        "taskDefinition": revision,
        "status": status,
        "rolloutState": state,
        "desiredCount": desired,
        "runningCount": 0,
        "pendingCount": 0,
        "failedTasks": 0,
    }


@pytest.fixture
def ecs():
    """The service as Terraform leaves it: no task, no model."""
    return FakeEcs()
