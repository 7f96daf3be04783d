"""The pages for people in a real browser: what they show, by keyboard alone, on a phone, in the dark, locked.

Nothing may be written to the console, and nothing asked of another origin, whatever a test does.
"""

from hashlib import sha256
from urllib.parse import urlsplit

import pytest
from nerforge_server.keys import Keys
from playwright.sync_api import expect
from support.browser import CONTRASTS, PHONE, launched
from support.stub import StubServer

KEY = "nfk_" + "k" * 43
PREFIX = "/_alb/people"
DASH = "\N{EN DASH}"


@pytest.fixture(scope="module")
def browser():
    with launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def open_server():
    server = StubServer(prefix=PREFIX)
    yield server
    server.close()


@pytest.fixture(scope="module")
def locked_server():
    server = StubServer(Keys({"ada": sha256(KEY.encode()).hexdigest()}), prefix=PREFIX)
    yield server
    server.close()


@pytest.fixture
def visit(browser):
    """Open an address in a new window; the browser's own words about a refused request are expected of it."""
    contexts, complaints = [], []

    def visit(server, path="", expected=(), **options):
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)

        def hear(message):
            if not any(f"status of {status}" in message.text for status in expected):
                complaints.append(message.text)

        def see(request):
            address = urlsplit(request.url)
            if address.scheme != "data" and f"{address.scheme}://{address.netloc}" != server.origin:
                complaints.append(f"asked {request.url}")

        page.on("console", hear)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", see)
        page.goto(server.url + path)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert complaints == []


def ask(page, text):
    """Type a text, and ask for its entities."""
    page.fill("#text", text)
    page.keyboard.press("Control+Enter")
    expect(page.locator("#marked")).to_contain_text(text[:1])
    page.wait_for_selector("#ask button:not([aria-disabled])")


def marks(page):
    """What is marked: the text, the label, and what stands before it."""
    return page.eval_on_selector_all(
        "#marked mark",
        """marks => marks.map(mark => [
            mark.firstChild.textContent,
            mark.querySelector(".tag").textContent,
            mark.previousSibling?.textContent ?? ""])""",
    )


def overflow(page):
    """By how many pixels the page is wider than its window."""
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


# --- the page to try it on ---


@pytest.mark.parametrize("path", ["", "/"])
def test_it_shows_the_sample_marked_and_says_which_model_it_was(visit, open_server, path):
    page = visit(open_server, path)
    page.wait_for_selector("mark")
    assert marks(page)[:2] == [["NASA", "AGENCY", ""], ["Dragonfly", "MISSION", "'s "]]
    assert page.inner_text("#model") == "people:7 · F 0.90 · en · 2026-01-02 · exact engine"
    assert page.get_attribute("#marked mark", "title") == "AGENCY, score 0.997"
    first = page.locator("#list tbody tr").first
    assert first.inner_text().split() == ["NASA", "AGENCY", f"0{DASH}4", "0.997"]


def test_entities_after_emoji_and_accents_are_marked_where_they_are(visit, open_server):
    page = visit(open_server)
    page.wait_for_selector("mark")
    ask(page, "👩🏽‍🚀🌍 e\u0301 Ada Lovelace saw London 🇬🇧.")
    assert marks(page) == [["Ada Lovelace", "PER", "👩🏽‍🚀🌍 e\u0301 "], ["London", "LOC", " saw "]]


def test_a_text_is_never_markup(visit, open_server):
    page = visit(open_server)
    page.wait_for_selector("mark")
    ask(page, "<img src=x onerror=alert(1)> London <b>")
    assert marks(page) == [["London", "LOC", "<img src=x onerror=alert(1)> "]]
    assert page.locator("#marked img, #marked b").count() == 0


def test_each_label_has_its_colour(visit, open_server):
    page = visit(open_server)
    page.wait_for_selector("mark")
    colours = page.eval_on_selector_all(
        "#marked mark",
        """all => all.map(each => [
            each.querySelector(".tag").textContent, getComputedStyle(each).backgroundColor])""",
    )
    assert len({colour for __, colour in colours}) == len({label for label, __ in colours}) == 5
    assert len({tuple(each) for each in colours}) == 5


def test_an_entity_without_a_score(visit, open_server):
    page = visit(open_server)
    page.wait_for_selector("mark")
    ask(page, "somewhere")
    assert page.inner_text("#list tbody tr").split() == ["somewhere", "LOC", f"0{DASH}9", DASH]
    assert page.get_attribute("#marked mark", "title") is None


def test_by_keyboard_alone(visit, open_server):
    page = visit(open_server)
    page.wait_for_selector("mark")
    assert page.evaluate("document.activeElement.id") == "text"
    page.keyboard.press("Control+a")
    page.keyboard.type("Nobody but Ada Lovelace")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_contain_text("1 entity in")
    assert marks(page) == [["Ada Lovelace", "PER", "Nobody but "]]
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    for summary in ("#answer", "#card"):
        page.keyboard.press("Tab")
        assert page.evaluate(outline) == "solid"
        page.keyboard.press("Enter")
        assert page.evaluate(f"document.querySelector('{summary}').open")
    assert '"tag": "PER"' in page.inner_text("#answer pre")


