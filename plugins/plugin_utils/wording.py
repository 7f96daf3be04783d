# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Figures as people read them."""

from __future__ import annotations

import datetime
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

Say = Callable[[str], None]

WIDTH = 100
WHOLE = sys.maxsize  # as the width of a table of which nothing may be cut
_EVERY = 2.0  # seconds between two lines of progress


def size(count: float) -> str:
    """Bytes as ``812 B``, ``41.2 KB``, ``3.0 MB``."""
    for unit in ("B", "KB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def clock(seconds: float) -> str:
    """Seconds as ``0:07``, ``12:30``, ``1:02:03``."""
    minutes, second = divmod(max(0, int(seconds)), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def age(seconds: float) -> str:
    """Seconds as the largest unit that fits: ``7s``, ``12m``, ``3h``, ``9d``."""
    for length, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= length:
            return f"{int(seconds // length)}{unit}"
    return f"{max(0, int(seconds))}s"


def seconds_since(moment: str, now: datetime.datetime | None = None) -> float:
    """Seconds from a record's time to now."""
    return (
        (now or datetime.datetime.now(datetime.UTC)) - datetime.datetime.fromisoformat(moment)
    ).total_seconds()


def moment(written: str) -> str:
    """A record's time as ``2026-03-01 09:14:02 UTC``."""
    return f"{datetime.datetime.fromisoformat(written):%Y-%m-%d %H:%M:%S} UTC"


def counted(counts: dict[str, Any]) -> str:
    """``LOC 12, PER 30``."""
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def score(value: float | None) -> str:
    """A score as tables have it."""
    return "" if value is None else f"{value:.3f}"


def usd(amount: float) -> str:
    """An amount as ``0.04 USD``, ``12.50 USD``."""
    return "under 0.01 USD" if 0 < amount < 0.01 else f"{amount:.2f} USD"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], width: int = WIDTH) -> list[str]:
    """Rows under their heads, in columns as wide as need be; the last one is cut to fit ``width``."""
    lines = [tuple(heads), *(tuple(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads) - 1)]
    return [
        cut(
            "  ".join([*(cell.ljust(w) for cell, w in zip(line, widths, strict=False)), line[-1]]), width
        ).rstrip()
        for line in lines
    ]


def cut(text: str, width: int) -> str:
    """The text on one line, no longer than ``width``."""
    text = " ".join(text.splitlines())
    return text if len(text) <= width else f"{text[: width - 1]}…"


class Progress:
    """Says how far a transfer is, every two seconds.

    Parameters
    ----------
    what:
        What is under way, such as ``downloading people.conll``.
    total:
        Its bytes, if known.
    say:
        Takes the line.
    """

    def __init__(self, what: str, total: int | None, say: Say) -> None:
        self._what, self._total, self._say = what, total, say
        self._done = 0
        self._said = time.monotonic()

    def __call__(self, count: int) -> None:
        """Count bytes that have gone through."""
        self._done += count
        if time.monotonic() - self._said >= _EVERY:
            self._said = time.monotonic()
            of = f" of {size(self._total)}" if self._total else ""
            self._say(f"{self._what}: {size(self._done)}{of}")
