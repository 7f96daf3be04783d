"""A pipeline trained once more, beside the version that it should be."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import spacy
from nerforge_contract.models import Model

from . import package
from .evaluate import evaluate, predicted
from .publish import sha256_of

_WEIGHTS = frozenset({"model", "vectors", "key2row"})  # spaCy's names for files of numbers that were learnt


def compared(manifest: Model, version: Path, best: Path, held_out: Path, image: str) -> dict[str, Any]:
    """What of a version came out again, and what was different when it was made.

    Parameters
    ----------
    manifest:
        The version's.
    version:
        The folder of its pipeline.
    best:
        That of the pipeline that was trained once more.
    held_out:
        The .spacy file of the part that the version was scored on.
    image:
        The image this process runs in.

    Returns
    -------
    Whether the pipelines are ``identical`` in all their files, and in the files of their ``weights``, to the
    bit; the ``files`` that differ; of the ``environment`` what does, each with its value [then, now]; and on
    the held-out part ``f``, beside the version's ``f_then``.
    """
    differing = differing_files(version, best)
    then = manifest["scores"]
    same = not any(is_weights(file) for file in differing)
    return {
        "identical": not differing,
        "weights": same,
        "files": differing,
        "environment": differences(manifest, {"image": image, **package.environment()}),
        "f": then["f"] if same else _f(best, held_out, then["on"]),
        "f_then": then["f"],
    }


def differing_files(one: Path, other: Path) -> list[str]:
    """The files of two folders, by their paths within them, that are not the same in both."""
    paths = {
        str(path.relative_to(folder))
        for folder in (one, other)
        for path in folder.rglob("*")
        if path.is_file()
    }
    return sorted(path for path in paths if _sha256(one / path) != _sha256(other / path))


def is_weights(file: str) -> bool:
    """Whether a file of a pipeline holds what was learnt, by its path within it."""
    return Path(file).name in _WEIGHTS


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, list[str | None]]:
    """What of two environments differs, as manifests have them: each with its value [then, now].

    None stands for what is not there, or was not recorded.
    """
    before, after = _flat(then), _flat(now)
    names = sorted(before.keys() | after.keys())
    return {
        name: [before.get(name), after.get(name)] for name in names if before.get(name) != after.get(name)
    }


def verdict(label: str, result: Mapping[str, Any]) -> str:
    """What came out, in a sentence."""
    if result["identical"]:
        return f"{label} is reproduced, bit by bit"
    if result["weights"]:
        others = ", ".join(result["files"])
        return f"{label} is reproduced: its weights are bit-identical, though not {others}"
    changed = list(result["environment"])
    why = f"; different from then: {', '.join(changed)}" if changed else ", in the same environment"
    return f"{label} is not reproduced: the weights differ{why}"


def _f(best: Path, held_out: Path, on: str) -> float:
    nlp = spacy.load(best)
    f: float = evaluate(nlp, predicted(nlp, held_out), on)["f"]
    return f


def _flat(environment: Mapping[str, Any]) -> dict[str, str]:
    single = {name: environment.get(name) for name in ("image", "python", "platform", "cpu")}
    return {name: value for name, value in {**environment["libraries"], **single}.items() if value}


def _sha256(path: Path) -> str | None:
    return sha256_of(path) if path.is_file() else None
