"""No text from a document, a uri, a query or an error becomes markup, on any page."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from tests.web import samples
from web import words
from web.render import SECURITY_HEADERS, STATIC, markup, respond

PAYLOADS = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '" autofocus onfocus=alert(1) x="',
    "' onmouseover='alert(1)",
    "</title><script>alert(1)</script>",
    "</mark></p><svg onload=alert(1)>",
    "javascript:alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "<!--><iframe src=javascript:alert(1)>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
)


class Seen(HTMLParser):
    """Collects what a browser would act upon."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.handlers: list[str] = []
        self.styles = 0
        self.addresses: list[str] = []
        self.inline_scripts = 0
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        names = dict(attrs)
        self.handlers += [name for name in names if name.startswith("on")]
        self.styles += "style" in names or tag == "style"
        self.addresses += [names[name] or "" for name in ("href", "src", "action", "formaction") if name in names]
        self.inline_scripts += tag == "script" and "src" not in names
        self.ids += [names["id"] or ""] if "id" in names else []


@pytest.mark.parametrize("text", PAYLOADS)
def test_text_from_outside_stays_text(text: str) -> None:
    for page, harmless in zip(samples.pages(text), samples.pages("harmless"), strict=True):
        seen, expected = Seen(), Seen()
        seen.feed(markup(page))
        expected.feed(markup(harmless))
        assert seen.tags == expected.tags, page.template
        assert seen.handlers == []
        assert seen.inline_scripts == 0
        assert seen.styles == 0
        assert not [address for address in seen.addresses if not re.match(r"(/(?!/)|#|https://)", address)]


@pytest.mark.parametrize("text", PAYLOADS[:6])
def test_text_from_outside_is_still_shown(text: str) -> None:
    from html import unescape

    for page in samples.pages(text):
        assert text in unescape(markup(page)), page.template


@pytest.mark.parametrize(
    ("text", "shown"), [("a\x1b[31mb", "a\u241b[31mb"), ("a\x00\x7f\x85b", "a\u2400\u2421\ufffdb")]
)
def test_control_characters_are_shown_as_pictures_and_sent_back_as_they_are(text: str, shown: str) -> None:
    pages = samples.pages(text)
    places = [re.split(r"(<(?:input|option)[^>]*>|(?s:<textarea.*?</textarea>))", markup(page)) for page in pages]
    for page, parts in zip(pages, places, strict=True):
        assert not words.CONTROL.search("".join(parts[::2])), page.template
    assert sum(shown in part for parts in places for part in parts[::2]) > 20
    sent = [part for parts in places for part in parts[1::2]]
    assert sum(text in part for part in sent) > 20
    assert not [part for part in sent if shown in part]


def test_ids_on_a_page_are_unique() -> None:
    for page in samples.pages("harmless"):
        seen = Seen()
        seen.feed(markup(page))
        assert len(seen.ids) == len(set(seen.ids)), page.template


def test_every_page_is_sent_with_a_strict_policy() -> None:
    response = respond(samples.pages("a")[0])
    assert response.headers["Content-Security-Policy"] == (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'; connect-src 'self'"
    )
    assert response.headers["X-Content-Type-Options"] == SECURITY_HEADERS["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "same-origin"


def test_static_files_fetch_nothing_from_elsewhere() -> None:
    for path in STATIC.iterdir():
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|@import|url\(", text), path.name
