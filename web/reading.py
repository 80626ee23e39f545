"""A document as blocks to read: headings with anchors, the passage marked, and a window of a long text.

Takes a Document and a passage's character range; gives what `document.html` shows. Offsets are characters of its text.
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from indexer.types import Block, Document, Metadata

WINDOW_CHARS = 80_000
"""Shown of a longer document unless all is asked for: two thirds of it after the place asked for."""
MAX_CONTENTS = 120
WRAPPED_CHARS = (48, 110)


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a block's text; `first` is set on the first marked one of the page, which carries the anchor."""

    text: str
    marked: bool
    first: bool = False


@dataclass(frozen=True, slots=True)
class BlockView:
    """One block: `level` (2-6) of a heading, a line a list entry (else one line), `page` where one begins."""

    kind: str
    level: int
    anchor: str
    lines: tuple[tuple[Part, ...], ...]
    page: int | None
    flows: bool
    """Whether its line ends are a text file's hard wrapping, to be flowed anew."""

    @property
    def inside(self) -> bool:
        """Whether any of it belongs to the passage."""
        return any(part.marked for line in self.lines for part in line)


@dataclass(frozen=True, slots=True)
class Heading:
    """An entry of the table of contents."""

    text: str
    depth: int
    at: int
    inside: bool
    """Whether it lies in what is shown."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The part of a document that is shown; `earlier` and `later` lead on where it is not all."""

    blocks: tuple[BlockView, ...]
    contents: tuple[Heading, ...]
    earlier: int | None
    later: int | None
    shown_chars: int
    all_chars: int

    @property
    def is_all(self) -> bool:
        """Whether nothing was left out."""
        return self.earlier is None and self.later is None


def reading_of(
    document: Document, passage: tuple[int, int] | None = None, *, at: int | None = None, whole: bool = False
) -> Reading:
    """Return what to show of a document: around `passage` if there is one, else from offset `at`."""
    text = document.text
    start, end = window(text, passage[0] if passage and at is None else None, at or 0, whole)
    blocks = document.blocks or (Block("paragraph", 0, len(text)),)
    levels = _levels(document, blocks)
    views: list[BlockView] = []
    page: int | None = None
    first = True
    for block in blocks:
        low, high = max(block.start, start), min(block.end, end)
        if low >= high or not text[low:high].strip():
            continue
        if block.kind == "heading" and block.start not in levels:
            continue
        lines, first = _lines(text, block.kind, low, high, passage or (0, 0), first)
        starts_page = block.page if block.page != page else None
        flows = block.kind == "paragraph" and _is_wrapped(text[low:high])
        views.append(BlockView(block.kind, levels.get(block.start, 0), f"at-{block.start}", lines, starts_page, flows))
        page = block.page
    return Reading(
        blocks=tuple(views),
        contents=_contents(text, blocks, levels, start, end),
        earlier=max(0, start - WINDOW_CHARS) if start > 0 else None,
        later=end if end < len(text) else None,
        shown_chars=end - start,
        all_chars=len(text),
    )


def window(text: str, passage_start: int | None, at: int, whole: bool) -> tuple[int, int]:
    """Return the [start, end) to show: everything of a short document, else WINDOW_CHARS cut at line ends."""
    if whole or len(text) <= WINDOW_CHARS * 5 // 4:
        return 0, len(text)
    start = max(0, passage_start - WINDOW_CHARS // 3) if passage_start is not None else max(0, min(at, len(text) - 1))
    end = min(len(text), start + WINDOW_CHARS)
    if passage_start is not None and start:
        start = _line_start(text, start)
    return start, _line_start(text, end) if end < len(text) else end


def _line_start(text: str, offset: int) -> int:
    """Return the offset after the last line end shortly before `offset`, else after the last space, else `offset`."""
    for separator, reach in (("\n", 2000), (" ", 200)):
        found = text.rfind(separator, max(0, offset - reach), offset)
        if found >= 0:
            return found + 1
    return offset


def _is_wrapped(paragraph: str) -> bool:
    """Say whether lines end because a margin was reached: all but the last are of about the length of a page's line."""
    *lines, _ = paragraph.split("\n")
    return bool(lines) and all(WRAPPED_CHARS[0] <= len(line) <= WRAPPED_CHARS[1] for line in lines)


def _levels(document: Document, blocks: Sequence[Block]) -> dict[int, int]:
    """Return the level of each heading by its start: 2 for the highest (the title is 1), 6 at most.

    A first heading that repeats the title is left out: the title stands above the text anyway.
    """
    above: dict[int, int] = {}
    for number, block in enumerate(blocks):
        heading = " ".join(document.text[block.start : block.end].split())
        if block.kind != "heading" or not heading:
            continue
        if number == 0 and heading.casefold() == document.title.strip().casefold():
            continue
        itself = bool(block.heading_path) and block.heading_path[-1] == heading
        above[block.start] = len(block.heading_path) - itself
    highest = min(above.values(), default=0)
    return {start: min(6, 2 + depth - highest) for start, depth in above.items()}


def _lines(
    text: str, kind: str, low: int, high: int, passage: tuple[int, int], first: bool
) -> tuple[tuple[tuple[Part, ...], ...], bool]:
    """Cut [low, high) at line ends for lists, else leave it whole; then each at the passage's borders."""
    borders = [low]
    if kind == "list":
        borders += [i + 1 for i in range(low, high - 1) if text[i] == "\n"]
    borders.append(high)
    lines: list[tuple[Part, ...]] = []
    for start, end in pairwise(borders):
        parts: list[Part] = []
        for part_start, part_end, marked in _cut(start, end, *passage):
            part = text[part_start:part_end]
            if part.strip() or kind in ("code", "table"):
                parts.append(Part(part, marked, first and marked))
                first = first and not marked
        if parts:
            lines.append(tuple(parts))
    return tuple(lines), first


def _cut(start: int, end: int, low: int, high: int) -> list[tuple[int, int, bool]]:
    """Cut [start, end) into what lies before, inside and after [low, high)."""
    low, high = min(max(low, start), end), max(min(high, end), start)
    if low >= high:
        return [(start, end, False)]
    cuts = [(start, low, False), (low, high, True), (high, end, False)]
    return [cut for cut in cuts if cut[0] < cut[1]]


def _contents(
    text: str, blocks: Sequence[Block], levels: Mapping[int, int], start: int, end: int
) -> tuple[Heading, ...]:
    """Return the headings, the deepest left out until they are few enough; links outside the window move it."""
    if len(levels) < 3:
        return ()
    ordered = sorted(levels.values())
    deepest = max((level for level in set(ordered) if bisect.bisect_right(ordered, level) <= MAX_CONTENTS), default=2)
    headings = [block for block in blocks if levels.get(block.start, 9) <= deepest]
    return tuple(
        Heading(
            " ".join(text[block.start : block.end].split()),
            levels[block.start] - 2,
            block.start,
            start <= block.start < end,
        )
        for block in headings[:MAX_CONTENTS]
    )


def shown_metadata(metadata: Metadata) -> tuple[tuple[str, str], ...]:
    """Return a document's metadata as names and texts, in order of name."""
    pairs = []
    for name, value in sorted(metadata.items()):
        values = value if isinstance(value, tuple | list) else (value,)
        pairs.append((name, ", ".join(str(one) for one in values)))
    return tuple(pairs)
