"""The commands that roll a service, as an operator gives them, and what they have to leave behind."""

import json
import time
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from subprocess import CompletedProcess
from typing import Any

from nerforge_contract import names
from support.deployment import Deployment

from .verdict import Roll
from .versions import Versions

ALIAS = "production"
FORCE = "rolled to and fro"  # why the gate is passed over

Ended = CompletedProcess[str]


@dataclass(frozen=True)
class Wish:
    """One of several commands that are given at once.

    Parameters
    ----------
    told:
        In words.
    command:
        The playbook, and its arguments.
    serves:
        The versions that may be served if it wins.
    """

    told: str
    command: tuple[str, ...]
    serves: frozenset[str]


@dataclass
class Commands:
    """Gives commands one after another, and keeps what has become of them.

    Parameters
    ----------
    deployment:
        Whose service rolls.
    versions:
        Its versions.
    serves:
        The version that is served now.
    settle:
        Is called once a command has returned and what it left behind was looked at.
    wrong:
        What a command has left behind that it should not have, in words.
    rolls:
        All that were given.
    """

    deployment: Deployment
    versions: Versions
    serves: str
    settle: Callable[[Roll], None]
    wrong: list[str] = field(default_factory=list)
    rolls: list[Roll] = field(default_factory=list)

    def promote(self, model: str) -> Ended:
        """Have a version served, which has to succeed."""
        return self._roll("promote", model, _promote(model))

    def roll_back(self, model: str) -> Ended:
        """Go back to the release before, which has to be this version, and to succeed."""
        return self._roll("rollback", model, ("rollback",))

    def refused(self, model: str, kind: str, reason: str) -> Ended:
        """Promote a version that must not come to be served, for this reason."""
        began = time.monotonic()
        ended = self._playbook(_promote(model))
        self._record(f"promote {model}, which {kind}", kind, frozenset(), self.serves, began)
        said = " ".join(ended.stdout.split())  # Ansible breaks long lines
        if ended.returncode == 0 or not all(words in said for words in (reason, "alias is unmoved")):
            self._complain(f"exit code {ended.returncode}, and why has to be said: {reason}", ended)
        return ended

    def promotion(self, model: str) -> Wish:
        """To have this version served."""
        return Wish(f"promote {model}", _promote(model), frozenset({model}))

    def rollback(self, model: str) -> Wish:
        """To go back to this version, or, where a promotion is under way, to the one that is served."""
        return Wish("roll back", ("rollback",), frozenset({model, self.serves}))

    def at_once(self, *wishes: Wish) -> None:
        """Give several commands at the same moment. One has to win, and all others have to name what did."""
        began = time.monotonic()
        with ThreadPoolExecutor(len(wishes)) as pool:
            ended = list(pool.map(lambda wish: self._playbook(wish.command), wishes))
        told = " and ".join(wish.told for wish in wishes)
        tried = frozenset(model for wish in wishes for model in wish.serves)
        self._record(f"{told} at once", "at once", tried, self._pointed_at() or self.serves, began)
        won = [wish for wish, each in zip(wishes, ended, strict=True) if each.returncode == 0]
        if len(won) != 1 or self.serves not in won[0].serves:
            self._complain(f"{[wish.told for wish in won]} say that they have won", *ended)
        for wish, each in zip(wishes, ended, strict=True):
            if wish not in won and self.serves not in each.stdout.partition("fatal:")[2]:
                self._complain(f"who wanted to {wish.told} is not told of {self.serves}", each)

    def _roll(self, kind: str, model: str, command: Sequence[str]) -> Ended:
        began = time.monotonic()
        ended = self._playbook(command)
        leaves = model if ended.returncode == 0 else self.serves
        self._record(f"{kind} to {model}", kind, frozenset({model}), leaves, began)
        if ended.returncode != 0:
            self._complain(f"exit code {ended.returncode}", ended)
        return ended

    def _playbook(self, command: Sequence[str]) -> Ended:
        name, *arguments = command
        return self.deployment.playbook(f"playbooks/{name}.yml", *arguments)

    def _record(self, told: str, kind: str, tried: frozenset[str], leaves: str, began: float) -> None:
        before, self.serves = self.serves, leaves
        self.rolls.append(Roll(told, kind, before, tried, leaves, began, time.monotonic()))
        for words in self._left(leaves):
            self._complain(words)
        self.settle(self.rolls[-1])

    def _pointed_at(self) -> str | None:
        name, __ = names.parse_model_label(self.serves)
        alias = self.versions.models.alias(name, ALIAS)
        return names.model_label(name, alias["version"]) if alias else None

    def _left(self, model: str) -> list[str]:
        """What of the deployment does not say that this version is served: tasks, service and alias."""
        found = {
            f"the alias {ALIAS}": self._pointed_at(),
            "the service": self._pinned(),
            **self._answering(),
        }
        return [f"{where} is {what}, and not {model}" for where, what in found.items() if what != model]

    def _pinned(self) -> str | None:
        service = self._service()
        definition = self.deployment.client("ecs").describe_task_definition(
            taskDefinition=service["taskDefinition"]
        )["taskDefinition"]
        environment = definition["containerDefinitions"][0]["environment"]
        return next((each["value"] for each in environment if each["name"] == names.ENV_MODEL), None)

    def _answering(self) -> dict[str, str]:
        """What each task behind the load balancer says that it serves."""
        service = self._service()
        group = service["loadBalancers"][0]["targetGroupArn"]
        targets = [
            each["Target"]
            for each in self.deployment.client("elbv2").describe_target_health(TargetGroupArn=group)[
                "TargetHealthDescriptions"
            ]
        ]
        found = {f"task {each['Id']}": _model(f"http://{each['Id']}:{each['Port']}") for each in targets}
        if len(targets) != service["desiredCount"]:
            found["the number of tasks"] = f"{len(targets)} of {service['desiredCount']}"
        return found

    def _service(self) -> dict[str, Any]:
        return self.deployment.client("ecs").describe_services(
            cluster=self.deployment.parameter("training/cluster_name"),
            services=[self.deployment.parameter("serving/service_name")],
        )["services"][0]

    def _complain(self, words: str, *ended: Ended) -> None:
        outputs = (f"\n{each.stdout}" for each in ended)
        self.wrong.append(f"{self.rolls[-1].command}: {words}{''.join(outputs)}")


def _promote(model: str) -> tuple[str, ...]:
    """A promotion past the gate, which would stop one of the two ways between versions."""
    return "promote", "-e", json.dumps({"model": model, "force": FORCE})


def _model(url: str) -> str:
    try:
        with urllib.request.urlopen(f"{url}/ready", timeout=10) as answer:
            return json.load(answer)["model"]
    except (OSError, ValueError, LookupError) as error:
        return f"{type(error).__name__}: {error}"
