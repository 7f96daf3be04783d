# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release carried out: rolled, followed, verified, and the alias moved; or taken back.

Two at once end with the service and the alias in agreement, whichever of them wins. ECS takes the last
word of anybody; so a release claims the service before it changes it, moves the alias only if nobody has
claimed it since, and, if somebody has, leaves the service to them, or puts it back to what their alias says.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

from ..module_utils.contract import names
from ..module_utils.contract.errors import UserError
from ..module_utils.contract.models import PROMOTE, ROLLBACK
from .claims import Claim
from .deployment import Deployment, Record
from .keys import NoKeys
from .rollout import Rollout, Superseded, Unverified, undo, verify
from .service import Description, Release, primary
from .session import aws_errors
from .wording import Say


@dataclass(frozen=True)
class Order:
    """What is asked for.

    Parameters
    ----------
    model:
        ``name:number``, ``name``, ``name@alias``, or ``@serving``; of a rollback the name, or None for that
        of the model that is served.
    alias:
        The alias to move once the model is served.
    forced:
        Why the gate is passed over; None if it is not.
    timeout:
        Seconds the rollout may take.
    verify_url:
        Where the server answers, if it can be reached from here.
    by:
        Who asks for it, as AWS knows them.
    dry:
        Whether only to tell what would be done.

    Raises UserError for an alias that is no name, and for a URL that is none.
    """

    model: str | None
    alias: str
    forced: str | None = None
    timeout: float = 900.0
    verify_url: str | None = None
    by: str | None = None
    dry: bool = False

    def __post_init__(self) -> None:
        if not re.fullmatch(names.NAME_PATTERN, self.alias):
            fix = "Give one such as production: lower-case letters, digits and hyphens, a letter first."
            raise UserError(f"{self.alias!r} is no alias's name", "alias", fix)
        if self.verify_url and not re.match("https?://[^/]", self.verify_url):
            fix = "Begin it with http:// or https://."
            raise UserError(f"{self.verify_url!r} is no URL", "nerforge_url", fix)


@dataclass(frozen=True)
class Standing:
    """The service as it stands: as ECS describes it, its PRIMARY deployment, and what that pins."""

    description: Description
    rollout: dict[str, Any]
    current: Release

    @property
    def is_settled(self) -> bool:
        """Whether its tasks run, and nothing is being rolled out."""
        return self.rollout.get("rolloutState") == "COMPLETED" and bool(self.description["desiredCount"])

    @property
    def is_rolling(self) -> bool:
        """Whether something is being rolled out."""
        return self.rollout.get("rolloutState") == "IN_PROGRESS" and bool(self.description["desiredCount"])


@dataclass(frozen=True)
class Aim:
    """What is to be served, and of which version the alias is to be.

    Parameters
    ----------
    wanted:
        What to pin.
    record:
        The version's record; None for what is served anyway, of which no alias moves.
    pointed_at:
        The version that the alias points at.
    kind:
        The kind of move of the alias.
    """

    wanted: Release
    record: Record | None = None
    pointed_at: int | None = None
    kind: str = PROMOTE

    @property
    def moves(self) -> bool:
        """Whether the alias is to be moved."""
        return self.record is not None and self.record["version"] != self.pointed_at

    @property
    def target(self) -> Record:
        """The version's record, where there is one: where an alias moves, there is."""
        return cast(Record, self.record)


Find = Callable[[Standing], Aim]

_IF_CUT_SHORT = (
    "cut short, this leaves the service rolling and the alias unmoved: then give it again, or rollback.yml"
)
_UNASKED = "nerforge_url is not set: which model answers is not asked, and ECS is taken at its word"


