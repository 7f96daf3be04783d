"""The exact engine in process beside `nlp.pipe` in the same process: seconds of CPU for the same texts.

Both models, texts of 20 and of 200 words; half the texts new to both, and once every word unseen. The two
take turns over lists of texts of which no new word comes twice; nlp.pipe keeps its vocabulary, as it does in
a program that calls it.
"""

import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from environments import ROOT
from models import small_english, trained_here
from rows import AT_LEAST, row
from texts import Texts, corpora, wikigold

ROUNDS = 7
BATCH = 64
BAR_SEEN, BAR_UNSEEN = 3.2, 1.8
COUNTS = {20: 512, 200: 64}  # texts a round, by their words


def measure() -> list[dict[str, Any]]:
    """CPU of nlp.pipe over that of the engine, medians of the rounds."""
    sys.path.insert(0, str(ROOT / "containers" / "engine"))
    return [
        measured
        for name, folder in (("small English", small_english()), ("trained here", trained_here(corpora())))
        for measured in _model(name, folder)
    ]


def _model(name: str, folder: Path) -> list[dict[str, Any]]:
    import spacy
    from nerforge_engine.recognizer import recognizer

    nlp, source = spacy.load(folder), Texts(wikigold())
    engine = recognizer(spacy.load(folder))
    if engine.engine != "exact":
        raise SystemExit(f"{name}: {engine.reason}")
    rows = []
    for words, count in COUNTS.items():
        known = source.known(words, 39_000 // words)
        _engine(engine, known)
        _pipe(nlp, known)
        for kind, texts, threshold in (
            ("half new", source.half_new, BAR_SEEN),
            ("every word unseen", source.all_new_words, BAR_UNSEEN),
        ):
            drawn = [texts(words, count) for __ in range(ROUNDS)]
            rows.append(_compared(f"{name}, {words} words, {kind}", nlp, engine, drawn, threshold))
    return rows


def _compared(name: str, nlp: Any, engine: Any, rounds: list[list[str]], threshold: float) -> dict[str, Any]:
    ours, theirs = [], []
    for number, batch in enumerate(rounds):
        takers = [(ours, lambda b=batch: _engine(engine, b)), (theirs, lambda b=batch: _pipe(nlp, b))]
        answers = []
        for seconds, take in takers[:: 1 if number % 2 else -1]:
            began = time.process_time()
            answers.append(take())
            seconds.append(time.process_time() - began)
        if answers[0] != answers[1]:
            raise SystemExit(f"{name}: the engine differs from nlp.pipe")
    ratio = statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
    return row(
        f"engine / nlp.pipe in process, CPU, {name}",
        ratio,
        AT_LEAST,
        threshold,
        microseconds_a_text=round(statistics.median(ours) / len(batch) * 1e6),
        nlp_pipe_microseconds_a_text=round(statistics.median(theirs) / len(batch) * 1e6),
    )


def _engine(engine: Any, texts: list[str]) -> list[list[tuple[int, int, str]]]:
    return [
        [entity[:3] for entity in entities]
        for at in range(0, len(texts), BATCH)
        for entities in engine.entities(texts[at : at + BATCH])
    ]


def _pipe(nlp: Any, texts: list[str]) -> list[list[tuple[int, int, str]]]:
    return [
        [(e.start_char, e.end_char, e.label_) for e in doc.ents] for doc in nlp.pipe(texts, batch_size=128)
    ]


if __name__ == "__main__":
    for measured in measure():
        print(json.dumps(measured))
