"""Whether the pinned spaCy is the one to have: CPU of nlp.pipe, the newest 3.8 release ÷ the pinned one.

Each in an environment of its own, in alternating rounds on the same texts, with the same model; both must
find the same entities. A ratio below 1 says that the pin costs time: measure the whole server with the
newest, and move the pin if that bears it out.
"""

import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import environments
import models
from in_process_client import InProcess, written
from rows import AT_LEAST, row
from texts import Texts, wikigold

ROUNDS = 7
TEXTS = 1500  # a round, of 20 words


def measure() -> list[dict[str, Any]]:
    """CPU seconds a text of the newest ÷ those of the pinned spaCy: the median of the rounds."""
    model, texts = models.small_english(), Texts(wikigold())
    pinned, newest = environments.server(), environments.peer("newest-spacy")
    with (
        tempfile.TemporaryDirectory() as scratch,
        InProcess(model, pinned) as one,
        InProcess(model, newest) as other,
    ):
        ratios, found = [], []
        for number in range(ROUNDS + 1):
            file = written(Path(scratch), texts.half_new(20, TEXTS))
            order = (one, other) if number % 2 else (other, one)
            seen = {
                process: process.do(do="pipe", file=str(file), seconds=60, first=0, step=1)
                for process in order
            }
            if number:  # the first warms up
                per_text = [seen[process]["cpu"] / seen[process]["texts"] for process in (other, one)]
                ratios.append(per_text[0] / per_text[1])
        found = [process.do(do="find", file=str(file)) for process in (one, other)]
    faults = [] if found[0] == found[1] else ["the two do not find the same entities"]
    name = f"CPU of nlp.pipe, spaCy {other.spacy} ÷ {one.spacy}"
    return [row(name, statistics.median(ratios), AT_LEAST, 1.0, faults, rounds=[round(r, 3) for r in ratios])]


if __name__ == "__main__":
    for each in measure():
        print(json.dumps(each))
