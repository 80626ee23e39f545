"""JSON Lines: a document a line, with id, title, text (or html, markdown), uri, metadata and access."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from indexer.errors import InputError, ParseFailure
from indexer.formats import html, markdown, text
from indexer.formats.encoding import decode
from indexer.formats.failures import MAX_DOCUMENTS, failure
from indexer.formats.metadata import flatten_metadata
from indexer.types import ParsedText

FIELDS = {"id", "title", "text", "html", "markdown", "uri", "metadata", "access"}
MAX_DEPTH = 32


def parse(name: str, content: bytes) -> list[ParsedText]:
    """Return a document per line; blank lines are passed over. Raises: ParseFailure naming the line that is wrong."""
    found: list[ParsedText] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(decode(content).split("\n"), start=1):
        if not line.strip():
            continue
        if len(found) >= MAX_DOCUMENTS:
            raise failure("too_large", f"more than {MAX_DOCUMENTS:,} documents")
        try:
            document = parse_line(line)
        except (InputError, ParseFailure) as error:
            raise failure("malformed", f"line {number}: {error}") from error
        if document.document_id in seen:
            raise failure(
                "malformed",
                f"line {number}: id {document.document_id!r} stands in line {seen[document.document_id]} too",
            )
        if document.document_id is not None:
            seen[document.document_id] = number
        found.append(document)
    return found


def parse_line(line: str) -> ParsedText:
    """Return the document of one line. Raises: InputError, ParseFailure."""
    row = decode_object(line)
    unknown = sorted(set(row) - FIELDS)
    if unknown:
        raise InputError(f"unknown field {unknown[0]!r}; a document has {', '.join(sorted(FIELDS))}")
    bodies = [kind for kind in ("text", "html", "markdown") if row.get(kind) is not None]
    if len(bodies) != 1:
        raise InputError("exactly one of text, html, markdown is needed")
    for field in ("title", "uri", bodies[0]):
        if row.get(field) is not None and not isinstance(row[field], str):
            raise InputError(f"{field} must be a string")
    parsers = {"text": text.parse_text, "html": html.parse_text, "markdown": markdown.parse_text}
    # An untitled document has no title but a first heading: the file's name is not about this line, and would be
    # embedded and reranked with every passage of it.
    parsed = parsers[bodies[0]](row.get("title") or "", row[bodies[0]])
    return replace(
        parsed,
        title=row.get("title") or parsed.title,
        metadata={**parsed.metadata, **flatten_metadata(row.get("metadata") or {})},
        document_id=identifier(row.get("id")),
        link=row.get("uri"),
        access=principals(row.get("access")),
    )


def decode_object(line: str) -> dict[str, Any]:
    """Decode one JSON object of bounded depth. Raises: InputError."""
    depth = deepest = 0
    inside = escaped = False
    for character in line:
        if inside:
            inside = escaped or character != '"'
            escaped = character == "\\" and not escaped
        elif character == '"':
            inside, escaped = True, False
        elif character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    if deepest > MAX_DEPTH:
        raise InputError(f"the JSON is nested deeper than {MAX_DEPTH} levels")
    try:
        row = msgspec.json.decode(line.encode("utf-8", "replace"))
    except (msgspec.DecodeError, RecursionError) as error:
        raise InputError(f"no valid JSON: {error}") from error
    if not isinstance(row, dict):
        raise InputError("a JSON object is needed")
    return row


def identifier(value: Any) -> str | None:
    """Return an id as text; whole numbers are taken. Raises: InputError."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise InputError("id must be a string or a whole number")
    found = str(value)
    if not 0 < len(found) <= 512 or not found.isprintable():
        raise InputError("id has 1 to 512 printable characters")
    return found


def principals(value: Any) -> tuple[str, ...] | None:
    """Return an access list. Raises: InputError: a wrong one must never make a document public."""
    if value is None:
        return None
    if (
        not isinstance(value, list)
        or not value
        or not all(isinstance(one, str) and 0 < len(one) <= 128 for one in value)
    ):
        raise InputError("access must be a list of 1 or more principals (strings of at most 128 characters)")
    return tuple(value)
