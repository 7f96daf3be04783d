"""The sentences that a pipeline gets most wrong, for people to look at."""

from collections.abc import Sequence
from typing import Any

from nerforge_engine import confidence
from spacy.language import Language
from spacy.tokens import Span
from spacy.training import Example
from spacy.util import minibatch

from .judgement import is_right, pairs

MOST = 30
_LONGEST = 600  # characters shown of a text
_BEFORE = 150  # of them before the first mistake
_WORD = 50  # characters of a word that is shown whole: not every script has spaces
_AT_A_TIME = 128  # documents: the scores need the hidden layer of all their tokens
_DIGITS = 4


def worst(
    nlp: Language, examples: Sequence[Example], lines: Sequence[int], temperature: float
) -> list[dict[str, Any]]:
    """At most 30 examples with mistakes: those with the most, and among equals those it was surest of.

    Parameters
    ----------
    nlp:
        The pipeline.
    examples:
        As `evaluate.predicted` returns them.
    lines:
        Where each of them begins in its file.
    temperature:
        That of the scores.

    Returns
    -------
    Of each its ``line``; its ``text``, of a long one some 600 characters around the first mistake; the
    entities in ``gold``, as [start, end, label], and those ``found``, as [start, end, label, score], in
    characters of this text. The score is None where there is none.
    """
    errors = [sum(not is_right(pair) for pair in pairs(example)) for example in examples]
    order = sorted((i for i, count in enumerate(errors) if count), key=lambda i: -errors[i])
    # The scores take another prediction: only for documents that come into question.
    order = [i for i in order if errors[i] >= errors[order[:MOST][-1]]]
    scored: dict[int, dict[int, float | None]] = {}
    for some in minibatch(order, _AT_A_TIME):
        scores = confidence.scores(nlp, [examples[i].predicted for i in some], temperature)
        scored |= {i: _scored(examples[i], found) for i, found in zip(some, scores, strict=True)}
    order.sort(key=lambda i: (-errors[i], -_surest(examples[i], scored[i])))
    return [{"line": lines[i], **_shown(examples[i], scored[i])} for i in order[:MOST]]


def _scored(example: Example, scores: Sequence[float | None]) -> dict[int, float | None]:
    """The scores of what was found, by the character it begins at."""
    return {entity.start_char: score for entity, score in zip(example.predicted.ents, scores, strict=True)}


def _surest(example: Example, scores: dict[int, float | None]) -> float:
    """The highest score of an entity that is wrong, 0 without one."""
    wrong = [found for gold, found in pairs(example) if found and not is_right((gold, found))]
    return max((scores[found.start_char] or 0 for found in wrong), default=0)


def _shown(example: Example, scores: dict[int, float | None]) -> dict[str, Any]:
    text, paired = example.reference.text, pairs(example)
    begin, end = _excerpt(text, next(pair for pair in paired if not is_right(pair)))

    def within(spans: Sequence[Span | None]) -> list[Span]:
        return [span for span in spans if span and begin <= span.start_char and span.end_char <= end]

    def place(span: Span) -> list[Any]:
        return [span.start_char - begin, span.end_char - begin, span.label_]

    return {
        "text": text[begin:end],
        "gold": [place(span) for span in within([gold for gold, __ in paired])],
        "found": [
            [*place(span), _rounded(scores[span.start_char])]
            for span in within([found for __, found in paired])
        ],
    }


def _excerpt(text: str, mistake: Sequence[Span | None]) -> tuple[int, int]:
    """From where to where to show a text that may be long: around this mistake, and no half words."""
    if len(text) <= _LONGEST:
        return 0, len(text)
    near = max(0, min(span.start_char for span in mistake if span) - _BEFORE)
    begin = text.rfind(" ", max(0, near - _WORD), near) + 1 or near
    far = max(begin + _LONGEST, *(span.end_char for span in mistake if span))
    end = text.find(" ", far, far + _WORD)
    if end < 0:
        end = far if far + _WORD < len(text) else len(text)
    return begin, end


def _rounded(score: float | None) -> float | None:
    return None if score is None else round(score, _DIGITS)
