"""The exact engine: the entities of spaCy's pipeline at a fraction of its work.

spaCy makes a Doc of each text, looks up some twenty attributes of each word, embeds and convolves all tokens,
and goes through the parser's states one by one. Here no Doc is made of a text whose words were seen lately:

    text ─ Tokenizer ─► pieces ─ Words ─► rows ─ Network ─► vectors ─ Decoder ─► spans

Each of these modules derives why its part gives what spaCy gives; `weights` says for which pipelines, and
`selfcheck` compares the outcome before the engine is used. Rounding differs, for sums are taken in another
order; it would take two actions with scores equal to about six digits to show.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate, chain, pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy

from .decoder import Decoder, Outside, Spans
from .network import Network
from .recognizer import Entity, SpacyRecognizer
from .tokens import RISKY, Pieces, Tokenizer
from .weights import weights
from .words import PADDING, Words

if TYPE_CHECKING:
    from spacy.language import Language

_TABLE_BYTES = 64 << 20  # of vectors kept
_BATCH = 8192  # characters, so tokens at most, that are gone through at once
SLICE = 4096  # characters of a long text that are gone through at once


class ExactRecognizer:
    """Entities without spaCy's parser loop.

    Parameters
    ----------
    nlp:
        The pipeline.
    temperature:
        What the scores are divided by before they become probabilities; above 0.

    Raises
    ------
    NotProved
        It is not one of the pipelines that this is proved for.
    """

    engine = "exact"
    reason = "it is proved for this pipeline, and finds what spaCy finds in the comparison at the start"

    def __init__(self, nlp: "Language", temperature: float = 1.0) -> None:
        parameters = weights(nlp)
        static = parameters.static
        self._nlp = nlp
        self._spacy = SpacyRecognizer(nlp, "a text is beyond what the exact engine takes", temperature)
        self._tokenizer = Tokenizer(nlp, [*parameters.attributes, *([static.vectors.attr] if static else [])])
        first = parameters.convolutions[0]
        row_bytes = 4 * (3 * first.bias.size + first.gain.size)
        self._capacity = max(_TABLE_BYTES // row_bytes // 2, _BATCH)
        self._network = Network(parameters, 1 + 2 * self._capacity)
        self._decoder = Decoder(parameters, self._network.shift, temperature)
        self._words = Words(self._tokenizer, self._network, self._capacity)

    def entities(self, texts: Sequence[str]) -> list[list[Entity]]:
        """The entities of each text."""
        found: list[list[Entity]] = []
        batch: list[str] = []
        characters = 0
        for text in texts:
            characters += len(text)
            if characters > _BATCH:
                found += self._batch(batch)
                batch, characters = [], len(text)
            if characters > _BATCH:
                *__, entities = self.piecewise(text)
                found.append(entities or [])
                characters = 0
            else:
                batch.append(text)
        return found + self._batch(batch)

    def piecewise(self, text: str, characters: int = SLICE) -> Iterator[list[Entity] | None]:
        """The entities of one text of any length, by slices of at most so many characters."""
        if len(text) <= characters:
            yield self._batch([text])[0]
            return
        pieces = self._tokenizer.pieces(text)
        if len(text) <= self._nlp.max_length and max(map(len, pieces.keys)) <= characters:
            joints: list[int] = []
            for start, stop in _slices(pieces.keys, characters):
                joints += self._joints(pieces.keys[start : stop + 1])
                yield None
            pieces = self._tokenizer.joined(pieces, joints)
            windows = list(_windows(pieces.keys, characters, self._network.depth))
            if all(sum(map(len, chain(*window))) <= self._capacity for window in windows):
                yield from self._through(pieces, windows)
                return
        yield self._spacy.entities([text])[0]

    def _batch(self, texts: Sequence[str]) -> list[list[Entity]]:
        """The entities of texts that together are short enough to be gone through at once."""
        texts_pieces = list(map(self._tokenizer.pieces, texts))
        rows = self._lay_out(texts_pieces)
        joints = self._words.before[rows[:-1]] & self._words.after[rows[1:]]
        if (joints & RISKY).any():
            texts_pieces = [
                self._tokenizer.joined(pieces, self._joints(pieces.keys)) for pieces in texts_pieces
            ]
            rows = self._lay_out(texts_pieces)
        (places,) = rows.nonzero()
        if not len(places):
            return [[] for __ in texts]
        tokens = rows[places]
        (ends,) = (places[1:] - places[:-1] > 1).nonzero()  # the last tokens of all documents but the last
        stops = numpy.empty(len(ends) + 1, "intp")
        stops[:-1], stops[-1] = ends + 1, len(tokens)
        starts = numpy.zeros_like(stops)
        starts[1:] = stops[:-1]
        vectors = self._network.vectors(rows, places)
        outside = self._decoder.outside(vectors, stops - 1, self._words.spaces[tokens])
        spans = self._decoder.spans(vectors, outside, stops)
        filled = (pieces for pieces in texts_pieces if pieces.keys)
        advances = self._words.advances[tokens]
        for start, pieces in zip(starts.tolist(), filled, strict=True):
            if pieces.tight:
                _tighten(advances, start, pieces, list(map(len, self._words.rows(pieces.keys))))
        per_document = iter(self._entities(spans, starts, self._words.lengths[tokens], advances))
        return [next(per_document) if pieces.keys else [] for pieces in texts_pieces]

    def _lay_out(self, texts_pieces: Sequence[Pieces]) -> numpy.ndarray:
        """The rows of all texts' tokens, those of padding around each text."""
        keys = [PADDING]
        for pieces in texts_pieces:
            if pieces.keys:
                keys += pieces.keys
                keys.append(PADDING)
        return _flat(self._words.rows(keys))

    def _joints(self, keys: Sequence[str]) -> list[int]:
        """The bits at the boundaries between pieces."""
        before, after = self._words.before, self._words.after
        return [before[left[-1]] & after[right[0]] for left, right in pairwise(self._words.rows(keys))]

    def _through(self, pieces: Pieces, windows: "list[_Window]") -> Iterator[list[Entity] | None]:
        """The entities of one text whose pieces were joined, window by window."""
        depth, words = self._network.depth, self._words
        padding = (0,) * depth
        vectors, outsides, lengths, advances = [], [], [], []
        sizes: list[int] = []
        for number, window in enumerate(windows):
            rows = words.rows(list(chain(*window)))
            at, stop = len(window.left), len(window.left) + len(window.keys)
            tokens = _flat(rows[at:stop])
            left = (*padding, *chain.from_iterable(rows[:at]))[-depth:]
            right = (*chain.from_iterable(rows[stop:]), *padding)[:depth]
            around = numpy.concatenate([left, tokens, right])
            vectors.append(self._network.vectors(around, numpy.arange(depth, depth + len(tokens))))
            lasts = numpy.array([len(tokens) - 1] if number == len(windows) - 1 else [], dtype=numpy.intp)
            outsides.append(self._decoder.outside(vectors[-1], lasts, words.spaces[tokens]))
            lengths.append(words.lengths[tokens])
            advances.append(words.advances[tokens])
            sizes += map(len, rows[at:stop])
            yield None
        outside = Outside.together(outsides)
        spans = self._decoder.spans(numpy.concatenate(vectors), outside, numpy.array([sum(sizes)]))
        advance = numpy.concatenate(advances)
        _tighten(advance, 0, pieces, sizes)
        yield self._entities(spans, numpy.zeros(1, "intp"), numpy.concatenate(lengths), advance)[0]

    def _entities(
        self, spans: Spans, starts: numpy.ndarray, lengths: numpy.ndarray, advances: numpy.ndarray
    ) -> list[list[Entity]]:
        """By document: what its spans are in characters. ``starts`` are the documents' first tokens."""
        found: list[list[Entity]] = [[] for __ in starts]
        if len(spans.starts):
            characters = advances.cumsum() - advances
            documents = starts.searchsorted(spans.starts, side="right") - 1
            origins = characters[starts[documents]]
            lasts = spans.stops - 1
            columns = (
                documents,
                characters[spans.starts] - origins,
                characters[lasts] + lengths[lasts] - origins,
                spans.labels,
                spans.scores,
            )
            labels = self._decoder.labels
            for document, start, stop, label, score in zip(*(c.tolist() for c in columns), strict=True):
                found[document].append(Entity(start, stop, labels[label], score))
        return found


