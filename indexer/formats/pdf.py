"""PDF: text page by page with pypdfium2, by pypdf where that finds a file damaged; headings from the outline."""

from __future__ import annotations

import io

import pypdf
import pypdfium2 as pdfium
from pypdf.errors import DependencyError, FileNotDecryptedError, PyPdfError

from indexer.formats.builder import TextBuilder
from indexer.formats.failures import failure
from indexer.types import Metadata, ParsedText

MAX_PAGES = 10_000


def parse(name: str, content: bytes) -> list[ParsedText]:
    """Return the document; paragraphs keep their page number. Raises: ParseFailure `encrypted`, `malformed`, ..."""
    try:
        return [by_pdfium(name, content)]
    except pdfium.PdfiumError as error:
        if "password" in str(error).lower() or "security" in str(error).lower():
            raise failure("encrypted", "the PDF is protected by a password") from error
        return [by_pypdf(name, content)]


def by_pdfium(name: str, content: bytes) -> ParsedText:
    """Read with pdfium."""
    builder = TextBuilder()
    document = pdfium.PdfDocument(content)
    try:
        if len(document) > MAX_PAGES:
            raise failure("too_large", f"more than {MAX_PAGES:,} pages")
        outline: dict[int, list[str]] = {}
        for entry in document.get_toc(max_depth=6):
            destination = entry.get_dest()
            if destination is not None and destination.get_index() is not None:
                outline.setdefault(destination.get_index(), []).append(entry.get_title())
        for number in range(len(document)):
            page = document[number]
            textpage = page.get_textpage()
            builder.page = number + 1
            if number in outline:
                builder.place(outline[number][-1:])
            add_page(builder, textpage.get_text_bounded())
            textpage.close()
            page.close()
        given = document.get_metadata_dict(skip_empty=True)
    finally:
        document.close()
    return builder.build(name, given.get("Title"), metadata_of(given.get("Author"), given.get("CreationDate")))


def by_pypdf(name: str, content: bytes) -> ParsedText:
    """Read with pypdf, which takes some damaged files that pdfium refuses."""
    builder = TextBuilder()
    try:
        reader = pypdf.PdfReader(io.BytesIO(content))
        if reader.is_encrypted and not reader.decrypt(""):
            raise failure("encrypted", "the PDF is protected by a password")
        if len(reader.pages) > MAX_PAGES:
            raise failure("too_large", f"more than {MAX_PAGES:,} pages")
        for number, page in enumerate(reader.pages, start=1):
            builder.page = number
            add_page(builder, page.extract_text())
        title = reader.metadata.title if reader.metadata else None
        author = reader.metadata.author if reader.metadata else None
    except (FileNotDecryptedError, DependencyError) as error:
        raise failure("encrypted", "the PDF is protected by a password") from error
    except (PyPdfError, ValueError, KeyError, IndexError, TypeError, AttributeError, OSError, RecursionError) as error:
        raise failure("malformed", f"no readable PDF: {error}") from error
    return builder.build(name, title, metadata_of(author, None))


def add_page(builder: TextBuilder, text: str) -> None:
    """Add a page's text; blank lines part paragraphs, words cut at a line's end are joined."""
    text = (
        text.replace("\r\n", "\n")
        .replace("\r", "\n")
        .replace("\ufffe\n", "")
        .replace("\ufffe", "")
        .replace("\u00ad\n", "")
    )
    for paragraph in text.split("\n\n"):
        builder.paragraph(paragraph)


def metadata_of(author: str | None, created: str | None) -> Metadata:
    """Return what the file says of itself, as metadata."""
    found: dict[str, str] = {}
    if author:
        found["author"] = author[:500]
    digits = (created or "").removeprefix("D:")[:8]
    if len(digits) == 8 and digits.isdecimal():
        found["date"] = f"{digits[:4]}-{digits[4:6]}-{digits[6:]}"
    return found
