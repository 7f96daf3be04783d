"""How sure a pipeline is of an entity that it found: the probability of the transitions that build it.

spaCy's NER goes from token to token and in each state takes, of the actions that are valid there, the one of
the highest score: OUT, or UNIT for an entity of one token, or BEGIN, then IN or LAST for a longer one. With
the scores z of a state's valid actions as logits and a temperature T, an entity's score is

    product, over the transitions that build it, of  exp(z[taken] / T) / sum over valid a of exp(z[a] / T)

which is the locally normalised probability of that piece of the greedy path [1]_. A temperature other than 1
changes no entity, only the scores: it is fitted in training [2]_, so that of the entities with a score of 0.8
about eight in ten are right.

.. [1] D. Andor et al., "Globally Normalized Transition-Based Neural Networks", ACL 2016, section 2.2.
.. [2] C. Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 4.2.
"""

from collections.abc import Iterator, Sequence, Sized
from typing import TYPE_CHECKING, Any

import numpy

if TYPE_CHECKING:
    from spacy.language import FactoryMeta, Language
    from spacy.pipeline import EntityRecognizer
    from spacy.pipeline._parser_internals.stateclass import StateClass
    from spacy.pipeline._parser_internals.transition_system import TransitionSystem
    from spacy.tokens import Doc, Span, Token

# Of each transition of an entity: the scores of its valid actions less that of the one taken, which so is 0.
Path = list[numpy.ndarray]

# By how much scores may differ from those that spaCy went by, whose batches were others.
_ROUNDING = 1e-3


def scores(nlp: "Language", docs: Sequence["Doc"], temperature: float = 1.0) -> list[list[float | None]]:
    """The score of each of the documents' entities.

    Parameters
    ----------
    nlp:
        The pipeline that made the documents.
    docs:
        Documents as they come out of it, unchanged; they stay as they are.
    temperature:
        T, above 0.

    Returns
    -------
    For each document a score from 0 to 1 for each of its ``ents``; None where `paths` has none.
    """
    found = paths(nlp, docs)
    values = iter(probabilities([path for doc in found for path in doc if path], temperature).tolist())
    return [[next(values) if path else None for path in doc] for doc in found]


def probabilities(paths: Sequence[Path], temperature: float) -> numpy.ndarray:
    """The formula above: the score of each of these paths, of shape (paths,), at a temperature above 0."""
    if not paths:
        return numpy.zeros(0)
    transitions = [margins for path in paths for margins in path]
    logits = numpy.concatenate(transitions).astype("float64") / temperature
    sums = numpy.add.reduceat(numpy.exp(logits), _starts(transitions))
    return numpy.exp(-numpy.add.reduceat(numpy.log(sums), _starts(paths)))


def _starts(parts: Sequence[Sized]) -> numpy.ndarray:
    """Where each of these parts begins when they are put one behind the other."""
    return numpy.cumsum([0, *map(len, parts[:-1])])


def paths(nlp: "Language", docs: Sequence["Doc"]) -> list[list[Path | None]]:
    """The transitions that build each of the documents' entities, by spaCy's own step model.

    Only the states within entities are gone through again: what a greedy NER does at a token depends on the
    tokens and on the entity that is open, not on the way there. That entities which an earlier component has
    set leave it fewer valid actions beside them is not counted.

    Returns
    -------
    For each document a path for each of its ``ents``. None for one that the greedy NER would not build, such
    as an entity ruler's; and for all of a pipeline with a beam, with one maxout piece, without exactly one
    ``ner``, or with a later component that changes the tokens or their vectors.
    """
    ner = _greedy_ner(nlp)
    busy = [doc for doc in docs if doc.ents]
    if ner is None or not busy:
        return [[None] * len(doc.ents) for doc in docs]
    model = ner.model.predict(busy)
    actions = _Actions(ner.moves, sentences=_knows_sentences(nlp, ner))
    replays = [
        _Replay(doc, state, actions) for doc, state in zip(busy, ner.moves.init_batch(busy), strict=True)
    ]
    under_way = replays
    while under_way := [replay for replay in under_way if replay.advance()]:
        for replay, logits in zip(under_way, model.predict([one.state for one in under_way]), strict=True):
            replay.note(logits)
    model.clear_memory()
    found = iter(replays)
    return [next(found).paths() if doc.ents else [] for doc in docs]


