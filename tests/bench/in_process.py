"""spaCy in a process of its own: what an HTTP server is measured against. Needs nothing but spaCy.

    python in_process.py MODEL

Reads a command a line, as JSON, from standard input, and answers each with a line of JSON:

``{"do": "pipe", "file": F, "seconds": S, "first": I, "step": N}``
    nlp.pipe over the texts I, I + N, I + 2N ... of the file for S seconds: texts, seconds, CPU seconds.
``{"do": "each", "file": F, "seconds": S}``
    nlp(text) for one after the other for S seconds: the median in seconds.
``{"do": "find", "file": F}``
    the entities of all texts, each ``[start, end, label]``.

A file holds a JSON string a line. The vocabulary grows, as it does in a program that calls spaCy: no memory
zone, which costs time.
"""

import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import spacy

BATCH = 128


def main() -> None:
    """Answer commands until there are none."""
    nlp = spacy.load(sys.argv[1])
    print(json.dumps({"spacy": spacy.__version__}), flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        print(json.dumps(_do(nlp, command)), flush=True)


def _do(nlp: spacy.Language, command: dict[str, Any]) -> Any:
    texts = [json.loads(line) for line in Path(command["file"]).read_text(encoding="utf-8").splitlines()]
    match command["do"]:
        case "pipe":
            return _pipe(nlp, texts[command["first"] :: command["step"]], command["seconds"])
        case "each":
            return _each(nlp, texts, command["seconds"])
        case "find":
            docs = nlp.pipe(texts, batch_size=BATCH)
            return [[[e.start_char, e.end_char, e.label_] for e in doc.ents] for doc in docs]


def _pipe(nlp: spacy.Language, texts: list[str], seconds: float) -> dict[str, Any]:
    cpu, began = time.process_time(), time.perf_counter()
    done = 0
    for doc in nlp.pipe(texts, batch_size=BATCH):
        __ = doc.ents
        done += 1
        if done % BATCH == 0 and time.perf_counter() - began >= seconds:
            break
    spent = time.perf_counter() - began
    return {
        "texts": done,
        "seconds": spent,
        "cpu": time.process_time() - cpu,
        "all": done == len(texts) and spent < seconds,
    }


def _each(nlp: spacy.Language, texts: list[str], seconds: float) -> dict[str, Any]:
    times = []
    began = time.perf_counter()
    for text in texts:
        start = time.perf_counter()
        __ = nlp(text).ents
        end = time.perf_counter()
        times.append(end - start)
        if end - began >= seconds:
            break
    return {"texts": len(times), "p50": statistics.median(times)}


if __name__ == "__main__":
    main()
