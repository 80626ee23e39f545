"""JSON lines: a document per line, with id, title, text (or html, or markdown), uri, metadata and access."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

import msgspec

from indexer.errors import InputError, ParseFailure
from indexer.formats import html, markdown, text
from indexer.formats.builder import TextBuilder
from indexer.formats.encoding import clean, decode
from indexer.formats.failures import MAX_DOCUMENTS, MAX_TEXT_CHARS, failure
from indexer.formats.metadata import flatten_metadata
from indexer.types import ParsedText

MAX_ID_CHARS: Final = 512
MAX_LINK_CHARS: Final = 2048
MAX_PRINCIPALS: Final = 1000
MAX_PRINCIPAL_CHARS: Final = 128


class _Line(msgspec.Struct, frozen=True):
    """What a line may hold; other names are ignored, as corpora carry fields of their own."""

    id: str | int | None = None
    _id: str | int | None = None
    title: str | None = None
    text: str | None = None
    html: str | None = None
    markdown: str | None = None
    uri: str | None = None
    url: str | None = None
    metadata: dict[str, Any] | None = None
    access: list[str] | None = None


_DECODER: Final = msgspec.json.Decoder(_Line)


def parse(name: str, content: bytes) -> list[ParsedText]:
    """Return a document per line that is not blank. Raises: ParseFailure; a bad line fails the file and is named."""
    documents: list[ParsedText] = []
    chars = 0
    seen: dict[str, int] = {}
    for number, line in enumerate(decode(content).split("\n"), start=1):
        if not line.strip():
            continue
        if len(documents) >= MAX_DOCUMENTS:
            raise failure("too_large", f"more than {MAX_DOCUMENTS:,} documents in one file; split it")
        try:
            document = _document(name, _DECODER.decode(line.encode("utf-8", "surrogatepass")))
            if document.document_id is not None and seen.setdefault(document.document_id, number) != number:
                raise InputError(f"id {document.document_id!r} was already in line {seen[document.document_id]}")
        except RecursionError as error:
            raise failure("malformed", f"line {number}: nested too deeply") from error
        except ParseFailure as error:
            raise failure(error.code, f"line {number}: {error}") from error
        except (msgspec.MsgspecError, UnicodeError, InputError) as error:
            raise failure("malformed", f"line {number}: {error}") from error
        chars += len(document.text)
        if chars > MAX_TEXT_CHARS:
            raise failure("too_large", f"more than {MAX_TEXT_CHARS:,} characters of text in one file; split it")
        documents.append(document)
    return documents


def _document(name: str, line: _Line) -> ParsedText:
    body = _body(name, line)
    found = line.id if line.id is not None else line._id
    return dataclasses.replace(
        body,
        metadata={**body.metadata, **flatten_metadata(line.metadata)},
        document_id=_checked("id", str(found), MAX_ID_CHARS) if found is not None else None,
        link=_checked("uri", line.uri or line.url or "", MAX_LINK_CHARS) if line.uri or line.url else None,
        access=_access(line.access),
    )


def _body(name: str, line: _Line) -> ParsedText:
    """Read the one of text, html and markdown that is there; a document that is only a title is searchable by it."""
    given = [value for value in (line.text, line.html, line.markdown) if value]
    if len(given) > 1:
        raise InputError("give one of text, html and markdown, not several")
    title = (line.title or "").strip()
    if line.html:
        body = html.parse_text(name, clean(line.html))
    elif line.markdown:
        body = markdown.parse_text(name, clean(line.markdown))
    else:
        builder = TextBuilder()
        text.add_text(builder, clean(line.text or ""))
        body = builder.build(name, title or None)
    if title and not body.text:
        builder = TextBuilder()
        builder.paragraph(title)
        body = builder.build(name, title)
    return dataclasses.replace(body, title=clean(title)[:500] or body.title)


def _checked(field: str, value: str, longest: int) -> str:
    if not 0 < len(value) <= longest or not value.isprintable():
        raise InputError(f"{field}: 1 to {longest} printable characters are accepted")
    return value


def _access(access: list[str] | None) -> tuple[str, ...] | None:
    if access is None:
        return None
    if not 0 < len(access) <= MAX_PRINCIPALS:
        raise InputError(f"access: 1 to {MAX_PRINCIPALS} principals are accepted; `public` lets everyone read")
    return tuple(dict.fromkeys(_checked("access", principal, MAX_PRINCIPAL_CHARS) for principal in access))
