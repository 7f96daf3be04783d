"""A world for dispatchers: AWS in memory, a clock that a test sets, and ways to look at both."""

import functools
from typing import Any

import boto3
import pytest
from aws_in_memory import dynamodb, ecs, sqs
from aws_in_memory.ecs import CLUSTER, FAMILY, PROVIDERS, REGION
from aws_in_memory.wire import Around, Checked, Clock, Wire
from botocore import UNSIGNED
from botocore.config import Config
from messages import Messages
from nerforge_contract import runs, states, ulid
from nerforge_contract.names import message_body
from nerforge_contract.runs import Runs
from tasks import Tasks
from tick import Dispatcher


class Clients:
    """A dispatcher's clients, made once since that is slow; ``world`` and ``around`` change with the test."""

    def __init__(self, tries: int) -> None:
        self.world: World | None = None
        self.around: Around | None = None
        # Not "standard", whose quota of retries would go from one test to the next.
        retries = {"mode": "legacy", "total_max_attempts": tries}
        config = Config(signature_version=UNSIGNED, user_agent="test", retries=retries)
        dynamodb = boto3.resource("dynamodb", region_name=REGION, config=config)
        self.runs, self.models = dynamodb.Table("runs"), dynamodb.Table("models")
        self.sqs = boto3.client("sqs", region_name=REGION, config=config)
        self.ecs = boto3.client("ecs", region_name=REGION, config=config)
        for client in (dynamodb.meta.client, self.sqs, self.ecs):
            client.meta.events.register_first("before-send", self._answer)

    def _answer(self, request: Any, **__: Any) -> Any:
        return self.world.wire.answer(request, self.around)


@functools.cache
def clients(which: str, tries: int = 1) -> Clients:
    """The clients of that name, which try each call so often."""
    return Clients(tries)


class World:
    """All that a dispatcher meets, and ways to look at it that no injected fault touches.

    Parameters
    ----------
    slots:
        How many runs may have a task at once.
    clock:
        Its time.
    checked:
        Whether ECS's answers, which tests make up the most, are checked against botocore's model.
    """

    def __init__(self, slots: int = 3, clock: Clock | None = None, checked: bool = True) -> None:
        self.slots = slots
        self.clock = clock or Clock()
        self.ecs = ecs.Ecs(self.clock)
        self.dead = sqs.Queue()
        self.queue = sqs.Queue(dead_letters=self.dead)
        self.sqs_service = sqs.Sqs(self.clock, {"runs": self.queue, "dead": self.dead})
        self.run_items = dynamodb.Table(("run_id",), (runs.STATE_INDEX, "state", "run_id"))
        self.model_items = dynamodb.Table(("name", "item"))
        self.dynamodb = dynamodb.DynamoDb(self.clock, {"runs": self.run_items, "models": self.model_items})
        self.wire = Wire(
            {
                ecs.TARGET: Checked(self.ecs, "ecs") if checked else self.ecs,
                sqs.TARGET: self.sqs_service,
                dynamodb.TARGET: self.dynamodb,
            }
        )
        inspecting = clients("inspecting")
        inspecting.world = self
        self.table = inspecting.runs
        self.runs = Runs(self.table)
        self.sqs = inspecting.sqs
        self.queue_url = f"https://sqs.{REGION}.amazonaws.com/{ecs.ACCOUNT}/runs"
        self.dead_letter_url = f"https://sqs.{REGION}.amazonaws.com/{ecs.ACCOUNT}/dead"

    # --- dispatchers ---

    def dispatcher(
        self,
        around: Around | None = None,
        providers: dict[str, Any] | None = None,
        which: str = "first",
        tries: int = 1,
    ) -> Dispatcher:
        """A dispatcher; ``around`` is told before and after each try of each of its calls to AWS.

        Dispatchers that live at once need each their own ``which``.
        """
        its = clients(which, tries)
        its.world, its.around = self, around
        return Dispatcher(
            Runs(its.runs),
            Tasks(its.ecs, CLUSTER, FAMILY, providers or PROVIDERS),
            Messages(its.sqs, self.queue_url, self.dead_letter_url),
            self.slots,
            "nerforge-dispatcher",
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
        self.begin(run_id, task)
        return run_id, task

    def begin(self, run_id: str, task: dict[str, Any]) -> None:
        """A task's container starts, and its trainer reports."""
        self.ecs.set_running(task)
        attempt = self.runs.get(run_id)["attempt"]
        begun = {"reason": None, "running": self.clock.text()}
        assert self.runs.move(run_id, states.STARTING, states.RUNNING, attempt, **begun)

    def send(self, body: str) -> None:
        self.sqs.send_message(QueueUrl=self.queue_url, MessageBody=body)

    def show_all_messages(self) -> None:
        """The visibility timeout of every message ends."""
        for message in self.queue.messages:
            message.visible_from = self.clock()

    def messages(self) -> list[str]:
        """What is on the queue, in sight or not."""
        return [message.body for message in self.queue.messages]

    def dead_letters(self) -> list[tuple[str, str]]:
        """Body and reason of each."""

        def reason_of(message: Any) -> str:
            return message.attributes.get("reason", {}).get("StringValue", "")

        return [(message.body, reason_of(message)) for message in self.dead.messages]

    def state(self, run_id: str) -> str:
        return self.runs.get(run_id)["state"]

    def reason(self, run_id: str) -> str:
        return self.runs.get(run_id)["reason"]

    def cause(self, run_id: str) -> str:
        return self.runs.get(run_id)["cause"]


def set_time(clock: Clock, patch: pytest.MonkeyPatch) -> None:
    """Let the contract and botocore go by a clock: records say its time, and nobody waits."""
    patch.setattr(runs, "now", clock.text)
    patch.setattr("time.sleep", clock.sleep)
