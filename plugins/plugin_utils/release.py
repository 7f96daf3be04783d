# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases: a model version through its gate and into service, and back to the one before."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, cast

from ..module_utils.contract import names
from ..module_utils.contract.errors import UserError
from ..module_utils.contract.models import ROLLBACK, release_before
from . import gate, registry
from .delivery import Aim, Delivery, Order, Standing, came_between
from .deployment import Deployment, Record
from .service import Service, primary
from .wording import Say

SERVING = "@serving"  # in place of a model: the one that is served now


def release(deployment: Deployment, order: Order, say: Say) -> dict[str, Any]:
    """Serve a model version, and then move the alias to it.

    Returns ``changed``, ``model``, ``previous`` and ``task_definition``.
    Raises UserError if there is no such version, it does not pass its gate, the server would find no API key,
    it does not come up, or another release comes between; the alias then stays where it was.
    """
    delivery = Delivery(deployment, order, say)
    if order.model == SERVING:
        return delivery.serve(lambda standing: _same_again(deployment, standing))
    record = registry.resolve(deployment.models, cast(str, order.model))
    rival = deployment.pointed_at(record["name"], order.alias)
    if order.forced:
        say(f"the gate is passed over: {order.forced}")
    else:
        _check_gate(deployment, order, record, rival, say)
    return delivery.serve(lambda standing: _next(deployment, order, record, rival, standing))


def rollback(deployment: Deployment, order: Order, say: Say) -> dict[str, Any]:
    """Serve the release before, with no gate; while a promotion is under way, or stuck, what the alias says.

    Returns as `release` does. Raises UserError if there is none, it does not come up, or another release
    comes between.
    """
    if order.model and not re.fullmatch(names.NAME_PATTERN, order.model):
        fix = "Give one such as people; a version is promote.yml's to serve."
        raise UserError(f"{order.model!r} is no model's name", "model", fix)
    delivery = Delivery(deployment, order, say)
    return delivery.serve(lambda standing: _before(deployment, order, standing))


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


# --- what to serve ---


def _same_again(deployment: Deployment, standing: Standing) -> Aim:
    current = standing.current
    keys, __ = deployment.edition()
    return Aim(replace(current, template=deployment.template, keys=keys))


def _next(deployment: Deployment, order: Order, record: Record, rival: int | None, standing: Standing) -> Aim:
    """A version that passed its gate beside ``rival``. Raises UserError if another release is under way."""
    name, wanted = record["name"], deployment.pinned(record)
    if deployment.pointed_at(name, order.alias) != rival:
        raise came_between(deployment, name, order.alias)
    in_production = names.model_label(name, rival) if rival else None
    if rival and standing.is_rolling and standing.current.model not in (wanted.model, in_production):
        raise UserError(
            f"another release, of {standing.current.model}, is under way",
            fix="Wait until it has ended, or end it: ansible-playbook playbooks/rollback.yml",
        )
    return Aim(wanted, record, rival)


def _before(deployment: Deployment, order: Order, standing: Standing) -> Aim:
    """The release before the one that the alias points at; or that one, if it is not what is served.

    The latter unless a rollback to the release before was cut short: that one is finished.
    """
    served = names.parse_model_label(standing.current.model) if standing.current.model else (None, None)
    name = order.model or served[0]
    if name is None:
        raise UserError("no model is served", fix="Serve one: promote.yml -e model=NAME:NUMBER.")
    pointed_at = deployment.pointed_at(name, order.alias)
    before = release_before(deployment.models.history(name, order.alias))
    under_way = served != (name, pointed_at) or _is_being_undone(deployment.service, standing)
    cut_short = served == (name, before) and standing.current.is_rollback
    back = before if cut_short or not under_way else pointed_at
    if back is None:
        raise _nowhere_to_go(deployment, name, order.alias)
    record = deployment.models.get(name, back)
    if record is None:
        raise UserError(
            f"{names.model_label(name, back)}, the release before this one, is gone",
            fix="Name another version: promote.yml -e model=NAME:NUMBER; models.yml lists them.",
        )
    wanted = replace(deployment.pinned(record), is_rollback=True)
    return Aim(wanted, record, pointed_at, ROLLBACK)


def _nowhere_to_go(deployment: Deployment, name: str, alias: str) -> UserError:
    """Why there is no release to go back to. Raises UserError if there is no such model or alias."""
    if deployment.pointed_at(name, alias) is None:
        registry.resolve(deployment.models, f"{name}@{alias}")
    return UserError(
        f"{name}@{alias} has no release before this one",
        fix="Name a version: promote.yml -e model=NAME:NUMBER; or a model of another name that was served "
        "before: rollback.yml -e model=NAME. models.yml lists them.",
    )


def _is_being_undone(service: Service, standing: Standing) -> bool:
    """Whether another model is on its way out of service."""
    return standing.is_rolling and any(
        service.release(item["taskDefinition"]).model != standing.current.model
        for item in standing.description["deployments"]
        if item["status"] != "PRIMARY" and item["runningCount"] + item["pendingCount"]
    )


def _check_gate(deployment: Deployment, order: Order, record: Record, rival: int | None, say: Say) -> None:
    """Put a version to its gate. Raises UserError if it does not pass."""
    name, manifest = record["name"], deployment.manifest(record)
    compared = []
    for version, where in _rivals(deployment, order, name, rival).items():
        other = deployment.models.get(name, version)
        if other is None or version == record["version"]:
            continue
        ours, theirs = (deployment.counts(each, manifest, order.dry) for each in (record, other))
        if ours and theirs:
            beside = f"{names.model_label(name, version)}, in {where}"
            compared.append((beside, gate.compare(ours[1], theirs[1])))
        else:
            say("gate: a run would evaluate what is not yet evaluated on the same sentences")
    label = names.model_label(name, record["version"])
    gate.check(label, manifest["spec"].get("gate", {}), record["scores"], compared, say)


def _rivals(deployment: Deployment, order: Order, name: str, rival: int | None) -> dict[int, str]:
    """The versions of a model that a release would take the place of, and in what.

    That is the alias's, and the one in service: it may be there under another alias, or under none.
    """
    rivals = {}
    rollout = primary(deployment.service.describe())
    model = deployment.service.release(rollout["taskDefinition"]).model
    if model and rollout.get("rolloutState") == "COMPLETED":
        served, version = names.parse_model_label(model)
        if served == name:
            rivals[version] = "service"
    if rival:
        rivals[rival] = order.alias
    return rivals
