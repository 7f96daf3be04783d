# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases: a model version through its gate, into a task definition, and rolled out until ECS says it holds.

`services_stable` is never asked: after a rollback it is content with the old version. What counts is whether
the PRIMARY deployment is ours, and completed.
"""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from ..module_utils.contract import names
from ..module_utils.contract.errors import UserError
from ..module_utils.contract.models import Models
from . import listing
from .keys import NoKeys
from .service import Description, Release, Service, primary, why
from .wording import Say

SERVING = "@serving"  # in place of a model: the one that is served now

_INTERVAL = 1.0
_STILL_EVERY = 30.0  # seconds without a line before it says that it still waits
_VERIFY_FOR = 60.0  # seconds for the load balancer to turn to the new tasks
_EVENTS_THAT_MATTER = ("unable", "unhealthy", "fail", "circuit breaker", "roll", "error")

DONE, GOING, FAILED, SUPERSEDED = "done", "going", "failed", "superseded"


@dataclass(frozen=True)
class Order:
    """What is asked for.

    Parameters
    ----------
    model:
        ``name:number``, ``name``, ``name@alias``, or `SERVING`.
    alias:
        The alias to move once the model is served.
    force:
        Whether to pass over the gate.
    timeout:
        Seconds the rollout may take.
    verify_url:
        Where the server answers, if it can be reached from here.
    dry:
        Whether only to tell what would be done.
    """

    model: str
    alias: str
    force: bool = False
    timeout: float = 900.0
    verify_url: str | None = None
    dry: bool = False


@dataclass(frozen=True)
class Deployment:
    """Where releases go, and where what they need is found.

    Parameters
    ----------
    models:
        The models table.
    service:
        The ECS service.
    template:
        The task definition revision that Terraform made.
    family:
        The family that releases are revisions of.
    desired_count:
        Tasks to run, where the service has none yet.
    manifest:
        Reads the manifest of a model's record.
    log:
        The last lines that a task wrote.
    keys:
        The edition of the API keys that a task started now would have; raises NoKeys if it would have none,
        and should.
    """

    models: Models
    service: Service
    template: str
    family: str
    desired_count: int
    manifest: Callable[[dict[str, Any]], dict[str, Any]]
    log: Callable[[str], list[str]]
    keys: Callable[[], str | None]


def release(deployment: Deployment, order: Order, say: Say) -> dict[str, Any]:
    """Serve a model version, and then move the alias to it.

    Returns ``changed``, ``model``, ``previous`` and ``task_definition``.
    Raises UserError if there is no such version, it does not pass its gate, the server would find no API key,
    it does not come up, or another release comes between; the alias then stays where it was.
    """
    description = deployment.service.describe()
    rollout = primary(description)
    current = deployment.service.release(rollout["taskDefinition"])
    keys, locked_out = _keys(deployment)
    wanted, record = _wanted(deployment, order, current, keys)
    if record and not order.force:
        _check_gate(wanted.model, deployment.manifest(record)["spec"].get("gate", {}), record["scores"])
    pointed_at = _pointed_at(deployment, order, record)
    rolls = wanted.model is not None and not (
        current == wanted and rollout.get("rolloutState") == "COMPLETED" and description["desiredCount"]
    )
    if rolls and locked_out:
        raise locked_out
    moves = record is not None and pointed_at != record["version"]
    result = {
        "changed": rolls or moves,
        "model": wanted.model,
        "previous": current.model,
        "task_definition": rollout["taskDefinition"],
    }
    if order.dry or not result["changed"]:
        say(_standstill(wanted, rolls, moves))
        if locked_out:
            say(str(locked_out))
        return result
    if rolls:
        result["task_definition"] = _roll_out(deployment, wanted, current, description, order.timeout, say)
    if order.verify_url:
        verify(order.verify_url, wanted.model, say)
    if moves:
        _move_alias(deployment, order, record, pointed_at)
        say(f"{record['name']}@{order.alias} is {wanted.model}")
    return result


def withdraw(service: Service, family: str, dry: bool, say: Say) -> dict[str, Any]:
    """Deregister every release of the family; the service itself is left as it is.

    Returns ``changed`` and ``deregistered``, the revisions that were (with ``dry``, would be) deregistered.
    """
    deregistered = []
    for revision, found in service.releases(family):
        if not dry:
            service.deregister(revision)
        deregistered.append(revision)
        say(f"{'would deregister' if dry else 'deregistered'} {revision.rpartition('/')[2]} ({found.model})")
    return {"changed": bool(deregistered), "deregistered": deregistered}


def gate_failures(gate: dict[str, Any], scores: dict[str, Any]) -> list[str]:
    """What of a gate the scores do not reach, with both figures."""
    labels = scores.get("labels", {})
    asked = [("F", gate.get("min_f"), scores.get("f"))]
    asked += [
        (label, least, labels.get(label, {}).get("f")) for label, least in gate.get("labels", {}).items()
    ]
    return [
        f"{name} {'has no score' if got is None else f'{got:.3f}'}, the gate asks {least:.3f}"
        for name, least, got in asked
        if least is not None and (got is None or got < least)
    ]


def verdict(description: Description, revision: str, known: Iterable[str]) -> str:
    """How a rollout stands: `DONE`, `GOING`, `FAILED` or `SUPERSEDED`.

    Parameters
    ----------
    description:
        The service as ECS describes it now.
    revision:
        The revision that is ours.
    known:
        The revisions that were there before: ECS goes back to one of these when ours fails.
    """
    ours = [item for item in description["deployments"] if item["taskDefinition"] == revision]
    if any(item.get("rolloutState") == "FAILED" for item in ours):
        return FAILED
    top = primary(description)
    if top["taskDefinition"] == revision:
        return DONE if top.get("rolloutState") == "COMPLETED" else GOING
    return FAILED if top["taskDefinition"] in known else SUPERSEDED


def verify(url: str, model: str | None, say: Say, patience: float = _VERIFY_FOR) -> None:
    """Ask the server which model it serves until it names this one. Raises UserError if it does not."""
    end = time.monotonic() + patience
    while True:
        answer = _asked(f"{url.rstrip('/')}/ready")  # which is open to those without a key
        if answer == model:
            say(f"{url} answers as {model}")
            return
        if time.monotonic() >= end:
            raise UserError(
                f"ECS has completed the rollout of {model}, but {url}/ready answers: {answer}",
                fix="Check the URL and the load balancer, and promote again; the alias is unmoved.",
            )
        time.sleep(_INTERVAL)


# --- steps of a release ---


def _keys(deployment: Deployment) -> tuple[str | None, NoKeys | None]:
    """The edition of the API keys; or why no task can start without there being one."""
    try:
        return deployment.keys(), None
    except NoKeys as error:
        return None, error


def _wanted(
    deployment: Deployment, order: Order, current: Release, keys: str | None
) -> tuple[Release, dict[str, Any] | None]:
    """What to pin, and the model's record; no record for what is served anyway."""
    if order.model == SERVING:
        return Release(current.model, current.sha256, deployment.template, keys), None
    record = listing.resolve(deployment.models, order.model)
    label = names.model_label(record["name"], record["version"])
    return Release(label, record["sha256"], deployment.template, keys), record


