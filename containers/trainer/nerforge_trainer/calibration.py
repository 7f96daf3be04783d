"""How far the scores of entities can be believed: a temperature fitted on dev, and what is left of the error.

Entities that were missed have no score, and no part in this.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy
from nerforge_engine import confidence
from spacy.language import Language
from spacy.training import Example
from spacy.util import minibatch

from .judgement import is_right, pairs

BINS = 10
_LEAST = 20  # fewer judged entities than this say nothing of a temperature
_TEMPERATURES = (0.1, 10.0)
_AT_A_TIME = 128  # documents: the hidden layer of the NER is kept for all their tokens
_DIGITS = 6


@dataclass(frozen=True)
class Judged:
    """Entities that a pipeline found: the path of each, and 1 for right or 0, of shape (entities,)."""

    paths: list[confidence.Path]
    right: numpy.ndarray

    def scores(self, temperature: float) -> numpy.ndarray:
        """Their scores at a temperature, of shape (entities,)."""
        return confidence.probabilities(self.paths, temperature)


def calibrate(nlp: Language, dev: Sequence[Example], held_out: Sequence[Example], on: str) -> dict[str, Any]:
    """Fit a temperature, and measure the calibration with it and without.

    Parameters
    ----------
    nlp:
        The pipeline; neither it nor an example is changed.
    dev:
        Examples to fit on, with what the pipeline finds as ``predicted``.
    held_out:
        Examples to measure on, likewise; if these are ``dev`` itself, the errors come out a little too small.
    on:
        The part that ``held_out`` is: ``test`` or ``dev``.

    Returns
    -------
    ``temperature``; ``ece`` with it and ``ece_uncalibrated`` at temperature 1, both between 0 and 1, or None
    where no entity has a score; the ``bins`` of ``ece``, as `binned` has them; and ``on``.
    """
    fitted_on = judged(nlp, dev)
    measured = fitted_on if held_out is dev else judged(nlp, held_out)
    temperature = fitted_temperature(fitted_on)
    bins = binned(measured.scores(temperature), measured.right)
    return {
        "on": on,
        "temperature": temperature,
        "ece": expected_calibration_error(bins),
        "ece_uncalibrated": expected_calibration_error(binned(measured.scores(1.0), measured.right)),
        "bins": bins,
    }


def judged(nlp: Language, examples: Sequence[Example]) -> Judged:
    """The entities found in these examples that have a score, where gold says what is right."""
    paths, right = [], []
    for some in minibatch(examples, _AT_A_TIME):
        for example, found in zip(some, confidence.paths(nlp, [eg.predicted for eg in some]), strict=True):
            verdicts = {pair[1].start: is_right(pair) for pair in pairs(example) if pair[1]}
            for entity, path in zip(example.predicted.ents, found, strict=True):
                if path is not None and entity.start in verdicts:
                    paths.append(path)
                    right.append(verdicts[entity.start])
    return Judged(paths, numpy.array(right, dtype=float))


def fitted_temperature(found: Judged) -> float:
    """The temperature with the least negative log likelihood of the judgements [1]_; 1 if there are too few.

    Right and wrong count as a little less than 1 and more than 0 [2]_: without that, a few entities that all
    are right would ask for a temperature of 0, and so for scores of 1.

    .. [1] C. Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 4.2.
    .. [2] J. Platt, "Probabilistic Outputs for Support Vector Machines", 1999, section 2.2.
    """
    count, rights = len(found.right), found.right.sum()
    if count < _LEAST:
        return 1.0
    targets = numpy.where(found.right, (rights + 1) / (rights + 2), 1 / (count - rights + 2))

    def loss(exponent: float) -> float:
        scores = numpy.clip(found.scores(10**exponent), 1e-12, 1 - 1e-12)
        return -float(numpy.mean(targets * numpy.log(scores) + (1 - targets) * numpy.log1p(-scores)))

    limits = low, high = numpy.log10(_TEMPERATURES)
    for __ in range(3):  # each time ten times as fine
        exponents = numpy.clip(numpy.linspace(low, high, 21), *limits)
        best = min(exponents, key=lambda exponent: (loss(exponent), abs(exponent)))
        low, high = best - (high - low) / 20, best + (high - low) / 20
    return round(float(10**best), 3)


def binned(scores: numpy.ndarray, right: numpy.ndarray) -> list[dict[str, Any]]:
    """The scores in bins of equal width, ``from`` excluded and ``to`` included, without the empty ones.

    Each has the mean score as ``confidence``, the share that is right as ``accuracy``, and the ``count``.

    Parameters
    ----------
    scores, right:
        Of each entity its score, and 1 or 0; both of shape (entities,).
    """
    edges = numpy.linspace(0, 1, BINS + 1)
    numbers = numpy.clip(numpy.digitize(scores, edges, right=True) - 1, 0, BINS - 1)
    return [
        {
            "from": round(float(edges[number]), _DIGITS),
            "to": round(float(edges[number + 1]), _DIGITS),
            "confidence": round(float(scores[inside].mean()), _DIGITS),
            "accuracy": round(float(right[inside].mean()), _DIGITS),
            "count": int(inside.sum()),
        }
        for number in range(BINS)
        if (inside := numbers == number).any()
    ]


def expected_calibration_error(bins: Sequence[dict[str, Any]]) -> float | None:
    """The expected calibration error (ECE), None without entities.

    It is the mean over all entities of the distance, in their bin, between mean score and share that is right
    [1]_, in ten bins of equal width, as M. P. Naeini et al. have it, "Obtaining Well Calibrated Probabilities
    Using Bayesian Binning", AAAI 2015.

    .. [1] C. Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, equation 3.
    """
    total = sum(one["count"] for one in bins)
    if not total:
        return None
    error: float = round(
        sum(one["count"] * abs(one["accuracy"] - one["confidence"]) for one in bins) / total, _DIGITS
    )
    return error
