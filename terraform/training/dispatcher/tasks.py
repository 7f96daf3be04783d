"""ECS: the request that starts a run's task, and the five calls that the dispatcher makes."""

import hashlib
from typing import Any

from botocore.exceptions import ClientError
from decisions import CAPACITY, CONFIGURATION, UNKNOWN, Refusal, Task, classify, on_spot
from demand import Demand
from nerforge_contract import names
from nerforge_contract.errors import UserError
from nerforge_contract.runs import Run

DESCRIBE_AT_ONCE, REASON_LENGTH = 100, 255  # ECS's own limits
_INSTANCE_TYPE = "ecs.instance-type"  # the attribute that ECS's agent gives each container instance

# What RunTask throws at a request that would be refused again however often it is sent. All else it throws
# (throttling, permissions, a cluster that is being replaced) says nothing about the run.
_BAD_REQUEST = frozenset(
    {
        "ClientException",
        "InvalidParameterException",
        "PlatformTaskDefinitionIncompatibilityException",
        "PlatformUnknownException",
        "UnsupportedFeatureException",
    }
)


class Tasks:
    """The trainers' tasks in one ECS cluster.

    Parameters
    ----------
    ecs:
        A boto3 ECS client.
    cluster:
        The cluster's name or ARN.
    task_definition:
        The family of the trainer's task definition.
    capacity_providers:
        ``{"cpu": {"on_demand": NAME, "spot": NAME}, "gpu": the same, or None}``.
    """

    def __init__(
        self,
        ecs: Any,
        cluster: str,
        task_definition: str,
        capacity_providers: dict[str, dict[str, str] | None],
    ) -> None:
        self._ecs = ecs
        self._cluster = cluster
        self._task_definition = task_definition
        self._capacity_providers = capacity_providers

    def request(self, run: Run, demand: Demand) -> dict[str, Any]:
        """The RunTask request for a run's attempt. Raises UserError if the stack has no such capacity."""
        container: dict[str, Any] = {
            "name": names.TRAINER_CONTAINER,
            "environment": [
                {"name": names.ENV_RUN, "value": run["run_id"]},
                {"name": names.ENV_ATTEMPT, "value": str(run["attempt"])},
            ],
            "cpu": round(demand.vcpu * 1024),
            "memory": demand.memory_mib,
        }
        if demand.gpus:
            container["resourceRequirements"] = [{"type": "GPU", "value": str(demand.gpus)}]
        return {
            "cluster": self._cluster,
            "taskDefinition": self._task_definition,
            "capacityProviderStrategy": [{"capacityProvider": self._provider_for(run, demand), "weight": 1}],
            "clientToken": client_token(run),
            "startedBy": run["run_id"],
            "count": 1,
            "overrides": {"containerOverrides": [container]},
            "tags": [{"key": "run", "value": run["run_id"]}, {"key": "model", "value": demand.model}],
            "propagateTags": "TASK_DEFINITION",
        }

    def run(self, request: dict[str, Any]) -> Task | Refusal:
        """Ask ECS for a task. What says nothing about the run is raised as botocore raises it."""
        try:
            answer = self._ecs.run_task(**request)
        except self._ecs.exceptions.ConflictException as error:
            # The token was used before with other parameters, say before a deploy: that task is the run's.
            made = error.response.get("resourceIds")
            return {"taskArn": made[0], "lastStatus": ""} if made else Refusal(UNKNOWN, str(error))
        except ClientError as error:
            refusal = _refusal_of(error)
            if refusal is None:
                raise
            return refusal
        if answer["tasks"]:
            task: Task = answer["tasks"][0]
            return task
        words = "; ".join(
            ": ".join(filter(None, (failure.get("reason"), failure.get("detail"))))
            for failure in answer["failures"]
        )
        return Refusal(classify(words), words or "no task, and no reason")

    def describe(self, task_arns: list[str]) -> dict[str, Task | None]:
        """The tasks as ECS sees them; None for one that it does not know. Raises as botocore does."""
        seen: dict[str, Task | None] = {}
        for start in range(0, len(task_arns), DESCRIBE_AT_ONCE):
            seen |= self._describe(task_arns[start : start + DESCRIBE_AT_ONCE])
        return seen

    def stop(self, task_arn: str, reason: str) -> bool:
        """Tell a task to stop: SIGTERM now, SIGKILL after the container's stop timeout.

        Returns whether ECS knows the task.
        """
        try:
            self._ecs.stop_task(cluster=self._cluster, task=task_arn, reason=reason[:REASON_LENGTH])
        except self._ecs.exceptions.InvalidParameterException:
            return False
        return True

    def instance_types(self, instance_arns: list[str]) -> dict[str, str]:
        """The EC2 types of these container instances, of those that ECS knows. Raises as botocore does."""
        wanted = list(dict.fromkeys(instance_arns))
        found: dict[str, str] = {}
        for start in range(0, len(wanted), DESCRIBE_AT_ONCE):
            answer = self._ecs.describe_container_instances(
                cluster=self._cluster, containerInstances=wanted[start : start + DESCRIBE_AT_ONCE]
            )
            for instance in answer["containerInstances"]:
                attributes = {each["name"]: each.get("value") for each in instance["attributes"]}
                if instance_type := attributes.get(_INSTANCE_TYPE):
                    found[instance["containerInstanceArn"]] = instance_type
        return found

    def is_spot(self, task: Task) -> bool:
        """Whether a task got its instance from a pool of spot instances."""
        pools = filter(None, self._capacity_providers.values())
        on_spot = {pool["spot"] for pool in pools if pool["spot"] != pool["on_demand"]}
        return task.get("capacityProviderName") in on_spot

    def started_for(self, run_id: str) -> list[Task]:
        """The run's tasks that are meant to run, as far as ECS describes them yet.

        For a run whose record names none.
        """
        arns = self._ecs.list_tasks(cluster=self._cluster, startedBy=run_id)["taskArns"]
        seen = self.describe(arns)
        return [seen.get(arn) or {"taskArn": arn} for arn in arns]

    def _describe(self, task_arns: list[str]) -> dict[str, Task | None]:
        try:
            answer = self._ecs.describe_tasks(cluster=self._cluster, tasks=task_arns)
        except self._ecs.exceptions.InvalidParameterException:
            # One ARN that ECS cannot read spoils the answer for all: halve, until it stands alone.
            if len(task_arns) == 1:
                return {task_arns[0]: None}
            middle = len(task_arns) // 2
            return self._describe(task_arns[:middle]) | self._describe(task_arns[middle:])
        seen: dict[str, Task | None] = {task["taskArn"]: task for task in answer["tasks"]}
        missing = (failure for failure in answer["failures"] if failure.get("reason") == "MISSING")
        return seen | {failure["arn"]: None for failure in missing}

    def _provider_for(self, run: Run, demand: Demand) -> str:
        kind = "gpu" if demand.gpus else "cpu"
        providers = self._capacity_providers.get(kind)
        if not providers:
            raise UserError(
                f"the run asks for {demand.gpus} GPUs, and this deployment has no GPU instances",
                "resources.gpus",
                "Set device: cpu in the spec, or deploy the training stack with GPU instances",
            )
        return providers["spot" if on_spot(run, demand) else "on_demand"]


def attempt_of(task: Task) -> int | None:
    """The attempt that a task was started for, as its request said it; None if ECS does not say."""
    containers = task.get("overrides", {}).get("containerOverrides", [])
    variables = (each for container in containers for each in container.get("environment", []))
    values = [each.get("value", "") for each in variables if each.get("name") == names.ENV_ATTEMPT]
    return int(values[0]) if values and values[0].isdecimal() else None


def client_token(run: Run) -> str:
    """The same for every request that must make the same task: 64 characters, as many as ECS takes."""
    return hashlib.sha256(f"{run['run_id']}/{run['attempt']}/{run.get('refusals', 0)}".encode()).hexdigest()


def _refusal_of(error: ClientError) -> Refusal | None:
    code, words = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
    if code not in _BAD_REQUEST:
        return None
    kind = classify(words)
    if kind == CAPACITY:
        return Refusal(CAPACITY, words)
    if "taskdefinition" in words.lower().replace(" ", ""):
        return None  # a deploy takes the old revision away a moment before it makes the new one
    return Refusal(CONFIGURATION, f"{code.removesuffix('Exception')}: {words}")
