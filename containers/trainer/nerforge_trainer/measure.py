"""How good a trained pipeline is: all that its manifest and its card say of that."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import spacy

from . import evaluate, judgement, mistakes
from .calibration import calibrate
from .fetch import Part, held_out


@dataclass(frozen=True)
class Measured:
    """What was measured on the part that was held out.

    Parameters
    ----------
    on:
        That part: ``test``, or ``dev`` where there is none.
    about:
        The manifest's ``language``, ``config``, ``scores``, ``calibration``, ``confusion`` and ``speed``.
    evaluation:
        The evaluation file, as yet of no ``model``.
    errors:
        The worst mistakes, see `mistakes.worst`.
    """

    on: str
    about: dict[str, Any]
    evaluation: dict[str, Any]
    errors: list[dict[str, Any]]

    def calibration_in_words(self) -> str:
        """How good the scores are, in a sentence."""
        found = self.about["calibration"]
        count = sum(one["count"] for one in found["bins"])
        if not count:
            return f"no entity found on {self.on} has a score"
        return (
            f"scores of {count} entities found on {self.on} have an ECE of {found['ece']:.3f} "
            f"at temperature {found['temperature']:.2f}, and of {found['ece_uncalibrated']:.3f} at 1"
        )


def measure(best: Path, parts: Mapping[str, Part], files: Mapping[str, Path]) -> Measured:
    """Load a pipeline and measure it.

    Parameters
    ----------
    best:
        Its folder.
    parts:
        The data, by part.
    files:
        The same as .spacy files.
    """
    nlp = spacy.load(best)
    on = held_out(parts)
    dev = evaluate.predicted(nlp, files["dev"])
    examples = dev if on == "dev" else evaluate.predicted(nlp, files[on])
    source = parts[on].examples
    scores = evaluate.evaluate(nlp, examples, on)
    calibration = calibrate(nlp, dev, examples, on)
    lines = [example.line for example in source if example.text]  # spaCy passes over the others
    return Measured(
        on=on,
        about={
            "language": nlp.lang,
            "scores": scores,
            "calibration": calibration,
            "confusion": judgement.confusion(examples),
            "speed": evaluate.speed(nlp, examples),
            "config": nlp.config.to_str(),
        },
        evaluation=evaluate.evaluation(scores, examples, source),
        errors=mistakes.worst(nlp, examples, lines, calibration["temperature"]),
    )
