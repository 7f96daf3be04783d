# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two model versions side by side: how far apart their scores are, and what of their making differs."""

from __future__ import annotations

import configparser
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .gate import Difference
from .model_report import Manifest, environment, flat, shown
from .wording import WHOLE, cut, score, size, table

_WIDTH = 36  # of a value that differs
_BEFORE = 12  # letters of it before the first that differs, where that lies beyond its width
_PATHS = ("paths.train", "paths.dev")  # of a config: files in the trainer's scratch folder

Differences = dict[str, dict[str, list[Any]]]


def differences(ours: Manifest, theirs: Manifest) -> Differences:
    """What of the making of two versions differs: spec, config, data and environment.

    Returns for each of these, by dotted path, the two values; None where one has none.
    """
    pairs = {
        "spec": [_spec(one) for one in (ours, theirs)],
        "config": [_config(one) for one in (ours, theirs)],
        "data": [_data(one) for one in (ours, theirs)],
        "environment": [environment(one) for one in (ours, theirs)],
    }
    return {name: _unlike(*pair) for name, pair in pairs.items()}


def lines(
    names: Sequence[str], manifests: Sequence[Manifest], found: Differences, evidence: Difference | None
) -> Iterator[str]:
    """The comparison as a person reads it.

    Parameters
    ----------
    names, manifests:
        Of the two versions.
    found:
        What `differences` found.
    evidence:
        How far apart they are on the same sentences; None where they were not evaluated on the same.
    """
    yield from table(("", *names, "DIFFERENCE"), _figures(*manifests), WHOLE)
    yield ""
    yield from _judged(names, evidence)
    for name, pairs in found.items():
        yield ""
        if not pairs:
            yield f"{name}: the same"
            continue
        rows = ((path, *_cells(values)) for path, values in pairs.items())
        yield from table((f"{name}:", *names), rows, WHOLE)


def _figures(ours: Manifest, theirs: Manifest) -> Iterator[tuple[str, ...]]:
    mine, other = ours["scores"], theirs["scores"]
    yield "scored on", str(mine.get("on", "")), str(other.get("on", "")), ""
    for key in "fpr":
        yield _row(key.upper(), mine.get(key), other.get(key))
    of_mine, of_other = mine.get("labels", {}), other.get("labels", {})
    for label in sorted(of_mine.keys() | of_other.keys()):
        yield _row(f"F of {label}", of_mine.get(label, {}).get("f"), of_other.get(label, {}).get("f"))
    yield _row("ECE", *((one.get("calibration") or {}).get("ece") for one in (ours, theirs)))
    speeds = [(one.get("speed") or {}).get("words_per_second") for one in (ours, theirs)]
    yield "words/s", *(f"{speed:,.0f}" if speed else "" for speed in speeds), ""
    yield "size", *(size(one["artifact"]["bytes"]) for one in (ours, theirs)), ""


def _row(name: str, ours: float | None, theirs: float | None) -> tuple[str, ...]:
    apart = "" if ours is None or theirs is None else f"{round(ours - theirs, 3) + 0.0:+.3f}"
    return name, score(ours), score(theirs), apart


def _judged(names: Sequence[str], evidence: Difference | None) -> Iterator[str]:
    if evidence is None:
        yield "whether the difference is chance is not known: they were not evaluated on the same sentences"
        return
    if evidence.low > 0 or evidence.high < 0:
        yield f"{names[evidence.low <= 0]} is better by more than chance:"
    else:
        yield "the difference may be chance:"
    yield f"  {evidence}"


def _spec(manifest: Manifest) -> dict[str, Any]:
    return flat({key: value for key, value in manifest["spec"].items() if key not in ("config", "data")})


def _data(manifest: Manifest) -> dict[str, Any]:
    parts = {
        part: {key: held[key] for key in ("sha256", "sentences", "entities")}
        for part, held in manifest["data"].items()
    }
    return flat(parts)


def _config(manifest: Manifest) -> dict[str, str]:
    parser: Any = configparser.ConfigParser(interpolation=None, default_section="", delimiters=("=",))
    parser.optionxform = str  # spaCy's names have both cases
    parser.read_string(manifest.get("config", ""))
    found = {
        f"{section}.{name}": value for section in parser.sections() for name, value in parser[section].items()
    }
    return {path: value for path, value in found.items() if path not in _PATHS}


def _unlike(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, list[Any]]:
    return {
        path: [ours.get(path), theirs.get(path)]
        for path in dict.fromkeys([*ours, *theirs])
        if ours.get(path) != theirs.get(path)
    }


def _cells(values: Sequence[Any]) -> list[str]:
    """Two values that differ; where long ones begin alike, as images do, from where they part."""
    told = ["none" if value is None else shown(value) for value in values]
    alike = sum(1 for __ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(*told, strict=False)))
    if alike >= _WIDTH - 1:
        told = [f"…{text[alike - _BEFORE :]}" for text in told]
    return [cut(text, _WIDTH) for text in told]
