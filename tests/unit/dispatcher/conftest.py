"""A world for the dispatcher: SQS and DynamoDB by moto, ECS by a fake that is stricter than moto's.

The fake answers in place of the network, so that botocore checks each request against the service's model,
and turns each answer and each error into what the product sees on AWS; the answers are checked against the
model, too.
"""

import datetime
import functools
import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.validate import ParamValidator
from messages import Messages
from moto import mock_aws
from moto.backends import get_backend
from nerforge_contract import states, ulid
from nerforge_contract.names import message_body
from nerforge_contract.runs import Runs
from tasks import Tasks
from tick import Dispatcher

REGION, ACCOUNT, CLUSTER, FAMILY = "us-east-1", "123456789012", "nerforge", "nerforge-trainer"
TASK_ARN = f"arn:aws:ecs:{REGION}:{ACCOUNT}:task/{CLUSTER}/"
PROVIDERS = {
    "cpu": {"on_demand": "nerforge-cpu", "spot": "nerforge-cpu-spot"},
    "gpu": {"on_demand": "nerforge-gpu", "spot": "nerforge-gpu-spot"},
}


class Clock:
    """Time that passes only when told to."""

    def __init__(self) -> None:
        self.now = datetime.datetime.now(datetime.UTC)

    def __call__(self) -> datetime.datetime:
        return self.now

    def advance(self, **kwargs: float) -> None:
        self.now += datetime.timedelta(**kwargs)


class Rejected(Exception):
    """An error that the service answers with."""

    def __init__(self, code: str, message: str = "", **fields: Any) -> None:
        super().__init__(code)
        self.answer = {"__type": code, "message": message, **fields}