def _standstill(wanted: Release, rolls: bool, moves: bool) -> str:
    if wanted.model is None:
        return "no model is served yet"
    if rolls:
        return f"would roll the service to {wanted.model}"
    return f"would move the alias to {wanted.model}" if moves else f"{wanted.model} is served already"


def _check_gate(model: str | None, gate: dict[str, Any], scores: dict[str, Any]) -> None:
    if failures := gate_failures(gate, scores):
        raise UserError(
            f"{model} does not pass its gate: {'; '.join(failures)} (scored on {scores.get('on')})",
            fix="Promote a better version, or pass over the gate with force: true.",
        )


def _pointed_at(deployment: Deployment, order: Order, record: dict[str, Any] | None) -> int | None:
    found = deployment.models.alias(record["name"], order.alias) if record else None
    return found["version"] if found else None


def _move_alias(deployment: Deployment, order: Order, record: dict[str, Any], before: int | None) -> None:
    if not deployment.models.move_alias(record["name"], order.alias, record["version"], before):
        raise UserError(
            f"another release moved {record['name']}@{order.alias} meanwhile",
            fix="See status.yml for what is served now, and promote again if it is not what you want.",
        )


def _roll_out(
    deployment: Deployment,
    wanted: Release,
    current: Release,
    description: Description,
    timeout: float,
    say: Say,
) -> str:
    service, rollout = deployment.service, primary(description)
    if current == wanted and rollout.get("rolloutState") == "IN_PROGRESS" and description["desiredCount"]:
        revision = rollout["taskDefinition"]
        say(f"{wanted.model} is being rolled out already: following")
    else:
        revision = service.register(deployment.family, wanted)
        service.update(revision, None if description["desiredCount"] else deployment.desired_count)
        say(f"rolling out {wanted.model} {_place(wanted, current)} ({revision.rpartition('/')[2]})")
    return Rollout(deployment, revision, wanted, description, say).follow(timeout)


def _place(wanted: Release, current: Release) -> str:
    if current.model is None:
        return "as the first"
    if (current.model, current.template) == (wanted.model, wanted.template):
        return "with other API keys" if current.keys != wanted.keys else "once more"
    return f"in place of {current.model}"


