"""Presentations: a slide a page, its title a heading, then text, tables and notes, with python-pptx."""

from __future__ import annotations

import io
from typing import Any

import pptx
from lxml.etree import LxmlError
from pptx.exc import PythonPptxError

from indexer.formats.archive import check_office
from indexer.formats.builder import TextBuilder
from indexer.formats.failures import failure
from indexer.types import ParsedText

MAX_GROUPS = 16


def parse(name: str, content: bytes) -> list[ParsedText]:
    """Return the presentation; blocks carry their slide's number as page. Raises: ParseFailure."""
    check_office(content, "ppt/")
    try:
        deck = pptx.Presentation(io.BytesIO(content))
        builder = TextBuilder()
        for number, slide in enumerate(deck.slides, start=1):
            builder.page = number
            add_slide(builder, slide)
        return [builder.build(name, deck.core_properties.title)]
    except (PythonPptxError, LxmlError, KeyError, ValueError, AttributeError, IndexError) as error:
        raise failure("malformed", f"no readable presentation: {error}") from error


def add_slide(builder: TextBuilder, slide: Any) -> None:
    """Add one slide."""
    title = slide.shapes.title
    builder.end_sections(1)
    if title is not None and title.has_text_frame:
        builder.heading(title.text_frame.text, 1)
    for shape in slide.shapes:
        if title is None or shape.shape_id != title.shape_id:
            add_shape(builder, shape, 0)
    if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
        builder.paragraph(slide.notes_slide.notes_text_frame.text)


def add_shape(builder: TextBuilder, shape: Any, depth: int) -> None:
    """Add a shape's text; groups are opened."""
    if hasattr(shape, "shapes") and depth < MAX_GROUPS:
        for inner in shape.shapes:
            add_shape(builder, inner, depth + 1)
    elif getattr(shape, "has_table", False):
        builder.table([[cell.text for cell in row.cells] for row in shape.table.rows])
    elif shape.has_text_frame:
        for paragraph in shape.text_frame.paragraphs:
            builder.line(paragraph.text, depth=paragraph.level)
