"""Plain text: paragraphs parted by blank lines; lines are kept as they are."""

from __future__ import annotations

import re
from typing import Final

from indexer.formats.builder import TextBuilder
from indexer.formats.encoding import decode
from indexer.types import ParsedText

_BLANK_LINES: Final = re.compile(r"\n[^\S\n]*(?:\n[^\S\n]*)+")
_INDENTED: Final = re.compile(r"^(?: {4}|\t)", re.MULTILINE)


def parse(name: str, content: bytes) -> list[ParsedText]:
    """Return one document, titled by its name. Raises: ParseFailure `not_text`."""
    builder = TextBuilder()
    add_text(builder, decode(content))
    return [builder.build(name)]


def parse_text(name: str, text: str) -> ParsedText:
    """Return plain text as a document."""
    builder = TextBuilder()
    add_text(builder, text)
    return builder.build(name)


def add_text(builder: TextBuilder, text: str) -> None:
    """Add paragraphs of plain text; those indented as a whole keep their columns, as code does."""
    for paragraph in _BLANK_LINES.split(text):
        lines = paragraph.count("\n") + 1
        if len(_INDENTED.findall(paragraph)) == lines:
            builder.code(paragraph)
        else:
            builder.paragraph(paragraph)
