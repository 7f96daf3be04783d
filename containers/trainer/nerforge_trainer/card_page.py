"""``python -m nerforge_trainer.card_page card.json card.html``: a card's page, which needs no other file."""

import base64
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from . import curve, plots

_HERE = Path(__file__).parent
_TEMPLATE, _STYLE = "card.html.j2", "card.css"

Span = Sequence[Any]  # start, end, label, and of one that was found its score


def page(card: dict[str, Any]) -> str:
    """The page of a card, whose every figure is one of the card's."""
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"share": _share, "megabytes": _megabytes}
    style = (_HERE / _STYLE).read_text(encoding="utf-8")
    manifest = card["manifest"]
    return environment.get_template(_TEMPLATE).render(
        card=card,
        manifest=manifest,
        files={part: _source(manifest["spec"]["data"], part)["from"] for part in manifest["data"]},
        best=curve.best(card["curve"]),
        errors=[_sides(error) for error in card["errors"]],
        spec=json.dumps(manifest["spec"], indent=2, ensure_ascii=False),
        plots={
            "learning_curve": Markup(plots.learning_curve(card["curve"])),
            "scores": Markup(plots.scores(manifest["scores"])),
            "confusion": Markup(plots.confusion(manifest["confusion"])),
            "distribution": Markup(plots.distribution(card["examples"])),
            "reliability": Markup(plots.reliability(manifest["calibration"])),
        },
        style=Markup(style),
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
    )


def _source(data: dict[str, Any], part: str) -> dict[str, str]:
    """The file of a part: its own, or the one that was cut into the parts."""
    source: dict[str, str] = data.get(part) or data["all"]
    return source


def _sides(error: dict[str, Any]) -> dict[str, Any]:
    """An error's text twice, as gold has it and as it was found, each cut where entities begin and end."""
    gold, found = ({tuple(span[:3]) for span in error[side]} for side in ("gold", "found"))
    return {
        "line": error["line"],
        "gold": list(_cut(error["text"], error["gold"], found)),
        "found": list(_cut(error["text"], error["found"], gold)),
    }


def _cut(text: str, spans: Sequence[Span], right: set[tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    at = 0
    for start, end, label, *score in spans:
        yield {"text": text[at:start], "label": None}
        kind = "right" if (start, end, label) in right else "wrong"
        yield {"text": text[start:end], "label": label, "kind": kind, "score": score[0] if score else None}
        at = end
    yield {"text": text[at:], "label": None}


def _share(number: float | None) -> str:
    return "\N{EN DASH}" if number is None else f"{number:.3f}"


def _megabytes(number: int) -> str:
    return f"{number / 1e6:.1f} MB"


if __name__ == "__main__":
    described, target = map(Path, sys.argv[1:])
    target.write_text(page(json.loads(described.read_text(encoding="utf-8"))), encoding="utf-8")
