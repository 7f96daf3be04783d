"""Scores of a trained pipeline."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy
from nerforge_contract import corpus
from spacy.language import Language
from spacy.scorer import Scorer
from spacy.training import Corpus, Example
from thinc.util import convert_recursive

from . import judgement

_DIGITS = 6
_SPEED_WORDS = 20_000  # some seconds


def predicted(nlp: Language, data: Path) -> list[Example]:
    """The examples of a .spacy file, with what the pipeline finds in each as ``predicted``."""
    examples = list(Corpus(data)(nlp))
    docs = nlp.pipe(example.predicted for example in examples)
    for example, doc in zip(examples, docs, strict=True):
        example.predicted = doc
    return examples


def evaluate(nlp: Language, examples: Sequence[Example], on: str) -> dict[str, Any]:
    """Score a pipeline by spaCy's scorer.

    Parameters
    ----------
    nlp:
        The pipeline.
    examples:
        Examples it was not trained on, as `predicted` returns them.
    on:
        The part that they are: ``test`` or ``dev``.

    Returns
    -------
    ``f``, ``p`` and ``r`` over all labels and of each label (with the ``count`` of its entities in gold), all
    between 0 and 1, and ``on``.
    """
    counts = Counter(entity.label_ for example in examples for entity in example.reference.ents)
    found = Scorer(nlp=nlp).score(examples)
    labels = found["ents_per_type"] or {}
    return _rounded({name: found[f"ents_{name}"] for name in "fpr"}) | {
        "labels": {
            label: _rounded({name: labels.get(label, {}).get(name) for name in "fpr"})
            | {"count": counts[label]}
            for label in sorted(counts.keys() | labels.keys())
        },
        "on": on,
    }


def evaluation(
    scores: dict[str, Any], examples: Sequence[Example], source: Sequence[corpus.Example]
) -> dict[str, Any]:
    """The evaluation file of these examples; to be added is the ``model`` that found this.

    Parameters
    ----------
    scores:
        What `evaluate` returns.
    examples:
        As `predicted` returns them.
    source:
        What they were read from, before they were documents.

    Returns
    -------
    The ``scores``; ``counts``, for each of ``source`` how many entities are right, spurious and missed; the
    part, ``on``; and the fingerprint of the ``examples``.
    """
    counted = map(judgement.counts, examples)
    return {
        "format": 1,
        "on": scores["on"],
        "examples": corpus.fingerprint(source),
        "scores": scores,
        # spaCy passes over documents without a word.
        "counts": [next(counted) if example.text else [0, 0, 0] for example in source],
    }


def speed(nlp: Language, examples: Sequence[Example]) -> dict[str, Any]:
    """How many words a second ``nlp.pipe`` reads here: those of these examples, or the first 20,000."""
    texts, words = [], 0
    for example in examples:
        texts.append(example.reference.text)
        words += len(example.reference)
        if words >= _SPEED_WORDS:
            break
    began = time.perf_counter()
    words = sum(map(len, nlp.pipe(texts)))
    return {"words_per_second": round(words / (time.perf_counter() - began), 1), "words": words}


def _rounded(scores: dict[str, float | None]) -> dict[str, float]:
    return {name: round(float(score or 0), _DIGITS) for name, score in scores.items()}


def scores_of(
    nlp: Language, read: Callable[[Language], Iterable[Example]], stop: Callable[[], bool]
) -> dict[str, Any] | None:
    """What ``nlp.evaluate`` finds for the examples that ``read`` gives; None as soon as ``stop`` says yes.

    It is asked from document to document, as they are read and as they come out of the pipeline, which takes
    [nlp] batch_size of them at once.
    """

    def watched(items: Iterable[Any]) -> Iterator[Any]:
        for item in items:
            if stop():
                raise _Stopped
            yield item

    try:
        examples = list(watched(read(nlp)))
        began = time.perf_counter()
        for example in watched(examples):
            nlp.make_doc(example.reference.text)  # as spaCy: its words become part of the vocabulary
        docs = watched(nlp.pipe(example.predicted for example in examples))
        for example, doc in zip(examples, docs, strict=True):
            example.predicted = doc
    except _Stopped:
        return None
    seconds = time.perf_counter() - began
    scores = Scorer(nlp=nlp).score(examples)
    scores["speed"] = sum(len(example.predicted) for example in examples) / seconds
    plain: dict[str, Any] = convert_recursive(lambda value: isinstance(value, numpy.floating), float, scores)
    return plain


class _Stopped(Exception):
    pass
