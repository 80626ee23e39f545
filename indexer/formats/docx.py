"""Word documents: headings by style, paragraphs, lists, tables; title and author from the core properties."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any, Final

import docx
from docx.opc.exceptions import OpcError
from docx.oxml.ns import qn
from lxml.etree import LxmlError

from indexer.formats.archive import check_office
from indexer.formats.builder import TextBuilder
from indexer.formats.failures import failure
from indexer.types import Metadata, ParsedText

_HEADING: Final = re.compile(r"^heading\s*([1-9])$", re.IGNORECASE)
_P, _TBL, _R, _T = qn("w:p"), qn("w:tbl"), qn("w:tr"), qn("w:t")
_BREAKS: Final = {qn("w:br"): "\n", qn("w:cr"): "\n", qn("w:tab"): "\t", qn("w:noBreakHyphen"): "-"}


def parse(name: str, content: bytes) -> list[ParsedText]:
    """Return one document. Raises: ParseFailure encrypted, malformed, too_large or one of an archive's."""
    check_office(content, "word/document.xml")
    try:
        document = docx.Document(io.BytesIO(content))
        builder = TextBuilder()
        _Walk(builder, document).run()
        title, metadata = core_properties(document.core_properties)
    except (KeyError, ValueError, AttributeError, IndexError, TypeError, OpcError, LxmlError) as error:
        raise failure("malformed", f"not a readable Word document: {type(error).__name__}: {error}"[:300]) from error
    return [builder.build(name, title, metadata)]


def core_properties(properties: Any) -> tuple[str | None, Metadata]:
    """Return title and metadata (author, date, keywords, language) of an office file; damaged ones are left out."""
    found: dict[str, str] = {}
    for key, attribute in (
        ("author", "author"),
        ("date", "modified"),
        ("keywords", "keywords"),
        ("language", "language"),
    ):
        try:
            value = getattr(properties, attribute)
        except (ValueError, AttributeError, TypeError):
            continue
        text = value.date().isoformat() if hasattr(value, "date") else str(value or "").strip()
        if text:
            found[key] = text[:500]
    title = (properties.title or "").strip()
    return title or None, found


class _Walk:
    """One pass over the body's own XML: python-docx's row and cell objects cost quadratic time on large tables."""

    def __init__(self, builder: TextBuilder, document: Any) -> None:
        self.builder = builder
        self.body = document.element.body
        self.styles = {style.style_id: str(style.name or "") for style in document.styles}

    def run(self) -> None:
        """Add the body's blocks in order."""
        for element in _blocks(self.body):
            if element.tag == _P:
                self._paragraph(element)
            else:
                self.builder.table(_rows(element))

    def _paragraph(self, element: Any) -> None:
        text = _text(element)
        if not text.strip():
            return
        style, level = self._style(element), element.find(qn("w:pPr") + "/" + qn("w:outlineLvl"))
        match = _HEADING.match(style)
        if style.lower() == "title":
            self.builder.heading(text, 1)
        elif match:
            self.builder.heading(text, int(match.group(1)) + 1)
        elif level is not None and (level.get(qn("w:val")) or "9") in "012345678":
            self.builder.heading(text, int(level.get(qn("w:val"))) + 2)
        elif style.lower().startswith("list") or element.find(qn("w:pPr") + "/" + qn("w:numPr")) is not None:
            depth = element.find(f"{qn('w:pPr')}/{qn('w:numPr')}/{qn('w:ilvl')}")
            value = depth.get(qn("w:val")) if depth is not None else "0"
            self.builder.line(text, int(value) if value and value.isdigit() else 0)
        elif any(word in style.lower() for word in ("code", "preformatted", "macro text")):
            self.builder.code(text)
        else:
            self.builder.paragraph(text)

    def _style(self, element: Any) -> str:
        found = element.find(qn("w:pPr") + "/" + qn("w:pStyle"))
        style_id = found.get(qn("w:val")) if found is not None else ""
        return self.styles.get(style_id, style_id or "")


def _blocks(parent: Any) -> Iterator[Any]:
    """Yield paragraphs and tables in order, also those inside content controls; nested tables stay in theirs."""
    stack = [iter(parent)]
    while stack:
        for element in stack[-1]:
            if element.tag in (_P, _TBL):
                yield element
            elif element.tag in (qn("w:sdt"), qn("w:sdtContent"), qn("w:ins"), qn("w:customXml")):
                stack.append(iter(element))
                break
        else:
            stack.pop()


def _rows(table: Any) -> Iterator[list[str]]:
    for row in table.iterchildren(_R):
        yield [" ".join(_text(paragraph) for paragraph in cell.iter(_P)) for cell in row.iterchildren(qn("w:tc"))]


def _text(paragraph: Any) -> str:
    """Return a paragraph's words with tabs and breaks; deleted text and field instructions stay out."""
    parts: list[str] = []
    for element in paragraph.iter(_T, *_BREAKS):
        parts.append(element.text or "" if element.tag == _T else _BREAKS[element.tag])
    return "".join(parts)
