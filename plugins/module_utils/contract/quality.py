"""What in the examples holds a model back or flatters its scores: allowed, and hardly meant.

Each check gives findings, and `examine` has them in the order of their weight: first what makes scores
untrue, then what teaches the model wrong things, then what it learns little from.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from . import mentions, repetitions
from .corpus import Example, Span, enumerated
from .findings import Finding, Placed, first, many, shown

FEW_ENTITIES = 50  # of a label in train: below that spaCy's `debug data` too calls them few
LONG_ENTITY = 15  # words

_LOOSE = frozenset(",;:|/*-–—")  # noqa: RUF001 no name begins or ends with these
_FULL_STOPS = ".!?"  # some names do end with these
_PAIRS = {"(": ")", "[": "]", "{": "}", '"': '"', "\u201c": "\u201d", "«": "»"}


def examine(parts: Mapping[str, Sequence[Example]], files: Mapping[str, str]) -> list[Finding]:
    """All that can be said of the examples without a tokenizer, in the order of its weight.

    Parameters
    ----------
    parts:
        The examples of ``train``, ``dev`` and, where there is one, ``test``.
    files:
        What the user calls the file of each part.
    """
    placed = [Placed(part, files[part], example) for part, examples in parts.items() for example in examples]
    sizes = {part: len(examples) for part, examples in parts.items()}
    recurring = repetitions.recurring(placed)
    entities = [(one, span) for one in placed for span in one.example.spans]
    counts: dict[str, Counter[str]] = {part: Counter() for part in parts}
    for one, (__, __, label) in entities:
        counts[one.part][label] += 1
    return [
        *repetitions.leaks(recurring, sizes),
        *repetitions.contradictions(recurring),
        *mentions.odd_ones(placed),
        *_lacking(counts),
        *_rare(counts["train"]),
        *_ragged(entities),
        *_all_with_entities(placed, sizes["train"]),
        *repetitions.within_parts(recurring, sizes),
        *_long(entities),
        *_empty(placed),
    ]


# --- labels ---


def _lacking(counts: dict[str, Counter[str]]) -> Iterator[Finding]:
    for part, of_part in counts.items():
        lacking = sorted(counts["train"].keys() - of_part.keys())
        if lacking:
            yield Finding(
                f"{part} has none of {enumerated(lacking)}: how well that is found cannot be seen there"
            )


def _rare(counts: Counter[str]) -> Iterator[Finding]:
    rare = sorted((count, label) for label, count in counts.items() if count < FEW_ENTITIES)
    if rare:
        yield Finding(
            f"train: {many(len(rare), 'label')} of {len(counts)} with fewer than {FEW_ENTITIES} entities, "
            "too few to learn well",
            len(rare),
            first(f"{label} {count}" for count, label in rare),
        )


# --- single entities and texts ---


def _ragged(entities: list[tuple[Placed, Span]]) -> Iterator[Finding]:
    known = Counter((one.example.text[start:end], label) for one, (start, end, label) in entities)
    found = [(one, span) for one, span in entities if _is_ragged(one.example.text, span, known)]
    if found:
        yield Finding(
            f"{many(len(found), 'entity')} with stray white space or punctuation at an end",
            len(found),
            first(_at(one, span) for one, span in found),
        )


def _is_ragged(text: str, span: Span, known: Mapping[tuple[str, str], int]) -> bool:
    start, end, label = span
    entity = text[start:end]
    first, last = entity[0], entity[-1]
    return (
        first.isspace()
        or last.isspace()
        or first in _LOOSE
        or last in _LOOSE
        or _is_half(entity)
        # "Inc." is a name's end; "London." is one only if nobody marks London
        or (last in _FULL_STOPS and known.get((entity[:-1].rstrip(), label), 0) > known[entity, label])
    )


def _is_half(entity: str) -> bool:
    """Whether it begins with a bracket or quote that it does not close, or ends with one it did not open."""
    return any(
        (entity[0] == opening and closing not in entity[1:])
        or (entity[-1] == closing and opening not in entity[:-1])
        for opening, closing in _PAIRS.items()
    )


def _long(entities: list[tuple[Placed, Span]]) -> Iterator[Finding]:
    found = [
        (one, (start, end, label))
        for one, (start, end, label) in entities
        # first what costs nothing: no word is shorter than a character
        if end - start > LONG_ENTITY and len(mentions.words(one.example.text, start, end)) > LONG_ENTITY
    ]
    if found:
        yield Finding(
            f"{many(len(found), 'entity')} of more than {LONG_ENTITY} words, hardly ever found whole",
            len(found),
            first(_at(one, span) for one, span in found),
        )


def _all_with_entities(placed: list[Placed], size: int) -> Iterator[Finding]:
    if all(one.example.spans for one in placed if one.part == "train"):
        yield Finding(
            f"train: each of its {many(size, 'text')} holds an entity: the model never sees one without"
        )


def _empty(placed: list[Placed]) -> Iterator[Finding]:
    empty = [one for one in placed if not one.example.text.strip()]
    if empty:
        yield Finding(
            f"{many(len(empty), 'document')} without text", len(empty), first(one.place for one in empty)
        )


def _at(one: Placed, span: Span) -> str:
    return f"{one.place}, {shown(one.example, span)}"
