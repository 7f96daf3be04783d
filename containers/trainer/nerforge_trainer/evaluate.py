"""Scores of a trained pipeline."""

from collections import Counter
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.training import Corpus

_DIGITS = 6


def evaluate(nlp: Language, data: Path, on: str) -> dict[str, Any]:
    """Score a pipeline by spaCy's scorer.

    Parameters
    ----------
    nlp:
        The pipeline.
    data:
        A .spacy file of examples it was not trained on.
    on:
        The part that ``data`` is: ``test`` or ``dev``.

    Returns
    -------
    ``f``, ``p`` and ``r`` over all labels and of each label (with the ``count`` of its entities in ``data``),
    all between 0 and 1, and ``on``.
    """
    examples = list(Corpus(data)(nlp))
    counts = Counter(entity.label_ for example in examples for entity in example.reference.ents)
    found = nlp.evaluate(examples)
    labels = found["ents_per_type"] or {}
    return _rounded({name: found[f"ents_{name}"] for name in "fpr"}) | {
        "labels": {
            label: _rounded({name: labels.get(label, {}).get(name) for name in "fpr"})
            | {"count": counts[label]}
            for label in sorted(counts.keys() | labels.keys())
        },
        "on": on,
    }


def _rounded(scores: dict[str, float | None]) -> dict[str, float]:
    return {name: round(float(score or 0), _DIGITS) for name, score in scores.items()}
