"""What is posted -> sources: documents as JSON, and files of a form. Names are labels, never paths."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from litestar import Request
from litestar.datastructures import UploadFile

from indexer.errors import InputError, LimitError
from indexer.formats.metadata import flatten_metadata
from indexer.types import Metadata, SourceFile
from searchd.api.bodies import TooLarge
from searchd.api.document_schemas import PostedDocument, PostedDocuments, PostedSource, UploadFields
from searchd.api.reading import decode_json, unknown_parameter, validated

MAX_FILES = 1000
MAX_NAME_CHARS = 255
EXTENSIONS = {"text": "txt", "html": "html", "markdown": "md"}


def posted_sources(posted: PostedDocuments) -> list[SourceFile]:
    """Return posted documents as sources. Raises: InputError naming the place in the list."""
    return each_once([_posted(document, place) for place, document in enumerate(posted.documents)], "documents")


def _posted(document: PostedDocument, place: int) -> SourceFile:
    given = [kind for kind in EXTENSIONS if getattr(document, kind) is not None]
    if len(given) != 1:
        raise InputError(
            f"documents[{place}]: one of text, html and markdown is needed, not {' and '.join(given) or 'none'}",
            code="invalid_parameter",
        )
    key = document.id or document.uri or str(uuid.uuid4())
    content: str = getattr(document, given[0])
    return SourceFile(
        uri=f"document:{document.id}" if document.id else document.uri or f"document:{key}",
        name=f"{label(document.title or key)}.{EXTENSIONS[given[0]]}",
        content=content.encode("utf-8", "replace"),
        document_id=document.id,
        title="" if document.title is None and given == ["text"] else document.title,  # else its own heading or title
        link=document.uri,
        metadata=_metadata(document.metadata, f"documents[{place}]"),
        access=document.access,
    )


async def uploaded_sources(request: Request[Any, Any, Any], limit_bytes: int) -> tuple[str, list[SourceFile]]:
    """Return the collection and the files of a form. Raises: InputError, TooLarge, naming field or file."""
    try:
        form = await request.form()
    except (ValueError, LookupError) as error:
        raise InputError(f"the form cannot be read: {error}", code="invalid_form") from None
    parts: list[tuple[str, Any]] = list(form.multi_items())
    fields = _fields(parts)
    files = [part for name, part in parts if name == "files" and isinstance(part, UploadFile)]
    if not 0 < len(files) <= MAX_FILES:
        raise LimitError(f"the form has {len(files)} parts `files`; 1 to {MAX_FILES} are taken at once")
    if fields.sources and len(fields.sources) != len(files):
        raise InputError(f"sources: {len(fields.sources)} entries for {len(files)} files", code="invalid_parameter")
    beside = fields.sources or (PostedSource(),) * len(files)
    sources = [await _uploaded(file, one, fields, limit_bytes) for file, one in zip(files, beside, strict=True)]
    return fields.collection, each_once(sources, "files")


def each_once(sources: list[SourceFile], where: str) -> list[SourceFile]:
    """Return the sources as they are. Raises: InputError if one would silently take another's place."""
    seen: dict[str, int] = {}
    for place, source in enumerate(sources):
        first = seen.setdefault(source.uri, place)
        if first != place:
            raise InputError(
                f"{where}[{place}] and {where}[{first}] are both {source.uri[:200]!r}: each needs a name or id of its own",
                code="invalid_parameter",
            )
    return sources


def _fields(parts: Iterable[tuple[str, Any]]) -> UploadFields:
    """Read what stands beside the files; `access` may be repeated, `sources` and `metadata` are JSON."""
    values: dict[str, Any] = {}
    for name, part in parts:
        if name == "files":
            continue
        if name not in UploadFields.__struct_fields__ or not isinstance(part, str):
            raise unknown_parameter(name, UploadFields)
        if name == "access":
            values.setdefault("access", []).append(part)
        elif name in values:
            raise InputError(f"parameter {name!r} is given twice", code="invalid_parameter")
        elif name == "sources":
            values[name] = decode_json(part.encode("utf-8", "replace"), tuple[PostedSource, ...])
        elif name == "metadata":
            values[name] = decode_json(part.encode("utf-8", "replace"), dict[str, Any])
        else:
            values[name] = part
    return validated(UploadFields(**values))


async def _uploaded(file: UploadFile, given: PostedSource, fields: UploadFields, limit_bytes: int) -> SourceFile:
    name = label(file.filename)
    content = await file.read()
    await file.close()
    if len(content) > limit_bytes:
        raise TooLarge(f"file {name!r} has {len(content):,} bytes; at most {limit_bytes:,} are taken")
    return SourceFile(
        uri=given.uri or f"upload:{name}",
        name=name,
        content=content,
        document_id=given.id,
        title=given.title,
        metadata={**_metadata(fields.metadata, "metadata"), **_metadata(given.metadata, f"file {name!r}")},
        access=given.access if given.access is not None else fields.access,
    )


def label(name: str) -> str:
    """Return a file's name without folders and control characters: it tells the format, nothing is opened by it."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    shown = "".join(c if c.isprintable() else " " for c in last).strip()
    return shown[-MAX_NAME_CHARS:] or "file"


def _metadata(given: dict[str, Any], where: str) -> Metadata:
    try:
        return flatten_metadata(given)
    except InputError as error:
        raise type(error)(f"{where}: {error}", code=error.code) from None
