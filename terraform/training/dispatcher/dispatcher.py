"""The dispatcher's entry: a Lambda function that does the same, whichever event calls it.

A schedule calls it each minute; a submitted run and a stopped ECS task call it at once. It never reads the
event: events get lost, repeat and come out of order, so each call looks at everything there is.
"""

import functools
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config
from messages import Messages
from nerforge_contract.errors import UserError
from nerforge_contract.names import ENV_RUNS_TABLE
from nerforge_contract.runs import Runs
from tasks import Tasks
from tick import Dispatcher

# Short: a call that hangs must not eat the time of the others. The next tick asks again.
CLIENT_CONFIG = Config(
    connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 3}
)


@dataclass(frozen=True)
class Settings:
    """What the training stack tells the dispatcher."""

    runs_table: str
    queue_url: str
    dead_letter_queue_url: str
    cluster: str
    task_definition: str
    capacity_providers: dict[str, dict[str, str] | None]
    max_concurrent_runs: int

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Read the settings. Raises UserError that names the variable which is missing or cannot be read."""

        def read(name: str, parse: Any = str) -> Any:
            try:
                return parse(environment[name])
            except KeyError:
                problem = "is not set"
            except ValueError as error:
                problem = f"cannot be read: {error}"
            raise UserError(f"{problem}", name, "Deploy the training stack again")

        return cls(
            runs_table=read(ENV_RUNS_TABLE),
            queue_url=read("QUEUE_URL"),
            dead_letter_queue_url=read("DEAD_LETTER_QUEUE_URL"),
            cluster=read("CLUSTER"),
            task_definition=read("TASK_DEFINITION"),
            capacity_providers=read("CAPACITY_PROVIDERS", json.loads),
            max_concurrent_runs=read("MAX_CONCURRENT_RUNS", int),
        )


@functools.cache  # one a process: Lambda keeps the process, and with it the connections
def _dispatcher() -> Dispatcher:
    settings = Settings.from_environment(os.environ)
    return Dispatcher(
        Runs(boto3.resource("dynamodb", config=CLIENT_CONFIG).Table(settings.runs_table)),
        Tasks(
            boto3.client("ecs", config=CLIENT_CONFIG),
            settings.cluster,
            settings.task_definition,
            settings.capacity_providers,
        ),
        Messages(
            boto3.client("sqs", config=CLIENT_CONFIG), settings.queue_url, settings.dead_letter_queue_url
        ),
        settings.max_concurrent_runs,
        os.environ["AWS_LAMBDA_FUNCTION_NAME"],  # Lambda sets it
    )


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """See to all runs. Raises TickError if anything unexpected happened, which the alarm on errors sees."""
    return _dispatcher().tick(lambda: context.get_remaining_time_in_millis() / 1000)
