"""Releases at once: whatever comes between, the service and the alias agree in the end."""

import functools
import itertools
import json
import random
import threading
from dataclasses import dataclass, field, replace

import pytest
from ansible_collections.nerforge.aws.plugins.module_utils.contract.errors import UserError
from ansible_collections.nerforge.aws.plugins.plugin_utils import release as releases
from ansible_collections.nerforge.aws.plugins.plugin_utils import rollout
from ansible_collections.nerforge.aws.plugins.plugin_utils.deployment import Deployment
from ansible_collections.nerforge.aws.plugins.plugin_utils.release import SERVING, Order, release, rollback
from ansible_collections.nerforge.aws.plugins.plugin_utils.service import Service, primary

SCHEDULES = 80


class Shelf:
    """`Models` in memory, under the same conditions: tens of thousands of calls would take moto minutes."""

    def __init__(self):
        self.moves, self.last_claim = [], None

    def get(self, name, version):
        return {"name": "people", "version": version, "sha256": f"{version}" * 64, "scores": {"f": 0.5}}

    def alias(self, name, alias):
        return {"version": self.moves[-1]["version"]} if self.moves else None

    def history(self, name, alias):
        return list(self.moves)

    def claim(self, name, alias):
        self.last_claim = {"id": object(), "of": name, "alias": alias, "done": False}
        return self.last_claim["id"]

    def claimed(self):
        return self.last_claim

    def finish(self, claim):
        kept = self.last_claim["id"] == claim
        if kept:
            self.last_claim = self.last_claim | {"done": True}
        return kept

    def move_alias(self, name, alias, version, before, kind, by, forced, claim):
        at = self.moves[-1]["version"] if self.moves else None
        if at != before or not self.finish(claim):
            return False
        move = {"version": version, "kind": kind, "before": before}
        self.moves.append({key: value for key, value in move.items() if value is not None})
        return True


CALLS = {
    Service: ("describe", "register", "update"),
    Shelf: ("alias", "history", "claim", "claimed", "finish", "move_alias"),
}


@dataclass
class Site:
    """A deployment, which can be put back to where it began.

    Parameters
    ----------
    before_each:
        Is called before each call of the service and the table.
    """

    deployment: Deployment
    ecs: object
    before_each: object = None
    begun: tuple = field(default=())

    def remember(self):
        """Take this as the beginning."""
        moves = list(self.deployment.models.moves)
        self.begun = json.dumps(self.ecs.deployments), dict(self.ecs.definitions), moves

    def begin(self):
        """Go back to the beginning."""
        deployments, definitions, moves = self.begun
        self.ecs.deployments, self.ecs.definitions = json.loads(deployments), dict(definitions)
        self.ecs.steps = iter(())
        self.deployment.models.moves, self.deployment.models.last_claim = list(moves), None

    def promote(self, version):
        return release(self.deployment, Order(f"people:{version}", "production", forced="a test"), list)

    def serve_again(self):
        return release(self.deployment, Order(SERVING, "production"), list)

    def roll_back(self):
        return rollback(self.deployment, Order(None, "production"), list)

    def check(self, ended, told):
        """The service runs what the alias says, and whoever failed says why."""
        description = self.deployment.service.describe()
        served = self.deployment.service.release(primary(description)["taskDefinition"]).model
        assert served == f"people:{self.deployment.pointed_at('people', 'production')}", told
        assert primary(description)["rolloutState"] == "COMPLETED", told
        assert all(isinstance(end, str | UserError) for end in ended), told


ORDERS = {
    "promote 2": lambda site: site.promote(2),
    "promote 3": lambda site: site.promote(3),
    "serve again": Site.serve_again,
    "roll back": Site.roll_back,
}


def outcome(site, act):
    """What a command ends with: the model that it says is served, or why it failed."""
    try:
        return ORDERS[act](site)["model"]
    except Exception as error:
        return error


