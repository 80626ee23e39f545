"""All formats in one table, and the choice among them by name and content. Runs in the parser process.

To add a format: write its file with `parse(name, content)`, add its row here and a sample to the format contract.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from indexer.formats import csv, docx, html, jsonl, markdown, pdf, pptx, rst, text
from indexer.formats.encoding import is_binary
from indexer.formats.failures import failure
from indexer.types import ParsedText

_HTML: Final = re.compile(
    rb"^(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]{0,200}>\s*)?(?:<!--.{0,2000}?-->\s*)*<(?:!doctype\s+html|html|head|body)\b",
    re.IGNORECASE | re.DOTALL,
)
_OLE: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


def _never(content: bytes) -> bool:
    return False


def _is_zip_with(member: bytes) -> Callable[[bytes], bool]:
    """Return a test for a zip archive that names this member: in the central directory, near the end."""
    return lambda content: (
        content.startswith(b"PK\x03\x04") and (member in content[-200_000:] or member in content[:8192])
    )


@dataclass(frozen=True, slots=True)
class Format:
    """How a kind of file is known and read. `sniff` says whether content alone shows it, whatever the name."""

    name: str
    extensions: tuple[str, ...]
    parse: Callable[[str, bytes], list[ParsedText]]
    sniff: Callable[[bytes], bool] = _never
    binary: bool = False


_ALL: Final = (
    Format("pdf", ("pdf",), pdf.parse, lambda content: b"%PDF-" in content[:1024], binary=True),
    Format("docx", ("docx", "docm"), docx.parse, _is_zip_with(b"word/document.xml"), binary=True),
    Format("pptx", ("pptx", "pptm"), pptx.parse, _is_zip_with(b"ppt/presentation.xml"), binary=True),
    Format("html", ("html", "htm", "xhtml"), html.parse, lambda content: bool(_HTML.match(content[:4096]))),
    Format("markdown", ("md", "markdown", "mdown", "mkd", "mdx"), markdown.parse),
    Format("rst", ("rst", "rest"), rst.parse),
    Format("jsonl", ("jsonl", "ndjson"), jsonl.parse),
    Format("csv", ("csv", "tsv"), csv.parse),
    Format("text", ("txt", "text", "log", "asc"), text.parse),
)
FORMATS: Final[dict[str, Format]] = {one.name: one for one in _ALL}
_BY_EXTENSION: Final = {extension: one for one in _ALL for extension in one.extensions}
_NOT_DOCUMENTS: Final = frozenset("css js mjs map svg xml xsl xsd ico woff woff2 ttf eot pyc lock po pot".split())
"""Text by its bytes, but nobody searches it: refused by name, unlike other text of unknown extension."""


def format_of(name: str, content: bytes) -> str:
    """Return the format's name: by content where that is certain, else by extension, else `text` for what is text.

    Raises: ParseFailure unknown_type, not_text, encrypted.
    """
    extension = PurePosixPath(name).suffix.lower().lstrip(".")
    named = _BY_EXTENSION.get(extension)
    if named is not None and (named.sniff(content) or named.binary or not is_binary(content)):
        return named.name
    for one in _ALL:
        if one.binary and one.sniff(content):
            return one.name
    if content.startswith(_OLE) and "EncryptedPackage".encode("utf-16-le") in content:
        raise failure("encrypted", "the document is protected by a password")
    if named is not None:
        raise failure("not_text", f"named .{extension}, but the content is binary")
    if extension in _NOT_DOCUMENTS or is_binary(content):
        raise failure("unknown_type", f"{_kind(extension)} is no known format; known are {_known()}")
    return "html" if FORMATS["html"].sniff(content) else "text"


def parse(name: str, content: bytes, declared: str | None = None) -> list[ParsedText]:
    """Return the documents of a file; `declared` is a format's name that goes before name and content.

    Raises: ParseFailure; `empty` if no document has any text.
    """
    if not content:
        raise failure("empty", "0 characters of text: the file is empty")
    if declared is not None and declared not in FORMATS:
        raise failure("unknown_type", f"{declared!r} is no known format; known are {', '.join(FORMATS)}")
    chosen = FORMATS[declared or format_of(name, content)]
    documents = chosen.parse(name, content)
    if not any(document.text.strip() for document in documents):
        raise failure("empty", "0 characters of text")
    return documents


def _kind(extension: str) -> str:
    return f".{extension}" if extension else "this binary content"


def _known() -> str:
    return ", ".join(one.extensions[0] for one in _ALL)
