"""Collects a document's text and blocks, so that every format makes offsets, heading paths and limits alike.

Formats call `heading`, `paragraph`, `line`, `code`, `table` in reading order and `build` at the end.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Final

from indexer.formats.encoding import clean
from indexer.formats.failures import MAX_BLOCKS, MAX_TEXT_CHARS, failure
from indexer.types import Block, BlockKind, Metadata, ParsedText

MAX_HEADING_CHARS: Final = 300
"""A longer heading is a paragraph that somebody styled as one."""
MAX_TITLE_CHARS: Final = 500
MAX_PATH: Final = 8
COALESCE_AFTER: Final = 50_000
COALESCED_CHARS: Final = 2_000
_SPACE: Final = re.compile(r"\s+")
_BLANKS_AT_NEWLINE: Final = re.compile(r"[^\S\n]*\n[^\S\n]*")
_BLANKS: Final = re.compile(r"[^\S\n]+")


def one_line(text: str) -> str:
    """Return text with every run of white space made one space, none at the ends."""
    return _SPACE.sub(" ", text).strip()


def tidy(text: str) -> str:
    """Return text with runs of blanks made one; line breaks stay."""
    return _BLANKS.sub(" ", _BLANKS_AT_NEWLINE.sub("\n", text)).strip()


class TextBuilder:
    """One document in the making. `page` is put on every block added while it is set."""

    def __init__(self) -> None:
        self.page: int | None = None
        self.first_heading: str | None = None
        self._parts: list[str] = []
        self._length = 0
        self._blocks: list[Block] = []
        self._stack: list[tuple[int, str]] = []
        self._path: tuple[str, ...] = ()
        self._open_list = False

    @property
    def chars(self) -> int:
        """Characters of text so far."""
        return self._length

    def heading(self, text: str, level: int) -> None:
        """Begin a section; it ends the sections of its level and below."""
        text = one_line(clean(text))
        if not text:
            return
        if len(text) > MAX_HEADING_CHARS:
            self.paragraph(text)
            return
        self.end_sections(level)
        if len(self._stack) < MAX_PATH:
            self._stack.append((level, text))
        self._path = tuple(name for _, name in self._stack)
        self.first_heading = self.first_heading or text
        self._add("heading", text)

    def end_sections(self, level: int) -> None:
        """End the sections of this level and below, as the end of a definition list does."""
        while self._stack and self._stack[-1][0] >= level:
            self._stack.pop()
        self._path = tuple(name for _, name in self._stack)
        self._open_list = False

    def place(self, path: Sequence[str]) -> None:
        """Set the heading path outright, where it is known from elsewhere (a PDF's outline)."""
        self._stack = [(level, name) for level, name in enumerate(path[:MAX_PATH], start=1)]
        self._path = tuple(name for _, name in self._stack)
        self._open_list = False

    def paragraph(self, text: str) -> None:
        """Add running text; single line breaks in it stay."""
        text = tidy(clean(text))
        if text:
            self._add("paragraph", text)

    def line(self, text: str, depth: int = 0, marker: str = "- ") -> None:
        """Add a line of a list; lines that follow each other make one block."""
        text = tidy(clean(text))
        if not text:
            return
        indent = "  " * min(depth, 8)
        text = (indent + marker + text).replace("\n", "\n" + indent + " " * len(marker))
        if self._open_list and self._blocks[-1].page == self.page:
            self._extend(text)
        else:
            self._add("list", text)
            self._open_list = True

    def code(self, text: str) -> None:
        """Add preformatted text; its lines and their indentation stay."""
        text = clean(text).strip("\n")
        lines = [line.rstrip() for line in text.split("\n")]
        if any(lines):
            self._add("code", "\n".join(lines).strip("\n"))

    def table(self, rows: Iterable[Sequence[str]]) -> None:
        """Add a table: a line per row, cells parted by ` | `; rows without text are left out."""
        lines = [" | ".join(one_line(clean(cell)) for cell in row).strip() for row in rows]
        lines = [line for line in lines if line.strip(" |")]
        if lines:
            self._add("table", "\n".join(lines))

    def build(self, name: str, title: str | None = None, metadata: Metadata | None = None) -> ParsedText:
        """Return the document: titled as given, else by its first heading, else by the name (may be empty)."""
        chosen = one_line(clean(title or "")) or self.first_heading or one_line(clean(PurePosixPath(name).name)) or name
        return ParsedText(
            title=chosen[:MAX_TITLE_CHARS],
            text="".join(self._parts),
            blocks=tuple(self._blocks),
            metadata=metadata or {},
        )

    def _add(self, kind: BlockKind, text: str) -> None:
        self._open_list = False
        if len(self._blocks) > COALESCE_AFTER and self._fits_last(kind, text):
            self._extend(text)
            return
        if len(self._blocks) >= MAX_BLOCKS:
            raise failure("too_large", f"more than {MAX_BLOCKS:,} blocks of text")
        separator = "\n\n" if self._parts else ""
        start = self._length + len(separator)
        self._put(separator + text)
        self._blocks.append(Block(kind, start, self._length, self._path, self.page))

    def _extend(self, text: str) -> None:
        """Add a line to the last block."""
        self._put("\n" + text)
        last = self._blocks[-1]
        self._blocks[-1] = Block(last.kind, last.start, self._length, last.heading_path, last.page)

    def _fits_last(self, kind: BlockKind, text: str) -> bool:
        """Say whether to join a block to the last one: documents of very many tiny blocks would fill memory."""
        last = self._blocks[-1]
        alike = last.kind == kind != "heading" and last.page == self.page and last.heading_path == self._path
        return alike and last.end - last.start + len(text) <= COALESCED_CHARS

    def _put(self, text: str) -> None:
        self._parts.append(text)
        self._length += len(text)
        if self._length > MAX_TEXT_CHARS:
            raise failure("too_large", f"more than {MAX_TEXT_CHARS:,} characters of text")
