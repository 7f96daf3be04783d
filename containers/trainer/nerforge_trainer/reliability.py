"""The reliability diagram of a model, as an SVG that needs no other file, for light and for dark pages."""

from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

_WIDTH, _HEIGHT = 460, 600  # pixels, as all lengths here
_LEFT, _TOP, _SIDE = 64, 98, 360  # the square in which score and share are drawn
_STRIP, _TALLEST = 522, 30  # where the bars of the counts stand, and how tall they get
_TICKS = (0, 0.2, 0.4, 0.6, 0.8, 1)

_STYLE = """
svg { --paper: #fff; --ink: #1f2430; --soft: #6b7280; --line: #e3e6eb; --bar: #3b6fd4; --off: #d2542f;
  font: 12px system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif }
@media (prefers-color-scheme: dark) {
  svg { --paper: #15181e; --ink: #e8eaee; --soft: #99a1ae; --line: #2b303a; --bar: #7ea6f4; --off: #f08a66 } }
.paper { fill: var(--paper) }
text { fill: var(--soft); text-anchor: middle }
.title { fill: var(--ink); font-weight: 600; text-anchor: start }
.caption { text-anchor: start }
.y { text-anchor: end; dominant-baseline: central }
.grid { stroke: var(--line) }
.ideal { stroke: var(--soft); stroke-dasharray: 4 4 }
.bar { fill: var(--bar); fill-opacity: .3 }
.off { stroke: var(--off); stroke-width: 2 }
.point { fill: var(--bar); stroke: var(--paper); stroke-width: 1.5 }
"""


def caption(calibration: dict[str, Any]) -> tuple[str, str]:
    """What `calibration.calibrate` has measured, in two halves of a sentence; the second may be empty."""
    count = sum(one["count"] for one in calibration["bins"])
    if not count:
        return f"no entity found on {calibration['on']} has a score", ""
    return (
        f"scores of {count} entities found on {calibration['on']} have an ECE of {calibration['ece']:.3f}",
        f"at temperature {calibration['temperature']:.2f}, and of {calibration['ece_uncalibrated']:.3f} at 1",
    )


def diagram(label: str, calibration: dict[str, Any]) -> str:
    """The reliability diagram: of the entities in each bin of scores, how many are right.

    Bars show the share that is right, points the same above the mean score, lines how far they are from being
    equal; the bars at the foot show how many entities there are.

    Parameters
    ----------
    label:
        The model version, such as ``people:7``.
    calibration:
        What `calibration.calibrate` returns.
    """
    svg = Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {_WIDTH} {_HEIGHT}",
            "width": str(_WIDTH),
            "height": str(_HEIGHT),
            "role": "img",
            "aria-label": f"Reliability diagram of {label}: {' '.join(caption(calibration)).rstrip()}",
        },
    )
    SubElement(svg, "style").text = _STYLE
    _add(svg, "rect", "paper", width=_WIDTH, height=_HEIGHT)
    fitting = min(17, _SIDE / len(label) / 0.6)  # a letter is about 0.6 em wide
    _write(svg, "title", _LEFT, 34, label, style=f"font-size: {fitting:.1f}px")
    for line, words in enumerate(caption(calibration)):
        _write(svg, "caption", _LEFT, 56 + 18 * line, words)
    _draw_axes(svg)
    for one in calibration["bins"]:
        _draw_share(svg, one)
    _draw_counts(svg, calibration["bins"])
    ElementTree.indent(svg)
    return ElementTree.tostring(svg, encoding="unicode") + "\n"


def _draw_axes(svg: Element) -> None:
    right, bottom = _x(1), _y(0)
    for tick in _TICKS:
        _add(svg, "line", "grid", x1=_LEFT, x2=right, y1=_y(tick), y2=_y(tick))
        _write(svg, "y", _LEFT - 8, _y(tick), f"{tick:g}")
        _write(svg, "x", _x(tick), _STRIP + 18, f"{tick:g}")
    _add(svg, "line", "ideal", x1=_LEFT, y1=bottom, x2=right, y2=_TOP)
    _write(svg, "y-name", 20, _y(0.5), "share that is right", transform=f"rotate(-90 20 {_y(0.5)})")
    _write(svg, "x-name", _x(0.5), _STRIP + 40, "score, and how many entities have it")
    _add(svg, "line", "grid", x1=_LEFT, x2=right, y1=_STRIP, y2=_STRIP)


def _draw_share(svg: Element, one: dict[str, Any]) -> None:
    x, y = _x(one["confidence"]), _y(one["accuracy"])
    left, width = _span(one)
    bar = _add(svg, "rect", "bar", x=left, width=width, y=y, height=_y(0) - y)
    SubElement(bar, "title").text = (
        f"{one['count']} entities with a score from {one['from']:g} to {one['to']:g}: "
        f"{one['confidence']:.3f} on average, {one['accuracy']:.3f} of them right"
    )
    _add(svg, "line", "off", x1=x, x2=x, y1=y, y2=_y(one["confidence"]))
    _add(svg, "circle", "point", cx=x, cy=y, r=5)


def _draw_counts(svg: Element, bins: list[dict[str, Any]]) -> None:
    most = max((one["count"] for one in bins), default=0)
    for one in bins:
        left, width = _span(one)
        height = _TALLEST * one["count"] / most
        _add(svg, "rect", "bar", x=left, width=width, y=_STRIP - height, height=height)
        _write(svg, "count", left + width / 2, _STRIP - height - 4, str(one["count"]))


def _span(one: dict[str, Any]) -> tuple[float, float]:
    """Where a bin's bar begins, and how wide it is."""
    return _x(one["from"]) + 2, _x(one["to"]) - _x(one["from"]) - 4


def _x(score: float) -> float:
    return _LEFT + _SIDE * score


def _y(share: float) -> float:
    return _TOP + _SIDE * (1 - share)


def _add(svg: Element, name: str, kind: str, **numbers: float) -> Element:
    return SubElement(svg, name, {"class": kind} | {key: f"{value:g}" for key, value in numbers.items()})


def _write(svg: Element, kind: str, x: float, y: float, words: str, **attributes: str) -> None:
    SubElement(svg, "text", {"class": kind, "x": f"{x:g}", "y": f"{y:g}"} | attributes).text = words