class FakeEcs:
    """One ECS cluster whose tasks do what a test says."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.tasks: dict[str, dict[str, Any]] = {}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.next_answers: list[Exception | dict[str, Any]] = []  # for RunTask, in place of a new task
        self._by_token: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
        self._ids = itertools.count(1)

    # --- what a test does ---

    def refuse(self, reason: str, detail: str = "") -> None:
        """Let the next RunTask answer with this failure."""
        failure = {"arn": f"arn:aws:ecs:{REGION}:{ACCOUNT}:container-instance/x", "reason": reason}
        self.next_answers.append(
            {"tasks": [], "failures": [failure | ({"detail": detail} if detail else {})]}
        )

    def reject(self, code: str, message: str = "", **fields: Any) -> None:
        """Let the next RunTask be an error."""
        self.next_answers.append(Rejected(code, message, **fields))

    def of(self, run_id: str) -> list[dict[str, Any]]:
        """The tasks that were started for a run, oldest first."""
        return [task for task in self.tasks.values() if task["startedBy"] == run_id]

    def alive(self) -> list[dict[str, Any]]:
        """The tasks that are not stopped and not told to stop."""
        return [task for task in self.tasks.values() if task["desiredStatus"] == "RUNNING"]

    def set_running(self, task: dict[str, Any]) -> None:
        task.update(lastStatus="RUNNING", startedAt=self.clock().timestamp())

    def stop(
        self, task: dict[str, Any], exit_code: int | None = None, reason: str = "", **fields: Any
    ) -> None:
        """End a task: its container says ``exit_code`` and ``reason``, ``fields`` are the task's."""
        defaults = {
            "stopCode": "EssentialContainerExited",
            "stoppedReason": "Essential container in task exited",
        }
        task.update({"desiredStatus": "STOPPED", "lastStatus": "STOPPED"} | defaults | fields)
        container = task["containers"][0]
        container["lastStatus"] = "STOPPED"
        if exit_code is not None:
            container["exitCode"] = exit_code
        if reason:
            container["reason"] = reason

    def forget(self, task: dict[str, Any]) -> None:
        del self.tasks[task["taskArn"]]

    def forget_tokens(self) -> None:
        """A day passes."""
        self._by_token.clear()

    def called(self, operation: str) -> list[dict[str, Any]]:
        return [request for name, request in self.calls if name == operation]

    # --- the service ---

    def answer(self, request: Any, model: Any) -> AWSResponse:
        """What the service sends back."""
        operation = request.headers["X-Amz-Target"].decode().rsplit(".", 1)[-1]
        body = json.loads(request.body)
        self.calls.append((operation, body))
        try:
            if body["cluster"] != CLUSTER:
                raise Rejected("ClusterNotFoundException", "Cluster not found.")
            answer = getattr(self, f"_{operation}")(body)
        except Rejected as error:
            return _response(request.url, 400, error.answer)
        shape = model.operation_model(operation).output_shape
        report = ParamValidator().validate(answer, shape)
        assert not report.has_errors(), report.generate_report()
        return _response(request.url, 200, answer)

    def _RunTask(self, body: dict[str, Any]) -> dict[str, Any]:
        token = body["clientToken"]
        assert 1 <= len(token) <= 64 and all(33 <= ord(character) <= 126 for character in token)
        assert len(body["startedBy"]) <= 128
        providers = {name for kind in PROVIDERS.values() for name in kind.values()}
        assert {item["capacityProvider"] for item in body["capacityProviderStrategy"]} <= providers
        assert "launchType" not in body  # ECS refuses both at once
        if body["taskDefinition"] != FAMILY:
            raise Rejected("ClientException", f"Unable to find task definition: {body['taskDefinition']}")
        if token in self._by_token:
            asked, answer = self._by_token[token]
            if asked != body:
                arns = [task["taskArn"] for task in answer["tasks"]]
                raise Rejected("ConflictException", "The clientToken is in use.", resourceIds=arns)
            return answer  # refusals, too: ECS does not promise to think again
        if self.next_answers:
            answer = self.next_answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
        else:
            answer = {"tasks": [dict(self._new_task(body))], "failures": []}
        self._by_token[token] = (body, answer)
        return answer

    def _new_task(self, body: dict[str, Any]) -> dict[str, Any]:
        arn = f"{TASK_ARN}{next(self._ids):032x}"
        container = {"name": "trainer", "lastStatus": "PENDING", "taskArn": arn}
        self.tasks[arn] = {
            "taskArn": arn,
            "clusterArn": f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/{CLUSTER}",
            "taskDefinitionArn": f"arn:aws:ecs:{REGION}:{ACCOUNT}:task-definition/{FAMILY}:1",
            "containers": [container],
            "createdAt": self.clock().timestamp(),
            "desiredStatus": "RUNNING",
            "lastStatus": "PROVISIONING",
            "startedBy": body["startedBy"],
            "overrides": body["overrides"],
            "tags": body["tags"],
            "capacityProviderName": body["capacityProviderStrategy"][0]["capacityProvider"],
            "version": 1,
        }
        return self.tasks[arn]

    def _DescribeTasks(self, body: dict[str, Any]) -> dict[str, Any]:
        if not 1 <= len(body["tasks"]) <= 100:
            raise Rejected("InvalidParameterException", "Tasks must have between 1 and 100 items.")
        for arn in body["tasks"]:
            if not arn.startswith(TASK_ARN):
                raise Rejected("InvalidParameterException", f"Invalid identifier: {arn}")
        known = [self.tasks[arn] for arn in body["tasks"] if arn in self.tasks]
        missing = [{"arn": arn, "reason": "MISSING"} for arn in body["tasks"] if arn not in self.tasks]
        return {"tasks": known, "failures": missing}

    def _StopTask(self, body: dict[str, Any]) -> dict[str, Any]:
        task = self.tasks.get(body["task"])
        if task is None:
            raise Rejected("InvalidParameterException", "The referenced task was not found.")
        if task["lastStatus"] != "STOPPED":
            task.update(desiredStatus="STOPPED", stopCode="UserInitiated", stoppedReason=body["reason"])
        return {"task": task}

    def _ListTasks(self, body: dict[str, Any]) -> dict[str, Any]:
        return {
            "taskArns": [task["taskArn"] for task in self.alive() if task["startedBy"] == body["startedBy"]]
        }


class Clients:
    """A dispatcher's clients, made once since that is slow; ``world`` and ``around`` change with the test."""

    def __init__(self) -> None:
        self.world: World | None = None
        self.around: Callable[[str, str], None] | None = None
        usual = Config(signature_version=UNSIGNED, user_agent="test")  # what moto passes over takes time
        once = usual.merge(Config(retries={"total_max_attempts": 1}))
        self.dynamodb = boto3.resource("dynamodb", region_name=REGION, config=usual)
        self.sqs = boto3.client("sqs", region_name=REGION, config=usual)
        self.ecs = boto3.client("ecs", region_name=REGION, config=once)
        self.ecs.meta.events.register_first("before-send.ecs", self._answer_for_ecs)
        self.sqs.meta.events.register("provide-client-params.sqs.ReceiveMessage", _without_waiting)
        for client in (self.dynamodb.meta.client, self.sqs, self.ecs):
            client.meta.events.register("before-call", lambda model, **_: self._tell("before", model.name))
            client.meta.events.register("after-call", lambda model, **_: self._tell("after", model.name))

    def _answer_for_ecs(self, request: Any, **_: Any) -> AWSResponse:
        return self.world.ecs.answer(request, self.ecs.meta.service_model)

    def _tell(self, when: str, operation: str) -> None:
        if self.around:
            self.around(when, operation)


_clients = functools.cache(lambda which: Clients())


