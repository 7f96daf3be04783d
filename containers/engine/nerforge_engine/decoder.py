"""The transitions of spaCy's greedy NER, without going through the states one by one.

In each state spaCy scores all actions and takes the best of the valid ones (``_parseC`` in
spacy/pipeline/transition_parser.pyx; the valid ones: ``is_valid`` in
spacy/pipeline/_parser_internals/ner.pyx). With t_j the hidden vectors of a state's tokens
(``set_context_tokens`` in _state.pxd), F_j the slices of the lower layer, p_j what stands in for a token that
is missing, and U the upper layer, the scores are

    U · max over pieces(b + sum over j of (F_j·t_j or p_j)) + u

(``predict_states`` in spacy/ml/parser_model.pyx), without U where the pipeline has no upper layer; one piece
goes through as it is. The tokens j are, at token i:

- outside of an entity: i, and all others are missing. So the scores depend on i alone, and one matrix product
  gives those of all tokens, whatever was decided before;
- within an entity from s on: i, s and i - 1; or with extra state tokens i, s, s + 1 … i - 1, at most five of
  them. So they depend on i and s, and given that it is still open there, an entity's actions at several
  tokens can be computed at once. The end is the first token at which LAST beats IN.

Valid are, on plain text: outside OUT; BEGIN unless i is white space or a document's last token; UNIT unless
it is white space. Within an entity of label x: LAST-x, and IN-x unless i is a document's last token. Of equal
scores the action with the lower number wins.

An entity's score is the product, over the transitions that build it, of the softmax over the valid actions'
scores divided by the temperature (`nerforge_engine.confidence` has the definition).
"""

from typing import NamedTuple

import numpy

from .weights import Floats, Weights

_WINDOW = 4  # tokens behind its first at which an entity's end is looked for at once; most end there
_LONGEST_WINDOW = 64


class Outside(NamedTuple):
    """What is decided at each token outside of an entity.

    ``hidden``: the lower layer's outputs, (tokens, P·outputs). Of the tokens where an entity begins:
    ``places``, ``labels`` by number, ``open`` for BEGIN rather than UNIT, ``logarithms`` of the action's
    probability.
    """

    hidden: Floats
    places: numpy.ndarray
    labels: numpy.ndarray
    open: numpy.ndarray
    logarithms: numpy.ndarray

    @classmethod
    def together(cls, parts: "list[Outside]") -> "Outside":
        """The same for a text whose slices were looked at one by one."""
        starts = numpy.cumsum([0, *(len(part.hidden) for part in parts[:-1])])
        placed = [part._replace(places=part.places + at) for part, at in zip(parts, starts, strict=True)]
        return cls(*(numpy.concatenate(arrays) for arrays in zip(*placed, strict=True)))


class Spans(NamedTuple):
    """Entities in order: first token, token behind the last, label by number, score."""

    starts: numpy.ndarray
    stops: numpy.ndarray
    labels: numpy.ndarray
    scores: numpy.ndarray


