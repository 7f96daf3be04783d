"""The card of a really trained version: its figures, its plots, and how it looks in a browser offline.

Cases: the figures are the manifest's; plots are SVG without styles of their own; texts are escaped; strange
labels; many labels, on paper too; nothing found; texts from right to left; desktop and phone, light and dark;
and a page that cannot be made.
"""

import json
import re
import sys
from xml.etree import ElementTree

import pytest
from nerforge_contract import names
from nerforge_trainer import card, card_page, plots
from playwright.sync_api import expect
from support.browser import CONTRASTS, PHONE, launched

PREFIX = names.model_prefix("people", 1)
STRANGE = ("</style><b>", "$x_{$", "\N{HEBREW LETTER ALEF}\N{CJK UNIFIED IDEOGRAPH-4EBA}", "L" * 80)


@pytest.fixture
def pages_not_drawn():
    """Here they are."""


@pytest.fixture(scope="module")
def trained(made):
    """The card of people:1."""
    return json.loads(made[PREFIX + names.CARD])


@pytest.fixture(scope="module")
def hostile(trained):
    """A card whose texts and labels try to be more than text."""
    text = '<script>alert(1)</script> & "quoted" Ada'
    errors = [
        {
            "line": 3,
            "text": text,
            "gold": [[len(text) - 3, len(text), "PER"]],
            "found": [[0, 8, STRANGE[0], 0.987], [len(text) - 3, len(text), "PER", None]],
        }
    ]
    scores = {"f": 0.5, "p": 0.25, "r": 1.0}
    labels = {label: scores | {"count": 7} for label in STRANGE}
    counts = [[0 if column == len(STRANGE) == row else 1200 for column in range(5)] for row in range(5)]
    manifest = trained["manifest"] | {
        "scores": trained["manifest"]["scores"] | {"labels": labels},
        "confusion": {"labels": list(STRANGE), "counts": counts},
        "warnings": ["<img src=x onerror=alert(1)>"],
        "commit": {"id": "c0ffee", "changed": True},
    }
    distribution = {"train": dict.fromkeys(STRANGE, 12), "dev": {STRANGE[0]: 1}}
    return trained | {"errors": errors, "manifest": manifest, "examples": distribution}


# --- the plots ---


def drawn(card):
    manifest = card["manifest"]
    return {
        "learning_curve": plots.learning_curve(card["curve"]),
        "scores": plots.scores(manifest["scores"]),
        "confusion": plots.confusion(manifest["confusion"]),
        "distribution": plots.distribution(card["examples"]),
        "reliability": plots.reliability(manifest["calibration"]),
    }


@pytest.fixture(scope="module")
def usual(trained):
    """The plots of people:1, by name."""
    return drawn(trained)


@pytest.fixture(scope="module")
def strange(hostile):
    """Those of the other."""
    return drawn(hostile)


def words(svg):
    return ["".join(text.itertext()) for text in ElementTree.fromstring(svg).iter(f"{{{plots._SVG}}}text")]


@pytest.mark.parametrize("which", ["usual", "strange"])
def test_a_plot_takes_all_its_looks_from_the_page(which, request):
    style = (card_page._HERE / card_page._STYLE).read_text()
    for name, svg in request.getfixturevalue(which).items():
        root = ElementTree.fromstring(svg)
        assert root.get("aria-label"), name
        assert not [element for element in root.iter() if "style" in element.attrib or "style" in element.tag]
        assert not set(re.findall(r"#0101\d\d", svg)), name
        used = {kind for element in root.iter() for kind in element.get("class", "").split()}
        assert used <= set(re.findall(r"\.((?:fill|stroke)-\w+)", style)), name


def test_the_same_card_has_the_same_plots(trained, usual):
    assert drawn(trained) == usual


def test_plots_say_the_figures(trained, usual, strange):
    manifest = trained["manifest"]
    said = {name: words(svg) for name, svg in usual.items()}
    numbers = {str(number) for row in manifest["confusion"]["counts"] for number in row if number}
    assert numbers <= set(said["confusion"])
    best = max(point["f"] for point in trained["curve"])
    assert any(f"best: F {best:.3f} at step" in line for line in said["learning_curve"])
    assert {str(one["count"]) for one in manifest["calibration"]["bins"]} <= set(said["reliability"])
    assert {"64", "32"} <= set(said["distribution"])
    shown = words(strange["confusion"])
    assert shown.count("1,200") == 24
    assert set(STRANGE[:3]) <= set(shown)
    assert f"{'L' * 17}\N{HORIZONTAL ELLIPSIS}" in shown


