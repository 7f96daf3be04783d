"""The card's plots: SVG that stands in a page, and takes colours and letters from the page's style sheet.

In a plot, a colour is the name of one of that style sheet's (``ink``, ``soft``, ``line``, ``one``, ``two``,
``three``): so it fits light pages, dark ones and paper.
"""

import io
import warnings
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from . import curve

_SVG = "http://www.w3.org/2000/svg"
_WIDTH = 4.2  # inches: about a phone's, where a point is a pixel
_LONGEST = 18  # letters of a label
# What stands for each colour until the plot is SVG.
_COLOURS = {f"#01010{n}": name for n, name in enumerate(("ink", "soft", "line", "one", "two", "three"), 1)}
_INK, _SOFT, _LINE, *_SERIES = _COLOURS
_STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": _LINE,
    "axes.grid": True,
    "axes.labelcolor": _SOFT,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "font.size": 9.5,
    "grid.color": _LINE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.labelcolor": _SOFT,
    "savefig.transparent": True,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "nerforge",  # the same plot has the same bytes
    "text.color": _INK,
    "text.parse_math": False,  # a label may hold a dollar
    "xtick.color": _SOFT,
    "xtick.major.size": 0,
    "ytick.color": _SOFT,
    "ytick.major.size": 0,
}


def learning_curve(points: Sequence[curve.Point]) -> str:
    """F on dev and the loss, by step; the best pipeline is marked."""
    steps = [point["step"] for point in points]
    best = curve.best(points)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, 3.6))
        upper, lower = figure.subplots(2, sharex=True, height_ratios=(3, 2))
        for axes, name, colour in ((upper, "f", _SERIES[0]), (lower, "loss", _SERIES[1])):
            values = [float("nan") if point[name] is None else point[name] for point in points]
            axes.plot(steps, values, color=colour, marker="o", markersize=2.5)
        upper.set_ylabel("F on dev")
        lower.set_ylabel("loss")
        lower.set_xlabel("step")
        lower.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        words = "Learning curve."
        if best:
            words += f" The best, F {best['f']:.3f} on dev, is that of step {best['step']}."
            upper.plot([best["step"]], [best["f"]], "o", markersize=8, mfc="none", mec=_INK)
            for axes in (upper, lower):
                axes.axvline(best["step"], color=_SOFT, linestyle=":", linewidth=1)
            upper.set_title(
                f"best: F {best['f']:.3f} at step {best['step']}", fontsize=9, color=_SOFT, loc="left"
            )
        return _svg(figure, words)


def scores(found: Mapping[str, Any]) -> str:
    """Precision, recall and F of each label; ``found`` are the manifest's ``scores``."""
    names = {"p": "precision", "r": "recall", "f": "F"}
    labels = list(found["labels"])
    values = {words: [found["labels"][label][name] for label in labels] for name, words in names.items()}
    with matplotlib.rc_context(_STYLE):
        figure, axes = _bars(labels, values)
        axes.set_xlim(0, 1)
        return _svg(figure, "Precision, recall and F of each label; the table has the figures.")


def distribution(examples: Mapping[str, Mapping[str, int]]) -> str:
    """How the entities of each part are distributed over the labels, with their numbers."""
    labels = sorted({label for counts in examples.values() for label in counts})
    values = {
        part: [counts.get(label, 0) / max(1, sum(counts.values())) for label in labels]
        for part, counts in examples.items()
    }
    with matplotlib.rc_context(_STYLE):
        figure, axes = _bars(labels, values)
        containers: list[Any] = axes.containers
        for bars, counts in zip(containers, examples.values(), strict=True):
            axes.bar_label(
                bars, [f"{counts.get(label, 0):,}" for label in labels], padding=2, fontsize=7, color=_SOFT
            )
        axes.margins(x=0.12)
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_xlabel("share of the part's entities")
        return _svg(figure, "Share of each label among the entities of each part, and their number.")


def confusion(found: Mapping[str, Any]) -> str:
    """Which label of gold, by row, is taken for which, by column; a stronger colour is more of the row."""
    labels, counts = found["labels"], found["counts"]
    size = len(labels) + 1
    with matplotlib.rc_context(_STYLE | {"axes.grid": False}):
        side = max(_WIDTH - 1.1, 0.36 * size)
        figure = Figure(figsize=(side + 1.1, min(1, 0.2 + size / 6) * side + 1))
        axes = figure.subplots()
        for row, numbers in enumerate(counts):
            for column, number in enumerate(numbers):
                if number:
                    _cell(axes, row, column, number, number / sum(numbers))
        axes.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5), xlabel="found", ylabel="gold")
        # The line between labels and none.
        axes.axhline(size - 1.5, color=_LINE)
        axes.axvline(size - 1.5, color=_LINE)
        axes.set_xticks(
            range(size), [*map(_short, labels), "missed"], rotation=40, ha="right", rotation_mode="anchor"
        )
        axes.set_yticks(range(size), [*map(_short, labels), "spurious"])
        return _svg(
            figure, "Confusion between labels: a row for each label of gold, a column for what was found."
        )