class Decoder:
    """The parser of a pipeline.

    Parameters
    ----------
    weights:
        Its parameters.
    shift:
        What the token vectors lack, of their width (`nerforge_engine.network`).
    temperature:
        Above 0.
    """

    def __init__(self, weights: Weights, shift: Floats, temperature: float) -> None:
        features, outputs, self._pieces, __ = weights.lower.shape
        self._outputs = outputs
        self._temperature = temperature
        # Pieces side by side; the linear layer ahead of the lower one is part of each slice.
        slices = (
            weights.lower.astype("float64")
            .transpose(0, 3, 2, 1)
            .reshape(features, -1, outputs * self._pieces)
        )
        linear = weights.linear.astype("float64")
        constants = (linear @ shift + weights.linear_bias) @ slices
        paddings = weights.padding.astype("float64").transpose(0, 2, 1).reshape(features, -1)
        self._slices = [numpy.ascontiguousarray(part, "float32") for part in linear.T @ slices]
        bias = weights.lower_bias.T.reshape(-1) + constants[0] + paddings[1:].sum(axis=0)
        self._bias = bias.astype("float32")
        self._filled = (constants - paddings).astype("float32")  # what a token brings in place of its padding

        names = weights.actions
        self.labels = sorted({name[2:] for name in names if name[:2] == "B-"})
        first = [number for number, name in enumerate(names) if name[0] in "OBU" and name != "U-"]
        self._out = next(at for at, number in enumerate(first) if names[number] == "O")
        self._begins = numpy.array([at for at, number in enumerate(first) if names[number][0] == "B"])
        self._others = numpy.array([at for at in range(len(first)) if at != self._out])
        self._label_of = numpy.array(
            [-1 if at == self._out else self.labels.index(names[n][2:]) for at, n in enumerate(first)]
        )
        self._is_begin = numpy.isin(numpy.arange(len(first)), self._begins)
        inside = [names.index(f"{move}-{label}") for move in "IL" for label in self.labels]
        self._last_first = numpy.array(
            [names.index(f"L-{label}") < names.index(f"I-{label}") for label in self.labels]
        )
        self._first_upper, self._inside_upper = _Upper.of(weights, first), _Upper.of(weights, inside)

    def outside(self, vectors: Floats, lasts: numpy.ndarray, spaces: numpy.ndarray) -> Outside:
        """The decisions at all tokens, each as if no entity were open there.

        Parameters
        ----------
        vectors:
            (tokens, W), less the shift.
        lasts:
            The documents' last tokens.
        spaces:
            Whether a token is white space.
        """
        hidden = vectors @ self._slices[0]
        hidden += self._bias
        scores = self._scores(hidden, self._first_upper)
        scores[lasts[:, None], self._begins] = -numpy.inf
        if spaces.any():
            scores[numpy.flatnonzero(spaces)[:, None], self._others] = -numpy.inf
        best = scores.argmax(axis=1)
        places = (best != self._out).nonzero()[0]
        best = best[places]
        margins = scores[places].astype("float64")
        margins -= margins[numpy.arange(len(places)), best][:, None]
        margins /= self._temperature
        logarithms = -numpy.log(numpy.exp(margins).sum(axis=1))
        return Outside(hidden, places, self._label_of[best], self._is_begin[best], logarithms)

    def spans(self, vectors: Floats, outside: Outside, stops: numpy.ndarray) -> Spans:
        """The entities.

        Parameters
        ----------
        vectors, outside:
            Of all tokens.
        stops:
            The tokens behind the documents' last ones, ascending.
        """
        places, labels = outside.places, outside.labels
        ends = stops[stops.searchsorted(places, side="right")]
        closed = numpy.where(outside.open, 0, places + 1)  # the token behind the entity; 0: not known yet
        since = places + 1
        logarithms = outside.logarithms.copy()
        undecided, window = outside.open.nonzero()[0], _WINDOW
        while True:
            if len(undecided):
                which = undecided
                found, gained = self._ends(
                    vectors, outside.hidden, places[which], labels[which], ends[which], since[which], window
                )
                closed[which] = found
                logarithms[which] += gained
                since[which] += window
            reached, waiting = _walk(places.tolist(), closed.tolist(), ends.tolist())
            if not waiting:
                break
            undecided, window = numpy.array(waiting), min(4 * window, _LONGEST_WINDOW)
        return Spans(places[reached], closed[reached], labels[reached], numpy.exp(logarithms[reached]))

    def _ends(
        self,
        vectors: Floats,
        hidden: Floats,
        starts: numpy.ndarray,
        labels: numpy.ndarray,
        ends: numpy.ndarray,
        since: numpy.ndarray,
        window: int,
    ) -> tuple[numpy.ndarray, numpy.ndarray]:
        """Where entities that are open at the tokens ``since`` end, if within so many tokens from there.

        Returns the tokens behind their last ones, 0 for those that go on, and the logarithms of the
        probability of all transitions in the window.
        """
        rows = numpy.arange(len(starts))
        tokens = since[:, None] + numpy.arange(window)
        forced = tokens >= ends[:, None] - 1
        tokens = numpy.minimum(tokens, ends[:, None] - 1)
        flat, first = tokens.ravel(), numpy.repeat(starts, window)
        scores = self._scores(hidden[flat] + self._context(vectors, first, flat), self._inside_upper).reshape(
            len(starts), window, 2, -1
        )[rows, :, :, labels]
        margins = scores[:, :, 1].astype("float64") - scores[:, :, 0]  # of LAST over IN
        closes = (margins > 0) | ((margins == 0) & self._last_first[labels][:, None]) | forced
        margins = numpy.where(closes, margins, -margins) / self._temperature
        logarithms = numpy.where(forced, 0.0, -numpy.logaddexp(0.0, -margins))
        ended = closes.any(axis=1)
        last = numpy.where(ended, closes.argmax(axis=1), window - 1)
        gained = logarithms.cumsum(axis=1)[rows, last]
        return numpy.where(ended, tokens[rows, last] + 1, 0), gained

    def _context(self, vectors: Floats, starts: numpy.ndarray, tokens: numpy.ndarray) -> Floats:
        """What the open entity's tokens bring to the lower layer in place of their paddings, by state."""
        if len(self._slices) == 3:
            context: Floats = vectors[starts] @ self._slices[1]
            context += vectors[tokens - 1] @ self._slices[2]
            context += self._filled[1] + self._filled[2]
            return context
        context = numpy.zeros((len(tokens), len(self._bias)), "float32")
        for at, (part, filled) in enumerate(zip(self._slices[1:], self._filled[1:], strict=True)):
            there = (starts + at < tokens).nonzero()[0]
            context[there] += vectors[starts[there] + at] @ part + filled
        return context

    def _scores(self, hidden: Floats, upper: "_Upper") -> Floats:
        width = self._outputs
        best = hidden[:, :width]
        for piece in range(1, self._pieces):
            best = numpy.maximum(best, hidden[:, piece * width : (piece + 1) * width])
        if upper.matrix is None:
            return best[:, upper.actions]
        scores: Floats = best @ upper.matrix
        scores += upper.bias
        return scores


class _Upper(NamedTuple):
    """The upper layer for some actions; ``matrix`` is None where the scores are those of the lower one."""

    actions: list[int]
    matrix: Floats | None
    bias: Floats | None

    @classmethod
    def of(cls, weights: Weights, actions: list[int]) -> "_Upper":
        if weights.upper is None or weights.upper_bias is None:
            return cls(actions, None, None)
        return cls(actions, numpy.ascontiguousarray(weights.upper[actions].T), weights.upper_bias[actions])


def _walk(places: list[int], closed: list[int], ends: list[int]) -> tuple[list[int], list[int]]:
    """Go through the documents from left to right, as spaCy does, entities being closed where ``closed``
    says.

    Returns the numbers of the entities that are come upon outside of others; and, if that hangs on ends that
    are not known yet, the first of these in each document.
    """
    reached, waiting = [], []
    free = 0
    for number, place in enumerate(places):
        if place >= free:
            free = closed[number]
            if free:
                reached.append(number)
            else:
                waiting.append(number)
                free = ends[number]
    return reached, waiting
