# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Old model versions deleted by rule; never one that somebody may still want to serve.

A version is first marked in the models table. From then on nobody finds it and no alias moves to it. Then its
uses are looked for once more: if it has come to be used meanwhile, the mark is taken back; else it is doomed,
its files are deleted, and then its item. A prune that was cut short is finished by the next one. What is
doomed goes whatever happens, for some of its files may have gone.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ..module_utils.contract import names, states
from ..module_utils.contract.errors import UserError
from ..module_utils.contract.models import Model, Models, standing
from ..module_utils.contract.runs import Runs
from .registry import no_model
from .service import Service
from .session import NotDeployed
from .wording import Say, age, score, seconds_since, size

ROLLBACKS = 5  # how many rollbacks in a row, of each alias, must find their version

_UNDER_WAY = tuple(state for state in states.STATES if state not in states.TERMINAL)
_DAY = 86400.0
_AT_ONCE = 1000  # S3's own limit of one DeleteObjects

Uses = dict[tuple[str, int], str]  # of versions by name and number: why they stay


@dataclass(frozen=True)
class Rule:
    """Which versions go, if nothing uses them.

    Parameters
    ----------
    keep:
        How many versions of each model stay, the newest.
    older_than:
        Only versions made more than so many days ago go.
    name:
        Only versions of this model go.
    """

    keep: int
    older_than: float = 0.0
    name: str | None = None

    def chosen(self, versions: Iterable[Model]) -> list[Model]:
        """Those of the versions that go by the rule, oldest first within a name."""
        ordered = sorted(versions, key=lambda model: (model["name"], model["version"]))
        old: list[Model] = []
        for __, same in itertools.groupby(ordered, key=lambda model: model["name"]):
            of_one = list(same)
            old += of_one[: max(0, len(of_one) - self.keep)]
        return [model for model in old if seconds_since(model["created"]) >= self.older_than * _DAY]


def prune(
    models: Models,
    rule: Rule,
    find_uses: Callable[[], Uses],
    delete: Callable[[Model], None],
    dry: bool,
    say: Say,
) -> list[Model]:
    """Delete the versions that the rule chooses and nothing uses.

    Parameters
    ----------
    find_uses:
        Finds what uses versions now, as `uses` does.
    delete:
        Deletes the files of a version.
    dry:
        Whether only to tell what would be done.
    say:
        Takes a line for each version, and one about all.

    Returns the versions that were (with ``dry``, would be) deleted.
    Raises UserError if there is no model of that name.
    """
    begun, versions = models.marked_pruned(rule.name), models.all(rule.name)[0]
    if rule.name and not begun + versions:
        raise no_model(rule.name)
    going = _unused(begun + rule.chosen(versions), find_uses(), say)
    if not dry:
        marked = [model for model in going if models.mark_pruned(*_key(model))]
        unused = _unused(marked, find_uses(), say) if marked else []
        going = [model for model in unused if models.doom(*_key(model))]
        for model in begun + marked:
            if model not in going:
                models.unmark_pruned(*_key(model))
    verb = "would delete" if dry else "deleted"
    for model in going:
        if not dry:
            delete(model)
            models.forget(*_key(model))
        say(f"{verb} {_label(model)}: {_about(model)}")
    freed = size(sum(model["bytes"] for model in going))
    say(f"{verb} {len(going)} version{'s' * (len(going) != 1)}, {freed}" if going else "no version to delete")
    return going


def uses(models: Models, service: tuple[Service, str] | None, runs: Runs) -> Uses:
    """What uses versions now, or would after a rollback.

    Parameters
    ----------
    service:
        The service and the family of its task definitions; None where the serving stack is not deployed.
    """
    found: Uses = {}
    for run in (run for state in _UNDER_WAY for run in runs.in_state(state)):
        for version in _worked_on(run):
            found[version] = f"run {run['run_id']} works on it"
    found |= _released(*service) if service else {}
    for alias in models.all()[1]:
        name, at = alias["name"], f"{alias['name']}@{alias['alias']}"
        for number in standing(models.history(name, alias["alias"]))[-1 - ROLLBACKS :]:
            found[name, number] = f"{at} can be rolled back to it"
        found[name, alias["version"]] = f"{at} points at it"
    return found


def delete_files(s3: Any, bucket: str, model: Model) -> None:
    """Delete all that lies in S3 of a version; a bucket that keeps old versions of objects has them still.

    Raises UserError if S3 leaves any of it.
    """
    prefix = names.model_prefix(*_key(model))
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    keys = [item["Key"] for page in pages for item in page.get("Contents", ())]
    for begin in range(0, len(keys), _AT_ONCE):
        some = [{"Key": key} for key in keys[begin : begin + _AT_ONCE]]
        errors = s3.delete_objects(Bucket=bucket, Delete={"Objects": some, "Quiet": True}).get("Errors")
        if errors:
            fix = "Give the same command again once S3 does."
            raise UserError(f"S3 does not delete it: {errors[0].get('Message')}", errors[0]["Key"], fix)


def _released(service: Service, family: str) -> Uses:
    """The versions in the newest releases, and above all those of which tasks run or are to run."""
    found: Uses = {}
    for revision, release in itertools.islice(service.releases(family, newest_first=True), ROLLBACKS + 1):
        if release.model:
            found[names.parse_model_label(release.model)] = f"a recent release, {_short(revision)}, pins it"
    try:
        deployments = service.describe()["deployments"]
    except NotDeployed:
        return found
    for deployment in deployments:
        revision = deployment["taskDefinition"]
        if model := service.release(revision).model:
            found[names.parse_model_label(model)] = f"the service runs it ({_short(revision)})"
    return found


def _worked_on(run: dict[str, Any]) -> list[tuple[str, int]]:
    """The versions that a run reads, or the one it makes: it may have registered that, and not have ended."""
    if "model_version" in run:
        return [(run["name"], run["model_version"])]
    purpose = run.get("purpose") or {}
    return [names.parse_model_label(purpose[field]) for field in ("model", "of") if field in purpose]


def _unused(chosen: Iterable[Model], used: Uses, say: Say) -> list[Model]:
    """Those that nothing uses, and those that go all the same; says of the others why they stay."""
    unused = []
    for model in chosen:
        if (why := used.get(_key(model))) and "doomed" not in model:
            say(f"{_label(model)} stays: {why}")
        else:
            unused.append(model)
    return unused


def _about(model: Model) -> str:
    made = age(seconds_since(model["created"]))
    return (
        f"F {score(model['scores'].get('f'))}, {size(model['bytes'])}, made {made} ago by run {model['run']}"
    )


def _key(model: Model) -> tuple[str, int]:
    return model["name"], model["version"]


def _label(model: Model) -> str:
    return names.model_label(*_key(model))


def _short(revision: str) -> str:
    return revision.rpartition("/")[2]
