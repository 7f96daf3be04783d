"""The scheduler with a hub and a clock of its own: batches, fairness, long texts, limits, streams."""

import itertools
from itertools import chain

import pytest
from greenlet import GreenletExit, greenlet
from nerforge_engine.recognizer import Entity, recognizer
from nerforge_server import inference as scheduling
from nerforge_server.inference import Inference, Unavailable


class Clock:
    """Seconds that pass only when somebody says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Recognizer:
    """Notes its work, takes 10 us a character by the clock, and fails over the text 'poison'.

    The one entity of a text is the text itself. A text in pieces takes 1,000 characters a piece.
    """

    engine, reason = "stub", "a test"
    pace = 1e-5

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.work: list[list[str] | str] = []

    def entities(self, texts):
        self.work.append(list(texts))
        self.clock.now += self.pace * sum(map(len, texts))
        if "poison" in texts:
            raise ValueError("poison")
        return [[Entity(0, len(text), "ALL", 0.5)] for text in texts if text != "drop"]

    def piecewise(self, text):
        for __ in range(0, len(text), 1000):
            self.work.append(text[:10])
            self.clock.now += self.pace * 1000
            yield None
        if text.startswith("poison"):
            raise ValueError("poison")
        yield [Entity(0, len(text), "ALL", 0.5)]


class Meter:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, float]] = []
        self.open: list[int] = []  # after each turn

    def batch(self, texts, seconds):
        self.batches.append((texts, seconds))

    def waiting(self, requests):
        self.open.append(requests)


class Client:
    """A request in a greenlet, as the server runs it."""

    def __init__(self, inference: Inference, texts) -> None:
        self.answers = self.error = None
        self._ask = lambda: inference.recognize(texts)
        self.greenlet = greenlet(self._run)
        self.greenlet.switch()

    def _run(self) -> None:
        try:
            self.answers = self._ask()
        except Exception as error:
            self.error = error

    @property
    def lengths(self) -> list[int]:
        return [entities[0].end for entities in self.answers]


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def stub(clock):
    return Recognizer(clock)


@pytest.fixture
def make(stub, clock):
    """An inference over the stub."""
    return lambda **changed: Inference(stub, clock=clock, **changed)


def finish(inference: Inference, turns: int = 1000) -> int:
    """Turn until nothing is left; how many turns it took."""
    for taken in range(turns):
        if not inference.busy:
            return taken
        inference.turn()
    raise AssertionError("it has no end")


def test_what_waits_becomes_one_batch_and_nothing_waits_for_more(make, stub):
    inference = make()
    clients = [Client(inference, [f"text {i}"]) for i in range(20)]
    assert not any(client.answers for client in clients)
    inference.turn()
    assert stub.work == [[f"text {i}" for i in range(20)]]
    assert [client.lengths for client in clients] == [[len(f"text {i}")] for i in range(20)]
    assert not inference.busy


def test_without_a_hub_it_takes_the_turns_itself(make):
    texts = ["a" * length for length in range(200)]
    assert [entities[0].end for entities in make().recognize(texts)] == list(range(200))
    assert make().recognize([]) == []


def test_a_large_request_does_not_hold_up_a_small_one(make, stub, monkeypatch):
    monkeypatch.setattr(scheduling, "TURN_TEXTS", 4)
    inference = make()
    large = Client(inference, [f"large {i}" for i in range(20)])
    small = Client(inference, ["small"])
    inference.turn()
    assert small.lengths == [5]
    assert large.answers is None
    finish(inference)
    assert large.lengths == [len(f"large {i}") for i in range(20)]
    assert all(len(batch) <= 4 for batch in stub.work)


def test_a_turn_takes_no_longer_than_it_should_at_the_measured_pace(make, stub, clock):
    """A pipeline ten times slower than supposed gets batches a tenth as large."""
    stub.pace = 1e-4
    inference = make(wait=1e9, deadline=1e9)
    Client(inference, ["a" * 100] * 4000)
    seconds = []
    while inference.busy:
        before = clock.now
        inference.turn()
        seconds.append(clock.now - before)
    assert seconds[0] > 3 * scheduling.TURN_SECONDS
    assert max(seconds[-300:]) < 1.5 * scheduling.TURN_SECONDS


def test_a_long_text_is_taken_by_pieces_in_turn_with_batches_of_short_ones(make, stub):
    inference = make()
    long = Client(inference, ["long" + "a" * 20_000, "and a short one"])
    short = [Client(inference, ["short"])]
    for __ in range(10):
        inference.turn()
        short.append(Client(inference, ["short"]))
    assert stub.work[:5] == [["short"], "longaaaaaa", ["short", "short"], "longaaaaaa", ["short", "short"]]
    assert all(client.answers for client in short[:-2])
    finish(inference)
    assert long.lengths == [20_004, 15]


def test_long_texts_of_several_requests_advance_side_by_side(make, stub):
    inference = make()
    clients = [Client(inference, [name * 20_000] * 2) for name in "xy"]
    finish(inference)
    assert [work[0] for work in stub.work[:6]] == list("xyxyxy")
    assert [client.lengths for client in clients] == [[20_000] * 2] * 2


def test_beyond_the_open_requests_it_refuses_at_once(make):
    inference = make(open_requests=3)
    clients = [Client(inference, ["x"]) for __ in range(4)]
    assert clients[3].error.retry_after == 1
    assert "too many texts are waiting" in clients[3].error.what
    finish(inference)
    assert [bool(client.answers) for client in clients] == [True, True, True, False]
    assert Client(inference, ["again"]).error is None


def test_it_refuses_what_would_wait_too_long_and_says_when_to_come_back(make):
    inference = make(wait=10)
    first = Client(inference, ["a" * 1_000] * 800)  # 8 s by the pace supposed
    assert Client(inference, ["b" * 1_000] * 150).error is None
    refused = Client(inference, ["c" * 1_000] * 100).error
    assert isinstance(refused, Unavailable)
    assert refused.retry_after == 5  # half of what waits
    finish(inference)
    assert len(first.answers) == 800
    assert Client(inference, ["c" * 1_000] * 2_000).error is None  # whatever its length, when nothing waits


def test_a_request_past_its_deadline_is_given_up_and_not_inferred(make, stub, clock):
    inference = make(deadline=20)
    late = Client(inference, ["late"] * 100)
    long = Client(inference, ["long" * 10_000])
    inference.turn()
    clock.now += 15
    fresh = Client(inference, ["fresh"])
    clock.now += 6
    inference.turn()
    for given_up in (late, long):
        assert isinstance(given_up.error, Unavailable)
        assert "within 20 seconds" in given_up.error.what
    finish(inference)
    assert fresh.lengths == [5]
    assert stub.work[1:] == [["fresh"]]


def test_a_text_that_fails_fails_only_its_own_request(make):
    inference = make()
    good = Client(inference, ["good"])
    bad = Client(inference, ["poison", "fine"])
    also_good = Client(inference, ["good too"])
    finish(inference)
    assert good.lengths == [4] and also_good.lengths == [8]
    assert str(bad.error) == "poison"
    long = Client(inference, ["poison" * 10_000, "fine"])
    finish(inference)
    assert str(long.error) == "poison"
    assert inference.recognize(["next"])


def test_a_recognizer_that_drops_a_text_fails_its_request_and_works_on(make):
    inference = make()
    good, bad = Client(inference, ["keep"]), Client(inference, ["drop"])
    finish(inference)
    assert good.lengths == [4]
    assert "answered 0 of 1" in str(bad.error)


def test_the_work_of_a_client_that_is_gone_is_dropped(make, stub):
    inference = make()
    gone = Client(inference, ["gone"] * 100)
    gone_too = Client(inference, ["long" * 10_000])
    stays = Client(inference, ["stays"])
    inference.turn()
    gone.greenlet.throw(GreenletExit)
    gone_too.greenlet.throw(GreenletExit)
    del stub.work[:]
    finish(inference)
    assert stub.work == []
    assert stays.lengths == [5]
    assert inference._characters == 0 and not inference._open


def test_a_stream_answers_in_order_and_takes_texts_only_as_they_are_needed(make):
    inference = make()
    taken = itertools.count()
    texts = ("a" * next(taken) for __ in range(1_000))
    stream = inference.stream(texts)
    assert next(taken) == scheduling.STREAM_TEXTS
    first = next(stream)
    assert next(taken) == 2 * scheduling.STREAM_TEXTS + 1
    assert len(first) == scheduling.STREAM_TEXTS
    lengths = [entities[0].end for part in [first, *stream] for entities in part]
    assert lengths == sorted(lengths) and len(lengths) == 1_000
    assert list(inference.stream([])) == []
    assert not inference._open


def test_streams_and_requests_share_the_turns(make):
    inference = make()
    lengths = []
    stream = greenlet(lambda: lengths.extend(map(len, chain(*inference.stream(["a" * 50] * 500)))))
    stream.switch()
    short = Client(inference, ["short"])
    inference.turn()
    assert short.lengths == [5]
    finish(inference)
    assert len(lengths) == 500


def test_a_part_of_a_stream_ends_before_it_takes_too_long(make, stub):
    """Else texts of the longest kind, each allowed, would together be past their part's deadline."""
    inference = make(deadline=3.0)
    parts = list(inference.stream(["a" * 100_000] * 20 + ["b"] * 3))
    assert [len(part) for part in parts] == [1] * 20 + [3]


