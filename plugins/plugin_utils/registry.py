# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Model versions: found, listed, and laid out as a table."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ..module_utils.contract import names
from ..module_utils.contract.errors import UserError
from ..module_utils.contract.models import Model, Models, Move
from .listing import short
from .wording import WHOLE, age, score, seconds_since, size, table

_ROLLOUTS = {"IN_PROGRESS": ", which is being rolled out", "FAILED": ", whose rollout has failed"}


def listed(
    table: Models, serving: dict[str, Any] | None, name: str | None = None, version: int | None = None
) -> list[dict[str, Any]]:
    """The model versions, newest first within a name, with their aliases and whether each is served now.

    Parameters
    ----------
    table:
        The models table.
    serving:
        What the service serves, as `service.serving` tells.
    name, version:
        Only this model, only this version.
    """
    versions, aliases = table.all(name)
    pointing: dict[tuple[str, int], list[str]] = {}
    for alias in aliases:
        pointing.setdefault((alias["name"], alias["version"]), []).append(alias["alias"])
    served = (serving or {}).get("model")
    chosen = [model for model in versions if version in (None, model["version"])]
    return [
        {key: value for key, value in model.items() if key != "item"}
        | {
            "model": names.model_label(model["name"], model["version"]),
            "aliases": pointing.get((model["name"], model["version"]), []),
            "serving": served == names.model_label(model["name"], model["version"]),
        }
        for model in sorted(chosen, key=lambda model: (model["name"], -model["version"]))
    ]


def resolve(table: Models, wanted: str) -> dict[str, Any]:
    """The record of the model version that is meant.

    Parameters
    ----------
    wanted:
        ``name:number``, ``name@alias``, or ``name`` for its newest version.

    Raises UserError if there is none, saying which there are.
    """
    name, version, alias = _parsed(wanted)
    versions, aliases = table.all(name)
    if not versions:
        raise no_model(name)
    if alias:
        version = next((item["version"] for item in aliases if item["alias"] == alias), None)
        if version is None:
            known = ", ".join(item["alias"] for item in aliases) or "none"
            raise UserError(f"{name} has no alias {alias}", fix=f"It has {known}; or name a version.")
    if version is None:
        return versions[-1]
    found = next((item for item in versions if item["version"] == version), None)
    if found is None:
        known = ", ".join(str(item["version"]) for item in versions[-10:])
        raise UserError(f"{name} has no version {version}", fix=f"Its versions are {known}.")
    return found


def moves(table: Models, record: Model) -> list[tuple[str, Move]]:
    """The aliases' moves to a version and from it, each behind the alias's name, oldest first."""
    name, version = record["name"], record["version"]
    found = [
        (alias["alias"], move)
        for alias in table.all(name)[1]
        for move in table.history(name, alias["alias"])
        if version in (move["version"], move.get("before"))
    ]
    return sorted(found, key=lambda pair: pair[1]["at"])


def no_model(name: str) -> UserError:
    """What tells that no version has this name."""
    fix = "Train it first, or see models.yml for the models there are."
    return UserError(f"there is no model {name}", fix=fix)


def _parsed(wanted: str) -> tuple[str, int | None, str | None]:
    fix = "Give name:number, name@alias, or the name alone."
    if ":" in wanted:
        try:
            name, version = names.parse_model_label(wanted)
        except ValueError as error:
            raise UserError(str(error), "model", fix) from error
        return name, version, None
    name, at, alias = wanted.partition("@")
    if not re.fullmatch(names.NAME_PATTERN, name) or (at and not alias.strip()):
        raise UserError(f"{wanted!r} names no model", "model", fix)
    return name, None, alias or None


def models_table(found: Iterable[dict[str, Any]]) -> list[str]:
    """Model versions, a line each; the ids of their runs are shortened to what tells these runs apart."""
    found = list(found)
    named = short(model["run"] for model in found)
    heads = ("MODEL", "AGE", "SIZE", "F", "P", "R", "ECE", "ON", "RUN", "SERVING", "ALIASES")
    return table(heads, (_model_row(model, named[model["run"]]) for model in found), WHOLE)


def served_line(serving: dict[str, Any] | None) -> str:
    """What the service serves, as `service.serving` tells, in a line."""
    if serving is None:
        return "served: nothing, the serving stack is not deployed"
    if serving["model"] is None:
        return "served: nothing yet"
    rollout = _ROLLOUTS.get(serving["rollout"], "")
    return f"served: {serving['model']}{rollout}, {serving['running']} of {serving['desired']} tasks run"


def _model_row(model: dict[str, Any], run: str) -> tuple[str, ...]:
    scores = model.get("scores") or {}
    return (
        model["model"],
        age(seconds_since(model["created"])),
        size(model["bytes"]),
        *(score(scores.get(key)) for key in "fpr"),
        score((model.get("calibration") or {}).get("ece")),  # a version from before it was measured has none
        scores.get("on", ""),
        run,
        "yes" if model["serving"] else "",
        ", ".join(model["aliases"]),
    )