def _cell(axes: Axes, row: int, column: int, number: int, share: float) -> None:
    axes.fill_between(
        [column - 0.47, column + 0.47],
        row - 0.47,
        row + 0.47,
        color=_SERIES[0],
        alpha=0.06 + 0.42 * share,
        linewidth=0,
    )
    axes.text(column, row, f"{number:,}", ha="center", va="center", fontsize=8)


def reliability(calibration: Mapping[str, Any]) -> str:
    """The reliability diagram: of the entities in each bin of scores, how many are right.

    Bars show the share that is right, points the same above the mean score; the bars at the foot show how
    many entities there are. On the dashed line a score is what it says.
    """
    bins = calibration["bins"]
    middles = [(one["from"] + one["to"]) / 2 for one in bins]
    widths = [0.9 * (one["to"] - one["from"]) for one in bins]
    counts = [one["count"] for one in bins]
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, 4.6))
        upper, lower = figure.subplots(2, sharex=True, height_ratios=(5, 1))
        upper.plot([0, 1], [0, 1], color=_SOFT, linestyle="--", linewidth=1)
        upper.bar(middles, [one["accuracy"] for one in bins], widths, color=_SERIES[0], alpha=0.35)
        upper.plot(
            [one["confidence"] for one in bins], [one["accuracy"] for one in bins], "o", color=_SERIES[0]
        )
        upper.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="share that is right")
        bars = lower.bar(middles, counts, widths, color=_SERIES[0], alpha=0.35)
        lower.bar_label(bars, [f"{count:,}" for count in counts], padding=1, fontsize=7, color=_SOFT)
        lower.margins(y=0.35)
        lower.grid(False)
        lower.set_yticks([])
        lower.set(xlabel="score", ylabel="entities")
        return _svg(figure, "Reliability diagram: the share of entities that are right, by their score.")


def _bars(labels: Sequence[str], series: Mapping[str, Sequence[float]]) -> tuple[Figure, Axes]:
    """Bars to the right, a group for each label and in it one for each of the series."""
    figure = Figure(figsize=(_WIDTH, 1 + 0.42 * len(labels)))
    axes = figure.subplots()
    height = 0.8 / len(series)
    for number, ((name, values), colour) in enumerate(zip(series.items(), _SERIES, strict=False)):
        middles = [place + height * (number - (len(series) - 1) / 2) for place in range(len(labels))]
        axes.barh(middles, values, 0.9 * height, label=name, color=colour)
    axes.set_yticks(range(len(labels)), map(_short, labels))
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    figure.legend(loc="outside upper left", ncols=len(series), handlelength=0.9)
    return figure, axes


def _short(label: str) -> str:
    return label if len(label) <= _LONGEST else f"{label[: _LONGEST - 1]}…"


def _svg(figure: Figure, words: str) -> str:
    """The figure as an element for a page, which is told in ``words`` to who cannot see it."""
    written = io.StringIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it need not have the letters: the browser's fonts do
        figure.savefig(written, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    svg = ElementTree.fromstring(written.getvalue())
    for parent in list(svg.iter()):
        for child in [one for one in parent if one.tag in (f"{{{_SVG}}}style", f"{{{_SVG}}}metadata")]:
            parent.remove(child)
        _follow_page(parent)
    least = round(0.95 * float(svg.attrib["width"].removesuffix("pt")))
    del svg.attrib["height"]
    svg.attrib |= {"role": "img", "aria-label": words, "width": str(least)}
    return ElementTree.tostring(svg, encoding="unicode")


def _follow_page(element: Element) -> None:
    """Turn a style attribute, which the page's security policy forbids, into classes and other attributes."""
    classes = []
    for declaration in filter(None, element.attrib.pop("style", "").split(";")):
        name, value = (part.strip() for part in declaration.split(":", 1))
        if value in _COLOURS:
            classes.append(f"{name}-{_COLOURS[value]}")
        elif name == "font":
            element.set("font-size", next(part for part in value.split() if part.endswith("px")))
        else:
            element.set(name, value)
    if classes:
        element.set("class", " ".join(classes))