class Delivery:
    """One release, carried out.

    Parameters
    ----------
    deployment:
        Where.
    order:
        What is asked for.
    say:
        Takes a line.
    """

    def __init__(self, deployment: Deployment, order: Order, say: Say) -> None:
        self._deployment, self._order, self._say = deployment, order, say

    def serve(self, find: Find) -> dict[str, Any]:
        """Serve what is found for the service as it stands, and move the alias.

        Returns ``changed``, ``model``, ``previous`` and ``task_definition``.
        Raises UserError if it fails, or another release has come between; ours is then taken back.
        """
        standing = self._look()
        aim = find(standing)
        rolls, locked_out = self._rolls(aim, standing)
        if self._order.dry or not (rolls or aim.moves):
            self._say(_standstill(aim, rolls))
            if locked_out:
                self._say(str(locked_out))
            return _result(aim, standing, rolls, standing.rollout["taskDefinition"])
        claim = self._claim(aim)
        standing = self._look()  # once more: only now does nobody else move the alias
        aim = find(standing)
        rolls, __ = self._rolls(aim, standing)
        if rolls and aim.kind == ROLLBACK and undo(self._deployment.service, self._order.timeout, self._say):
            standing = self._look()
            rolls, __ = self._rolls(aim, standing)
        return _result(aim, standing, rolls, self._see_through(aim, standing, claim, rolls))

    def _look(self) -> Standing:
        description = self._deployment.service.describe()
        rollout = primary(description)
        return Standing(description, rollout, self._deployment.service.release(rollout["taskDefinition"]))

    def _rolls(self, aim: Aim, standing: Standing) -> tuple[bool, NoKeys | None]:
        """Whether there is anything to roll out, and what the API keys lack. Raises that if both are so."""
        rolls = aim.wanted.model is not None and not (standing.current == aim.wanted and standing.is_settled)
        __, locked_out = self._deployment.edition()
        if rolls and locked_out:
            raise locked_out
        return rolls, locked_out

    def _claim(self, aim: Aim) -> Claim:
        models = self._deployment.models
        return (
            Claim.make(models, aim.record["name"], self._order.alias) if aim.record else Claim.leave(models)
        )

    def _see_through(self, aim: Aim, standing: Standing, claim: Claim, rolls: bool) -> str:
        """Roll, follow, verify and move the alias; returns the revision that the service runs then."""
        rollout = self._begin(aim, standing, claim) if rolls else None
        try:
            if rollout:
                rollout.follow()
            if self._order.verify_url:
                verify(self._order.verify_url, aim.wanted.model, self._say)
            else:
                self._say(_UNASKED)
            is_kept = self._finish(aim, claim)
        except Exception as error:
            raise (self._undone(aim, rollout, error) if rollout else error) from None
        if not is_kept:
            self._make_way(aim, rollout)
        elif aim.moves:
            self._say(f"{aim.target['name']}@{self._order.alias} is {aim.wanted.model}")
        standing = self._look()
        if claim.is_ours and standing.current.model != aim.wanted.model and claim.is_kept():
            # One that gave way to ours has put the service back to what our alias said until now.
            self._say(f"{standing.current.model} is being put back by another release: once more")
            aim = replace(aim, pointed_at=aim.target["version"])
            return self._see_through(aim, standing, claim, True)
        revision: str = standing.rollout["taskDefinition"]
        return revision

    def _begin(self, aim: Aim, standing: Standing, claim: Claim) -> Rollout:
        deployment, wanted = self._deployment, aim.wanted
        service = deployment.service
        if standing.current == wanted and standing.is_rolling:
            revision = standing.rollout["taskDefinition"]
            self._say(f"{wanted.model} is being rolled out already: following")
        else:
            revision = service.register(deployment.family, wanted)
            count = None if standing.description["desiredCount"] else deployment.desired_count
            service.update(revision, count, at_once=aim.kind == ROLLBACK)
            way, place = _way(aim), _place(wanted, standing.current)
            self._say(f"rolling {way} {wanted.model} {place} ({revision.rpartition('/')[2]})")
        self._say(_IF_CUT_SHORT)
        timeout = self._order.timeout + service.wait_seconds
        return Rollout(deployment, revision, wanted, standing.description, claim, timeout, self._say)

    def _finish(self, aim: Aim, claim: Claim) -> bool:
        """Move the alias, if it is to be moved. Returns whether no other release has come between."""
        if not aim.moves:
            return claim.finish()
        name, version, before, order = aim.target["name"], aim.target["version"], aim.pointed_at, self._order
        move = (name, order.alias, version, before, aim.kind, order.by, order.forced, claim.found["id"])
        while claim.is_kept():  # two transactions at once may refuse each other
            if self._deployment.models.move_alias(*move):
                return True
            if self._deployment.pointed_at(name, order.alias) != before:
                return False
        return False

    # --- failing ---

    def _is_to_be_undone(self, aim: Aim, error: Exception) -> bool:
        """Whether a release that has failed leaves the service to be put back."""
        if isinstance(error, Superseded) or (aim.kind == ROLLBACK and isinstance(error, Unverified)):
            return False
        if not aim.moves:
            return True
        # The answer to a write may have been lost, and not the write.
        points_at = self._deployment.pointed_at(aim.target["name"], self._order.alias)
        return bool(points_at != aim.target["version"])

    def _undone(self, aim: Aim, rollout: Rollout, error: Exception) -> Exception:
        """Put the service back, if that is to be; returns the error, with what the service goes on with."""
        # Such as credentials that have run out since.
        hindrances: tuple[type[Exception], ...] = (UserError, *aws_errors())
        try:
            if not self._is_to_be_undone(aim, error):
                return error
            kept = f"{rollout.put_back()}, and the alias is unmoved"
        except hindrances as hindrance:
            kept = (
                f"It could not be put back ({hindrance}): once that is mended, models.yml tells what is "
                "served, and rollback.yml goes back to what the alias says"
            )
        if isinstance(error, UserError):
            return UserError(error.what, error.where, f"{kept}. {error.fix}")
        self._say(kept)
        return error

    def _make_way(self, aim: Aim, rollout: Rollout | None) -> None:
        """Leave the service to the release that claimed it since. Raises UserError unless it is the same."""
        kept = f"{rollout.put_back()}. " if rollout else ""
        claimed: Any = self._deployment.models.claimed()
        at = self._deployment.pointed_at(claimed["of"], claimed["alias"])
        if at and names.model_label(claimed["of"], at) == aim.wanted.model:
            return
        error = came_between(self._deployment, claimed["of"], claimed["alias"])
        raise UserError(error.what, fix=f"{kept}{error.fix}")