def test_who_reads_an_answer_slowly_takes_no_place_from_others(make):
    inference = make(open_requests=3)
    streams = []
    for __ in range(4):
        streams.append(inference.stream(["a"] * 64))
        next(streams[-1])  # and the reader takes its time
    assert inference.recognize(["b"])


def test_a_stream_is_refused_at_once_if_too_much_waits_and_lets_go_when_it_is_left(make):
    inference = make(open_requests=2)
    stream = inference.stream(["a"] * 500)
    next(stream)
    waiting = [Client(inference, ["c"]) for __ in range(2)]
    with pytest.raises(Unavailable):
        inference.stream(["b"])
    for client in waiting:
        client.greenlet.throw(GreenletExit)
    stream.close()
    assert not inference._open
    assert not inference._waiting


def test_streams_leave_half_of_the_places_to_other_requests(make):
    inference = make(open_requests=4)
    streams = [inference.stream(["a"] * 500) for __ in range(2)]
    with pytest.raises(Unavailable):
        inference.stream(["b"])
    assert [Client(inference, ["c"]).error for __ in range(2)] == [None, None]
    finish(inference)
    assert len(next(streams[0])) == 64


def test_a_text_that_fails_in_a_stream_is_raised_there(make):
    stream = make().stream(["good"] * 64 + ["poison"])
    assert len(next(stream)) == 64
    with pytest.raises(ValueError, match="poison"):
        next(stream)


