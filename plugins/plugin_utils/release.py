# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases: a model version through its gate and into service, and back to the one before."""

from __future__ import annotations

from typing import Any

from ..module_utils.contract import names
from ..module_utils.contract.errors import UserError
from ..module_utils.contract.models import ROLLBACK, release_before
from . import gate, registry
from .delivery import Aim, Delivery, Order, Standing, came_between
from .deployment import Deployment, Record
from .service import Release, Service
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
    record = registry.resolve(deployment.models, order.model)
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
    keys, _ = deployment.edition()
    return Aim(Release(current.model, current.sha256, deployment.template, keys))


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
    """The release before the one that the alias points at; or that one, if it is not what is served."""
    served = names.parse_model_label(standing.current.model) if standing.current.model else (None, None)
    name = order.model or served[0]
    if name is None:
        raise UserError("no model is served", fix="Serve one: promote.yml -e model=NAME:NUMBER.")
    pointed_at = deployment.pointed_at(name, order.alias)
    before = release_before(deployment.models.history(name, order.alias))
    under_way = served != (name, pointed_at) or _is_being_undone(deployment.service, standing)
    back = before if served == (name, before) or not under_way else pointed_at
    if back is None:
        raise UserError(
            f"{name}@{order.alias} has no release before this one",
            fix="Name a version: promote.yml -e model=NAME:NUMBER; models.yml lists them.",
        )
    record = deployment.models.get(name, back)
    if record is None:
        raise UserError(
            f"{names.model_label(name, back)}, the release before this one, is gone",
            fix="Name another version: promote.yml -e model=NAME:NUMBER; models.yml lists them.",
        )
    return Aim(deployment.pinned(record), record, pointed_at, ROLLBACK)


def _is_being_undone(service: Service, standing: Standing) -> bool:
    """Whether another model is on its way out of service."""
    return standing.is_rolling and any(
        service.release(item["taskDefinition"]).model != standing.current.model
        for item in standing.description["deployments"]
        if item["status"] != "PRIMARY" and item["runningCount"] + item["pendingCount"]
    )


def _check_gate(deployment: Deployment, order: Order, record: Record, rival: int | None, say: Say) -> None:
    """Put a version to its gate. Raises UserError if it does not pass."""
    label = names.model_label(record["name"], record["version"])
    manifest = deployment.manifest(record)
    compared = None
    in_production = deployment.models.get(record["name"], rival) if rival else None
    if in_production and rival != record["version"]:
        sides = [deployment.counts(version, manifest, order.dry) for version in (record, in_production)]
        if all(sides):
            (_, ours), (_, theirs) = sides
            beside = f"{names.model_label(record['name'], rival)}, in {order.alias}"
            compared = beside, gate.compare(ours, theirs)
        else:
            say("gate: a run would evaluate what is not yet evaluated on the same sentences")
    gate.check(label, manifest["spec"].get("gate", {}), record["scores"], compared, say)
