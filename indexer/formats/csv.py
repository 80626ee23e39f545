"""CSV: a document a row. Columns id, title, text (or body, content) and uri are known; the others are metadata."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

from indexer.formats.builder import TextBuilder
from indexer.formats.encoding import decode
from indexer.formats.failures import MAX_DOCUMENTS, failure
from indexer.types import ParsedText

TEXT_COLUMNS = ("text", "body", "content")
MAX_FIELD_CHARS = 10_000_000
MAX_COLUMNS = 200
SNIFFED_CHARS = 20_000


def parse(name: str, content: bytes) -> list[ParsedText]:
    """Return a document per row; without a text column all columns make its text. Raises: ParseFailure."""
    source = decode(content)
    csv.field_size_limit(MAX_FIELD_CHARS)
    try:
        dialect: type[csv.Dialect] | csv.Dialect = csv.Sniffer().sniff(source[:SNIFFED_CHARS], ",;\t|")
    except csv.Error:
        dialect = csv.excel
    rows = csv.reader(io.StringIO(source), dialect)
    try:
        header = [column.strip() for column in next(rows, [])]
        if len(header) > MAX_COLUMNS:
            raise failure("too_large", f"more than {MAX_COLUMNS} columns")
        return [
            document for i, row in enumerate(rows, start=2) if (document := parse_row(name, header, row, i)) is not None
        ]
    except csv.Error as error:
        raise failure("malformed", f"line {rows.line_num}: {error}") from error


def parse_row(name: str, header: list[str], row: list[str], number: int) -> ParsedText | None:
    """Return the document of a row, None for a blank one."""
    if number > MAX_DOCUMENTS:
        raise failure("too_large", f"more than {MAX_DOCUMENTS:,} rows")
    values = {column: value.strip() for column, value in zip(header, row, strict=False) if column and value.strip()}
    if not values:
        return None
    lower = {column.lower(): value for column, value in values.items()}
    known = {"id", "title", "uri"}
    text_column = next((column for column in TEXT_COLUMNS if column in lower), None)
    builder = TextBuilder()
    if text_column is not None:
        for paragraph in lower[text_column].split("\n\n"):
            builder.paragraph(paragraph)
        known.add(text_column)
    else:
        for column, value in values.items():
            if column.lower() not in ("id", "uri"):
                builder.line(f"{column}: {value}", marker="")
    parsed = builder.build(f"{name}:{number}", title=lower.get("title"))
    metadata = {column: number_or_text(value[:8000]) for column, value in values.items() if column.lower() not in known}
    return replace(parsed, metadata=metadata, document_id=lower.get("id"), link=lower.get("uri"))


def number_or_text(value: str) -> str | int | float:
    """Return a column's value as a filter would compare it."""
    try:
        return (
            int(value)
            if value.lstrip("-").isdecimal() and len(value) < 16 and not value.startswith("0")
            else float(value)
            if value.replace(".", "", 1).lstrip("-").isdecimal() and "." in value
            else value
        )
    except ValueError:
        return value
