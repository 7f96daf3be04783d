"""Names that more than one part must know: SSM parameters, S3 keys, queue messages, environment variables."""

import json
import re

PREFIX_PATTERN = r"[a-z][a-z0-9-]{1,18}[a-z0-9]"
NAME_PATTERN = r"[a-z][a-z0-9-]{0,62}"

# --- SSM Parameter Store: what one stack leaves for the other, and for the playbooks ---

TRAINING_PARAMETERS = (
    "alarm_topic_arn",  # the SNS topic that all alarms go to
    "bucket",  # name of the S3 bucket
    "capacity_providers",  # JSON: {"cpu": {"on_demand": NAME, "spot": NAME}, "gpu": the same, or null}
    "cluster_arn",
    "cluster_name",
    "container_instance_security_group_id",
    "dead_letter_queue_url",
    "dispatcher_function_name",
    "models_table",
    "private_subnet_ids",  # comma separated
    "public_subnet_ids",  # comma separated
    "queue_url",
    "runs_table",
    "server_log_group",
    "server_repository_url",
    "trainer_log_group",
    "trainer_repository_url",
    "vpc_id",
)
SERVING_PARAMETERS = (
    "deployment",  # how a release reaches the tasks: what else UpdateService is given, as JSON
    "desired_count",  # tasks to run once there is a model to serve
    "service_name",
    "task_definition_family",  # releases are revisions of this family
    "template_task_definition_arn",  # the revision that Terraform made: a release is this plus a pinned model
    "url",  # where the load balancer answers, as seen by AWS
)


def parameter(prefix: str, stack: str, name: str) -> str:
    """The SSM parameter that holds ``name`` of ``stack`` (``training`` or ``serving``)."""
    known = {"training": TRAINING_PARAMETERS, "serving": SERVING_PARAMETERS}[stack]
    if name not in known:
        raise KeyError(f"the {stack} stack publishes no {name}")
    return f"/{prefix}/{stack}/{name}"


def api_keys_parameter(prefix: str) -> str:
    """The SSM parameter with the server's API keys, which keys.yml writes and Terraform never sees.

    It holds JSON, ``{"<name of the key>": "<SHA-256 of the key, hexadecimal>"}``.
    """
    return f"/{prefix}/serving/api_keys"


# --- S3 keys ---


def dataset_key(sha256: str, suffix: str) -> str:
    """Where the data with this checksum lies; ``suffix`` (such as ``.conll``) keeps the format."""
    return f"datasets/{sha256}{suffix}"


def model_prefix(name: str, version: int) -> str:
    """The folder of one immutable model version."""
    return f"models/{name}/{version}/"


ARTIFACT = "model.tar.gz"
MANIFEST = "manifest.json"
CARD = "card.json"
CARD_PAGE = "card.html"


def evaluation_key(name: str, version: int, examples: str) -> str:
    """What a version found in the examples with this checksum, see `corpus.fingerprint`."""
    return f"{model_prefix(name, version)}evaluations/{examples}.json"


def checkpoint_prefix(run_id: str) -> str:
    """The folder of one run's checkpoints, which the bucket's lifecycle empties."""
    return f"checkpoints/{run_id}/"


# --- model versions as people write them ---


def model_label(name: str, version: int) -> str:
    """``people`` and 7 as ``people:7``."""
    return f"{name}:{version}"


def parse_model_label(label: str) -> tuple[str, int]:
    """``people:7`` as ``("people", 7)``; ValueError for anything else."""
    match = re.fullmatch(rf"({NAME_PATTERN}):([1-9][0-9]*)", label)
    if not match:
        raise ValueError(f"{label!r} is not of the form name:number, such as people:7")
    return match[1], int(match[2])


# --- the queue's message, and the events that wake the dispatcher ---

EVENT_SOURCE = "nerforge"
EVENT_RUN_SUBMITTED = "Run Submitted"
EVENT_RUN_CANCELLED = "Run Cancelled"


def message_body(run_id: str) -> str:
    """The queue's message: it names the run, whose record holds all the rest."""
    return json.dumps({"run": run_id})


def event_detail(prefix: str, run_id: str) -> str:
    """The detail of either event; the rule of the deployment under ``prefix`` takes no other's."""
    return json.dumps({"prefix": prefix, "run": run_id})


# --- logs ---


def log_stream(container: str, task_arn: str) -> str:
    """The log stream of a task's container: the stacks give the awslogs driver its name as stream prefix."""
    return f"{container}/{container}/{task_arn.rpartition('/')[2]}"


# --- environment variables of the containers and the dispatcher ---

ENV_BUCKET = "NERFORGE_BUCKET"  # trainer, server: the S3 bucket of data and models
ENV_RUNS_TABLE = "NERFORGE_RUNS_TABLE"  # trainer, dispatcher: the DynamoDB table of runs
ENV_MODELS_TABLE = "NERFORGE_MODELS_TABLE"  # trainer: the DynamoDB table of models
ENV_RUN = "NERFORGE_RUN"  # trainer: the run's id
ENV_ATTEMPT = "NERFORGE_ATTEMPT"  # trainer: which attempt this task is, from 1
ENV_IMAGE = "NERFORGE_IMAGE"  # trainer, server: the image reference the task definition names
ENV_MODEL = "NERFORGE_MODEL"  # server: the pinned model version, name:number
ENV_MODEL_SHA256 = "NERFORGE_MODEL_SHA256"  # server: the pinned checksum of the artifact
ENV_HOST = "NERFORGE_HOST"  # server: address to bind
ENV_PORT = "NERFORGE_PORT"  # server: port to bind
ENV_WORKERS = "NERFORGE_WORKERS"  # server: how many processes answer; left out: as many as it has CPUs
ENV_API_KEYS = "NERFORGE_API_KEYS"  # server: SSM parameter or secret with the keys' hashes; empty: no keys
SERVER_PORT = 8080
TRAINER_CONTAINER = "trainer"
SERVER_CONTAINER = "server"
