# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One revision on its way to being all that the service runs: followed, verified, and put back if it fails.

`services_stable` is never asked: after a rollback it is content with the old version. What counts is whether
the PRIMARY deployment is ours, and completed.
"""

from __future__ import annotations

import http.client
import json
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from ansible.module_utils.urls import open_url

from ..module_utils.contract.errors import UserError
from .claims import Claim
from .deployment import Deployment
from .service import Description, Release, Service, primary, why
from .session import aws_errors, is_transient
from .wording import Say, cut

_INTERVAL = 1.0
_STILL_EVERY = 30.0  # seconds without a line before it says that it still waits
_LOG_WIDTH = 200  # characters of a log's line within an error
_IN_BRACKETS = re.compile(r"\([^)]*\)")  # names and ARNs, which may have any word in them
_EVENTS_THAT_MATTER = ("unable", "unhealthy", "fail", "circuit breaker", "roll", "error")

_VERIFY_FOR = 60.0  # seconds for the load balancer to turn to the new tasks
_VERIFY_HOLD = 3.0  # seconds in which every answer must be the new version's
_VERIFY_EVERY = 0.2  # seconds between two questions

DONE, GOING, FAILED, SUPERSEDED, LATE = "done", "going", "failed", "superseded", "late"


class Superseded(UserError):
    """Another release has taken the place of ours."""


class Unverified(UserError):
    """ECS has completed the rollout, but the service does not answer as it should."""


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
    claim:
        Tells whether another release has come between.
    timeout:
        Seconds it may take.
    say:
        Takes a line.
    """

    deployment: Deployment
    revision: str
    wanted: Release
    before: Description
    claim: Claim
    timeout: float
    say: Say
    _labels: dict[str, str] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)
    _is_up: bool = False

    def follow(self) -> None:
        """Wait until it has succeeded. Raises UserError if it does not; the service is as ECS left it."""
        self._told |= {event["id"] for event in self.before["events"]}
        while True:
            state, description = self._watch()
            if state == DONE:
                self._is_up = True
                return
            if state != SUPERSEDED:
                raise self._failed(description, f"it was not up after {self.timeout:.0f} s" * (state == LATE))
            self._give_way(primary(description)["taskDefinition"])

    def put_back(self) -> str:
        """Leave nothing half done, unless another release is being rolled out by now.

        Back to what ran before, or to no task at all where there was none. If another release has claimed the
        service since, back to what its alias says: it may have ended before ours began to roll. Once ours had
        been up, the tasks of the release before are gone, and are waited for.

        Returns what the service goes on with, as a sentence without a full stop.
        """
        decided, told = None, ""
        while (now := self._decision()) != decided:  # a release that ends while we write has not seen it
            decided = now
            told = self._return_to(*decided)
        return told

    # --- watching ---

    def _watch(self) -> tuple[str, Description]:
        """Look until it is `DONE`, `FAILED`, `SUPERSEDED` or `LATE`, and say what happens."""
        end, said, standing = time.monotonic() + self.timeout, time.monotonic(), ""
        while True:
            try:
                description = self._look()
            except aws_errors() as error:
                if not is_transient(error) or time.monotonic() >= end:
                    raise
                self._tell_once(str(error), f"ECS gives no answer, and is asked again: {error}")
                time.sleep(_INTERVAL)
                continue
            line = self._standing(description)
            if line != standing or time.monotonic() - said >= _STILL_EVERY:
                self.say(line)
                said, standing = time.monotonic(), line
            state = verdict(description, self.revision, self._known)
            if state != GOING:
                return state, description
            if time.monotonic() >= end:
                return LATE, description
            time.sleep(_INTERVAL)

    def _look(self) -> Description:
        description = self.deployment.service.describe()
        self._tell_news(description)
        for item in description["deployments"]:
            self._label(item["taskDefinition"])
        return description

    def _give_way(self, other: str) -> None:
        """Follow another operator's rollout of the very same. Raises Superseded if it is of something else.

        With the API keys that there are now it is the same too: what we changed of them is among these.
        """
        keys, __ = self.deployment.edition()
        if self.deployment.service.release(other) not in (self.wanted, replace(self.wanted, keys=keys)):
            raise Superseded(
                f"another release, of {self._label(other)}, "
                f"took the place of {self.wanted.model} before it was up",
                fix="The alias is unmoved. Let the other end, see status.yml, and promote again if need be.",
            )
        self.say(f"somebody else is rolling out the same ({other.rpartition('/')[2]}): following")
        self.revision = other

    def _standing(self, description: Description) -> str:
        return " | ".join(
            f"{self._label(item['taskDefinition'])}: {_tasks(item)}"
            for item in description["deployments"]
            if item["status"] == "PRIMARY" or item["runningCount"] or item["pendingCount"]
        )

    def _tell_news(self, description: Description) -> None:
        for event in reversed(description["events"]):
            said = _IN_BRACKETS.sub("", event["message"])
            matters = any(word in said for word in _EVENTS_THAT_MATTER)
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

    # --- failing ---

    def _failed(self, description: Description, over: str) -> UserError:
        stopped = sorted(
            self.deployment.service.stopped(self.revision), key=lambda task: str(task.get("stoppedAt", ""))
        )
        reasons = [over, *self._reasons(description, stopped)]
        if stopped and (lines := self.deployment.log(stopped[-1]["taskArn"])):
            self.say("the last lines of the log of the task that stopped last:")
            for line in lines:
                self.say(line)
            reasons.append(f"its log ends with: {cut(lines[-1], _LOG_WIDTH)}")
        unknown = "no reason given" if self.claim.is_kept() else "another release came between"
        return UserError(
            f"{self.wanted.model} did not come up: {'; '.join(filter(None, reasons)) or unknown}",
            fix="Mend the cause and try again.",
        )

    def _reasons(self, description: Description, stopped: list[dict[str, Any]]) -> list[str]:
        reasons = [f"a task stopped: {reason}" for reason in dict.fromkeys(map(why, stopped))]
        reasons += [
            item.get("rolloutStateReason", "")
            for item in description["deployments"]
            if item["taskDefinition"] == self.revision and item.get("rolloutState") == "FAILED"
        ]
        return [reason.rstrip(".") for reason in reasons]

    # --- putting back ---

    def _decision(self) -> tuple[str | None, int | None]:
        """Another's claim of the service, if it is no longer ours, and the version its alias points at."""
        if self.claim.is_kept():
            return None, None
        by: Any = self.deployment.models.claimed()
        return by["of"], self.deployment.pointed_at(by["of"], by["alias"])

    def _return_to(self, name: str | None, version: int | None) -> str:
        service = self.deployment.service
        description = service.describe()
        record = self.deployment.models.get(name, version) if name and version else None
        if record is None:
            return self._return_to_predecessor(description)
        back = self.deployment.pinned(record)
        if self._is_ours(description) and service.release(self.revision).model != back.model:
            self._roll_back(service.register(self.deployment.family, back), back, description)
        return f"The service goes on with {back.model}"

    def _return_to_predecessor(self, description: Description) -> str:
        service = self.deployment.service
        held = [item for item in self._others() if item.get("rolloutState") == "COMPLETED"] or self._others()
        if not held:
            return "The service is left as it is"
        last = held[0]["taskDefinition"]
        before = service.release(last)
        if before.model is None:
            if self._is_ours(description) or primary(description)["taskDefinition"] == last:
                service.update(last, 0)
            return "The service runs no task, as before"
        if self._is_ours(description):
            self._roll_back(last, before, description)
        return f"The service goes on with {before.model}"

    def _roll_back(self, revision: str, back: Release, description: Description) -> None:
        self.deployment.service.update(revision, at_once=True)
        if self._is_up:
            self.say(f"going back to {back.model}")
            way = Rollout(self.deployment, revision, back, description, self.claim, self.timeout, self.say)
            way._told = self._told
            state, __ = way._watch()
            if state != DONE:
                self.say(f"{back.model} is not all that runs yet: status.yml tells how it goes on")
        self.revision, self.wanted = revision, back

    @property
    def _known(self) -> set[str]:
        return {item["taskDefinition"] for item in self._others()}

    def _is_ours(self, description: Description) -> bool:
        return bool(primary(description)["taskDefinition"] == self.revision)

    def _others(self) -> list[dict[str, Any]]:
        return [item for item in self.before["deployments"] if item["taskDefinition"] != self.revision]


