"""What a look at examples finds: words for it, and the places that it names."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from .corpus import Example, Span

PLACES = 3  # how many places a finding names


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong with the examples that does not keep a model from being trained.

    Parameters
    ----------
    what:
        What is wrong, how often, and what comes of it: a sentence without a full stop.
    count:
        How many places there are.
    places:
        The first or the worst of them: file, line and what stands there; at most `PLACES`.
    """

    what: str
    count: int = 0
    places: tuple[str, ...] = ()

    @property
    def more(self) -> int:
        """How many places it does not name."""
        return max(0, self.count - len(self.places)) if self.places else 0

    def __str__(self) -> str:
        shown = "; ".join(self.places) + (f"; and {self.more:,} more" if self.more else "")
        return f"{self.what}: {shown}" if shown else self.what


@dataclass(frozen=True, slots=True)
class Placed:
    """An example, and where it is from.

    Parameters
    ----------
    part:
        ``train``, ``dev`` or ``test``.
    file:
        What the user calls its file.
    example:
        The example.
    """

    part: str
    file: str
    example: Example

    @property
    def place(self) -> str:
        """The file, and the line or the document."""
        return f"{self.file}:{self.example.line}"


def first(places: Iterable[str]) -> tuple[str, ...]:
    """As many as a finding names."""
    return tuple(itertools.islice(places, PLACES))


def shown(example: Example, span: Span) -> str:
    """An entity: ``'Ada' (PER)``."""
    start, end, label = span
    return f"{cut(example.text[start:end])} ({label})"


def cut(text: str, width: int = 40) -> str:
    """The text in quotes, with white space other than blanks made visible, and no longer than need be."""
    return repr(text if len(text) <= width else f"{text[: width - 1]}…")


def many(count: int, noun: str) -> str:
    """``1 entity``, ``1,200 entities``."""
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{count:,} {noun if count == 1 else plural}"
