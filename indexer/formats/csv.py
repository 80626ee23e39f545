"""CSV and TSV with a header: a document per row, from the columns id, title, text (body, content) and uri.

Other columns become metadata, numbers where a whole column is numeric. Without a text column the row itself is the
text, a `name: value` line per column.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from typing import Final

from indexer.errors import InputError
from indexer.formats.builder import TextBuilder, one_line
from indexer.formats.encoding import decode
from indexer.formats.failures import MAX_DOCUMENTS, MAX_TEXT_CHARS, failure
from indexer.formats.metadata import flatten_metadata
from indexer.formats.text import add_text
from indexer.types import ParsedText, Scalar

MAX_CELL_CHARS: Final = 5_000_000
MAX_COLUMNS: Final = 1_000
_TEXT: Final = ("text", "body", "content")
_TITLE: Final = ("title", "name", "subject", "headline")
_URI: Final = ("uri", "url", "link")
_ID: Final = ("id", "_id")
_INTEGER: Final = re.compile(r"^-?(?:0|[1-9]\d{0,14})$")
_NUMBER: Final = re.compile(r"^-?(?:0|[1-9]\d{0,14})(?:\.\d{1,15})?$")


def parse(name: str, content: bytes) -> list[ParsedText]:
    """Return a document per row. Raises: ParseFailure malformed (naming the line), too_large, not_text."""
    rows = _rows(decode(content))
    if not rows:
        return []
    (_, header), body = rows[0], rows[1:]
    columns = [one_line(cell) or f"column {number}" for number, cell in enumerate(header, start=1)]
    if len(columns) > MAX_COLUMNS:
        raise failure("too_large", f"more than {MAX_COLUMNS:,} columns")
    roles = _roles(columns)
    numeric = _numeric_columns(columns, [cells for _, cells in body])
    documents: list[ParsedText] = []
    seen: dict[str, int] = {}
    chars = 0
    for line, cells in body:
        try:
            document = _document(columns, cells, roles, numeric)
            if document.document_id is not None and seen.setdefault(document.document_id, line) != line:
                raise InputError(f"id {document.document_id!r} was already in line {seen[document.document_id]}")
        except InputError as error:
            raise failure("malformed", f"line {line}: {error}") from error
        chars += len(document.text)
        if chars > MAX_TEXT_CHARS:
            raise failure("too_large", f"more than {MAX_TEXT_CHARS:,} characters of text in one file; split it")
        documents.append(document)
    return documents


def _rows(text: str) -> list[tuple[int, list[str]]]:
    """Return rows that are not blank, each with the number of its last line."""
    csv.field_size_limit(MAX_CELL_CHARS)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    rows: list[tuple[int, list[str]]] = []
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append((reader.line_num, cells))
            if len(rows) > MAX_DOCUMENTS + 1:
                raise failure("too_large", f"more than {MAX_DOCUMENTS:,} rows in one file; split it")
    except csv.Error as error:
        raise failure("malformed", f"line {reader.line_num}: {error}") from error
    return rows


def _delimiter(text: str) -> str:
    """Return the separator that parts the header line most often."""
    header = text.lstrip("\n").partition("\n")[0]
    return max(",;\t|", key=header.count)


def _roles(columns: Sequence[str]) -> dict[str, int]:
    """Return which column is id, title, text and uri; the first name of each list that is there wins."""
    places = {column.lower(): number for number, column in reversed(list(enumerate(columns)))}
    found: dict[str, int] = {}
    for role, names in (("text", _TEXT), ("title", _TITLE), ("uri", _URI), ("id", _ID)):
        number = next((places[one] for one in names if one in places), None)
        if number is not None:
            found[role] = number
    return found


def _numeric_columns(columns: Sequence[str], body: Sequence[Sequence[str]]) -> dict[int, type[int] | type[float]]:
    """Return the columns whose every filled cell is a number: filters compare numbers only with numbers."""
    kinds: dict[int, type[int] | type[float]] = {}
    for number in range(len(columns)):
        cells = [row[number].strip() for row in body if number < len(row) and row[number].strip()]
        if cells and all(_INTEGER.match(cell) for cell in cells):
            kinds[number] = int
        elif cells and all(_NUMBER.match(cell) for cell in cells):
            kinds[number] = float
    return kinds


def _document(
    columns: Sequence[str],
    cells: Sequence[str],
    roles: dict[str, int],
    numeric: dict[int, type[int] | type[float]],
) -> ParsedText:
    if len(cells) > len(columns):
        raise InputError(f"{len(cells)} cells, but the header names {len(columns)} columns")
    values = {role: cells[number].strip() for role, number in roles.items() if number < len(cells)}
    metadata: dict[str, Scalar] = {
        columns[number]: numeric.get(number, str)(cell.strip())
        for number, cell in enumerate(cells)
        if number not in roles.values() and cell.strip()
    }
    builder = TextBuilder()
    if "text" in roles:
        add_text(builder, values.get("text", ""))
        flat = flatten_metadata(metadata)
    else:
        filled = [(columns[number], cell) for number, cell in enumerate(cells) if cell.strip()]
        builder.paragraph("\n".join(f"{column}: {one_line(cell)}" for column, cell in filled))
        flat = flatten_metadata({key: value for key, value in metadata.items() if len(str(value).encode()) <= 2000})
    title = values.get("title") or values.get("id") or None
    if not builder.chars and title:
        builder.paragraph(title)
    parsed = builder.build("", title, flat)
    return ParsedText(
        title=parsed.title,
        text=parsed.text,
        blocks=parsed.blocks,
        metadata=parsed.metadata,
        document_id=_checked("id", values.get("id", ""), 512),
        link=_checked("uri", values.get("uri", ""), 2048),
    )


def _checked(field: str, value: str, longest: int) -> str | None:
    if not value:
        return None
    if len(value) > longest or not value.isprintable():
        raise InputError(f"{field}: 1 to {longest} printable characters are accepted")
    return value