@dataclass
class Rollout:
    """One revision on its way to being all that the service runs.

    Parameters
    ----------
    deployment:
        Where it happens.
    revision:
        Our revision.
    wanted:
        What it pins.
    before:
        The service as it was.
    say:
        Takes a line.
    """

    deployment: Deployment
    revision: str
    wanted: Release
    before: Description
    say: Say
    _labels: dict[str, str] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)

    def follow(self, timeout: float) -> str:
        """Wait until it has succeeded; returns the revision that did.

        Raises UserError if it does not; the service is then put back.
        """
        known = {item["taskDefinition"] for item in self._others()}
        self._told |= {event["id"] for event in self.before["events"]}
        end, said, standing = time.monotonic() + timeout, time.monotonic(), ""
        while True:
            description = self.deployment.service.describe()
            self._tell_news(description)
            line = self._standing(description)
            if line != standing or time.monotonic() - said >= _STILL_EVERY:
                self.say(line)
                said, standing = time.monotonic(), line
            state = verdict(description, self.revision, known)
            if state == DONE:
                return self.revision
            if state == SUPERSEDED:
                self._give_way(primary(description)["taskDefinition"])
            if state == FAILED or time.monotonic() >= end:
                over = "" if state == FAILED else f"it was not up after {timeout:.0f} s"
                raise self._failed(description, over)
            time.sleep(_INTERVAL)

    def _give_way(self, other: str) -> None:
        """Follow another operator's rollout of the very same. Raises UserError if it is of something else.

        With the API keys that there are now it is the same too: what we changed of them is among these.
        """
        keys, _ = _keys(self.deployment)
        if self.deployment.service.release(other) not in (self.wanted, replace(self.wanted, keys=keys)):
            raise UserError(
                f"another release, of {self._label(other)}, "
                f"took the place of {self.wanted.model} before it was up",
                fix="The alias is unmoved. Let the other end, see status.yml, and promote again if need be.",
            )
        self.say(f"somebody else is rolling out the same ({other.rpartition('/')[2]}): following")
        self.revision = other

    def _failed(self, description: Description, over: str) -> UserError:
        stopped = sorted(
            self.deployment.service.stopped(self.revision), key=lambda task: str(task.get("stoppedAt", ""))
        )
        reasons = [over, *self._reasons(description, stopped)]
        kept = self._put_back(description)
        if stopped and (lines := self.deployment.log(stopped[-1]["taskArn"])):
            self.say("the last lines of the log of the task that stopped last:")
            for line in lines:
                self.say(line)
        return UserError(
            f"{self.wanted.model} did not come up: {'; '.join(filter(None, reasons)) or 'no reason given'}",
            fix=f"{kept}, and the alias is unmoved. Mend the cause and promote again.",
        )

    def _put_back(self, description: Description) -> str:
        """Leave nothing half done: back to the release before, or to no task at all where there was none."""
        held = [item for item in self._others() if item.get("rolloutState") == "COMPLETED"] or self._others()
        if not held:
            return "The service is left as it is"
        last = held[0]["taskDefinition"]
        before = self.deployment.service.release(last)
        if before.model is None:
            self.deployment.service.update(last, 0)
            return "The service runs no task, as before"
        if primary(description)["taskDefinition"] == self.revision:
            self.deployment.service.update(last)
        return f"The service goes on with {before.model}"

    def _others(self) -> list[dict[str, Any]]:
        return [item for item in self.before["deployments"] if item["taskDefinition"] != self.revision]

    def _reasons(self, description: Description, stopped: list[dict[str, Any]]) -> list[str]:
        reasons = [f"a task stopped: {reason}" for reason in dict.fromkeys(map(why, stopped))]
        reasons += [
            item.get("rolloutStateReason", "")
            for item in description["deployments"]
            if item["taskDefinition"] == self.revision and item.get("rolloutState") == "FAILED"
        ]
        return [reason.rstrip(".") for reason in reasons]

    def _standing(self, description: Description) -> str:
        return " | ".join(
            f"{self._label(item['taskDefinition'])}: {_tasks(item)}"
            for item in description["deployments"]
            if item["status"] == "PRIMARY" or item["runningCount"] or item["pendingCount"]
        )

    def _tell_news(self, description: Description) -> None:
        for event in reversed(description["events"]):
            matters = any(word in event["message"] for word in _EVENTS_THAT_MATTER)
            self._tell_once(event["id"], f"ECS: {event['message']}" if matters else "")
        ours = (item for item in description["deployments"] if item["taskDefinition"] == self.revision)
        if any(item.get("failedTasks") for item in ours):
            for task in self.deployment.service.stopped(self.revision):
                self._tell_once(task["taskArn"], f"a task of {self.wanted.model} stopped: {why(task)}")

    def _tell_once(self, what: str, line: str) -> None:
        if what not in self._told and line:
            self.say(line)
        self._told.add(what)

    def _label(self, revision: str) -> str:
        if revision == self.revision:
            return str(self.wanted.model)
        if revision not in self._labels:
            self._labels[revision] = (
                self.deployment.service.release(revision).model or revision.rpartition("/")[2]
            )
        return self._labels[revision]


def _tasks(item: dict[str, Any]) -> str:
    if item["status"] != "PRIMARY":
        return f"{item['runningCount']} draining"
    pending = f", {item['pendingCount']} pending" if item["pendingCount"] else ""
    return f"{item['runningCount']} of {item['desiredCount']} running{pending}"


def _asked(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return str(json.load(answer)["model"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        return f"{type(error).__name__}: {error}"
