"""What turns texts into entities: the interface, and the way through spaCy itself."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from . import confidence

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
        """The same for one long text, in bounded pieces of work: None after each, at last the entities."""


class SpacyRecognizer:
    """Entities by `nlp.pipe`, for any pipeline.

    Parameters
    ----------
    nlp:
        The pipeline.
    reason:
        Why it is this engine, in a sentence.
    temperature:
        What the scores are divided by before they become probabilities; above 0.
    """

    engine = "spacy"

    def __init__(self, nlp: "Language", reason: str, temperature: float = 1.0) -> None:
        self._nlp = nlp
        self._temperature = temperature
        self.reason = reason

    def entities(self, texts: Sequence[str]) -> list[list[Entity]]:
        """The entities of each text; no new word stays in the vocabulary.

        A blank text has none and is not asked about: transformers break on a batch of such.
        """
        asked = [text for text in texts if text.strip()]
        found = iter(self._entities(asked)) if asked else iter(())
        return [next(found) if text.strip() else [] for text in texts]

    def _entities(self, texts: Sequence[str]) -> list[list[Entity]]:
        # The exception must not cross the zone's end: spaCy closes a zone only when its block ends normally,
        # and a zone left open leaves the vocabulary pointing at freed memory.
        with self._nlp.memory_zone():
            try:
                docs = list(self._nlp.pipe(texts, batch_size=len(texts)))
                return [
                    [
                        Entity(entity.start_char, entity.end_char, entity.label_, score)
                        for entity, score in zip(doc.ents, scores, strict=True)
                    ]
                    for doc, scores in zip(
                        docs, confidence.scores(self._nlp, docs, self._temperature), strict=True
                    )
                ]
            except Exception as error:
                failure = error
        raise failure

    def piecewise(self, text: str) -> Iterator[list[Entity] | None]:
        """The entities in one piece: spaCy's pipeline cannot be left and taken up within a text."""
        yield self.entities([text])[0]


def recognizer(nlp: "Language", temperature: float = 1.0) -> Recognizer:
    """The fastest recognizer that is exact for this pipeline.

    Parameters
    ----------
    nlp:
        A trained pipeline. From here on it belongs to the recognizer.
    temperature:
        What the scores of the model's transitions are divided by before they become probabilities; above 0.
    """
    from .exact import ExactRecognizer
    from .selfcheck import difference
    from .weights import NotProved

    try:
        exact = ExactRecognizer(nlp, temperature)
    except NotProved as why:
        return SpacyRecognizer(nlp, f"the exact engine does not take this pipeline: {why}", temperature)
    if differs := difference(exact, nlp):
        return SpacyRecognizer(nlp, f"the exact engine stepped aside: {differs}", temperature)
    return exact
