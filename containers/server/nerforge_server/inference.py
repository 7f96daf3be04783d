"""The inference of one process: which texts are looked at next, how many at once, and who must wait.

There is one thread. A request runs in a greenlet of its own: `Inference.recognize` files its texts and
switches to the greenlet above, the hub, which is the process's loop. The hub calls `Inference.turn` between
two looks at its sockets. A turn does one bounded piece of work over whatever is waiting, then switches the
requests whose texts are all answered back in. So nothing is locked, nothing waits for a batch to fill, and
the time between two looks at the sockets is bounded.

Texts are taken in rotation over the requests, one of each, so that a large request and a small one advance
side by side. A text longer than a turn's share goes through `Recognizer.piecewise`, a piece a turn, and the
turns alternate between pieces and batches.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from greenlet import getcurrent, greenlet

if TYPE_CHECKING:
    from nerforge_engine.recognizer import Entity, Recognizer

TURN_SECONDS = 0.03  # what a turn aims at: short beside any answer, long beside what a turn costs by itself
TURN_TEXTS = 64
TURN_CHARACTERS = (500, 50_000)  # bounds of what is tried in TURN_SECONDS
TEXT_CHARACTERS = 32  # a text costs about as much as so many characters, besides its own
PACE = 1e-5  # seconds a character, before anything is measured; spaCy's own on one core
PACE_CHARACTERS = 20_000  # how many characters the measured pace looks back
OPEN_REQUESTS = 256
WAIT_SECONDS = 10.0  # half the deadline: what is let in is answered in time even if the pace is off by two
DEADLINE_SECONDS = 20.0
STREAM_TEXTS = 64  # a stream is cut into parts of at most so many texts, of which two are in flight,
STREAM_CHARACTERS = 50_000  # and which end with the text that makes so many characters
STREAM_SHARE = 0.5  # of the open requests may be parts of streams: each holds its places for long


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


class Meter(Protocol):
    """What is told how the inference goes."""

    def batch(self, texts: int, seconds: float) -> None:
        """So many texts were inferred at once, in so many seconds."""

    def waiting(self, requests: int) -> None:
        """So many requests are open."""


class _Request:
    """The texts of one request, the answers that are there so far, and the greenlet that waits for them."""

    __slots__ = (
        "answers",
        "characters",
        "deadline",
        "failure",
        "owing",
        "streamed",
        "taken",
        "texts",
        "waiter",
    )

    def __init__(self, texts: Sequence[str], deadline: float, streamed: bool) -> None:
        self.texts = texts
        self.streamed = streamed  # whether it is a part of a stream
        self.answers: list[list[Entity] | None] = [None] * len(texts)
        self.taken = 0  # texts that are at work or answered
        self.owing = len(texts)
        self.characters = sum(map(_size, texts))  # of the texts that are owing
        self.deadline = deadline
        self.failure: Exception | None = None
        self.waiter: greenlet | None = None

    @property
    def done(self) -> bool:
        return not self.owing or self.failure is not None


class _Long:
    """A text that is inferred by pieces."""

    __slots__ = ("index", "pieces", "request", "seconds")

    def __init__(self, request: _Request, index: int, pieces: "Iterator[list[Entity] | None]") -> None:
        self.request, self.index, self.pieces = request, index, pieces
        self.seconds = 0.0


class Inference:
    """Entities from a recognizer, for any number of greenlets of one thread.

    Parameters
    ----------
    recognizer:
        From here on it belongs to this object: nothing else may call it.
    meter:
        Is told of every turn.
    deadline:
        Seconds that one request may take before it is given up.
    open_requests, wait:
        How many requests may be open at one time, and the seconds of inference that may be waiting; beyond
        either a request is refused at once. A request that finds nothing open is taken whatever its length.
    clock:
        Seconds, from any start.
    """

    def __init__(
        self,
        recognizer: "Recognizer",
        meter: Meter | None = None,
        deadline: float = DEADLINE_SECONDS,
        open_requests: int = OPEN_REQUESTS,
        wait: float = WAIT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._recognizer = recognizer
        self._meter = meter
        self._deadline = deadline
        self._open_requests = open_requests
        self._wait_seconds = wait
        self._clock = clock
        self._pace = PACE
        self._open: dict[_Request, None] = {}  # in the order of their deadlines
        self._characters = 0  # of all texts that are owing
        self._waiting: deque[_Request] = deque()  # those with a text to take
        self._long: deque[_Long] = deque()
        self._piece_is_due = False
        self._done: list[_Request] = []

    # --- for the greenlets of the requests ---

    def recognize(self, texts: Sequence[str]) -> "list[list[Entity]]":
        """The entities of each text, in the order of the texts.

        Switches to the hub until they are there. With no hub above, it takes turns itself.

        Raises
        ------
        Unavailable
            Too much is waiting already, or the deadline passed.
        Exception
            Whatever the recognizer raised over one of the texts.
        """
        if not texts:
            return []
        self._admit(sum(map(_size, texts)))
        request = self._file(texts)
        try:
            return self._answers(request)
        finally:
            self._dismiss(request)

    def stream(self, texts: Iterable[str]) -> "Iterator[list[list[Entity]]]":
        """The entities of each text, in the order of the texts, which are taken as needed; a part at a time.

        At most two parts are in flight, and each has a deadline of its own. Raises as `recognize` does; that
        too much is waiting is raised at once, before there is an iterator.
        """
        parts = _parts(iter(texts))
        first = next(parts, None)
        if first is None:
            return iter(())
        self._admit(sum(map(_size, first)), streamed=True)
        return self._stream(self._file(first, streamed=True), parts)

    def _stream(self, request: _Request | None, parts: Iterator[list[str]]) -> "Iterator[list[list[Entity]]]":
        following: _Request | None = None
        try:
            while request:
                part = next(parts, None)
                following = self._file(part, streamed=True) if part else None
                yield self._answers(request)
                request, following = following, None
        finally:
            for left in (request, following):
                if left:
                    self._dismiss(left)

    def _admit(self, characters: int, streamed: bool = False) -> None:
        wait = self._characters * self._pace
        full = len(self._open) >= self._open_requests
        full |= bool(self._open) and wait + characters * self._pace > self._wait_seconds
        if streamed and not full:
            parts = sum(request.streamed for request in self._open)
            full = parts >= self._open_requests * STREAM_SHARE
        if full:
            raise Unavailable(
                "too many texts are waiting already",
                "Try again in a moment, or run more servers.",
                retry_after=max(1, math.ceil(wait / 2)),  # by then half of what waits now is answered
            )

    def _file(self, texts: Sequence[str], streamed: bool = False) -> _Request:
        request = _Request(texts, self._clock() + self._deadline, streamed)
        self._open[request] = None
        self._characters += request.characters
        self._waiting.append(request)
        return request

    def _answers(self, request: _Request) -> "list[list[Entity]]":
        """Wait until the request is done; its answers, or its failure."""
        hub = getcurrent().parent
        while not request.done:
            if hub is None:
                self.turn()
            else:
                request.waiter = getcurrent()
                try:
                    hub.switch()
                finally:
                    request.waiter = None
        if request.failure:
            raise request.failure
        return request.answers  # type: ignore[return-value]  # done without failure: no answer is None

    def _dismiss(self, request: _Request) -> None:
        """Forget the request: what is left of it need not be inferred."""
        if request in self._open:
            del self._open[request]
            self._characters -= request.characters
            if request.taken < len(request.texts) and request in self._waiting:
                self._waiting.remove(request)

    # --- for the hub ---

    @property
    def busy(self) -> bool:
        """Whether a turn has something to do."""
        return bool(self._waiting or self._long or self._done)

    def turn(self) -> None:
        """Do one bounded piece of work, and let the requests that it finishes go on."""
        self._expire()
        if self._long and (self._piece_is_due or not self._waiting):
            self._piece_is_due = False
            self._take_piece(self._long.popleft())
        elif self._waiting:
            self._piece_is_due = True
            if batch := self._next_batch():
                self._take_batch(batch)
        done, self._done = self._done, []
        for request in done:
            if request.waiter:
                request.waiter.switch()
        if self._meter:
            self._meter.waiting(len(self._open))

    def _expire(self) -> None:
        """Give up the requests whose deadlines have passed."""
        now = self._clock()
        while self._open and (request := next(iter(self._open))).deadline <= now:
            self._dismiss(request)
            self._fail(
                request,
                Unavailable(
                    f"the answer was not there within {self._deadline:g} seconds",
                    "Send fewer or shorter texts in one request, or try again when the server is less busy.",
                    retry_after=5,
                ),
            )

    def _next_batch(self) -> list[tuple[_Request, int]]:
        """Texts for one batch: one of each waiting request in rotation, until the turn's share is full."""
        share = room = self._share()
        batch: list[tuple[_Request, int]] = []
        while self._waiting and len(batch) < TURN_TEXTS:
            request = self._waiting[0]
            index = request.taken
            text = request.texts[index]
            size = _size(text)
            is_long = size > share
            if not is_long and batch and size > room:
                break
            self._waiting.popleft()
            request.taken += 1
            if is_long:  # the request's other texts follow when this one is done
                self._long.append(_Long(request, index, self._recognizer.piecewise(text)))
                continue
            room -= size
            batch.append((request, index))
            if request.taken < len(request.texts):
                self._waiting.append(request)
        return batch

    def _share(self) -> float:
        """How many characters fit into `TURN_SECONDS` at the measured pace."""
        least, most = TURN_CHARACTERS
        return min(max(TURN_SECONDS / self._pace, least), most)

    def _take_batch(self, batch: list[tuple[_Request, int]]) -> None:
        texts = [request.texts[index] for request, index in batch]
        started = self._clock()
        try:
            results = self._recognizer.entities(texts)
            if len(results) != len(texts):
                raise ValueError(f"the recognizer answered {len(results)} of {len(texts)} texts")
        except Exception as error:
            if len(batch) == 1:
                self._fail(batch[0][0], error)
                return
            for one in batch:  # one request's text must not fail the others that it shared a batch with
                if not one[0].done:
                    self._take_batch([one])
            return
        self._learn(sum(map(_size, texts)), len(texts), self._clock() - started)
        for (request, index), entities in zip(batch, results, strict=True):
            self._answer(request, index, entities)

    def _take_piece(self, long: _Long) -> None:
        request = long.request
        if request.done or request not in self._open:  # it failed, or was dismissed
            return
        started = self._clock()
        try:
            entities = next(long.pieces)
        except Exception as error:  # also StopIteration: the pieces ended without an answer
            self._fail(request, error if not isinstance(error, StopIteration) else ValueError("no answer"))
            return
        long.seconds += self._clock() - started
        if entities is None:
            self._long.append(long)
            return
        self._learn(_size(request.texts[long.index]), 1, long.seconds)
        self._answer(request, long.index, entities)
        if request.taken < len(request.texts):
            self._waiting.append(request)

    def _answer(self, request: _Request, index: int, entities: "list[Entity]") -> None:
        if request.done:
            return
        request.answers[index] = entities
        request.owing -= 1
        size = _size(request.texts[index])
        request.characters -= size
        if request in self._open:
            self._characters -= size
        if not request.owing:
            self._dismiss(request)  # here, not when its client has read the answer: others may have its place
            self._done.append(request)

    def _fail(self, request: _Request, failure: Exception) -> None:
        if not request.done:
            self._dismiss(request)
            request.failure = failure
            self._done.append(request)

    def _learn(self, characters: int, texts: int, seconds: float) -> None:
        """Move the pace towards what was just measured, by as much as was measured."""
        self._pace += (seconds - self._pace * characters) / (PACE_CHARACTERS + characters)
        if self._meter:
            self._meter.batch(texts, seconds)


def _size(text: str) -> int:
    """What inferring the text costs, in characters."""
    return len(text) + TEXT_CHARACTERS


def _parts(texts: Iterator[str]) -> Iterator[list[str]]:
    """The texts in parts of at most `STREAM_TEXTS` and about `STREAM_CHARACTERS`."""
    part: list[str] = []
    characters = 0
    for text in texts:
        part.append(text)
        characters += len(text)
        if len(part) == STREAM_TEXTS or characters >= STREAM_CHARACTERS:
            yield part
            part, characters = [], 0
    if part:
        yield part