def width(svg):
    return int(ElementTree.fromstring(svg).get("width"))


def test_many_labels_and_nothing_found(trained, usual):
    labels = [f"LABEL{n}" for n in range(40)]
    scores = {label: {"f": 0.0, "p": 0.0, "r": 0.0, "count": 0} for label in labels}
    counts = [[0] * 41 for __ in range(41)]
    assert set(labels) <= set(words(plots.scores({"labels": scores})))
    wide = plots.confusion({"labels": labels, "counts": counts})
    assert set(labels) <= set(words(wide))
    assert width(wide) > 2 * width(usual["confusion"])
    nothing = trained["manifest"]["calibration"] | {"bins": [], "ece": None, "ece_uncalibrated": None}
    lost = [point | {"loss": None} for point in trained["curve"][:1]]
    bare = trained | {
        "manifest": trained["manifest"] | {"calibration": nothing, "commit": None},
        "curve": lost,
        "errors": [],
    }
    page = card_page.page(bare)
    assert "No entity that was found on dev has a score." in page
    assert "It makes no mistake on dev." in page
    assert "not known" in page


def test_the_strongest_colour_of_the_confusion_leaves_its_number_readable():
    style = (card_page._HERE / card_page._STYLE).read_text()
    svg = plots.confusion({"labels": ["PER"], "counts": [[40, 0], [0, 0]]})
    (share,) = map(float, re.findall(r'fill-opacity="([\d.]+)"', svg))

    def luminance(channels):
        linear = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
        return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    for ink, one, paper in zip(*(colours(style, name) for name in ("ink", "one", "card")), strict=True):
        behind = [share * above + (1 - share) * below for above, below in zip(one, paper, strict=True)]
        light, dark = sorted(map(luminance, (ink, behind)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5


def colours(style, name):
    """A colour of the style sheet as it is by day, at night and on paper: red, green and blue from 0 to 1."""
    found = [one * 2 if len(one) == 3 else one for one in re.findall(rf"--{name}: #(\w+)", style)]
    assert len(found) == 3
    return [[int(one[at : at + 2], 16) / 255 for at in (0, 2, 4)] for one in found]


# --- the page ---


@pytest.fixture(scope="module")
def browser():
    with launched() as browser:
        yield browser


@pytest.fixture
def visit(browser, tmp_path):
    """Open a page in a browser that is offline; nothing may be fetched, run or complained of."""
    contexts, complaints = [], []

    def visit(html, expected=(), **options):
        file = tmp_path / "card.html"
        file.write_text(html, encoding="utf-8")

        def hear(words):
            if words != file.as_uri() and not any(part in words for part in expected):
                complaints.append(words)

        contexts.append(browser.new_context(offline=True, **options))
        page = contexts[-1].new_page()
        for event, say in {
            "console": lambda message: message.text,
            "pageerror": str,
            "dialog": lambda dialog: dialog.message,
            "request": lambda request: request.url,
        }.items():
            page.on(event, lambda about, say=say: hear(say(about)))
        page.goto(file.as_uri())
        return page

    yield visit
    for context in contexts:
        context.close()
    assert complaints == []


def test_its_figures_are_those_of_the_manifest(visit, made):
    manifest = json.loads(made[PREFIX + names.MANIFEST])
    page = visit(made[PREFIX + names.CARD_PAGE].decode())
    assert page.locator("h1").text_content() == "people:1"
    rows = page.eval_on_selector_all(
        "#labels tbody tr", "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
    )
    scores = manifest["scores"]
    expected = [[label, *figures(found), str(found["count"])] for label, found in scores["labels"].items()]
    assert rows == [*expected, ["all", *figures(scores), "96"]]
    shown = page.eval_on_selector_all(".figures dd", "all => all.map(one => one.textContent)")
    assert shown == [
        *figures(scores),
        f"{manifest['calibration']['ece']:.3f}",
        f"{manifest['speed']['words_per_second']:,.0f}",
        f"{manifest['artifact']['bytes'] / 1e6:.1f} MB",
    ]
    for part in (manifest["artifact"]["sha256"], manifest["run"], manifest["config"], manifest["image"]):
        assert part in page.locator("main").text_content()
    expect(page.locator("svg")).to_have_count(5)


def figures(scores):
    return [f"{scores[name]:.3f}" for name in "fpr"]


def test_texts_are_nothing_but_texts(visit, hostile):
    page = visit(card_page.page(hostile))
    assert page.title() == "people:1 \N{MIDDLE DOT} nerforge"
    shown = page.eval_on_selector_all(".error dd", "all => all.map(one => one.textContent)")
    assert shown == [
        '<script>alert(1)</script> & "quoted" AdaPER',
        f'<script>{STRANGE[0]} 0.99alert(1)</script> & "quoted" AdaPER',
    ]
    marks = page.eval_on_selector_all(
        ".error mark", "all => all.map(one => [one.className, one.firstChild.textContent])"
    )
    assert marks == [["right", "Ada"], ["wrong", "<script>"], ["right", "Ada"]]
    assert page.locator("li").text_content() == "<img src=x onerror=alert(1)>"
    assert "c0ffee, with changes that were not committed" in page.locator(".about").text_content()
    expect(page.locator("script, img")).to_have_count(0)


def test_the_policy_stands_even_if_a_text_were_not_escaped(visit, trained):
    added = """<p id="added" style="color: red">x</p><style>h1 { color: red }</style>
        <script>document.title = "owned"</script><img src="https://example.org/x.png"></main>"""
    page = visit(
        card_page.page(trained).replace("</main>", added),
        expected=("violates the following Content Security Policy", "https://example.org/x.png"),
    )
    assert page.title() == "people:1 \N{MIDDLE DOT} nerforge"
    for element in ("#added", "h1"):
        assert page.eval_on_selector(element, "one => getComputedStyle(one).color") == "rgb(29, 34, 43)"
    assert page.eval_on_selector("section", "one => getComputedStyle(one).borderRadius") == "12px"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("options", [{"viewport": {"width": 1200, "height": 800}}, PHONE])
def test_it_fits_and_can_be_read(visit, hostile, scheme, options):
    page = visit(card_page.page(hostile), color_scheme=scheme, **options)
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    assert [(ratio, what) for ratio, what in page.evaluate(CONTRASTS) if ratio < 4.5] == []
    fills = page.eval_on_selector_all("svg text", "all => all.map(one => getComputedStyle(one).fill)")
    assert len(set(fills)) <= 2
    assert ("rgb(29, 34, 43)" in fills) == (scheme == "light")


def test_texts_from_right_to_left_turn_no_label_around(visit, trained):
    override, hebrew = "\N{RIGHT-TO-LEFT OVERRIDE}", "\N{HEBREW LETTER ALEF}" * 4
    errors = [
        {"line": 1, "text": text, "gold": [], "found": [[0, 4, "PER", 0.98]]}
        for text in (f"{hebrew} {hebrew}", f"Adas{override}eve")
    ]
    errors[1]["found"] = [[4, 8, "ORG", 0.98]]
    manifest = trained["manifest"] | {"labels": [override, "PER"]}
    page = visit(card_page.page(trained | {"errors": errors, "manifest": manifest}))
    marks = page.eval_on_selector_all(
        "header p, .error mark b",
        """all => all.map(one => {
            const place = (at) => {
                const range = document.createRange();
                range.setStart(one.lastChild, at);
                range.setEnd(one.lastChild, at + 1);
                return range.getBoundingClientRect().left;
            };
            return place(4) - place(1);
        })""",
    )
    assert len(marks) == 3 and min(marks) > 0
    text, label = page.eval_on_selector(
        ".error mark",
        """one => {
            const range = document.createRange();
            range.selectNodeContents(one.firstChild);
            return [range, one.lastChild].map(part => part.getBoundingClientRect());
        }""",
    )
    assert label["right"] + 3 < text["left"]


def test_many_labels_are_all_on_the_paper(visit, trained):
    labels = [f"LABEL{n}" for n in range(40)]
    counts = [[0] * 41 for __ in range(41)]
    manifest = trained["manifest"] | {"confusion": {"labels": labels, "counts": counts}}
    page = visit(card_page.page(trained | {"manifest": manifest}), viewport={"width": 720, "height": 1000})
    page.emulate_media(media="print")
    cut = page.eval_on_selector_all(".wide", "all => all.map(one => one.scrollWidth - one.clientWidth)")
    assert max(cut) == 0


# --- a page that cannot be made ---


def test_a_card_without_a_page_is_said_and_nothing_worse(tmp_path, trained, capsys):
    described, page = tmp_path / "card.json", tmp_path / "card.html"
    described.write_text(json.dumps(trained | {"manifest": {}}))
    assert not card.draw(described, page)
    assert "the model's card has no page: " in capsys.readouterr().out
    assert not page.exists()


def test_a_drawing_that_hangs_is_given_up(tmp_path, monkeypatch, capsys):
    (tmp_path / "python").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(card, "_PATIENCE", 0.2)
    assert not card.draw(tmp_path / "card.json", tmp_path / "card.html")
    assert "timed out" in capsys.readouterr().out
