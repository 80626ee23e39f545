"""Markdown (CommonMark with tables): sections, paragraphs, lists, tables, fenced code; front matter becomes metadata."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from typing import Any, Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

from indexer.errors import InputError
from indexer.formats.builder import TextBuilder, one_line
from indexer.formats.encoding import decode
from indexer.formats.html import add_html
from indexer.formats.metadata import flatten_metadata
from indexer.types import Metadata, ParsedText

_FRONT: Final = re.compile(r"\A(---|\+\+\+)[^\S\n]*\n(.{0,20000}?\n)?\1[^\S\n]*(?:\n|\Z)", re.DOTALL)
_PAIR: Final = re.compile(r"^([A-Za-z_][\w .-]{0,60}):[^\S\n]*(.*)$")
_MEMBER: Final = re.compile(r"^\s*-\s+(.+)$")
_PERMALINK: Final = re.compile(r"\s*\{#[\w:.-]+\}\s*$")


def parse(name: str, content: bytes) -> list[ParsedText]:
    """Return one document. Raises: ParseFailure `not_text`, `too_large`."""
    return [parse_text(name, decode(content))]


def parse_text(name: str, text: str) -> ParsedText:
    """Return the document of markdown that is already decoded, as jsonl carries it."""
    metadata, body = _front_matter(text)
    builder = TextBuilder()
    _Walk(builder).run(_parser().parse(body))
    title = metadata.get("title")
    return builder.build(name, str(title) if title else None, {k: v for k, v in metadata.items() if k != "title"})


def _parser() -> MarkdownIt:
    """Return a parser that bounds nesting at 20, so that deep input costs no deep recursion."""
    return MarkdownIt("commonmark").enable(["table", "strikethrough"])


class _Walk:
    """One pass over the flat list of tokens."""

    def __init__(self, builder: TextBuilder) -> None:
        self.builder = builder
        self._lists: list[tuple[bool, int]] = []
        self._marker: str | None = None
        self._heading = 0
        self._rows: list[list[str]] | None = None

    def run(self, tokens: Sequence[Token]) -> None:
        """Add every token's text in order."""
        for token in tokens:
            match token.type:
                case "heading_open":
                    self._heading = int(token.tag[1:])
                case "bullet_list_open" | "ordered_list_open":
                    start = int(token.attrs.get("start", 1)) if token.type.startswith("ordered") else 0
                    self._lists.append((token.type.startswith("ordered"), start))
                case "bullet_list_close" | "ordered_list_close":
                    self._lists.pop()
                case "list_item_open":
                    ordered, number = self._lists[-1]
                    self._lists[-1] = (ordered, number + 1)
                    self._marker = f"{number}. " if ordered else "- "
                case "fence" | "code_block":
                    self.builder.code(token.content)
                case "html_block":
                    add_html(self.builder, token.content)
                case "table_open":
                    self._rows = []
                case "tr_open" if self._rows is not None:
                    self._rows.append([])
                case "table_close":
                    self.builder.table(self._rows or [])
                    self._rows = None
                case "inline":
                    self._inline(token)

    def _inline(self, token: Token) -> None:
        text = _plain(token.children or [])
        if self._heading:
            self.builder.heading(_PERMALINK.sub("", text), self._heading)
            self._heading = 0
        elif self._rows is not None:
            if self._rows:
                self._rows[-1].append(text)
        elif self._lists:
            self.builder.line(text, len(self._lists) - 1, self._marker or "  ")
            self._marker = None
        else:
            self.builder.paragraph(text)


def _plain(children: Sequence[Token]) -> str:
    """Return the words of inline tokens: links by their text, images by their alternative text."""
    parts: list[str] = []
    for child in children:
        if child.type in ("text", "code_inline"):
            parts.append(child.content)
        elif child.type == "softbreak":
            parts.append(" ")
        elif child.type == "hardbreak" or (child.type == "html_inline" and child.content.lower().startswith("<br")):
            parts.append("\n")
        elif child.type == "image":
            parts.append(_plain(child.children or []))
    return "".join(parts)


def _front_matter(text: str) -> tuple[Metadata, str]:
    """Split off `---` (names and plain values) or `+++` (TOML) front matter; what cannot be read stays out."""
    match = _FRONT.match(text)
    if match is None:
        return {}, text
    source = match.group(2) or ""
    try:
        values = tomllib.loads(source) if match.group(1) == "+++" else _pairs(source)
        return flatten_metadata(values), text[match.end() :]
    except (tomllib.TOMLDecodeError, InputError, RecursionError):
        return {}, text[match.end() :]


def _pairs(source: str) -> dict[str, Any]:
    """Read `name: value` lines, `[a, b]` and `- a` lists: what front matter nearly always is; other YAML is left out."""
    values: dict[str, Any] = {}
    name = ""
    for line in source.splitlines():
        if pair := _PAIR.match(line):
            name = one_line(pair.group(1))
            value = pair.group(2).strip()
            if value.startswith("[") and value.endswith("]"):
                values[name] = [_unquoted(part) for part in value[1:-1].split(",") if part.strip()]
            elif value and not value.startswith(("{", "|", ">", "&", "*")):
                values[name] = _unquoted(value)
        elif (member := _MEMBER.match(line)) and name and isinstance(values.setdefault(name, []), list):
            values[name].append(_unquoted(member.group(1)))
    return values


def _unquoted(value: str) -> str | bool:
    value = value.strip()
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return {"true": True, "false": False}.get(value.lower(), value)
