"""Run ids: ULIDs, 26 characters that sort by the time they were made (https://github.com/ulid/spec)."""

from __future__ import annotations

import os
import time

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH = 26


def new(milliseconds: int | None = None, randomness: bytes | None = None) -> str:
    """Make a ULID: 48 bits of Unix time in milliseconds, then 80 random bits, in Crockford's base 32."""
    stamp = time.time_ns() // 1_000_000 if milliseconds is None else milliseconds
    value = (stamp << 80) | int.from_bytes(os.urandom(10) if randomness is None else randomness, "big")
    return "".join(_ALPHABET[(value >> shift) & 31] for shift in range(125, -1, -5))


def is_ulid(text: object) -> bool:
    """Whether ``text`` could have come from `new`."""
    return isinstance(text, str) and len(text) == LENGTH and text[0] < "8" and set(text) <= set(_ALPHABET)


def milliseconds(ulid: str) -> int:
    """The Unix time, in milliseconds, at which ``ulid`` was made."""
    value = 0
    for character in ulid[:10]:
        value = value * 32 + _ALPHABET.index(character)
    return value
