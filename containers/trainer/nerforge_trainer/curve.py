"""The learning curve: what each evaluation in training found."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .loop import Step

Point = dict[str, Any]

_DIGITS = 6


def point(step: "Step") -> Point:
    """What the evaluation of this step found, for JSON; None for what is no finite number.

    ``step`` and ``epoch`` from 0; ``seconds`` since training began; ``loss``, summed over the components and
    the steps since the evaluation before; on dev ``f``, ``p`` and ``r`` of the entities, and ``score``, by
    which spaCy chooses the best pipeline.
    """
    found = step.evaluation
    assert found is not None
    entities = {name: found.scores.get(f"ents_{name}") or 0 for name in "fpr"}
    numbers = {"loss": sum(found.losses.values()), **entities, "score": found.score}
    return {
        "step": step.number,
        "epoch": step.epoch,
        "seconds": round(step.seconds, 1),
        **{name: _finite(value) for name, value in numbers.items()},
    }


def best(curve: Sequence[Point]) -> Point | None:
    """The point of the pipeline that was kept: of equally good ones the last."""
    return max(reversed(curve), key=lambda point: point["score"] or 0, default=None)


def _finite(number: float) -> float | None:
    return round(float(number), _DIGITS) if math.isfinite(number) else None
