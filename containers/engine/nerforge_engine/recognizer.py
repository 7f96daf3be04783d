"""What turns texts into entities: the interface, and the way through spaCy itself."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from spacy.language import Language


class Entity(NamedTuple):
    """One entity; ``start`` and ``end`` count code points of its text, ``end`` is exclusive.

    ``score`` is the probability that the model gives it, from 0 to 1; None where the pipeline has none.
    """

    start: int
    end: int
    label: str
    score: float | None


class Recognizer(Protocol):
    """Finds entities. Belongs to one thread: nothing else may call it, or the pipeline it was made from."""

    engine: str  # "exact" or "spacy"
    reason: str  # why it is this engine, in a sentence

    def entities(self, texts: Sequence[str]) -> list[list[Entity]]:
        """The entities of each text, in order of their starts; whatever the pipeline raises over a text."""

    def piecewise(self, text: str) -> Iterator[list[Entity] | None]:
        """The same for one long text, in bounded pieces of work: yields None after each, at last the entities."""


class SpacyRecognizer:
    """Entities by `nlp.pipe`, for any pipeline."""

    engine = "spacy"

    def __init__(self, nlp: "Language", reason: str) -> None:
        self._nlp = nlp
        self.reason = reason

    def entities(self, texts: Sequence[str]) -> list[list[Entity]]:
        """The entities of each text; no new word stays in the vocabulary."""
        # The exception must not cross the zone's end: spaCy closes a zone only when its block ends normally,
        # and a zone left open leaves the vocabulary pointing at freed memory.
        with self._nlp.memory_zone():
            try:
                return [
                    [Entity(e.start_char, e.end_char, e.label_, None) for e in doc.ents]
                    for _, doc in zip(texts, self._nlp.pipe(texts, batch_size=len(texts)), strict=True)
                ]
            except Exception as error:
                failure = error
        raise failure

    def piecewise(self, text: str) -> Iterator[list[Entity] | None]:
        """The entities in one piece: spaCy's pipeline cannot be left and taken up within a text."""
        yield self.entities([text])[0]


def recognizer(nlp: "Language") -> Recognizer:
    """The fastest recognizer that is exact for this pipeline."""
    return SpacyRecognizer(nlp, "the exact engine is not there yet")
