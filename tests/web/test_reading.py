"""A document as it is read: blocks, the marked passage, the window of a long text, the contents."""

from __future__ import annotations

import re
import time

from indexer.types import Block, BlockKind
from tests.web.samples import document
from web.contexts import DocumentPage
from web.links import link_of
from web.reading import WINDOW_CHARS, Reading, reading_of, shown_metadata
from web.render import markup
from web.state import SearchState


def blocks_of(*parts: tuple[BlockKind, str, int]) -> tuple[str, tuple[Block, ...]]:
    """Join (kind, text, depth) parts with empty lines, and return the text with its blocks."""
    text, blocks = "", []
    for kind, part, depth in parts:
        blocks.append(Block(kind, len(text), len(text) + len(part), ("x",) * depth))
        text += part + "\n\n"
    return text, tuple(blocks)


def shown(reading: Reading) -> str:
    return "\n".join("".join(part.text for line in block.lines for part in line) for block in reading.blocks)


def marked(reading: Reading) -> str:
    return "".join(part.text for block in reading.blocks for line in block.lines for part in line if part.marked)


def page_of(reading: Reading, **metadata: str) -> str:
    shown_as = shown_metadata(metadata)
    link = link_of("file:///srv/a.md")
    page = DocumentPage(
        "document", SearchState(q="a"), "A title", link, shown_as, reading, False, "/documents/demo/a?", "/?q=a"
    )
    return markup(page)


class TestBlocks:
    def test_every_kind_of_block_is_rendered_as_what_it_is(self) -> None:
        text, blocks = blocks_of(
            ("heading", "Install", 0), ("paragraph", "First.", 1), ("heading", "Linux", 1), ("list", "- one\n- two", 2),
            ("code", "$ run\n  it", 2), ("table", "a  b\n1  2", 2),
        )  # fmt: skip
        page = page_of(reading_of(document(text, blocks)))
        assert '<h2 id="at-0" dir="auto">Install</h2>' in page
        assert '<h3 id="at-17" dir="auto">Linux</h3>' in page
        assert page.count("<li dir=") == 2
        assert "<code>$ run\n  it</code>" in page
        assert "<code>a  b\n1  2</code>" in page

    def test_a_heading_that_repeats_the_title_is_not_shown_twice(self) -> None:
        text, blocks = blocks_of(("heading", "Argparse", 0), ("paragraph", "First.", 1))
        assert shown(reading_of(document(text, blocks, title="argparse"))) == "First."

    def test_a_document_without_blocks_is_one_paragraph(self) -> None:
        assert shown(reading_of(document("Just text.", ()))) == "Just text."

    def test_a_document_without_text_says_so(self) -> None:
        assert "This document has no text." in page_of(reading_of(document("", ())))

    def test_hard_wrapped_prose_is_flowed_and_short_lines_stay(self) -> None:
        wrapped = ("A line that a text file broke near its margin, as prose is.\n" * 3).strip()
        text, blocks = blocks_of(("paragraph", wrapped, 0), ("paragraph", "one -- first\ntwo -- second", 0))
        assert [block.flows for block in reading_of(document(text, blocks)).blocks] == [True, False]

    def test_levels_begin_below_the_title_and_skip_none(self) -> None:
        text, blocks = blocks_of(("heading", "Argparse", 0), ("heading", "A", 1), ("heading", "B", 2))
        assert [block.level for block in reading_of(document(text, blocks, title="argparse")).blocks] == [2, 3]


