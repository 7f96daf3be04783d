# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gate: what a version must show before it is served.

Its scores must reach what its spec asks, and it must not be worse than the version in production on the same
sentences. Two versions' F differs by chance too, so that the difference alone says little: what is judged is
the lower end of its 95 % interval, by the paired bootstrap over sentences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..module_utils.contract.errors import UserError
from .wording import Say

RESAMPLES = 10_000
INTERVAL = (0.025, 0.975)  # the quantiles at its ends: 95 %
_SEED = 0  # the same counts give the same interval
_AT_A_TIME = 500  # resamples: what they need of memory stays small where no two sentences are alike
_EXACTLY = 1e-9  # the rounding that a limit forgives

_NO_REASONS = frozenset(("0", "1", "f", "false", "n", "no", "off", "on", "t", "true", "y", "yes"))
_FORCE = 'force="why it must be served all the same"'

Counts = Sequence[Sequence[int]]  # true positives, false positives and false negatives of each sentence


@dataclass(frozen=True)
class Difference:
    """How much F two versions are apart on the same sentences.

    Parameters
    ----------
    ours, theirs:
        F of each over all the sentences, 0 to 1.
    low, high:
        The ends of the 95 % interval of ``ours - theirs``.
    sentences:
        How many there are.
    """

    ours: float
    theirs: float
    low: float
    high: float
    sentences: int

    def __str__(self) -> str:
        return (
            f"F {self.ours:.3f} against {self.theirs:.3f} on the same {self.sentences:,} sentences, "
            f"difference {_signed(self.ours - self.theirs)}, "
            f"95 % interval from {_signed(self.low)} to {_signed(self.high)}"
        )


def compare(ours: Counts, theirs: Counts) -> Difference:
    """The difference of F between two versions, with its interval by the paired bootstrap.

    Sentences are drawn with replacement, as many as there are, and both versions scored on those drawn; the
    percentiles of the differences are the ends of the interval (Efron and Tibshirani, An Introduction to the
    Bootstrap, 1993, chapter 13; for F of taggers: Berg-Kirkpatrick et al., EMNLP 2012). The draw is seeded.

    Parameters
    ----------
    ours, theirs:
        A triple for each sentence, in the same order: true positives, false positives, false negatives.

    Raises UserError if they are not as many.
    """
    import numpy  # not at import: of all commands, few compare

    if len(ours) != len(theirs):
        raise UserError(
            f"the versions were evaluated on {len(ours)} and {len(theirs)} sentences, which are not the same",
            fix="Delete the evaluations beside the older model in S3, and try again.",
        )
    # Sentences with the same six counts are drawn together: the same distribution, in a fraction of the time.
    pairs = numpy.hstack([numpy.asarray(ours, dtype=int), numpy.asarray(theirs, dtype=int)])
    alike, sizes = numpy.unique(pairs, axis=0, return_counts=True)
    generator = numpy.random.default_rng(_SEED)
    differences = []
    for begun in range(0, RESAMPLES, _AT_A_TIME):
        draws = min(_AT_A_TIME, RESAMPLES - begun)
        sums = generator.multinomial(len(pairs), sizes / len(pairs), size=draws) @ alike
        differences.append(_f(sums[:, :3]) - _f(sums[:, 3:]))
    low, high = numpy.quantile(numpy.concatenate(differences), INTERVAL)
    both = _f(pairs.sum(axis=0).reshape(2, 3))
    return Difference(float(both[0]), float(both[1]), float(low), float(high), len(pairs))


def check(
    model: str,
    gate: dict[str, Any],
    scores: dict[str, Any],
    rivals: Sequence[tuple[str, Difference]],
    say: Say,
) -> None:
    """Put a version to the gate, and say each figure.

    Parameters
    ----------
    model:
        The version.
    gate:
        The gate of its spec: ``min_f``, ``labels`` and ``margin``, each of which may be absent.
    scores:
        Its scores, as its record has them.
    rivals:
        The versions that it would take the place of, and how far ours is from each.

    Raises UserError with all it fails by.
    """
    findings = _limits(gate, scores)
    findings += [_against(*rival, gate.get("margin", 0)) for rival in rivals]
    for told, passed in findings:
        say(f"gate: {told}: {'passed' if passed else 'NOT passed'}")
    if not findings:
        say("gate: the spec asks for no score, and there is no other version to compare with")
    if failures := [told for told, passed in findings if not passed]:
        raise UserError(
            f"{model} does not pass its gate: {'; '.join(failures)}",
            fix=f"Promote a better version, or pass over the gate with the reason: {_FORCE}.",
        )


def reason(force: str | None) -> str | None:
    """Why the gate is passed over; None if it is not. Raises UserError for what is no reason."""
    if force is None:
        return None
    if not (why := force.strip()) or why.lower() in _NO_REASONS:
        raise UserError(
            f"{force!r} is no reason",
            "force",
            f"The alias's history keeps it for whoever asks later. Write it so: -e '{_FORCE}'; "
            "leave it out, and the gate decides.",
        )
    return why


def _limits(gate: dict[str, Any], scores: dict[str, Any]) -> list[tuple[str, bool]]:
    labels = scores.get("labels", {})
    asked = [("F", gate.get("min_f"), scores.get("f"))]
    asked += [
        (f"F of {label}", least, labels.get(label, {}).get("f"))
        for label, least in gate.get("labels", {}).items()
    ]
    return [
        (
            f"{name} {'has no score' if got is None else f'{got:.3f}'} on {scores.get('on')}, "
            f"at least {least:.3f} is asked{'' if got is None else _barely(got, least, 3)}",
            got is not None and got >= least - _EXACTLY,
        )
        for name, least, got in asked
        if least is not None
    ]


def _against(rival: str, difference: Difference, margin: float) -> tuple[str, bool]:
    told = f"beside {rival}: {difference}, whose lower end must reach {0 - margin:.4f}"
    told += _barely(difference.low, -margin, 4)
    return told, difference.low >= -margin - _EXACTLY


def _f(sums: Any) -> Any:
    """F of each row of true positives, false positives and false negatives; 0 where there is none of them."""
    import numpy

    doubled = 2 * sums[:, 0]
    return doubled / numpy.maximum(doubled + sums[:, 1] + sums[:, 2], 1)


def _barely(value: float, threshold: float, digits: int) -> str:
    """By how much a value is short of its threshold, where the digits shown of both do not tell."""
    hidden = round(value, digits) == round(threshold, digits) and value < threshold - _EXACTLY
    return f", and it is {threshold - value:.1g} short" if hidden else ""


def _signed(value: float) -> str:
    return f"{round(value, 4) + 0.0:+.4f}"
