"""What every peer does for a request: the pipeline from NERFORGE_BENCH_MODEL, and entities by `nlp.pipe`."""

import os
from typing import Any

import spacy

BATCH = 64


def load() -> spacy.Language:
    """The pipeline to serve."""
    return spacy.load(os.environ["NERFORGE_BENCH_MODEL"])


def find(nlp: spacy.Language, texts: list[str]) -> list[list[dict[str, Any]]]:
    """The entities of each text. A lone text is not worth a pipe."""
    docs = [nlp(texts[0])] if len(texts) == 1 else nlp.pipe(texts, batch_size=BATCH)
    return [
        [{"text": e.text, "tag": e.label_, "start": e.start_char, "end": e.end_char} for e in doc.ents]
        for doc in docs
    ]
