"""Word documents: headings, paragraphs, lists and tables in order, with python-docx."""

from __future__ import annotations

import io
import re
from typing import Any

import docx
from docx.opc.exceptions import OpcError
from docx.table import Table
from docx.text.paragraph import Paragraph
from lxml.etree import LxmlError

from indexer.formats.archive import check_office
from indexer.formats.builder import TextBuilder
from indexer.formats.failures import failure
from indexer.types import ParsedText

_HEADING = re.compile(r"Heading (\d)")


def parse(name: str, content: bytes) -> list[ParsedText]:
    """Return the document, titled by its properties or first heading. Raises: ParseFailure."""
    check_office(content, "word/")
    try:
        document = docx.Document(io.BytesIO(content))
        builder = TextBuilder()
        title = document.core_properties.title
        for part in document.iter_inner_content():
            if isinstance(part, Table):
                builder.table(rows_of(part))
            elif isinstance(part, Paragraph):
                add_paragraph(builder, part)
        return [builder.build(name, title, metadata_of(document.core_properties))]
    except (OpcError, LxmlError, KeyError, ValueError, AttributeError, IndexError) as error:
        raise failure("malformed", f"no readable Word document: {error}") from error


def add_paragraph(builder: TextBuilder, paragraph: Paragraph) -> None:
    """Add a paragraph as what its style says it is."""
    style = paragraph.style.name if paragraph.style is not None else ""
    found = _HEADING.match(style or "")
    if found:
        builder.heading(paragraph.text, int(found[1]))
    elif style == "Title":
        builder.heading(paragraph.text, 0)
    elif (style or "").startswith("List"):
        builder.line(paragraph.text)
    else:
        builder.paragraph(paragraph.text)


def rows_of(table: Table) -> list[list[str]]:
    """Return a table's cells; a cell that spans columns counts once."""
    rows = []
    for row in table.rows:
        cells, before = [], None
        for cell in row.cells:
            if cell._tc is not before:
                cells.append(cell.text)
            before = cell._tc
        rows.append(cells)
    return rows


def metadata_of(properties: Any) -> dict[str, str]:
    """Return author and date of the document's properties."""
    found = {}
    if properties.author:
        found["author"] = str(properties.author)[:500]
    if properties.modified is not None:
        found["date"] = properties.modified.date().isoformat()
    return found