class World:
    """All that a dispatcher meets, and ways to look at it that no injected fault touches."""

    def __init__(self, slots: int = 3) -> None:
        self.slots = slots
        self.clock = Clock()
        self.ecs = FakeEcs(self.clock)
        inspecting = _clients("inspecting")
        inspecting.world = self
        dynamodb = inspecting.dynamodb
        self.table = dynamodb.create_table(
            TableName="runs",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[
                {"AttributeName": name, "AttributeType": "S"} for name in ("run_id", "state")
            ],
            KeySchema=[{"AttributeName": "run_id", "KeyType": "HASH"}],
            GlobalSecondaryIndexes=[
                {
                    "IndexName": "by_state",
                    "KeySchema": [
                        {"AttributeName": "state", "KeyType": "HASH"},
                        {"AttributeName": "run_id", "KeyType": "RANGE"},
                    ],
                    "Projection": {"ProjectionType": "ALL"},
                }
            ],
        )
        self.runs = Runs(self.table)
        self.sqs = inspecting.sqs
        self.dead_letter_url = self.sqs.create_queue(QueueName="dead")["QueueUrl"]
        self.queue_url = self.sqs.create_queue(QueueName="runs")["QueueUrl"]

    # --- dispatchers ---

    def dispatcher(
        self,
        around: Callable[[str, str], None] | None = None,
        providers: dict[str, Any] = PROVIDERS,
        which: str = "first",
    ) -> Dispatcher:
        """A dispatcher; ``around`` is told before and after each of its calls to AWS.

        Dispatchers that live at once need each their own ``which``.
        """
        clients = _clients(which)
        clients.world, clients.around = self, around
        return Dispatcher(
            Runs(clients.dynamodb.Table("runs")),
            Tasks(clients.ecs, CLUSTER, FAMILY, providers),
            Messages(clients.sqs, self.queue_url, self.dead_letter_url),
            self.slots,
            self.clock,
        )

    def tick(self, **kwargs: Any) -> dict[str, Any]:
        return self.dispatcher(**kwargs).tick(lambda: 60)

    # --- runs and messages ---

    def submit(self, message: str | None = None, **spec: Any) -> str:
        """Record a run, and send ``message`` (its own by default)."""
        run_id = self.record(**spec)
        self.send(message_body(run_id) if message is None else message)
        return run_id

    def record(self, **spec: Any) -> str:
        run_id = ulid.new()
        resources = {"vcpu": 2, "memory_mib": 3072, "gpus": 0, "spot": False} | spec.pop("resources", {})
        defaults = {"name": "people", "retries": 1, "time_limit_minutes": 240, "resources": resources}
        self.runs.create(run_id, defaults | spec)
        return run_id

    def started(self, **spec: Any) -> tuple[str, dict[str, Any]]:
        """A run that a tick has started, and its task, which runs; the trainer has reported."""
        run_id = self.submit(**spec)
        self.tick()
        (task,) = self.ecs.of(run_id)
        self.ecs.set_running(task)
        assert self.runs.move(run_id, states.STARTING, states.RUNNING, 1, reason=None)
        return run_id, task

    def send(self, body: str) -> None:
        self.sqs.send_message(QueueUrl=self.queue_url, MessageBody=body)

    def show_all_messages(self) -> None:
        """The visibility timeout of every message ends."""
        for message in self._queue("runs")._messages:
            message.change_visibility(0)

    def messages(self) -> list[str]:
        """What is on the queue, in sight or not."""
        return [message.body for message in self._queue("runs")._messages]

    def dead_letters(self) -> list[tuple[str, str]]:
        """Body and reason of each."""
        return [
            (message.body, message.message_attributes["reason"]["StringValue"])
            for message in self._queue("dead")._messages
        ]

    def state(self, run_id: str) -> str:
        return self.runs.get(run_id)["state"]

    def reason(self, run_id: str) -> str:
        return self.runs.get(run_id)["reason"]

    def _queue(self, name: str) -> Any:
        return get_backend("sqs")[ACCOUNT][REGION].queues[name]


@pytest.fixture
def world() -> Iterator[World]:
    with mock_aws():
        yield World()


@pytest.fixture
def make_world() -> Iterator[Callable[..., World]]:
    """Makes worlds, each empty; the one before is gone."""
    with mock_aws() as mocked:

        def make(**kwargs: Any) -> World:
            mocked.reset()
            return World(**kwargs)

        yield make


def _without_waiting(params: dict[str, Any], **_: Any) -> dict[str, Any]:
    return params | {"WaitTimeSeconds": 0}


def _response(url: str, status: int, body: dict[str, Any]) -> AWSResponse:
    class Raw:
        def stream(self, **_: Any) -> Iterator[bytes]:
            yield json.dumps(body).encode()

    return AWSResponse(url, status, {"Content-Type": "application/x-amz-json-1.1"}, Raw())
