"""Texts that occur more than once: leaks between the parts of the data, contradictions, repetitions."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from .corpus import Example
from .findings import Finding, Placed, cut, first, many

IDLE_WORDS = 3  # a text of no more, without an entity, may well occur often

# Thai, Lao, Burmese, Khmer, kana and Chinese characters: scripts that set no white space between words.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
_UNSPACED_WORD = 4  # characters: more than a word has in Chinese, and fewer than one in Thai

Same = list[Placed]  # the examples that have one text


def recurring(placed: Sequence[Placed]) -> list[Same]:
    """The examples by the text that they have in common, but for case and white space.

    Left out are those that recur by nature, such as a list's numbers: of `IDLE_WORDS`, and without an entity.
    """
    by_text = defaultdict(list)
    for one in placed:
        by_text[_folded(one.example.text)].append(one)
    return [same for same in by_text.values() if len(same) > 1 and not all(map(_is_idle, same))]


def leaks(recurring: Sequence[Same], sizes: Mapping[str, int]) -> Iterator[Finding]:
    """Texts of a part that the model is scored on, which the model has seen.

    Parameters
    ----------
    recurring:
        What `recurring` gives.
    sizes:
        How many examples each part has.
    """
    for held_out, seen in (("test", "train"), ("dev", "train"), ("test", "dev")):
        leaked = [
            (one, other)
            for same in recurring
            if (other := next((other for other in same if other.part == seen), None))
            for one in same
            if one.part == held_out
        ]
        if leaked:
            alike = sum(one.example.text == other.example.text for one, other in leaked)
            folded = f" ({len(leaked) - alike:,} but for case or white space)" if alike < len(leaked) else ""
            texts = f"{len(leaked):,} of its {many(sizes[held_out], 'text')}"
            yield Finding(
                f"{held_out}: {texts} found in {seen} too{folded}: its scores flatter the model",
                len(leaked),
                first(f"{one.place} is {other.place}, {cut(one.example.text)}" for one, other in leaked),
            )


def contradictions(recurring: Sequence[Same]) -> Iterator[Finding]:
    """Texts that do not have the same entities wherever they occur."""
    found = []
    for same in recurring:
        other = next((one for one in same[1:] if _marks(one.example) != _marks(same[0].example)), None)
        if other:
            found.append((same[0], other))
    if found:
        yield Finding(
            f"{many(len(found), 'recurring text')} marked in more than one way",
            len(found),
            first(f"{one.place} and {other.place}, {cut(one.example.text)}" for one, other in found),
        )


def within_parts(recurring: Sequence[Same], sizes: Mapping[str, int]) -> Iterator[Finding]:
    """Texts that a part has more than once; the parameters are those of `leaks`."""
    for part, size in sizes.items():
        within = [[one for one in same if one.part == part] for same in recurring]
        pairs = [(other, same[0]) for same in within for other in same[1:]]
        if pairs:
            yield Finding(
                f"{part}: {many(len(pairs), 'repetition')} among its {many(size, 'text')}; they weigh more",
                len(pairs),
                first(f"{one.place} repeats {other.place}, {cut(one.example.text)}" for one, other in pairs),
            )


def _is_idle(one: Placed) -> bool:
    text = one.example.text
    words = len(text.split()) + len(_UNSPACED.findall(text)) // _UNSPACED_WORD
    return not one.example.spans and words <= IDLE_WORDS


def _folded(text: str) -> str:
    """The text without case and white space: tokens that a file sets apart are joined again."""
    return "".join(text.casefold().split())


def _marks(example: Example) -> list[tuple[int, int, str]]:
    """The entities, at their places in the folded text."""
    marks = []
    at = done = 0
    for start, end, label in example.spans:
        start_at = at + len(_folded(example.text[done:start]))
        at, done = start_at + len(_folded(example.text[start:end])), end
        marks.append((start_at, at, label))
    return marks
