# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One model version in full: how good it is, what it came from, and who served it when.

A manifest that is older than one of its fields lacks it, and the line about it is left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ..module_utils.contract import spec as specs
from ..module_utils.contract.models import ROLLBACK, Move
from .wording import WHOLE, WIDTH, age, clock, counted, moment, score, seconds_since, size, table, usd

Manifest = dict[str, Any]

_INDENT = 14
_MOVES = 10  # of aliases that are shown, the newest
_SHOWN_ELSEWHERE = ("config", "data", "name")  # of the spec


def lines(
    model: dict[str, Any], manifest: Manifest, history: Iterable[tuple[str, Move]], config: bool = False
) -> Iterator[str]:
    """The version, a line or a few for each thing there is to say.

    Parameters
    ----------
    model:
        The version as `registry.listed` has it.
    manifest:
        Its manifest.
    history:
        The aliases' moves to it and from it, each behind the alias's name.
    config:
        Whether to show the whole training config too.
    """
    yield f"model {model['model']}"
    for head, said in _parts(model, manifest, history, config):
        yield from (f"  {'' if number else head:<12}{line}" for number, line in enumerate(said))


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """A mapping's values by their dotted paths; what is no mapping stays whole."""
    if not isinstance(value, dict):
        return {path: value}
    inner = (flat(each, f"{path}.{key}" if path else str(key)) for key, each in value.items())
    return {name: each for part in inner for name, each in part.items()}


def shown(value: Any) -> str:
    """A value of a spec or a manifest, on one line."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def environment(manifest: Manifest) -> dict[str, Any]:
    """What a version was made with and on, as far as that is known."""
    known = {
        **manifest.get("libraries", {}),
        "Python": manifest.get("python"),
        "platform": manifest.get("platform"),
        "CPU": manifest.get("cpu"),
        "image": manifest.get("image"),
    }
    return {name: value for name, value in known.items() if value}


def _parts(
    model: dict[str, Any], manifest: Manifest, history: Iterable[tuple[str, Move]], config: bool
) -> Iterator[tuple[str, Sequence[str]]]:
    yield "serving", [_serving(model)]
    yield "made", [_made(model, manifest)]
    yield "scores", list(_scores(manifest["scores"]))
    if confusion := manifest.get("confusion"):
        yield "confusion", list(_confusion(confusion))
    if calibration := manifest.get("calibration"):
        yield "calibration", [_calibration(calibration)]
    if speed := manifest.get("speed"):
        yield (
            "speed",
            [f"{speed['words_per_second']:,.0f} words/s, on {speed['words']:,} words, in the trainer"],
        )
    yield "size", [f"{size(model['bytes'])}, sha256 {model['sha256']}"]
    yield "data", list(_data(manifest))
    yield "spec", _wrapped(_spec(manifest["spec"]))
    if commit := manifest.get("commit"):
        yield "git commit", [f"{commit['id']}{', with changes that were not committed' * commit['changed']}"]
    yield "made with", _wrapped(f"{name} {value}" for name, value in environment(manifest).items())
    if moves := list(history):
        yield "history", list(_history(moves))
    if warnings := manifest.get("warnings"):
        yield "warnings", list(map(str, warnings))
    if config:
        yield "config", manifest["config"].splitlines()
    if "examples" in manifest:  # it is no older than cards are
        yield "next", [f"See its card: card.yml -e model={model['model']}."]


def _serving(model: dict[str, Any]) -> str:
    told = [f"{model['name']}@{alias}" for alias in model["aliases"]]
    return ", ".join([*told, "served now" if model["serving"] else "not served"])


def _made(model: dict[str, Any], manifest: Manifest) -> str:
    took = f", in {clock(manifest['seconds'])}" if manifest.get("seconds") else ""
    ago = age(seconds_since(model["created"]))
    amount = (model.get("cost") or {}).get("usd")
    cost = "" if amount is None else f", for {usd(amount)}"
    return f"{moment(model['created'])}, {ago} ago, by run {model['run']}{took}{cost}"


def _scores(scores: dict[str, Any]) -> Iterator[str]:
    heads = ("ON " + str(scores.get("on", "")).upper(), "F", "P", "R", "ENTITIES")
    labels = scores.get("labels", {})
    counts = [of.get("count") for of in labels.values()]
    total = sum(counts) if counts and None not in counts else None
    rows = [("all labels", *_fpr(scores), _count(total))]
    rows += [(label, *_fpr(of), _count(of.get("count"))) for label, of in labels.items()]
    return iter(table(heads, rows, WHOLE))


def _confusion(confusion: dict[str, Any]) -> Iterator[str]:
    """Gold labels in rows, found ones in columns; as wide as there are labels."""
    names = [*confusion["labels"], "none"]
    rows = ((name, *map(str, row)) for name, row in zip(names, confusion["counts"], strict=True))
    return iter(table(("GOLD, FOUND", *names), rows, WHOLE))


def _calibration(calibration: dict[str, Any]) -> str:
    ece, without = (score(calibration.get(key)) for key in ("ece", "ece_uncalibrated"))
    told = f"ECE {ece}, {without} without it, on {calibration['on']}" if ece else "no entity to measure it on"
    return f"temperature {calibration['temperature']:g}: {told}"


def _data(manifest: Manifest) -> Iterator[str]:
    named = specs.sources(manifest["spec"])
    for part, held in manifest["data"].items():
        entities = held["entities"]
        of = f"{sum(entities.values()):,} entities ({counted(entities)})"
        yield f"{part}: {held['sentences']:,} sentences, {of}"
        source = named.get(part) or named["all"]
        yield f"  {source['from']}, sha256 {held['sha256']}"


def _spec(spec: dict[str, Any]) -> Iterator[str]:
    for path, value in flat({key: each for key, each in spec.items() if key not in _SHOWN_ELSEWHERE}).items():
        yield f"{path} {shown(value)}"
    if "config" in spec:
        yield "a full config of its own"


def _history(moves: Sequence[tuple[str, Move]]) -> Iterator[str]:
    if len(moves) > _MOVES:
        yield f"{len(moves) - _MOVES} moves before these"
    yield from (_move(alias, move) for alias, move in moves[-_MOVES:])


def _move(alias: str, move: Move) -> str:
    verb = "rolled back" if move["kind"] == ROLLBACK else "promoted"
    before = f" from {move['before']}" if "before" in move else ""
    by = f", by {move['by']}" if "by" in move else ""
    forced = f"; its gate was passed over: {move['forced']}" if "forced" in move else ""
    return f"{moment(move['at'])}  {alias} {verb}{before} to {move['version']}{by}{forced}"


def _wrapped(parts: Iterable[str]) -> list[str]:
    """The parts in lines that fit, none of them torn."""
    lines: list[str] = []
    for part in parts:
        if lines and len(lines[-1]) + len(part) + 3 <= WIDTH - _INDENT:
            lines[-1] += f", {part}"
        else:
            lines.append(part)
    return [f"{line}," for line in lines[:-1]] + lines[-1:]


def _fpr(scores: dict[str, Any]) -> tuple[str, ...]:
    return tuple(score(scores.get(key)) for key in "fpr")


def _count(count: int | None) -> str:
    return "" if count is None else f"{count:,}"
