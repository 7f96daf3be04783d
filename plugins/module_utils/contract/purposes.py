"""What a run is for: its record's ``purpose``, which one that makes a model version does not have."""

from typing import Any

TRAIN, EVALUATE, REPRODUCE = "train", "evaluate", "reproduce"

Purpose = dict[str, str]


def evaluate(model: str, of: str) -> Purpose:
    """To find out what the version ``model`` finds in the held-out part of the data of the version ``of``."""
    return {"kind": EVALUATE, "model": model, "of": of}


def reproduce(model: str) -> Purpose:
    """To train once more as the version ``model`` was, and compare what comes out with it."""
    return {"kind": REPRODUCE, "model": model}


def kind(run: dict[str, Any]) -> str:
    """`TRAIN`, `EVALUATE` or `REPRODUCE`, or what a newer nerforge may have written there."""
    purpose: Purpose = run.get("purpose") or {}
    return purpose.get("kind", TRAIN)


def subject(run: dict[str, Any]) -> str:
    """What the run works on, in few words: ``people``, ``evaluate people:6``, ``reproduce people:7``."""
    purpose = run.get("purpose")
    return f"{purpose['kind']} {purpose['model']}" if purpose else run["name"]


def sentence(purpose: Purpose) -> str:
    """A purpose as a person reads it."""
    if purpose["kind"] == EVALUATE:
        return f"evaluate {purpose['model']} on the held-out data of {purpose['of']}; it makes no model"
    if purpose["kind"] == REPRODUCE:
        return f"train {purpose['model']} once more and compare; it makes no model"
    return f"{purpose['kind']} {purpose['model']}"
