"""The reliability diagram: well-formed, and it says what was measured."""

from itertools import pairwise
from xml.etree import ElementTree

import pytest
from nerforge_trainer import reliability

SVG = "{http://www.w3.org/2000/svg}"
BINS = [
    {"from": 0.4, "to": 0.5, "confidence": 0.45, "accuracy": 0.5, "count": 2},
    {"from": 0.9, "to": 1.0, "confidence": 0.97, "accuracy": 0.875, "count": 40},
]
MEASURED = {"on": "test", "temperature": 1.374, "ece": 0.0928, "ece_uncalibrated": 0.2, "bins": BINS}
NOTHING = {"on": "dev", "temperature": 1.0, "ece": None, "ece_uncalibrated": None, "bins": []}


def drawn(label, calibration):
    """The root of the diagram, and its visible words."""
    root = ElementTree.fromstring(reliability.diagram(label, calibration))
    assert root.tag == f"{SVG}svg"
    return root, [text.text for text in root.iter(f"{SVG}text") if text.text]


def of(root, kind, name):
    return [one for one in root.iter(f"{SVG}{name}") if one.get("class") == kind]


def test_it_names_the_model_and_what_was_measured():
    root, words = drawn("people:7", MEASURED)
    assert words[:3] == [
        "people:7",
        "scores of 42 entities found on test have an ECE of 0.093",
        "at temperature 1.37, and of 0.200 at 1",
    ]
    assert [text.text for text in of(root, "count", "text")] == ["2", "40"]
    assert all(text in root.get("aria-label") for text in words[:3])


def test_a_point_lies_on_the_diagonal_where_the_scores_are_right():
    """The diagonal goes through (0, 0) and (1, 1) of the square, whose y grows downwards."""
    exact = [one | {"accuracy": one["confidence"]} for one in BINS]
    root, _ = drawn("people:7", MEASURED | {"bins": exact})
    (ideal,) = of(root, "ideal", "line")
    x1, x2, y1, y2 = (float(ideal.get(name)) for name in ("x1", "x2", "y1", "y2"))
    for one, point in zip(exact, of(root, "point", "circle"), strict=True):
        share = (float(point.get("cx")) - x1) / (x2 - x1)
        assert share == pytest.approx(one["confidence"], abs=1e-3)
        assert (float(point.get("cy")) - y1) / (y2 - y1) == pytest.approx(share, abs=1e-3)


def test_all_of_it_is_within_the_picture_and_bars_do_not_overlap():
    bins = [
        {"from": n / 10, "to": (n + 1) / 10, "confidence": n / 10 + 0.05, "accuracy": n % 2, "count": 10**n}
        for n in range(10)
    ]
    root, _ = drawn("people:7", MEASURED | {"bins": bins})
    width, height = map(float, root.get("viewBox").split()[2:])
    bars = [
        {name: float(bar.get(name)) for name in ("x", "y", "width", "height")}
        for bar in of(root, "bar", "rect")
    ]
    assert len(bars) == 20
    for bar in bars:
        assert 0 <= bar["x"] < bar["x"] + bar["width"] <= width
        assert 0 <= bar["y"] <= bar["y"] + bar["height"] <= height
    shares = bars[:10]
    assert all(left["x"] + left["width"] < right["x"] for left, right in pairwise(shares))


def test_a_model_without_scores_has_an_empty_diagram():
    root, words = drawn("people:7", NOTHING)
    assert "no entity found on dev has a score" in words
    assert not of(root, "bar", "rect")
    assert not of(root, "point", "circle")


def test_the_longest_name_fits():
    root, _ = drawn("x" * 63 + ":12345", MEASURED)
    (title,) = of(root, "title", "text")
    size = float(title.get("style").removeprefix("font-size: ").removesuffix("px"))
    assert size * 69 * 0.6 < float(root.get("width")) - float(title.get("x"))  # a letter is about 0.6 em wide
