"""PowerPoint: a slide is a page; its title heads it, then its text, tables and notes."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import Any, Final

import pptx
from lxml.etree import LxmlError
from pptx.exc import PythonPptxError

from indexer.formats.archive import check_office
from indexer.formats.builder import TextBuilder, one_line
from indexer.formats.docx import core_properties
from indexer.formats.failures import failure
from indexer.types import ParsedText

MAX_GROUP_DEPTH: Final = 16


def parse(name: str, content: bytes) -> list[ParsedText]:
    """Return one document. Raises: ParseFailure encrypted, malformed, too_large or one of an archive's."""
    check_office(content, "ppt/presentation.xml")
    try:
        presentation = pptx.Presentation(io.BytesIO(content))
        builder = TextBuilder()
        for number, slide in enumerate(presentation.slides, start=1):
            builder.page = number
            _add_slide(builder, slide)
        title, metadata = core_properties(presentation.core_properties)
    except (KeyError, ValueError, AttributeError, IndexError, TypeError, PythonPptxError, LxmlError) as error:
        raise failure("malformed", f"not a readable presentation: {type(error).__name__}: {error}"[:300]) from error
    if title in (None, "PowerPoint Presentation"):
        title = None
    return [builder.build(name, title, metadata)]


def _add_slide(builder: TextBuilder, slide: Any) -> None:
    heading = slide.shapes.title
    text = one_line(heading.text_frame.text) if heading is not None else ""
    if text:
        builder.heading(text, 1)
    else:
        builder.end_sections(1)
    for shape in _shapes(slide.shapes):
        if heading is not None and shape.shape_id == heading.shape_id:
            continue
        if getattr(shape, "has_table", False) and shape.has_table:
            builder.table([cell.text for cell in row.cells] for row in shape.table.rows)
        elif shape.has_text_frame:
            _add_frame(builder, shape.text_frame)
    if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
        builder.paragraph(slide.notes_slide.notes_text_frame.text)


def _add_frame(builder: TextBuilder, frame: Any) -> None:
    """Add a text box: several paragraphs are the points of a list, a single one runs."""
    paragraphs = [paragraph for paragraph in frame.paragraphs if paragraph.text.strip()]
    for paragraph in paragraphs:
        text = paragraph.text.replace("\v", "\n")
        if len(paragraphs) > 1 or paragraph.level:
            builder.line(text, paragraph.level)
        else:
            builder.paragraph(text)


def _shapes(shapes: Iterable[Any], depth: int = 0) -> Iterator[Any]:
    """Yield shapes, those of groups in place of their group."""
    for shape in shapes:
        if hasattr(shape, "shapes"):
            if depth < MAX_GROUP_DEPTH:
                yield from _shapes(shape.shapes, depth + 1)
        else:
            yield shape
