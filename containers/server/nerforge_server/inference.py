"""The one thread that owns the pipeline, and the queue through which everything else hands it texts.

A pipeline and its memory zone belong to a single thread. The threads that hold HTTP requests call
`Inference.entities` and wait; the inference thread takes whatever is waiting as one batch, at once, and never
more than a turn's worth, so that the texts of a large request and those of small ones advance side by side.
"""

import threading
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from spacy.language import Language

TURN_TEXTS = 64
TURN_CHARACTERS = 20_000  # about a quarter of a second of inference on one core
OPEN_REQUESTS = 128
OPEN_CHARACTERS = 1_000_000
DEADLINE_SECONDS = 20.0


class Entity(TypedDict):
    """One entity; ``start`` and ``end`` count code points of the text as sent, ``end`` is exclusive."""

    text: str
    tag: str
    start: int
    end: int


class Unavailable(Exception):
    """The server cannot answer now, but may later.

    Parameters
    ----------
    what, fix:
        What is in the way, and what the client can do.
    retry_after:
        Seconds after which another try makes sense.
    """

    def __init__(self, what: str, fix: str, retry_after: int) -> None:
        super().__init__(what)
        self.what, self.fix, self.retry_after = what, fix, retry_after


class _Request:
    """The texts of one request and the answers that are there so far."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts
        self.answers: list[list[Entity] | None] = [None] * len(texts)
        self.taken = 0
        self.answered = 0
        self.failure: Exception | None = None
        self.done = threading.Event()

    def answer(self, index: int, entities: list[Entity]) -> None:
        self.answers[index] = entities
        self.answered += 1
        if self.answered == len(self.texts):
            self.done.set()

    def fail(self, failure: Exception) -> None:
        self.failure = failure
        self.done.set()


_Turn = list[tuple[_Request, int]]


class Inference:
    """Entities from a pipeline, for any number of threads at once.

    Parameters
    ----------
    nlp:
        The pipeline. From here on it belongs to this object: nothing else may call it.
    deadline:
        Seconds that one request may take before it is given up.
    open_requests, open_characters:
        What may be waiting or at work at one time; beyond it a request is refused at once. A request that
        finds nothing open is taken whatever its length.
    """

    def __init__(
        self,
        nlp: "Language",
        deadline: float = DEADLINE_SECONDS,
        open_requests: int = OPEN_REQUESTS,
        open_characters: int = OPEN_CHARACTERS,
    ) -> None:
        self._nlp = nlp
        self._deadline = deadline
        self._open_requests = open_requests
        self._open_characters = open_characters
        self._changed = threading.Condition()  # guards all that follows
        self._waiting: deque[_Request] = deque()
        self._requests = 0
        self._characters = 0
        threading.Thread(target=self._run, name="inference", daemon=True).start()

    def entities(self, texts: Sequence[str]) -> list[list[Entity]]:
        """The entities of each text, in the order of the texts.

        Raises
        ------
        Unavailable
            Too much is waiting already, or the deadline passed.
        Exception
            Whatever the pipeline raised over one of the texts.
        """
        if not texts:
            return []
        request = _Request(texts)
        characters = sum(map(len, texts))
        self._admit(request, characters)
        try:
            if not request.done.wait(self._deadline):
                raise Unavailable(
                    f"the answer was not there within {self._deadline:g} seconds",
                    "Send fewer or shorter texts in one request, or try again when the server is less busy.",
                    retry_after=5,
                )
        finally:
            self._dismiss(request, characters)
        if request.failure:
            raise request.failure
        return request.answers  # type: ignore[return-value]  # done without failure: no answer is None

    def _admit(self, request: _Request, characters: int) -> None:
        with self._changed:
            full = self._requests >= self._open_requests or (
                self._requests > 0 and self._characters + characters > self._open_characters
            )
            if full:
                raise Unavailable(
                    "too many texts are waiting already",
                    "Try again in a moment, or run more servers.",
                    retry_after=1,
                )
            self._requests += 1
            self._characters += characters
            self._waiting.append(request)
            self._changed.notify()

    def _dismiss(self, request: _Request, characters: int) -> None:
        with self._changed:
            self._requests -= 1
            self._characters -= characters
            if request in self._waiting:  # given up: what is left of it need not be inferred
                self._waiting.remove(request)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                turn = self._next_turn()
            self._take(turn)

    def _next_turn(self) -> _Turn:
        """Texts for one batch: one of each waiting request in rotation, until the turn is full."""
        turn: _Turn = []
        room = TURN_CHARACTERS
        while self._waiting and len(turn) < TURN_TEXTS:
            request = self._waiting[0]
            room -= len(request.texts[request.taken])
            if turn and room < 0:
                break
            turn.append((request, request.taken))
            request.taken += 1
            self._waiting.popleft()
            if request.taken < len(request.texts):
                self._waiting.append(request)
        return turn

    def _take(self, turn: _Turn) -> None:
        try:
            results = infer(self._nlp, [request.texts[index] for request, index in turn])
        except Exception as error:
            if len(turn) == 1:
                turn[0][0].fail(error)
                return
            for one in turn:  # one request's text must not fail the others that it shared a batch with
                self._take([one])
        else:
            for (request, index), entities in zip(turn, results, strict=True):
                request.answer(index, entities)


def infer(nlp: "Language", texts: Sequence[str]) -> list[list[Entity]]:
    """The entities of each text, or whatever the pipeline raises; no new word stays in the vocabulary."""
    # The exception must not cross the zone's end: spaCy closes a zone only when its block ends normally, and
    # a zone left open leaves the vocabulary pointing at freed memory.
    with nlp.memory_zone():
        try:
            return [
                [Entity(text=e.text, tag=e.label_, start=e.start_char, end=e.end_char) for e in doc.ents]
                for _, doc in zip(texts, nlp.pipe(texts, batch_size=len(texts)), strict=True)
            ]
        except Exception as error:
            failure = error
    raise failure