class TestPassage:
    def test_exactly_the_passage_is_marked_over_block_borders(self) -> None:
        text, blocks = blocks_of(("paragraph", "one two", 0), ("list", "- three\n- four", 0), ("code", "five\nsix", 0))
        start, end = text.index("two"), text.index("six")
        reading = reading_of(document(text, blocks), (start, end))
        assert marked(reading) == "two- three\n- fourfive\n"

    def test_one_mark_carries_the_anchor(self) -> None:
        text, blocks = blocks_of(("paragraph", "one two", 0), ("paragraph", "three four", 0))
        page = page_of(reading_of(document(text, blocks), (4, 14)))
        assert re.findall(r"<mark[^>]*>[^<]*</mark>", page) == ["<mark id=passage>two</mark>", "<mark>three</mark>"]

    def test_a_range_outside_the_text_marks_nothing(self) -> None:
        assert marked(reading_of(document("short"), (100, 200))) == ""


class TestLongDocuments:
    text = "".join(f"This is line {number} of a long log file.\n" for number in range(30_000))

    def test_a_window_around_the_passage_is_shown(self) -> None:
        start = self.text.index("line 15000 ")
        reading = reading_of(document(self.text), (start, start + 10))
        assert marked(reading) == "line 15000"
        assert reading.shown_chars <= WINDOW_CHARS + 4000
        assert reading.earlier is not None and reading.later is not None

    def test_earlier_and_later_lead_through_the_whole_text_without_gaps(self) -> None:
        seen, at = "", 0
        while True:
            reading = reading_of(document(self.text), at=at)
            seen += shown(reading)
            if reading.later is None:
                break
            at = reading.later
        assert seen == self.text

    def test_all_of_it_is_shown_on_request(self) -> None:
        reading = reading_of(document(self.text), whole=True)
        assert reading.is_all
        assert shown(reading) == self.text

    def test_a_place_beyond_the_end_shows_the_end(self) -> None:
        assert reading_of(document(self.text), at=10**9).shown_chars == 1

    def test_one_megabyte_is_rendered_in_well_under_a_second(self) -> None:
        text, blocks = blocks_of(*(("paragraph", f"Line {n}. " + "word " * 30, 0) for n in range(7000)))
        assert len(text) > 1_000_000
        started = time.thread_time()
        page_of(reading_of(document(text, blocks), (500_000, 500_400)))
        windowed = time.thread_time() - started
        page_of(reading_of(document(text, blocks), (500_000, 500_400), whole=True))
        assert windowed < 0.5
        assert time.thread_time() - started < 2


class TestContents:
    def test_headings_are_listed_with_their_depth(self) -> None:
        text, blocks = blocks_of(("heading", "A", 0), ("heading", "B", 1), ("heading", "C", 0), ("paragraph", "x", 1))
        assert [(h.text, h.depth) for h in reading_of(document(text, blocks)).contents] == [
            ("A", 0),
            ("B", 1),
            ("C", 0),
        ]

    def test_fewer_than_three_headings_need_no_contents(self) -> None:
        text, blocks = blocks_of(("heading", "A", 0), ("heading", "B", 1))
        assert reading_of(document(text, blocks)).contents == ()

    def test_too_many_headings_leave_the_deepest_out(self) -> None:
        parts: list[tuple[BlockKind, str, int]] = []
        for chapter in range(20):
            parts.append(("heading", f"Chapter {chapter}", 0))
            parts += [("heading", f"Section {chapter}.{n}", 1) for n in range(50)]
        text, blocks = blocks_of(*parts)
        assert [h.text for h in reading_of(document(text, blocks)).contents] == [f"Chapter {n}" for n in range(20)]

    def test_a_heading_outside_the_window_moves_the_window(self) -> None:
        text, blocks = blocks_of(
            ("heading", "A", 0), ("paragraph", "x" * 200_000, 0), ("heading", "B", 0), ("heading", "C", 0)
        )
        page = page_of(reading_of(document(text, blocks)))
        assert '<a href="#at-0"' in page
        assert '<a href="/documents/demo/a?at=200005#at-200005"' in page


def test_metadata_is_shown_in_order_and_as_text() -> None:
    assert shown_metadata({"tags": ("a", "b"), "draft": False, "n": 2}) == (
        ("draft", "False"),
        ("n", "2"),
        ("tags", "a, b"),
    )