def came_between(deployment: Deployment, name: str, alias: str) -> UserError:
    """What tells that another release has moved an alias, or is about to."""
    at = deployment.pointed_at(name, alias)
    now = f"which is {names.model_label(name, at)} now" if at else "which is not there yet"
    return UserError(
        f"another release came between, of {name}@{alias}, {now}",
        fix="See status.yml for what is served, and try again if it is not what you want.",
    )


def _result(aim: Aim, standing: Standing, rolls: bool, revision: str) -> dict[str, Any]:
    return {
        "changed": rolls or aim.moves,
        "model": aim.wanted.model,
        "previous": standing.current.model,
        "task_definition": revision,
    }


def _standstill(aim: Aim, rolls: bool) -> str:
    model = aim.wanted.model
    if model is None:
        return "no model is served yet"
    if rolls:
        return f"would roll the service {'back ' if aim.kind == ROLLBACK else ''}to {model}"
    return f"would move the alias to {model}" if aim.moves else f"{model} is served already"


def _way(aim: Aim) -> str:
    return "back to" if aim.kind == ROLLBACK else "out"


def _place(wanted: Release, current: Release) -> str:
    if current.model is None:
        return "as the first"
    if (current.model, current.template) == (wanted.model, wanted.template):
        return "with other API keys" if current.keys != wanted.keys else "once more"
    return f"in place of {current.model}"
