"""What is kept of the pieces of texts that were seen lately: the rows of their tokens, in a bounded table.

Two generations: what is found in the old one moves to the young one, and when that is full it becomes the old
one, whose place the next young one takes. So a piece stays for as long as it comes up at all often, at the
price of a dict lookup, and memory stays flat.
"""

from collections.abc import Sequence
from itertools import chain

import numpy

from .network import Network
from .tokens import Tokenizer, Tokens

PADDING = ""  # the key of as many rows of padding as belong between documents


class Words:
    """Rows of the network by the pieces of texts.

    Parameters
    ----------
    tokenizer, network:
        Where what is not there comes from. The network has two rows for each of ``capacity``, and one.
    capacity:
        How many tokens a generation holds. No call may ask for pieces with more characters.
    """

    def __init__(self, tokenizer: Tokenizer, network: Network, capacity: int) -> None:
        self._tokenizer = tokenizer
        self._network = network
        self._capacity = capacity
        self._padding = {PADDING: (0,) * network.depth}
        self._young: dict[str, tuple[int, ...]] = dict(self._padding)
        self._old: dict[str, tuple[int, ...]] = {}
        self._next, self._end = 1, 1 + capacity
        rows = 1 + 2 * capacity
        self.lengths = numpy.zeros(rows, "int32")
        self.advances = numpy.zeros(rows, "int32")
        self.spaces = numpy.zeros(rows, "bool")
        self.before = numpy.zeros(rows, "uint8")
        self.after = numpy.zeros(rows, "uint8")

    def rows(self, keys: Sequence[str]) -> list[tuple[int, ...]]:
        """The rows of each piece's tokens; they hold until the next call."""
        found = list(map(self._young.get, keys))
        if None in found:
            missing = {key: None for key, rows in zip(keys, found, strict=True) if rows is None}
            if not self._admit(missing):
                self._turn_over()
                self._admit(dict.fromkeys(key for key in keys if key != PADDING))
            found = list(map(self._young.get, keys))
        return found  # type: ignore[return-value]  # all of them are there now

    def _admit(self, missing: dict[str, None]) -> bool:
        """Bring pieces into the young generation; False, and nothing done, if there is no room."""
        kept = [key for key in missing if key in self._old]
        fresh = [key for key in missing if key not in self._old]
        source = list(chain.from_iterable(self._old[key] for key in kept))
        tokens = self._tokenizer.tokens(fresh) if fresh else None
        count = len(source) + (len(tokens.lengths) if tokens else 0)
        if self._next + count > self._end:
            return False
        if source:
            target = self._enter(kept, [len(self._old[key]) for key in kept])
            self._network.rows.copy(source, target)
            for array in (self.lengths, self.advances, self.spaces, self.before, self.after):
                array[target] = array[source]
        if tokens:
            self._fill(tokens, self._next)
            self._enter(fresh, tokens.sizes)
        return True

    def _enter(self, keys: Sequence[str], sizes: Sequence[int]) -> list[int]:
        start = at = self._next
        for key, size in zip(keys, sizes, strict=True):
            self._young[key] = tuple(range(at, at + size))
            at += size
        self._next = at
        return list(range(start, at))

    def _fill(self, tokens: Tokens, start: int) -> None:
        self._network.embed(tokens.attributes, start)
        rows = slice(start, start + len(tokens.lengths))
        self.lengths[rows] = tokens.lengths
        self.advances[rows] = tokens.advances
        self.spaces[rows] = tokens.spaces
        self.before[rows] = tokens.before
        self.after[rows] = tokens.after

    def _turn_over(self) -> None:
        self._old = {key: rows for key, rows in self._young.items() if key != PADDING}
        self._young = dict(self._padding)
        self._next = 1 + self._capacity if self._end == 1 + self._capacity else 1
        self._end = self._next + self._capacity