def test_the_meter_is_told(stub, clock):
    meter = Meter()
    inference = Inference(stub, meter, clock=clock)
    clients = [Client(inference, ["a" * 10]) for __ in range(scheduling.TURN_TEXTS + 3)]
    finish(inference)
    assert meter.batches == [(scheduling.TURN_TEXTS, pytest.approx(64e-4)), (3, pytest.approx(3e-4))]
    assert meter.open == [3, 0]
    assert all(client.answers for client in clients)


def test_new_words_leave_nothing_in_the_vocabulary(nlp):
    inference = Inference(recognizer(nlp))
    inference.recognize(["Ada Lovelace went to London ."])
    before = len(nlp.vocab.strings)
    for batch in range(20):
        inference.recognize([f"wörd{batch}x{i} went to plâce{batch}y{i} ." for i in range(100)])
    assert len(nlp.vocab.strings) == before


def test_many_requests_get_what_spacy_finds(nlp, spacy_finds):
    texts = [f"{'🌍' * (i % 3)}In Oslo{i} we met Ada Lovelace , not Tim{i} ." for i in range(400)]
    right = [[(e["start"], e["end"], e["tag"]) for e in entities] for entities in spacy_finds(texts)]
    inference = Inference(recognizer(nlp))
    clients = [Client(inference, texts[start : start + 7]) for start in range(0, 400, 7)]
    finish(inference)
    found = [entities for client in clients for entities in client.answers]
    assert [[(e.start, e.end, e.label) for e in entities] for entities in found] == right
