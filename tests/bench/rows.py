"""A row of the table: a ratio, and the threshold that it must reach or keep below."""

from typing import Any

AT_LEAST, AT_MOST = "at least", "at most"


def row(
    name: str, ratio: float, direction: str, threshold: float, faults: list[str] | None = None, **more: Any
) -> dict[str, Any]:
    """A row for `run.py`.

    Parameters
    ----------
    direction:
        `AT_LEAST` or `AT_MOST`: the side of the threshold that is good.
    faults:
        What makes the ratio worthless, in words; with any, the row is not ok.
    more:
        What else bench.json is to keep.
    """
    reached = ratio >= threshold if direction == AT_LEAST else ratio <= threshold
    return {
        "name": name,
        "ratio": round(ratio, 3),
        "direction": direction,
        "bar": threshold,
        "ok": reached and not faults,
        "faults": faults or [],
        **more,
    }
