"""Highlights: the stretches of a passage where a query's words stand thickest, as plain text and character ranges.

Takes a passage's text and the places that matched; cuts at word borders. Markup is never made or let through.
"""

from __future__ import annotations

from collections.abc import Sequence

from searchd.types import Highlight, Highlighting

Place = tuple[int, int, str]
"""[start, end) in characters and the query's word that matched there."""
BORDER_REACH = 24
"""Characters a cut may move to meet a word border."""


def highlights_of(text: str, places: Sequence[Place], wanted: Highlighting) -> tuple[Highlight, ...]:
    """Return at most `wanted.fragments` fragments in the order of the text, each at most `wanted.max_chars` long.

    Where nothing matched it is the beginning of the text, without ranges. Empty text gives none.
    """
    if not text.strip() or wanted.fragments < 1:
        return ()
    chosen: list[tuple[int, int]] = []
    left = list(places)
    while left and len(chosen) < wanted.fragments:
        window = _window(text, _densest(left, wanted.max_chars), wanted.max_chars, chosen)
        if window is not None:
            chosen.append(window)
        taken = window or _densest(left, wanted.max_chars)
        left = [place for place in left if place[0] >= taken[1] or place[1] <= taken[0]]
    if not chosen:
        chosen = [_cut(text, 0, min(len(text), wanted.max_chars))]
    return tuple(_highlight(text, start, end, places) for start, end in sorted(chosen) if start < end)


def _densest(places: Sequence[Place], max_chars: int) -> tuple[int, int]:
    """Return the span of the matches within `max_chars` that hold most different words, then most matches."""
    best: tuple[int, int, int] | None = None
    span = (0, 0)
    for first, (start, _, _) in enumerate(places):
        inside = [place for place in places[first:] if place[1] <= start + max_chars] or [places[first]]
        value = (len({word for _, _, word in inside}), len(inside), -start)
        if best is None or value > best:
            best, span = value, (start, min(inside[-1][1], start + max_chars))
    return span


def _window(
    text: str, span: tuple[int, int], max_chars: int, taken: Sequence[tuple[int, int]]
) -> tuple[int, int] | None:
    """Return the span widened evenly to `max_chars` between what is taken already; None if nothing is left of it."""
    low = max([0, *(end for _, end in taken if end <= span[0])])
    high = min([len(text), *(start for start, _ in taken if start >= span[1])])
    room = max_chars - (span[1] - span[0])
    start = max(low, span[0] - room // 3)
    end = min(high, start + max_chars)
    start = max(low, min(start, end - max_chars))
    cut = _cut(text, start, end)
    return cut if cut[0] < cut[1] else None


def _cut(text: str, start: int, end: int) -> tuple[int, int]:
    """Move both ends inward to a word border if one is near, and off white space."""
    if start > 0 and not text[start - 1].isspace():
        border = next((i for i in range(start, min(start + BORDER_REACH, end)) if text[i].isspace()), start)
        start = border
    if end < len(text) and not text[end].isspace():
        end = next((i for i in range(end, max(end - BORDER_REACH, start), -1) if text[i - 1].isspace()), end)
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def _highlight(text: str, start: int, end: int, places: Sequence[Place]) -> Highlight:
    ranges: list[tuple[int, int]] = []
    for place_start, place_end, _ in places:
        low, high = max(place_start, start) - start, min(place_end, end) - start
        if low >= high:
            continue
        if ranges and low < ranges[-1][1]:
            ranges[-1] = (ranges[-1][0], max(high, ranges[-1][1]))
        else:
            ranges.append((low, high))
    return Highlight(text[start:end], tuple(ranges))
