"""The batches of a training, epoch after epoch, in the order in which `spacy train` takes them."""

import random
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from types import GeneratorType
from typing import Any

import numpy
from nerforge_contract.errors import UserError
from spacy.language import Language
from spacy.training import Example

from . import rng

Batch = list[Example]
Corpus = Callable[[Language], Iterable[Example]]
Batcher = Callable[[Iterable[Example]], Iterable[Batch]]


class Batches:
    """Batches, and a position in them that can be saved.

    Within an epoch the position is found again by batching the epoch anew: a batcher is a generator, and what
    it holds back from one batch for the next cannot be read out of it. So the state says how things stood at
    the beginning of the epoch, and how many batches have been taken since.

    Parameters
    ----------
    nlp:
        The pipeline that the corpus makes its examples for.
    corpus:
        Called once, and all its examples kept and shuffled; or, for a stream, called in each epoch.
    batcher:
        spaCy's, with its size.
    max_epochs:
        spaCy's: 0 for no end, -1 for a stream without one.

    Raises
    ------
    UserError
        A corpus without examples.
    """

    def __init__(self, nlp: Language, corpus: Corpus, batcher: Batcher, max_epochs: int) -> None:
        self._nlp, self._corpus, self._max_epochs = nlp, corpus, max_epochs
        self._batcher, self._sizes = _counted(batcher)
        self._examples: Batch | None = None
        self._order: list[int] = []
        if max_epochs >= 0:
            self._examples = list(corpus(nlp))
            self._order = list(range(len(self._examples)))
            if not self._examples:
                raise UserError(
                    "the training corpus gives no example",
                    "config: [corpora]",
                    "Mend its reader's settings, such as max_length and limit",
                )
        self._epoch = 0
        self._current: Iterator[Batch] | None = None  # the epoch's, once it has begun
        self._taken = 0  # of the epoch
        self._sizes_before = dict.fromkeys(self._sizes, 0)  # values taken before the epoch began
        self._draws: dict[int, rng.State] = {}  # before those batches for which random numbers were drawn

    def take(self) -> tuple[int, Batch] | None:
        """The epoch, from 0, and the next batch; or None at the end.

        Raises UserError for an epoch without a batch: spaCy would look for one for ever.
        """
        while self._max_epochs < 1 or self._epoch != self._max_epochs:
            if self._current is None and self._examples is not None:
                random.shuffle(self._order)
            before = rng.capture()
            if self._current is None:
                self._current = self._begin()
            batch = next(self._current, None)
            if batch is not None:
                if rng.capture() != before:
                    self._draws[self._taken] = before
                self._taken += 1
                return self._epoch, list(batch)
            if not self._taken:
                raise UserError(
                    "not one batch comes of the training corpus",
                    "config: [training.batcher]",
                    "Raise its size, or set discard_oversize = false",
                )
            self._current = None
            self._epoch += 1
        return None

    def state(self) -> dict[str, Any]:
        """The position; for msgpack."""
        return {
            "epoch": self._epoch,
            "taken": self._taken,
            "order": numpy.array(self._order, dtype="uint32"),
            "sizes": self._sizes_before,
            "draws": list(self._draws.items()),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go to that position, from the beginning of the same corpus.

        Leaves the generators of random numbers anywhere.
        """
        self._epoch, self._order = state["epoch"], state["order"].tolist()
        for name, count in state["sizes"].items():
            self._sizes[name].skip(count)
        draws = dict(map(tuple, state["draws"]))
        for number in range(state["taken"]):
            if number in draws:
                rng.restore(draws[number])
            if self._current is None:
                self._current = self._begin()
            next(self._current)
        self._taken, self._draws = state["taken"], draws

    def _begin(self) -> Iterator[Batch]:
        self._taken, self._draws = 0, {}
        self._sizes_before = {name: sizes.taken for name, sizes in self._sizes.items()}
        if self._examples is None:
            examples = self._corpus(self._nlp)
        else:
            examples = [self._examples[i] for i in self._order]
        return iter(self._batcher(examples))


class _Counted:
    """A schedule that knows how many of its values were taken."""

    def __init__(self, schedule: Iterator[float]) -> None:
        self._schedule, self.taken = schedule, 0

    def __iter__(self) -> Iterator[float]:
        return self

    def __next__(self) -> float:
        self.taken += 1
        return next(self._schedule)

    def skip(self, count: int) -> None:
        for __ in range(count):
            next(self)


def _counted(batcher: Batcher) -> tuple[Batcher, dict[str, _Counted]]:
    """A batcher like this one, and those of its settings that are schedules and go on from epoch to epoch."""
    if not isinstance(batcher, partial):
        return batcher, {}
    sizes = {
        name: _Counted(value) for name, value in batcher.keywords.items() if isinstance(value, GeneratorType)
    }
    return partial(batcher, **sizes), sizes
