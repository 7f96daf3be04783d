"""A version's card: what people want to know of it, as JSON, and as a page that is made from that alone."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nerforge_contract.models import Model

from .curve import Point

_PATIENCE = 60  # seconds


def card(manifest: Model, curve: Sequence[Point], errors: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The card.

    Parameters
    ----------
    manifest:
        The version's manifest.
    curve:
        Its learning curve, see `curve.point`.
    errors:
        Its worst mistakes, see `mistakes.worst`.
    """
    return {
        "format": 1,
        "manifest": manifest,
        "curve": list(curve),
        "errors": list(errors),
        "examples": {part: about["entities"] for part, about in manifest["data"].items()},
    }


def draw(described: Path, page: Path) -> bool:
    """Make the page of a card, in a process of its own, so that nothing that befalls it befalls the training.

    Parameters
    ----------
    described:
        The card's JSON file; matplotlib's cache is put beside it.
    page:
        The HTML file to make.

    Returns
    -------
    Whether it was made; if not, why is printed.
    """
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "MPLCONFIGDIR": str(described.parent / "matplotlib"),
    }
    command: list[str | Path] = [sys.executable, "-m", "nerforge_trainer.card_page", described, page]
    try:
        ended = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        why = str(error)
    else:
        if ended.returncode == 0:
            return True
        why = (ended.stderr.strip().splitlines() or [f"it ended with {ended.returncode}"])[-1]
    print(f"the model's card has no page: {why}", flush=True)
    return False
