"""What a pipeline found beside what gold has: which is right, which is missing, and what is taken for what.

All of it counts as spaCy's scorer does: an entity is right if gold has one of the same tokens and label, and
one on tokens of which gold knows nothing counts neither way.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy
from spacy.tokens import Span
from spacy.training import Example

Pair = tuple[Span | None, Span | None]


def pairs(example: Example) -> list[Pair]:
    """Gold and found entities on the same tokens, in the order of the text; None where one has no other.

    What was found on tokens of which gold knows nothing is left out. Spans of gold are of
    ``example.reference``, those found of ``example.predicted``.
    """
    gold = {(entity.start, entity.end): entity for entity in example.reference.ents}
    found = defaultdict(list)
    for entity in example.predicted.ents:
        tokens = example.alignment.x2y[entity.start : entity.end]
        if len(tokens):
            start, end = int(tokens[0]), int(tokens[-1]) + 1
            if all(token.ent_iob for token in example.reference[start:end]):
                found[start, end].append(entity)
    paired: list[Pair] = []
    for place in sorted(gold.keys() | found.keys()):
        expected = gold.get(place)
        # Several lie on the same tokens of gold where the pipeline's own are shorter: the right one is first.
        there = sorted(found[place], key=lambda entity: not _same(expected, entity))
        paired.append((expected, there[0] if there else None))
        paired += [(None, other) for other in there[1:]]
    return paired


def is_right(pair: Pair) -> bool:
    """Whether what was found is what gold has."""
    return _same(*pair)


def _same(gold: Span | None, found: Span | None) -> bool:
    return gold is not None and found is not None and gold.label_ == found.label_


def counts(example: Example) -> list[int]:
    """How many entities are right, spurious and missed: true positives, false positives, false negatives.

    Their sums over examples give precision, recall and F exactly as spaCy's scorer has them.
    """
    paired = pairs(example)
    right = sum(map(is_right, paired))
    return [
        right,
        sum(found is not None for __, found in paired) - right,
        sum(gold is not None for gold, __ in paired) - right,
    ]


def confusion(examples: Sequence[Example]) -> dict[str, Any]:
    """Which labels are taken for which.

    Returns
    -------
    The ``labels`` of gold or of what was found, sorted; and ``counts``, of shape (labels + 1, labels + 1), a
    row for each label of gold, a column for the one found on the same tokens. The last column has those that
    were missed, the last row those that gold does not have.
    """
    labelled = [tuple(span.label_ if span else "" for span in pair) for pair in _all(examples)]
    labels = sorted({label for pair in labelled for label in pair} - {""})
    place = {label: number for number, label in enumerate([*labels, ""])}
    table = numpy.zeros((len(place), len(place)), dtype=int)
    for gold, found in labelled:
        table[place[gold], place[found]] += 1
    return {"labels": labels, "counts": table.tolist()}


def _all(examples: Sequence[Example]) -> Iterator[Pair]:
    for example in examples:
        yield from pairs(example)
