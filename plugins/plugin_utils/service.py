# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ECS service that serves a model: what it runs, and the calls that change it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ..module_utils.contract import names
from . import strategies
from .session import Aws, NotDeployed

TEMPLATE_TAG = "nerforge:template"  # on a release: the revision of Terraform's that it was made from
KEYS_TAG = "nerforge:keys"  # on a release: the edition of the API keys that it was rolled out for
ROLLBACK_TAG = "nerforge:rollback"  # on a release: it is a rollback's
PARAMETERS = (
    "deployment",
    "desired_count",
    "service_name",
    "task_definition_family",
    "template_task_definition_arn",
)

Description = dict[str, Any]


@dataclass(frozen=True)
class Release:
    """A model version pinned in a revision of the server's task definition.

    Parameters
    ----------
    model:
        ``name:number``, or None where nothing is pinned: in Terraform's own revision.
    sha256:
        The artifact's checksum.
    template:
        The revision that this one was made from, where known.
    keys:
        The edition of the API keys that tasks have had since; None where the server asks for none. A task
        reads the keys as it starts, so that it takes a release of its own for all tasks to have them.
    is_rollback:
        Whether a rollback pinned it; of two that pin the same, that makes no difference.
    """

    model: str | None
    sha256: str | None
    template: str | None
    keys: str | None = None
    is_rollback: bool = field(default=False, compare=False)


class Service:
    """The ECS service.

    Parameters
    ----------
    ecs:
        An ECS client.
    cluster, name:
        The cluster's name and the service's.
    deployment:
        How a release reaches the tasks: what UpdateService is given besides the revision, as the serving
        stack publishes it. Without it the service keeps what it has.
    """

    def __init__(self, ecs: Any, cluster: str, name: str, deployment: dict[str, Any] | None = None) -> None:
        self._ecs, self._cluster, self._name = ecs, cluster, name
        self._deployment = deployment or {}
        self._deployed: dict[str, str] = {}  # task definitions by service revision

    def describe(self) -> Description:
        """The service as ECS describes it, see `strategies.seen`. Raises NotDeployed if there is none."""
        found = self._ecs.describe_services(cluster=self._cluster, services=[self._name])["services"]
        if not found or found[0]["status"] != "ACTIVE":
            raise NotDeployed(
                "there is no such ECS service",
                f"{self._cluster}/{self._name}",
                "Run deploy.yml, which makes it.",
            )
        return strategies.seen(found[0], self._shift()) if strategies.shifts(found[0]) else found[0]

    def release(self, revision: str) -> Release:
        """What a revision of the task definition pins."""
        answer = self._ecs.describe_task_definition(taskDefinition=revision, include=["TAGS"])
        environment = _environment(answer["taskDefinition"])
        tags = {tag["key"]: tag.get("value") for tag in answer.get("tags", [])}
        return Release(
            environment.get(names.ENV_MODEL),
            environment.get(names.ENV_MODEL_SHA256),
            tags.get(TEMPLATE_TAG),
            tags.get(KEYS_TAG),
            ROLLBACK_TAG in tags,
        )

    def api_keys(self, revision: str) -> str | None:
        """Where a revision tells the server to read its API keys; None if it tells of none."""
        answer = self._ecs.describe_task_definition(taskDefinition=revision, include=["TAGS"])
        return _environment(answer["taskDefinition"]).get(names.ENV_API_KEYS) or None

    def register(self, family: str, release: Release) -> str:
        """Register the template with the release's model pinned, as a new revision. Returns its ARN."""
        answer = self._ecs.describe_task_definition(taskDefinition=release.template, include=["TAGS"])
        request = self._registrable(answer["taskDefinition"]) | {"family": family}
        server = _server(request)
        pinned = {names.ENV_MODEL: release.model, names.ENV_MODEL_SHA256: release.sha256}
        kept = [item for item in server.get("environment", []) if item["name"] not in pinned]
        server["environment"] = kept + [{"name": name, "value": value} for name, value in pinned.items()]
        tags = {tag["key"]: tag.get("value", "") for tag in answer.get("tags", [])}
        tags = {key: value for key, value in tags.items() if not key.startswith("aws:")}
        tags[TEMPLATE_TAG] = release.template
        if release.keys:
            tags[KEYS_TAG] = release.keys
        if release.is_rollback:
            tags[ROLLBACK_TAG] = "yes"
        request["tags"] = [{"key": key, "value": value} for key, value in tags.items()]
        arn: str = self._ecs.register_task_definition(**request)["taskDefinition"]["taskDefinitionArn"]
        return arn

    def releases(self, family: str, newest_first: bool = False) -> Iterator[tuple[str, Release]]:
        """The family's active revisions that releases registered, oldest first unless told otherwise."""
        lists = self._ecs.get_paginator("list_task_definitions")
        pages = lists.paginate(familyPrefix=family, status="ACTIVE")
        revisions = [arn for page in pages for arn in page["taskDefinitionArns"]]
        for revision in reversed(revisions) if newest_first else revisions:
            if f"/{family}:" in revision and (found := self.release(revision)).template:
                yield revision, found

    def deregister(self, revision: str) -> None:
        """Make a revision inactive; tasks that run it go on."""
        self._ecs.deregister_task_definition(taskDefinition=revision)

    @property
    def wait_seconds(self) -> float:
        """How long the strategy watches a release, besides the time that its tasks take to start."""
        return strategies.wait_seconds(self._deployment)

    def update(self, revision: str, desired: int | None = None, at_once: bool = False) -> None:
        """Roll the service to a revision by its strategy, and to a number of tasks if one is given.

        With ``at_once`` no strategy waits, and no alarm is heeded: a rollback should not begin with a tenth
        of the requests, nor be undone by what the model that goes has done.
        """
        request: dict[str, Any] = {"taskDefinition": revision}
        if desired is not None:
            request["desiredCount"] = desired
        if desired != 0:
            request |= self._by_strategy(at_once)
        self._ecs.update_service(cluster=self._cluster, service=self._name, **request)

    def undo(self) -> bool:
        """Have ECS give the requests back, if it is shifting them. Returns whether that is under way now."""
        shift = self.describe().get("shift")
        if shift is None or strategies.succeeded(shift) is not None:
            return False
        if not strategies.is_being_undone(shift):
            arn = shift["serviceDeploymentArn"]
            try:
                self._ecs.stop_service_deployment(serviceDeploymentArn=arn, stopType="ROLLBACK")
            except self._ecs.exceptions.ConflictException:  # it has come too far since
                return False
        return True

    def stopped(self, revision: str) -> list[dict[str, Any]]:
        """The revision's tasks that have stopped, as far as ECS still knows them."""
        lists = self._ecs.get_paginator("list_tasks")
        pages = lists.paginate(cluster=self._cluster, serviceName=self._name, desiredStatus="STOPPED")
        return [
            task
            for page in pages
            if page["taskArns"]
            for task in self._ecs.describe_tasks(cluster=self._cluster, tasks=page["taskArns"])["tasks"]
            if task["taskDefinitionArn"] == revision
        ]

    def _by_strategy(self, at_once: bool) -> dict[str, Any]:
        published = strategies.unwatched(self._deployment) if at_once else self._deployment
        if not strategies.shifts(published):
            return published
        return strategies.request(published, self.describe(), at_once)

    def _shift(self) -> strategies.Shift | None:
        """The latest service deployment, with the ``taskDefinition`` it deploys; None before the first."""
        listed = self._ecs.list_service_deployments(cluster=self._cluster, service=self._name)
        latest = max(listed["serviceDeployments"], key=lambda item: item["createdAt"], default=None)
        if latest is None:
            return None
        arns = [latest["serviceDeploymentArn"]]
        answer = self._ecs.describe_service_deployments(serviceDeploymentArns=arns)
        shift: strategies.Shift = answer["serviceDeployments"][0]
        return shift | {"taskDefinition": self._task_definition(latest["targetServiceRevisionArn"])}

    def _task_definition(self, service_revision: str) -> str:
        if service_revision not in self._deployed:
            answer = self._ecs.describe_service_revisions(serviceRevisionArns=[service_revision])
            self._deployed[service_revision] = answer["serviceRevisions"][0]["taskDefinition"]
        return self._deployed[service_revision]

    def _registrable(self, definition: dict[str, Any]) -> dict[str, Any]:
        # What describe answers holds fields that register does not take; botocore's own model says which.
        shape = self._ecs.meta.service_model.operation_model("RegisterTaskDefinition").input_shape
        return {field: value for field, value in definition.items() if field in shape.members}