def test_the_models_scores_and_how_far_they_can_be_believed(visit, open_server):
    page = visit(open_server)
    page.click("#card summary")
    assert page.locator("#card tbody tr").last.inner_text().split() == ["all", "0.90", "0.92", "0.88"]
    assert page.locator("#calibration circle").count() == 10
    assert "ECE 0.031" in page.get_attribute("#calibration svg", "aria-label")


def test_an_error_says_what_to_do_and_is_gone_with_the_next_answer(visit, open_server):
    page = visit(open_server, expected=[500])
    page.wait_for_selector("mark")
    page.fill("#text", "a burst")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#status.bad")
    assert page.inner_text("#status").startswith("The server failed over this request. Try again")
    assert not page.is_visible("#result")
    ask(page, "London")
    assert not page.locator("#status.bad").count()


def test_it_waits_for_a_model(visit, open_server):
    open_server.serving.unready = "the model is being loaded"
    try:
        page = visit(open_server, expected=[503])
        page.wait_for_selector("#status.bad")
        assert "the model is being loaded" in page.inner_text("#status")
    finally:
        open_server.serving.unready = None
    page.wait_for_selector("mark")


def test_a_phone(visit, open_server):
    page = visit(open_server, **PHONE)
    page.wait_for_selector("mark")
    for summary in ("#answer summary", "#card summary"):
        page.tap(summary)
    assert overflow(page) == 0
    ask(page, "x" * 300 + " London")
    assert overflow(page) == 0
    assert page.locator("#ask button").bounding_box()["height"] >= 44


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(visit, open_server, scheme):
    """Text has 4.5 times the luminance of what is behind it, or the reverse: WCAG 2.2, 1.4.3."""
    page = visit(open_server, color_scheme=scheme)
    page.click("#card summary")
    page.click("#answer summary")
    ratios = page.evaluate(CONTRASTS)
    assert len(ratios) > 60
    assert [ratio for ratio in ratios if ratio[0] < 4.5] == []


def test_dark_is_dark(visit, open_server):
    background = "getComputedStyle(document.body).backgroundColor"
    light = visit(open_server, color_scheme="light").evaluate(background)
    dark = visit(open_server, color_scheme="dark").evaluate(background)
    assert (light, dark) == ("rgb(247, 246, 243)", "rgb(19, 22, 27)")


def test_nothing_moves_once_it_is_there(visit, open_server):
    page = visit(open_server)
    page.wait_for_selector("#card:not([hidden])")
    shift = page.evaluate("""() => new Promise((resolve) => {
        const sum = (list) => list.getEntries().reduce((sum, entry) => sum + entry.value, 0);
        const observer = new PerformanceObserver((list) => resolve(sum(list)));
        observer.observe({ type: "layout-shift", buffered: true });
        setTimeout(() => resolve(0), 300);
    })""")
    assert shift < 0.01


# --- with a key ---


def test_a_server_that_is_locked_asks_for_the_key(visit, locked_server):
    page = visit(locked_server, expected=[401])
    page.wait_for_selector("#door:not([hidden])")
    assert page.evaluate("document.activeElement.id") == "key"
    assert not page.is_visible("#ask")

    page.keyboard.type("nfk_wrong")
    page.keyboard.press("Enter")
    expect(page.locator("#refusal")).to_contain_text("opens nothing")

    page.keyboard.type(KEY)
    page.keyboard.press("Enter")
    page.wait_for_selector("mark")
    assert not page.is_visible("#door")
    assert KEY not in page.url
    assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]

    page.reload()
    page.wait_for_selector("mark")
    page.click("#forget")
    assert page.is_visible("#door")
    assert page.evaluate("sessionStorage.length") == 0
    assert page.locator("mark:visible").count() == 0


# --- the documentation ---


def test_the_documentation_lists_what_there_is(visit, open_server):
    page = visit(open_server)
    page.click("#docs")
    page.wait_for_selector(".opblock")
    paths = page.eval_on_selector_all(".opblock-summary-path", "all => all.map(each => each.dataset.path)")
    assert paths == ["/ner", "/model", "/health", "/ready", "/metrics", "/openapi.json", "/docs", "/"]
    page.set_viewport_size(PHONE["viewport"])
    assert overflow(page) == 0


def test_the_documentation_can_be_tried_out(visit, locked_server):
    page = visit(locked_server, "/docs")
    page.click(".auth-wrapper .authorize")
    page.fill(".auth-container input", KEY)
    page.click(".auth-btn-wrapper .authorize")
    page.click(".auth-btn-wrapper .btn-done")
    page.click("#operations-Entities-recognize .opblock-summary-control")
    page.click("#operations-Entities-recognize .execute")
    answer = page.locator("#operations-Entities-recognize .live-responses-table .response")
    assert answer.locator(".response-col_status").inner_text().strip() == "200"
    assert '"Ada Lovelace"' in answer.inner_text()
    assert page.inner_text(".request-url pre") == f"{locked_server.url}/ner"
