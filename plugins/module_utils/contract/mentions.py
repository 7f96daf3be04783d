"""Names that are marked in one way nearly everywhere, and otherwise here and there."""

from __future__ import annotations

import re
import string
import sys
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from .corpus import Example
from .findings import Finding, Placed, cut, first, many

# How sure it must be that one more mention would be marked as most are, before one that is not is a likely
# mistake: Laplace's rule of succession, (m + 1) / (n + 2) where m of n are marked alike. 13 of 14 will do.
SURE = 7 / 8

_QUOTES_AND_DASHES = "\u2018\u2019\u201c\u201d\u201e\u201a«»…–—¿¡。、，！？（）「」"  # noqa: RUF001 they are meant
# What is neither white space nor punctuation makes words: `\w` lacks the vowel signs of some scripts.
_WORD = re.compile(rf"[^\s{re.escape(string.punctuation.replace('_', '') + _QUOTES_AND_DASHES)}]+|\S")

_UNMARKED = None  # how a mention is marked that is no entity

Words = tuple[str, ...]


def words(text: str, start: int = 0, end: int = sys.maxsize) -> list[str]:
    """The words of a text, or of a stretch of it; a punctuation mark is one of its own."""
    return _WORD.findall(text, start, end)


@dataclass(slots=True)
class _Name:
    """The words of an entity as they stand somewhere, and each way in which they are marked."""

    text: str
    readings: dict[str | None, list[str]] = field(default_factory=dict)  # the places by the label

    def usual(self) -> str | None:
        """How most of its mentions are marked."""
        return max(self.readings, key=lambda reading: len(self.readings[reading]))

    def odd(self) -> dict[str | None, list[str]]:
        """How the others are."""
        usual = self.usual()
        return {reading: places for reading, places in self.readings.items() if reading != usual}

    def sureness(self) -> float:
        """The estimated chance that one more mention would be marked as most are."""
        mentions = sum(map(len, self.readings.values()))
        return (len(self.readings[self.usual()]) + 1) / (mentions + 2)

    def told(self) -> str:
        """What is usual, and where it is not so."""
        usual = self.usual()
        odd = ", ".join(
            f"{reading or 'unmarked'} {len(places):,} ({places[0]})" for reading, places in self.odd().items()
        )
        return f"{cut(self.text)} is {usual or 'unmarked'} {len(self.readings[usual]):,} times, {odd}"


def odd_ones(placed: Sequence[Placed]) -> Iterator[Finding]:
    """Mentions that are marked unlike nearly all others of the same name, the unlikeliest first."""
    doubtful = [name for name in _names(placed) if len(name.readings) > 1 and name.sureness() >= SURE]
    doubtful.sort(key=lambda name: (-name.sureness(), name.text))
    if doubtful:
        odd = sum(len(places) for name in doubtful for places in name.odd().values())
        yield Finding(
            f"{many(len(doubtful), 'name')} with {many(odd, 'mention')} marked unlike nearly all others",
            len(doubtful),
            first(name.told() for name in doubtful),
        )


def _names(placed: Sequence[Placed]) -> Iterable[_Name]:
    """Every name that is an entity somewhere, with its mentions; within another entity it is none."""
    names: dict[Words, _Name] = {}
    for one in placed:
        for start, end, label in one.example.spans:
            text = one.example.text[start:end]
            if key := tuple(words(text)):
                names.setdefault(key, _Name(text)).readings.setdefault(label, []).append(one.place)
    lengths: dict[str, set[int]] = defaultdict(set)
    for key in names:
        lengths[key[0]].add(len(key))
    longest_first = {word: sorted(found, reverse=True) for word, found in lengths.items()}
    for one in placed:
        for key in _unmarked(one.example, names, longest_first):
            names[key].readings.setdefault(_UNMARKED, []).append(one.place)
    return names.values()


def _unmarked(
    example: Example, names: Container[Words], lengths: Mapping[str, Sequence[int]]
) -> Iterator[Words]:
    """The names that stand outside the entities, the longest where several begin at a word.

    Parameters
    ----------
    example:
        Where to look.
    names:
        Which names there are: thousands may begin with one word, such as a film's "The".
    lengths:
        How many words the names have that begin with a word, the most first.
    """
    outside = 0
    for start, end, __ in (*example.spans, (len(example.text), 0, "")):
        between = words(example.text, outside, start)
        outside = end
        free = 0  # the first word that is not part of a name
        for at, word in enumerate(between):
            if at >= free and word in lengths:
                here = (tuple(between[at : at + length]) for length in lengths[word])
                if name := next(filter(names.__contains__, here), None):
                    yield name
                    free = at + len(name)