class _Window(NamedTuple):
    """Pieces of a long text, with as many on each side as may reach into the vectors of theirs."""

    left: Sequence[str]
    keys: Sequence[str]
    right: Sequence[str]


def _windows(keys: Sequence[str], characters: int, depth: int) -> Iterator[_Window]:
    for start, stop in _slices(keys, characters):
        yield _Window(keys[max(start - depth, 0) : start], keys[start:stop], keys[stop : stop + depth])


def _slices(keys: Sequence[str], characters: int) -> Iterator[tuple[int, int]]:
    """Bounds of runs of pieces of so many characters together at most, unless there is one piece alone."""
    start = length = 0
    for number, key in enumerate(keys):
        length += len(key)
        if length > characters and number > start:
            yield start, number
            start, length = number, len(key)
    yield start, len(keys)


def _flat(rows: Sequence[tuple[int, ...]]) -> numpy.ndarray:
    return numpy.array(list(chain.from_iterable(rows)), dtype=numpy.intp)


def _tighten(advances: numpy.ndarray, start: int, pieces: Pieces, sizes: Sequence[int]) -> None:
    """Take back the dropped space that ``advances`` has behind every piece, where there is none.

    Parameters
    ----------
    start:
        The text's first token among those of ``advances``.
    sizes:
        The tokens of each piece.
    """
    behind = list(accumulate(sizes, initial=start))
    for number in pieces.tight:
        advances[behind[number + 1] - 1] -= 1
