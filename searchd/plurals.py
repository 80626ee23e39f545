"""A number with its noun, as commands, reports, errors and pages write it."""

from __future__ import annotations


def plural(number: int, one: str, many: str = "") -> str:
    """Write a count with its noun: `1 passage`, `2,000 passages`; `many` where an s does not do."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
