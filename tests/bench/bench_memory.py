"""Memory under words that were never seen: resident memory after a million of them over that after warm-up.

The engine runs in a process of its own, over texts of 20 words of which none comes twice.
"""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from environments import ROOT
from models import small_english
from rows import AT_MOST, row

WORDS = 1_000_000
WARM_UP = 60_000  # words until both generations of the table are full, a few times over
BAR = 1.05


def measure() -> list[dict[str, Any]]:
    """RSS after the words over RSS after the warm-up."""
    folder = small_english()
    warm, after = growth(folder, WORDS)
    return [
        row(
            f"engine, RSS after {WORDS:,} distinct words / after warm-up",
            after / warm,
            AT_MOST,
            BAR,
            mib_after_warm_up=warm >> 20,
            mib_after=after >> 20,
        )
    ]


def growth(folder: Path, words: int) -> tuple[int, int]:
    """Bytes of resident memory after the warm-up and after so many words more, in a process of its own."""
    answer = subprocess.run(
        [sys.executable, __file__, folder, str(words)],
        check=True,
        stdout=subprocess.PIPE,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
    )
    warm, after = json.loads(answer.stdout)
    return warm, after


def _texts(first: int, words: int) -> Iterator[list[str]]:
    """Batches of 50 texts of 20 words, all of them distinct."""
    made = (_word(number) for number in range(first, first + words))
    texts = iter(lambda: " ".join(itertools.islice(made, 20)), "")
    return iter(lambda: list(itertools.islice(texts, 50)), [])


def _word(number: int) -> str:
    letters = ""
    while number:
        number, digit = divmod(number, 26)
        letters += chr(97 + digit)
    return letters.capitalize() if len(letters) % 2 else letters or "x"


def _measured(folder: Path, words: int) -> tuple[int, int]:
    sys.path.insert(0, str(ROOT / "containers" / "engine"))
    import spacy
    from nerforge_engine.recognizer import recognizer

    engine = recognizer(spacy.load(folder))
    if engine.engine != "exact":
        raise SystemExit(engine.reason)
    sizes = []
    for first, count in ((0, WARM_UP), (WARM_UP, words)):
        for texts in _texts(first, count):
            engine.entities(texts)
        sizes.append(_resident())
    return sizes[0], sizes[1]


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    print(json.dumps(_measured(Path(sys.argv[1]), int(sys.argv[2]))))
