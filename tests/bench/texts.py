"""What the servers are asked: WikiGold in pieces, half of them new to every server.

A list for a round alternates pieces of the corpus as they are, which a server has seen before, with pieces in
which every sixth word (of those with letters to change) was made one that nothing has ever seen: its inner
letters are replaced, so that length, first letter, ending and shape stay natural. One in six is the share of
words of WikiGold's last tenth that do not occur before (0.16). All that is measured in a round gets the same
list, in the same order.
"""

import itertools
import os
import random
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
NEW_WORDS = 6  # one in so many words of a new text
_LETTERS = "aeioulnrst"


def corpora() -> Path:
    """The folder with wnut17/ and wikigold/; SystemExit if it is not there."""
    folder = Path(os.environ.get("NERFORGE_CORPORA", ROOT.parent / "shared" / "data"))
    for file in ("wnut17/train.conll", "wikigold/wikigold.conll"):
        if not (folder / file).is_file():
            raise SystemExit(
                f"no {folder}/{file}: set NERFORGE_CORPORA to a folder with wnut17/ and wikigold/"
            )
    return folder


def wikigold() -> list[str]:
    """The words of WikiGold, in order."""
    lines = (corpora() / "wikigold" / "wikigold.conll").read_text(encoding="utf-8").splitlines()
    return [line.split()[0] for line in lines if line.strip() and not line.startswith("-DOCSTART-")]


def pieces(words: list[str], length: int) -> list[str]:
    """The words in texts of ``length`` words; what is left at the end is dropped."""
    return [" ".join(words[at : at + length]) for at in range(0, len(words) - length + 1, length)]


class Texts:
    """Lists of texts in which no word that is meant to be new comes twice.

    Parameters
    ----------
    words:
        The corpus.
    """

    def __init__(self, words: list[str]) -> None:
        self._words = words
        self._seen = set(words)
        self._random = random.Random(0)

    def known(self, length: int, count: int) -> list[str]:
        """``count`` pieces of ``length`` words as they stand in the corpus, over and over."""
        return list(itertools.islice(itertools.cycle(pieces(self._words, length)), count))

    def half_new(self, length: int, count: int) -> list[str]:
        """``count`` texts of ``length`` words: a piece as it stands, a new one, and so on."""
        source = itertools.cycle(self._shuffled(length))
        return [self._renewed(next(source)) if number % 2 else next(source) for number in range(count)]

    def all_new_words(self, length: int, count: int) -> list[str]:
        """``count`` texts of ``length`` words, each word with letters to change one never seen before."""
        source = itertools.cycle(self._shuffled(length))
        return [" ".join(map(self._fresh, next(source).split())) for __ in range(count)]

    def _shuffled(self, length: int) -> list[str]:
        found = pieces(self._words, length)
        self._random.shuffle(found)
        return found

    def _renewed(self, text: str) -> str:
        words = text.split()
        changeable = [number for number, word in enumerate(words) if _inner(word)]
        for number in self._random.sample(changeable, min(len(changeable), round(len(words) / NEW_WORDS))):
            words[number] = self._fresh(words[number])
        return " ".join(words)

    def _fresh(self, word: str) -> str:
        places = _inner(word)
        if not places:
            return word
        for attempt in itertools.count():
            letters = list(word)
            letters[places[0] : places[0]] = self._drawn(
                attempt // 20
            )  # longer, once short forms are used up
            for place in places:
                letters[place] = self._random.choice(_LETTERS)
            fresh = "".join(letters)
            if fresh not in self._seen:
                self._seen.add(fresh)
                return fresh
        raise AssertionError

    def _drawn(self, count: int) -> Iterator[str]:
        return (self._random.choice(_LETTERS) for __ in range(count))


def _inner(word: str) -> list[int]:
    """Where a word has small letters that are neither its first character nor one of its last three."""
    if len(word) < 5 or not word.isalpha():
        return []
    return [place for place in range(1, len(word) - 3) if word[place].islower()]
