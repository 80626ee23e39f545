"""Every page in a browser: fits a phone, keeps the policy, runs nothing from outside, can be used by keyboard alone."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
from playwright.sync_api import Browser, Page

from indexer.types import Block
from tests.web import samples
from tests.web.conftest import Watch
from tests.web.test_escaping import PAYLOADS
from web.contexts import DocumentPage
from web.reading import reading_of
from web.render import markup

Visit = Callable[..., tuple[Page, Watch]]
Serve = Callable[[Mapping[str, str]], str]
FROM = '<!doctype html><title>From</title><a href="/#passage">to the passage</a>'
WORDY = "A_rather_long_identifier_without_any_place_to_break_it.and_another.one.after_it " * 2


def rendered(text: str) -> dict[str, str]:
    return {f"/{number}": markup(page) for number, page in enumerate(samples.pages(text))}


def results() -> str:
    return markup(samples.search_page(samples.response(*(samples.hit(number) for number in range(1, 11)), total=25)))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_is_wider_than_a_phone(visit: Visit, serve_pages: Serve, scheme: str) -> None:
    pages = rendered(WORDY)
    address = serve_pages(pages)
    page, _ = visit(address, viewport={"width": 360, "height": 740}, color_scheme=scheme)
    for path in pages:
        page.goto(address + path)
        page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path


def test_light_and_dark_differ(visit: Visit, serve_pages: Serve) -> None:
    address = serve_pages({"/": results()})
    grounds = [
        visit(address, color_scheme=scheme)[0].evaluate("getComputedStyle(document.body).backgroundColor")
        for scheme in ("light", "dark")
    ]
    assert grounds == ["rgb(255, 255, 255)", "rgb(20, 24, 26)"]


def test_no_text_from_outside_runs_in_a_browser(visit: Visit, serve_pages: Serve) -> None:
    pages = {f"/{n}{path}": html for n, text in enumerate(PAYLOADS[:5]) for path, html in rendered(text).items()}
    address = serve_pages(pages)
    page, watch = visit(address)
    for path in pages:
        page.goto(address + path, wait_until="load")
        page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
    assert watch.dialogs == []


def test_the_policy_stops_what_escaping_would_have_let_through(chromium: Browser, serve_pages: Serve) -> None:
    """The second lock holds by itself: an inline script and handler that did get into a page do not run."""
    html = results().replace(
        "</main>", "<script>window.ran = 1</script><img src=data:, onerror='window.ran = 2'></main>"
    )
    page = chromium.new_page()  # not watched: it complains here, as it should
    page.goto(serve_pages({"/": html}))
    page.wait_for_timeout(100)
    assert page.evaluate("window.ran") is None
    page.context.close()


def test_the_keyboard_reaches_the_box_and_walks_the_hits(visit: Visit, serve_pages: Serve) -> None:
    address = serve_pages({"/": results()})
    page, _ = visit(address)
    focused = "document.activeElement.closest('[data-hit]')?.querySelector('h2').id ?? document.activeElement.id"
    page.keyboard.press("/")
    assert page.evaluate(focused) == "q"
    page.keyboard.press("ArrowDown")
    assert page.evaluate(focused) == "hit-1"
    page.keyboard.press("j")
    page.keyboard.press("ArrowDown")
    assert page.evaluate(focused) == "hit-3"
    page.keyboard.press("k")
    assert page.evaluate(focused) == "hit-2"
    page.keyboard.press("Enter")
    page.wait_for_url("**/documents/demo/library/argparse-2?passage=passage-2&**")


def test_keys_typed_into_the_box_stay_in_the_box(visit: Visit, serve_pages: Serve) -> None:
    page, _ = visit(serve_pages({"/": results()}))
    page.locator("#q").fill("")
    page.locator("#q").press_sequentially("a/jk")
    assert page.input_value("#q") == "a/jk"


def test_without_javascript_the_form_carries_the_whole_state(visit: Visit, serve_pages: Serve) -> None:
    state = samples.STATE.switched("large", False, {"small": True, "large": True})
    html = markup(samples.search_page(samples.response(samples.hit(1)), state))
    page, _ = visit(serve_pages({"/": html}), java_script_enabled=False)
    page.locator("#q").fill("other words")
    page.locator("#q").press("Enter")
    page.wait_for_url("**/?no=large&q=other+words&collection=demo&filter=")


def test_the_skip_link_is_the_first_stop_and_leads_to_the_content(visit: Visit, serve_pages: Serve) -> None:
    page, _ = visit(serve_pages({"/": results()}))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_a_passage_is_scrolled_into_view(visit: Visit, serve_pages: Serve) -> None:
    pages = samples.pages("word " * 3000)
    document = next(page for page in pages if isinstance(page, DocumentPage))
    text = "".join(f"Line {number}.\n" for number in range(3000))
    reading = reading_of(samples.document(text), (text.index("Line 2500"), text.index("Line 2501")))
    html = markup(replace(document, title="Long", reading=reading))
    page, _ = visit(serve_pages({"/": html}) + "/#passage")
    inside = (
        "(() => { const box = document.getElementById('passage').getBoundingClientRect();"
        " return box.top >= 0 && box.bottom <= innerHeight })()"
    )
    deadline = time.monotonic() + 5
    while not page.evaluate(inside):
        assert time.monotonic() < deadline
        page.wait_for_timeout(50)


def test_the_passage_stays_in_view_when_the_paragraphs_before_it_turn_out_longer_or_shorter(
    visit: Visit, serve_pages: Serve
) -> None:
    texts = [f"Paragraph {number}. " + "Some words. " * (number * 7 % 40) for number in range(400)]
    starts = list(itertools.accumulate((len(text) + 2 for text in texts), initial=0))
    blocks = tuple(Block("paragraph", start, start + len(text)) for start, text in zip(starts, texts, strict=False))
    long = replace(samples.document("\n\n".join(texts)), blocks=blocks)
    page_of = next(page for page in samples.pages("harmless") if isinstance(page, DocumentPage))
    reading = reading_of(long, (starts[300], starts[301] - 2))
    address = serve_pages({"/": markup(replace(page_of, title="Long", reading=reading)), "/from": FROM})
    page, _ = visit(address + "/from", reduced_motion="no-preference")
    page.click("a")
    page.wait_for_url("**/#passage")
    page.wait_for_timeout(1500)
    top, bottom, height = page.evaluate(
        "(() => { const box = document.getElementById('passage').getBoundingClientRect();"
        " return [box.top, box.bottom, innerHeight] })()"
    )
    assert page.evaluate("scrollY") > 1000
    assert 0 <= top < bottom <= height


def test_headings_and_labels_are_in_order(visit: Visit, serve_pages: Serve) -> None:
    pages = rendered("harmless")
    address = serve_pages(pages)
    page, _ = visit(address)
    for path in pages:
        page.goto(address + path)
        levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map((h) => +h.tagName[1])")
        assert levels.count(1) == 1, path
        assert levels[0] == 1, path
        nameless = page.evaluate(
            "[...document.querySelectorAll('input:not([type=hidden]), select')]"
            ".filter((field) => !field.labels.length).map((field) => field.name)"
        )
        assert nameless == [], path