@pytest.fixture
def site(ecs, monkeypatch):
    """people:1 is served after people:3, and Terraform has changed the template since."""
    monkeypatch.setattr(rollout, "_INTERVAL", 0)
    monkeypatch.setattr(
        releases.registry, "resolve", lambda models, label: models.get("people", int(label[-1]))
    )
    deployment = Deployment(
        models=Shelf(),
        service=Service(ecs, "nerforge", "nerforge-server"),
        template=ecs.template,
        family="nerforge-server",
        desired_count=2,
        manifest=lambda record: {"spec": {}},
        counts=lambda record, of, dry: None,
        log=lambda task: [],
        keys=lambda: None,
    )
    site = Site(deployment, ecs)
    for version in (3, 1):
        site.promote(version)
    template = ecs._add(ecs.definitions[ecs.template][0] | {"cpu": "512"}, [])
    site.deployment = replace(deployment, template=template)
    site.remember()

    def told(call):
        @functools.wraps(call)
        def called(*arguments, **more):
            if site.before_each:
                site.before_each()
            return call(*arguments, **more)

        return called

    for part, methods in CALLS.items():
        for method in methods:
            monkeypatch.setattr(part, method, told(getattr(part, method)))
    return site


@pytest.mark.parametrize("ours", ORDERS)
@pytest.mark.parametrize("theirs", ORDERS)
def test_another_release_between_any_two_calls_of_ours(site, ours, theirs):
    """It begins and ends there. Never is there a mix, nor no winner."""
    for at in itertools.count():
        site.begin()
        calls, ended = itertools.count(), []

        def interrupt(at=at, calls=calls, ended=ended):  # pylint: disable=dangerous-default-value # bound at once
            if next(calls) == at:
                site.before_each = None
                ended.append(outcome(site, theirs))

        site.before_each = interrupt
        ended.insert(0, outcome(site, ours))
        site.before_each = None
        if len(ended) == 1:  # ours ended with fewer calls
            assert at > 5
            return
        told = f"{theirs} before call {at} of {ours}: {ended}"
        site.check(ended, told)
        assert any(isinstance(end, str) for end in ended), told


@pytest.mark.parametrize("seed", range(SCHEDULES))
def test_releases_whose_calls_come_in_any_order(site, seed):
    """Two or three; which of them goes on is drawn before each call, some of them being slow for a while."""
    site.begin()
    chance = random.Random(seed)
    acts = [chance.choice(list(ORDERS)) for __ in range(chance.choice((2, 2, 3)))]
    ended = Schedule(site, acts, chance).run()
    site.check(ended, f"{acts}: {ended}")


class Schedule:
    """Commands in threads, of which one at a time goes on."""

    def __init__(self, site, acts, chance):
        self.site, self.acts, self.chance = site, acts, chance
        self.speed = dict.fromkeys(range(len(acts)), 1.0)
        self.turn, self.changed = None, threading.Condition()
        self.ended = [None] * len(acts)
        self.thread = threading.local()

    def run(self):
        """Run them all; returns what they end with."""
        threads = [threading.Thread(target=self._act, args=(n,), daemon=True) for n in self.speed]
        self.site.before_each = self._pause
        for thread in threads:
            thread.start()
        with self.changed:
            self._draw()
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive(), self.acts
        self.site.before_each = None
        return self.ended

    def _act(self, number):
        self.thread.number = number
        with self.changed:
            self._wait()
        self.ended[number] = outcome(self.site, self.acts[number])
        with self.changed:
            del self.speed[number]
            self._draw()

    def _pause(self):
        with self.changed:
            self._draw()
            self._wait()

    def _wait(self):
        self.changed.wait_for(lambda: self.turn == self.thread.number)

    def _draw(self):
        if self.chance.random() < 0.15:
            self.speed = {number: self.chance.random() ** 3 + 0.01 for number in self.speed}
        if self.speed:
            (self.turn,) = self.chance.choices(list(self.speed), self.speed.values())
        self.changed.notify_all()