def undo(service: Service, timeout: float, say: Say) -> bool:
    """Have the requests given back to the tasks before, if they are being shifted; returns whether they were.

    That takes seconds: those tasks run yet.
    """
    end = time.monotonic() + timeout
    undone = False
    while service.undo() and time.monotonic() < end:
        if not undone:
            say("the requests go back to the tasks that had them")
        undone = True
        time.sleep(_INTERVAL)
    return undone


def verify(url: str, model: str | None, say: Say) -> None:
    """Ask the server, over a new connection each time, which model it serves, until every answer is this one.

    Raises Unverified if another answer still comes after a minute.
    """
    say(f"asking {url} which model answers")
    end, since, times = time.monotonic() + _VERIFY_FOR, None, 0
    while True:
        answer = _asked(f"{url.rstrip('/')}/ready")  # which is open to those without a key
        now = time.monotonic()
        if answer == model:
            since, times = since or now, times + 1
            if now - since >= _VERIFY_HOLD:
                say(f"{url} answers as {model}, {times} times in a row")
                return
        elif now >= end:
            raise Unverified(
                f"ECS has completed the rollout of {model}, but {url}/ready answers: {answer}",
                fix="Check the URL and the load balancer, and try again.",
            )
        else:
            since, times = None, 0
        time.sleep(_VERIFY_EVERY)


def _tasks(item: dict[str, Any]) -> str:
    if "standing" in item:
        return str(item["standing"])
    if item["status"] != "PRIMARY":
        return f"{item['runningCount']} running"
    pending = f", {item['pendingCount']} pending" if item["pendingCount"] else ""
    return f"{item['runningCount']} of {item['desiredCount']} running{pending}"


def _asked(url: str) -> str:
    try:
        with open_url(url, timeout=10) as answer:
            return str(json.load(answer)["model"])
    except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError) as error:
        return f"{type(error).__name__}: {error}"
