"""One ECS cluster whose tasks do what a test says."""

import datetime
import itertools
from typing import Any

from aws_in_memory.wire import Clock, Rejected

TARGET = "AmazonEC2ContainerServiceV20141113"
REGION, ACCOUNT, CLUSTER, FAMILY = "us-east-1", "123456789012", "nerforge", "nerforge-trainer"
TASK_ARN = f"arn:aws:ecs:{REGION}:{ACCOUNT}:task/{CLUSTER}/"
INSTANCE_ARN = f"arn:aws:ecs:{REGION}:{ACCOUNT}:container-instance/{CLUSTER}/{{}}"
PROVIDERS = {
    "cpu": {"on_demand": "nerforge-cpu", "spot": "nerforge-cpu-spot"},
    "gpu": {"on_demand": "nerforge-gpu", "spot": "nerforge-gpu-spot"},
}

Task = dict[str, Any]


class Ecs:
    """The service.

    Attributes
    ----------
    tasks:
        All tasks that ECS has not forgotten, by ARN.
    lag:
        How long a new task does not show in DescribeTasks and ListTasks yet.
    instance_type:
        What all container instances are; None: they are gone, and ECS knows none of them.
    overlooked:
        ARNs of tasks that DescribeTasks and ListTasks do not show for now.
    keeps_refusals:
        Whether a request with the token of a refused one is refused again: ECS does not say.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.tasks: dict[str, Task] = {}
        self.lag = datetime.timedelta(0)
        self.keeps_refusals = True
        self.instance_type: str | None = "m6i.xlarge"
        self.overlooked: set[str] = set()
        self.next_answers: list[Exception | dict[str, Any]] = []  # for RunTask, in place of a new task
        self.started = 0
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

    def of(self, run_id: str) -> list[Task]:
        """The tasks that were started for a run, oldest first."""
        return [task for task in self.tasks.values() if task["startedBy"] == run_id]

    def wanted(self) -> list[Task]:
        """The tasks that are not stopped and not told to stop."""
        return [task for task in self.tasks.values() if task["desiredStatus"] == "RUNNING"]

    def alive(self) -> list[Task]:
        """The tasks that are not stopped yet."""
        return [task for task in self.tasks.values() if task["lastStatus"] != "STOPPED"]

    def set_running(self, task: Task) -> None:
        """Let the task's container start."""
        now = self.clock().timestamp()
        instance = INSTANCE_ARN.format(task["taskArn"][len(TASK_ARN) :])
        task.update(lastStatus="RUNNING", pullStartedAt=now, startedAt=now, containerInstanceArn=instance)

    def stop(self, task: Task, exit_code: int | None = None, reason: str = "", **fields: Any) -> None:
        """End a task: its container says ``exit_code`` and ``reason``, ``fields`` are the task's."""
        defaults = {
            "stopCode": "EssentialContainerExited",
            "stoppedReason": "Essential container in task exited",
        }
        if task["desiredStatus"] == "STOPPED":  # StopTask has said why
            defaults = {key: task[key] for key in defaults}
        task.update({"desiredStatus": "STOPPED", "lastStatus": "STOPPED"} | defaults | fields)
        container = task["containers"][0]
        container["lastStatus"] = "STOPPED"
        if exit_code is not None:
            container["exitCode"] = exit_code
        if reason:
            container["reason"] = reason

    def forget(self, task: Task) -> None:
        """Let ECS know nothing of a task any more."""
        del self.tasks[task["taskArn"]]

    def forget_tokens(self) -> None:
        """A day passes."""
        self._by_token.clear()

    # --- operations ---

    def RunTask(self, request: dict[str, Any]) -> dict[str, Any]:
        _check_cluster(request)
        token = request["clientToken"]
        assert 1 <= len(token) <= 64 and all(33 <= ord(character) <= 126 for character in token)
        assert len(request["startedBy"]) <= 128
        providers = {name for kind in PROVIDERS.values() for name in kind.values()}
        assert {item["capacityProvider"] for item in request["capacityProviderStrategy"]} <= providers
        assert "launchType" not in request  # ECS refuses both at once
        if request["taskDefinition"] != FAMILY:
            raise Rejected("ClientException", f"Unable to find task definition: {request['taskDefinition']}")
        if token in self._by_token:
            asked, answer = self._by_token[token]
            if asked != request:
                arns = [task["taskArn"] for task in answer["tasks"]]
                raise Rejected("ConflictException", "The clientToken is in use.", resourceIds=arns)
            return answer
        if self.next_answers:
            answer = self.next_answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
        else:
            answer = {"tasks": [dict(self._new_task(request))], "failures": []}
        if answer["tasks"] or self.keeps_refusals:
            self._by_token[token] = (request, answer)
        return answer

    def DescribeTasks(self, request: dict[str, Any]) -> dict[str, Any]:
        _check_cluster(request)
        if not 1 <= len(request["tasks"]) <= 100:
            raise Rejected("InvalidParameterException", "Tasks must have between 1 and 100 items.")
        for arn in request["tasks"]:
            if not arn.startswith(TASK_ARN):
                raise Rejected("InvalidParameterException", f"Invalid identifier: {arn}")
        known = [self.tasks[arn] for arn in request["tasks"] if self._shows(arn)]
        missing = [{"arn": arn, "reason": "MISSING"} for arn in request["tasks"] if not self._shows(arn)]
        return {"tasks": known, "failures": missing}

    def DescribeContainerInstances(self, request: dict[str, Any]) -> dict[str, Any]:
        _check_cluster(request)
        arns = request["containerInstances"]
        if self.instance_type is None:
            return {
                "containerInstances": [],
                "failures": [{"arn": arn, "reason": "MISSING"} for arn in arns],
            }
        attributes = [
            {"name": "ecs.capability.task-eni"},
            {"name": "ecs.instance-type", "value": self.instance_type},
        ]
        found = [{"containerInstanceArn": arn, "status": "ACTIVE", "attributes": attributes} for arn in arns]
        return {"containerInstances": found, "failures": []}

    def StopTask(self, request: dict[str, Any]) -> dict[str, Any]:
        _check_cluster(request)
        assert len(request["reason"]) <= 255
        task = self.tasks.get(request["task"])
        if task is None:
            raise Rejected("InvalidParameterException", "The referenced task was not found.")
        if task["lastStatus"] != "STOPPED":
            task.update(desiredStatus="STOPPED", stopCode="UserInitiated", stoppedReason=request["reason"])
        return {"task": task}

    def ListTasks(self, request: dict[str, Any]) -> dict[str, Any]:
        _check_cluster(request)
        ours = [task for task in self.wanted() if task["startedBy"] == request["startedBy"]]
        return {"taskArns": [task["taskArn"] for task in ours if self._shows(task["taskArn"])]}

    # --- parts ---

    def _new_task(self, request: dict[str, Any]) -> Task:
        arn = f"{TASK_ARN}{next(self._ids):032x}"
        self.started += 1
        self.tasks[arn] = {
            "taskArn": arn,
            "clusterArn": f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/{CLUSTER}",
            "taskDefinitionArn": f"arn:aws:ecs:{REGION}:{ACCOUNT}:task-definition/{FAMILY}:1",
            "containers": [{"name": "trainer", "lastStatus": "PENDING", "taskArn": arn}],
            "createdAt": self.clock().timestamp(),
            "desiredStatus": "RUNNING",
            "lastStatus": "PROVISIONING",
            "startedBy": request["startedBy"],
            "overrides": request["overrides"],
            "tags": request["tags"],
            "capacityProviderName": request["capacityProviderStrategy"][0]["capacityProvider"],
            "version": 1,
        }
        return self.tasks[arn]

    def _shows(self, arn: str) -> bool:
        if arn not in self.tasks or arn in self.overlooked:
            return False
        return self.clock().timestamp() - self.tasks[arn]["createdAt"] >= self.lag.total_seconds()


def _check_cluster(request: dict[str, Any]) -> None:
    if request["cluster"] != CLUSTER:
        raise Rejected("ClusterNotFoundException", "Cluster not found.")
