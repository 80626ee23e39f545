"""FORMATS: name -> file name endings and parser; and which format a file is, by name and content."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import cast

from indexer.formats.encoding import is_binary
from indexer.formats.failures import failure
from indexer.types import ParsedText

Parser = Callable[[str, bytes], list[ParsedText]]


@dataclass(frozen=True, slots=True)
class Format:
    """A file format: the endings that name it, and the module that parses it (loaded when first needed)."""

    name: str
    extensions: tuple[str, ...]
    is_text: bool = True

    def parse(self, name: str, content: bytes) -> list[ParsedText]:
        """Parse a file of this format. Raises: ParseFailure."""
        return cast(Parser, import_module(f"indexer.formats.{self.name}").parse)(name, content)


FORMATS: dict[str, Format] = {
    one.name: one
    for one in (
        Format(
            "text", (".txt", ".text", ".log", ".conf", ".cfg", ".ini", ".toml", ".yaml", ".yml", "readme", "license")
        ),
        Format("markdown", (".md", ".markdown", ".mdown")),
        Format("rst", (".rst", ".rest")),
        Format("html", (".html", ".htm", ".xhtml")),
        Format("pdf", (".pdf",), is_text=False),
        Format("docx", (".docx",), is_text=False),
        Format("pptx", (".pptx",), is_text=False),
        Format("jsonl", (".jsonl", ".ndjson")),
        Format("csv", (".csv", ".tsv")),
    )
}
MAGIC = {b"%PDF-": "pdf"}


def format_of(name: str, content: bytes) -> str:
    """Return the name of a file's format. Raises: ParseFailure `unknown_type`, `not_text` or `empty`."""
    if not content.strip(b"\0 \t\r\n"):
        raise failure("empty", "the file is empty")
    lower = name.lower()
    for magic, found in MAGIC.items():
        if content.startswith(magic):
            return found
    for one in FORMATS.values():
        if lower.endswith(one.extensions):
            if one.is_text and is_binary(content):
                raise failure("not_text", f"named as {one.name}, but the content is binary")
            return one.name
    known = ", ".join(
        extension for one in FORMATS.values() for extension in one.extensions if extension.startswith(".")
    )
    raise failure("unknown_type", f"of no known format; known are {known}")
