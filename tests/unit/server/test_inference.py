"""The inference thread: batches, fairness, limits, failures, memory."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from nerforge_server import inference
from nerforge_server.inference import Inference, Unavailable


class Doc:
    """A document whose one entity is the text itself."""

    def __init__(self, text: str) -> None:
        span = type("Span", (), {"text": text, "label_": "ALL", "start_char": 0, "end_char": len(text)})
        self.ents = [span]


class Pipeline:
    """Stands in for a pipeline: notes its batches, can be held up, and fails over the text 'poison'."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.go_on = threading.Event()
        self.go_on.set()
        self.working = threading.Event()
        self.zones_open = 0
        self.threads: set[int] = set()

    @contextmanager
    def memory_zone(self):
        self.zones_open += 1
        yield
        self.zones_open -= 1  # like spaCy's: not reached if the block raises

    def pipe(self, texts, batch_size):
        assert self.zones_open == 1
        assert batch_size == len(texts)
        self.batches.append(list(texts))
        self.threads.add(threading.get_ident())
        self.working.set()
        assert self.go_on.wait(10)
        for text in texts:
            if text == "poison":
                raise ValueError(text)
            yield Doc(text)


@pytest.fixture
def pipeline():
    return Pipeline()


@pytest.fixture
def pool():
    with ThreadPoolExecutor(100) as pool:
        yield pool


def _hold(pipeline, ask, pool, texts=("first",)):
    """Have the inference thread busy with these texts until ``pipeline.go_on`` is set."""
    pipeline.go_on.clear()
    pipeline.working.clear()
    held = pool.submit(ask, list(texts))
    assert pipeline.working.wait(5)
    return held


def _wait_until(condition) -> None:
    limit = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.005)


def test_what_waits_becomes_one_batch(pipeline, pool):
    engine = Inference(pipeline)
    held = _hold(pipeline, engine.entities, pool)
    others = [pool.submit(engine.entities, [f"text {i}"]) for i in range(20)]
    _wait_until(lambda: len(engine._waiting) == 20)
    pipeline.go_on.set()
    assert held.result(5)[0][0]["text"] == "first"
    assert [other.result(5)[0][0]["text"] for other in others] == [f"text {i}" for i in range(20)]
    assert sorted(map(len, pipeline.batches)) == [1, 20]
    assert len(pipeline.threads) == 1


def test_a_large_request_does_not_hold_up_a_small_one(pipeline, pool, monkeypatch):
    monkeypatch.setattr(inference, "TURN_TEXTS", 4)
    engine = Inference(pipeline)
    held = _hold(pipeline, engine.entities, pool)
    large = pool.submit(engine.entities, [f"large {i}" for i in range(20)])
    _wait_until(lambda: len(engine._waiting) == 1)
    small = pool.submit(engine.entities, ["small"])
    _wait_until(lambda: len(engine._waiting) == 2)
    pipeline.go_on.set()
    small.result(5), held.result(5)
    assert [entities[0]["text"] for entities in large.result(5)] == [f"large {i}" for i in range(20)]
    assert "small" in pipeline.batches[1]
    assert all(len(batch) <= 4 for batch in pipeline.batches)


def test_a_turn_is_bounded_in_characters(pipeline, pool, monkeypatch):
    monkeypatch.setattr(inference, "TURN_CHARACTERS", 10)
    engine = Inference(pipeline)
    texts = ["a" * 6, "b" * 6, "c" * 4, "d" * 100, "e"]
    assert [entities[0]["text"] for entities in engine.entities(texts)] == texts
    assert pipeline.batches == [["a" * 6], ["b" * 6, "c" * 4], ["d" * 100], ["e"]]


def test_beyond_the_open_requests_it_refuses_at_once(pipeline, pool):
    engine = Inference(pipeline, open_requests=3)
    open_ = [_hold(pipeline, engine.entities, pool)] + [pool.submit(engine.entities, ["x"]) for _ in range(2)]
    _wait_until(lambda: len(engine._waiting) == 2)
    with pytest.raises(Unavailable, match="too many texts are waiting") as refused:
        engine.entities(["one too many"])
    assert refused.value.retry_after == 1
    pipeline.go_on.set()
    for each in open_:
        each.result(5)
    assert engine.entities(["again"])


def test_beyond_the_open_characters_it_refuses_unless_it_is_idle(pipeline, pool):
    engine = Inference(pipeline, open_characters=100)
    assert engine.entities(["a" * 500])
    held = _hold(pipeline, engine.entities, pool, ["a" * 60])
    with pytest.raises(Unavailable):
        engine.entities(["b" * 41])
    fits = pool.submit(engine.entities, ["c" * 40])
    pipeline.go_on.set()
    assert held.result(5) and fits.result(5)


def test_a_request_past_its_deadline_is_given_up_and_not_inferred(pipeline, pool):
    engine = Inference(pipeline, deadline=0.2)
    held = _hold(pipeline, engine.entities, pool)
    with pytest.raises(Unavailable, match=r"within 0\.2 seconds"):
        engine.entities(["too late"])
    with pytest.raises(Unavailable):
        held.result(5)
    pipeline.go_on.set()
    assert engine.entities(["next"])[0][0]["text"] == "next"
    assert ["too late"] not in pipeline.batches


def test_a_text_that_fails_fails_only_its_own_request(pipeline, pool):
    engine = Inference(pipeline)
    held = _hold(pipeline, engine.entities, pool)
    good = pool.submit(engine.entities, ["good"])
    bad = pool.submit(engine.entities, ["poison", "fine"])
    _wait_until(lambda: len(engine._waiting) == 2)
    pipeline.go_on.set()
    assert good.result(5)[0][0]["text"] == "good"
    with pytest.raises(ValueError, match="poison"):
        bad.result(5)
    held.result(5)
    assert pipeline.zones_open == 0


def test_a_pipeline_that_drops_a_text_fails_its_request_and_works_on(pipeline):
    pipe = pipeline.pipe
    pipeline.pipe = lambda texts, batch_size: (
        doc for doc in pipe(texts, batch_size) if doc.ents[0].text != "drop"
    )
    engine = Inference(pipeline)
    with pytest.raises(ValueError, match="shorter"):
        engine.entities(["drop", "keep"])
    assert engine.entities(["keep"])[0][0]["text"] == "keep"


def test_a_memory_zone_that_fails_fails_its_request_and_the_thread_lives(pipeline, monkeypatch):
    engine = Inference(pipeline)
    with monkeypatch.context() as broken:
        broken.setattr(pipeline, "memory_zone", lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            engine.entities(["text"])
    assert engine.entities(["text"])


def test_new_words_leave_nothing_in_the_vocabulary(nlp):
    engine = Inference(nlp)
    engine.entities(["Ada Lovelace went to London ."])
    before = len(nlp.vocab.strings)
    for batch in range(20):
        engine.entities([f"wörd{batch}x{i} went to plâce{batch}y{i} ." for i in range(100)])
    assert len(nlp.vocab.strings) == before


def test_many_threads_get_what_spacy_finds(nlp, spacy_finds, pool):
    texts = [f"{'🌍' * (i % 3)}In Oslo{i} we met Ada Lovelace , not Tim{i} ." for i in range(400)]
    right = spacy_finds(texts)
    engine = Inference(nlp)
    answers = list(pool.map(lambda text: engine.entities([text])[0], texts[:60] * 5))
    assert answers == right[:60] * 5
    assert engine.entities(texts) == right