def primary(description: Description) -> dict[str, Any]:
    """The deployment that ECS is rolling out, or has."""
    return next(item for item in description["deployments"] if item["status"] == "PRIMARY")


def serving(aws: Aws, prefix: str) -> dict[str, Any] | None:
    """What the service runs now, or None if the serving stack is not deployed."""
    try:
        published = aws.parameters(prefix, "serving", ["service_name"])
        cluster = aws.parameters(prefix, "training", ["cluster_name"])["cluster_name"]
        service = Service(aws.client("ecs"), cluster, published["service_name"])
        description = service.describe()
    except NotDeployed:
        return None
    rollout = primary(description)
    return {
        "model": service.release(rollout["taskDefinition"]).model,
        "task_definition": rollout["taskDefinition"],
        "rollout": rollout.get("rolloutState"),
        "desired": description["desiredCount"],
        "running": description["runningCount"],
    }


def why(task: dict[str, Any]) -> str:
    """Why a stopped task stopped, in the words ECS has for it."""
    containers = task.get("containers", [])
    server: dict[str, Any] = next((item for item in containers if item["name"] == names.SERVER_CONTAINER), {})
    parts = [task.get("stoppedReason"), server.get("reason")]
    if server.get("exitCode") is not None:
        parts.append(f"exit code {server['exitCode']}")
    return "; ".join(dict.fromkeys(part for part in parts if part)) or "no reason given"


def _environment(definition: dict[str, Any]) -> dict[str, str]:
    return {item["name"]: item["value"] for item in _server(definition).get("environment", [])}


def _server(definition: dict[str, Any]) -> dict[str, Any]:
    return next(item for item in definition["containerDefinitions"] if item["name"] == names.SERVER_CONTAINER)
