"""How numbers and times are written on every page. Registered as filters by `render.py`."""

from __future__ import annotations

import re
from datetime import UTC, datetime

MINUS = re.compile(r"(?<![\w-])-(?=\d)")
CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
"""Control characters but tab and line ends."""
PICTURES = {code: 0x2400 + code for code in range(0x20)} | {0x7F: 0x2421} | dict.fromkeys(range(0x80, 0xA0), 0xFFFD)
"""What stands for each: its control picture, where there is one."""


def grouped(number: float) -> str:
    """Write a whole number with thousands separators: 12345 -> `12,345`."""
    return f"{number:,.0f}"


def in_ms(milliseconds: float) -> str:
    """Write a duration in ms: whole numbers, `<1 ms` below."""
    return "<1 ms" if milliseconds < 1 else f"{milliseconds:,.0f} ms"


def in_score(score: float) -> str:
    """Write a score: four significant digits, so that RRF sums and logits both stay readable."""
    return f"{score:.4f}" if abs(score) < 1 else f"{score:.3f}"


def in_relevance(relevance: float, label: str | None) -> str:
    """Write a calibrated probability with what it is called: `87% very likely`."""
    return f"{relevance:.0%} {label or 'relevant'}"


def in_figure(value: float) -> str:
    """Write a measure of 0 to 1: three digits after the point."""
    return minus(f"{value:.3f}")


def signed(value: float) -> str:
    """Write a difference of measures with its sign: `+0.041`."""
    return minus(f"{value:+.3f}")


def minus(text: str) -> str:
    """Write hyphens before numbers as minus signs, which are as wide as a plus."""
    return MINUS.sub("\N{MINUS SIGN}", text)


def cut(text: str, chars: int) -> str:
    """Write a text of at most so many characters; what was cut is an ellipsis."""
    return text if len(text) <= chars else f"{text[: chars - 1].rstrip()}…"


def visible(text: str) -> str:
    """Write control characters as pictures: \u241b for escape."""
    return CONTROL.sub(lambda found: found[0].translate(PICTURES), text)


def utc(seconds: float) -> str:
    """Write seconds since the epoch as `2025-03-01 14:05 UTC`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def duration(seconds: float) -> str:
    """Write how long something has lasted in its two largest units: `3 d 4 h`, `12 min`, `8 s`."""
    left = max(0, int(seconds))
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"