class _Replay:
    """One document's parser state, taken through the transitions of its entities."""

    def __init__(self, doc: "Doc", state: "StateClass", actions: "_Actions") -> None:
        self.state = state
        self._doc, self._actions = doc, actions
        self._paths: list[Path] = [[] for __ in doc.ents]
        self._transitions = self._walk()
        self._at: tuple[int, int, numpy.ndarray]  # before which transition the state is

    def advance(self) -> bool:
        """Go to the state before the next transition; False if there is none."""
        transition = next(self._transitions, None)
        if transition is None:
            return False
        self._at = transition
        return True

    def note(self, logits: numpy.ndarray) -> None:
        """Take in the scores of all actions in this state."""
        entity, taken, valid = self._at
        self._paths[entity].append(logits[valid] - logits[taken])

    def paths(self) -> list[Path | None]:
        """The path of each entity; None for one that is not greedy."""
        return [path if path and max(map(numpy.max, path)) < _ROUNDING else None for path in self._paths]

    def _walk(self) -> Iterator[tuple[int, int, numpy.ndarray]]:
        """Each transition, before it is done: of which entity, which action, and which are valid."""
        state = self.state
        for number, entity in enumerate(self._doc.ents):
            for token, (taken, valid) in zip(entity, self._actions.building(entity), strict=False):
                while state.B(0) < token.i:
                    self._pass()
                yield number, taken, valid
                if token.i == entity.start:
                    state.open_ent(entity.label)
                if token.i == entity.end - 1:
                    state.close_ent()
                self._pass()

    def _pass(self) -> None:
        """Leave a token behind, as every action does."""
        self.state.push()
        self.state.pop()


class _Actions:
    """An NER's actions by their numbers, and which of them are valid where, as spaCy has it for plain text.

    Parameters
    ----------
    moves:
        The NER's transition system.
    sentences:
        Whether it knew of the sentences' starts, which no entity goes across.
    """

    def __init__(self, moves: "TransitionSystem", sentences: bool) -> None:
        self._sentences = sentences
        self._number = {moves.get_class_name(number): number for number in range(moves.n_moves)}
        self._number.pop("U-", None)  # valid only at tokens that were preset to be in no entity
        self._first, self._first_without_room = self._of_moves("OUB"), self._of_moves("OU")

    def building(self, entity: "Span") -> list[tuple[int, numpy.ndarray]]:
        """The action of each transition of the entity, and all that are valid; empty if one of its is not."""
        label, rooms = entity.label_, [self._has_room(token) for token in entity]
        moves = "U" if len(entity) == 1 else f"B{'I' * (len(entity) - 2)}L"
        if f"U-{label}" not in self._number or entity[0].is_space or not all(rooms[:-1]):
            return []
        first = self._first if rooms[0] else self._first_without_room
        last, inside = self._numbers(f"L-{label}"), self._numbers(f"I-{label}", f"L-{label}")
        valid = [first, *(inside if room else last for room in rooms[1:])]
        return [(self._number[f"{move}-{label}"], v) for move, v in zip(moves, valid, strict=True)]

    def _has_room(self, token: "Token") -> bool:
        """Whether an entity may go on behind it."""
        after = token.i + 1
        doc = token.doc
        return after < len(doc) and not (self._sentences and doc[after].is_sent_start)

    def _of_moves(self, moves: str) -> numpy.ndarray:
        return numpy.array([number for name, number in self._number.items() if name[0] in moves])

    def _numbers(self, *names: str) -> numpy.ndarray:
        return numpy.array([self._number[name] for name in names])


def _greedy_ner(nlp: "Language") -> "EntityRecognizer | None":
    """The one NER of the pipeline, if it can be asked again with what it saw."""
    from spacy.pipeline import EntityRecognizer

    found = [pipe for __, pipe in nlp.pipeline if isinstance(pipe, EntityRecognizer)]
    if len(found) != 1 or found[0].cfg["beam_width"] != 1:
        return None
    # With one piece the step model puts a ReLU behind it (``_nonlinearity`` in spacy/ml/parser_model.pyx),
    # and the greedy parser, which chose the entities, does not (``predict_states`` there).
    if found[0].model.get_ref("lower").get_dim("nP") == 1:
        return None
    after = _metas_after(nlp, found[0])
    return None if any(meta.retokenizes or "doc.tensor" in meta.assigns for meta in after) else found[0]


def _knows_sentences(nlp: "Language", ner: "EntityRecognizer") -> bool:
    """Whether the sentences' starts in a document were there when the NER saw it."""
    return not any("token.is_sent_start" in meta.assigns for meta in _metas_after(nlp, ner))


def _metas_after(nlp: "Language", pipe: Any) -> "list[FactoryMeta]":
    pipes = [component for __, component in nlp.pipeline]
    return [nlp.get_pipe_meta(name) for name in nlp.pipe_names[pipes.index(pipe) + 1 :]]
