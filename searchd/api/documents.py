"""`/api/documents` and `/api/sources`: add, list, read, delete, retry. Writing needs a caller who may write."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from functools import partial
from typing import Any

import anyio.to_thread
import msgspec
from litestar import Request, delete, get, post
from litestar.datastructures import UploadFile
from litestar.params import FromPath

from indexer import ingest
from indexer.errors import InputError, LimitError, NotFound
from indexer.filters import parse_filter
from indexer.formats.metadata import flatten_metadata
from indexer.scope import Scope
from indexer.store import documents, sources
from indexer.types import Document, SourceFile
from searchd.api.bodies import TooLarge, decode_json, read_json
from searchd.api.principals import principal_of, require_write
from searchd.api.schemas import PostedDocument, PostedDocuments, PostedSource, SourceIds
from searchd.services import Services

AnyRequest = Request[Any, Any, Any]
MAX_FILES = 1000
FORMATS_OF_FIELDS = {"text": "txt", "html": "html", "markdown": "md"}


def typed(values: Any, kind: type[Any]) -> Any:
    """Validate plain values against a struct. Raises: InputError naming the parameter."""
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise InputError(str(error).replace("Object contains unknown field", "unknown parameter")) from error


@post("/api/documents", summary="Add documents", tags=["documents"], status_code=202)
async def add(request: AnyRequest, services: Services) -> dict[str, Any]:
    """Take files (multipart) or documents (JSON); they are durable when this answers, findable when the task succeeds."""
    require_write(request, services.settings)
    kind = request.headers.get("content-type", "")
    if kind.startswith("multipart/form-data"):
        collection, files = await uploaded(request, services)
    elif kind.partition(";")[0].strip() in ("application/json", ""):
        limit = services.settings.max_document_mb * 1_000_000
        collection, files = posted(typed(await read_json(request, limit), PostedDocuments))
    else:
        raise InputError("send multipart/form-data with `files`, or application/json with `documents`", code="unsupported_media_type")
    taken = await anyio.to_thread.run_sync(
        partial(ingest.accept, services.engine.database, services.settings, collection, files, time.time())
    )
    wake(services)
    return plain(taken)


async def uploaded(request: AnyRequest, services: Services) -> tuple[str, list[SourceFile]]:
    """Read a multipart form: `files`, and optionally `collection`, `sources`, `access`, `metadata`."""
    limit = services.settings.max_document_mb * 1_000_000
    declared = request.headers.get("content-length", "")
    if not declared.isdigit() or int(declared) > 4 * limit:
        raise TooLarge(f"a form has at most {4 * limit:,} bytes, and says how many in Content-Length; send fewer files at once")
    form = await request.form()
    known = {"collection", "sources", "access", "metadata", "files"}
    for name in form:
        if name not in known:
            raise InputError(f"unknown field `{name}`; a form has {', '.join(sorted(known))}")
    files = [part for part in form.getall("files", []) if isinstance(part, UploadFile)]
    if not 0 < len(files) <= MAX_FILES:
        raise LimitError(f"`files` has {len(files)} files; 1 to {MAX_FILES} are taken at once")
    given: list[PostedSource] = typed(decode_json(str(form.get("sources", "[]")).encode()), list[PostedSource])
    if given and len(given) != len(files):
        raise InputError(f"`sources` has {len(given)} entries for {len(files)} files")
    access = [str(one) for one in form.getall("access", [])] or None
    metadata = flatten_metadata(decode_json(str(form.get("metadata", "{}")).encode()))
    collection = str(form.get("collection", "default"))
    found = []
    for i, file in enumerate(files):
        one = given[i] if given else PostedSource()
        found.append(await source_of(file, one, collection, access, metadata, limit))
    return collection, found


async def source_of(
    file: UploadFile, given: PostedSource, collection: str, access: Sequence[str] | None, metadata: Any, limit: int
) -> SourceFile:
    """Return one uploaded file as a source; its name is a label, never a path."""
    name = (file.filename or "file").replace("\\", "/").rsplit("/", 1)[-1][:255] or "file"
    content = await file.read()
    if len(content) > limit:
        raise TooLarge(f"{name!r} has {len(content):,} bytes; at most {limit:,} are taken")
    readers = given.access if given.access is not None else access
    return SourceFile(
        uri=given.uri or f"upload:{name}",
        name=name,
        content=content,
        document_id=given.id,
        title=given.title,
        metadata={**metadata, **flatten_metadata(given.metadata)},
        access=None if readers is None else tuple(readers),
    )


def posted(body: PostedDocuments) -> tuple[str, list[SourceFile]]:
    """Return posted documents as sources."""
    return body.collection, [posted_source(document, i) for i, document in enumerate(body.documents)]


def posted_source(document: PostedDocument, number: int) -> SourceFile:
    """Return one posted document as a source. Raises: InputError naming its place in the list."""
    given = [name for name in FORMATS_OF_FIELDS if getattr(document, name) is not None]
    if len(given) != 1:
        raise InputError(f"documents[{number}]: exactly one of text, html, markdown is needed")
    key = document.id or document.uri or str(uuid.uuid4())
    content = str(getattr(document, given[0])).encode("utf-8", "replace")
    return SourceFile(
        uri=f"document:{document.id}" if document.id else (document.uri or f"document:{key}"),
        name=f"{(document.title or key)[:100]}.{FORMATS_OF_FIELDS[given[0]]}",
        content=content,
        document_id=document.id,
        title=document.title,
        link=document.uri,
        metadata=flatten_metadata(document.metadata),
        access=None if document.access is None else tuple(document.access),
    )


@get("/api/documents", summary="List documents", tags=["documents"])
async def listing(
    request: AnyRequest,
    services: Services,
    collection: str = "default",
    cursor: str | None = None,
    limit: int = 100,
    filter: str | None = None,
) -> dict[str, Any]:
    """List the documents this caller may read, by id; `cursor` of an answer leads to the next page."""
    refuse_unknown(request, {"collection", "cursor", "limit", "filter"})
    if not 1 <= limit <= 1000:
        raise LimitError("limit: 1 to 1,000")
    scope = Scope.of(collection, principal_of(request, services.settings).principals)
    tree = parse_filter(filter) if filter else None
    services.engine.live(collection)

    def read() -> dict[str, Any]:
        with services.engine.database.read() as session:
            page = documents.page(session, scope, cursor, limit, tree)
        return {"documents": [plain(document) for document in page.documents], "cursor": page.cursor}

    return await anyio.to_thread.run_sync(read)


@get("/api/documents/{document_id:path}", summary="Read a document", tags=["documents"])
async def read(
    request: AnyRequest, services: Services, document_id: FromPath[str], collection: str = "default"
) -> dict[str, Any]:
    """Return a document with its text and metadata."""
    refuse_unknown(request, {"collection"})
    scope = Scope.of(collection, principal_of(request, services.settings).principals)
    found = await anyio.to_thread.run_sync(partial(load, services, scope, id_of(request)))
    return {
        "document_id": found.document_id,
        "collection": found.collection,
        "title": found.title,
        "uri": found.uri,
        "text": found.text,
        "metadata": found.metadata,
        "access": found.access,
        "version": found.version,
    }


def id_of(request: AnyRequest) -> str:
    """Return the document id of the path: everything after `/api/documents/`."""
    return request.scope["path"].removeprefix("/api/documents/")


def load(services: Services, scope: Scope, document_id: str) -> Document:
    """Return a document the scope may read. Raises: NotFound."""
    with services.engine.database.read() as session:
        found = documents.get(session, scope, document_id)
    if found is None:
        raise NotFound(f"there is no document {document_id!r} in collection {scope.collection!r}, or none that you may read")
    return found


@delete("/api/documents/{document_id:path}", summary="Delete a document", tags=["documents"], status_code=202)
async def remove(
    request: AnyRequest, services: Services, document_id: FromPath[str], collection: str = "default"
) -> dict[str, Any]:
    """Delete a document: it is in no answer from now on."""
    refuse_unknown(request, {"collection"})
    require_write(request, services.settings)
    wanted = id_of(request)
    taken = await anyio.to_thread.run_sync(
        partial(ingest.remove, services.engine.database, collection, [wanted], time.time())
    )
    if not taken.accepted:
        raise NotFound(f"there is no document {wanted!r} in collection {collection!r}")
    wake(services)
    return plain(taken)


@delete("/api/documents", summary="Delete by filter", tags=["documents"], status_code=202)
async def remove_by_filter(
    request: AnyRequest, services: Services, filter: str = "", collection: str = "default"
) -> dict[str, Any]:
    """Delete every document whose metadata passes `filter`."""
    refuse_unknown(request, {"collection", "filter"})
    require_write(request, services.settings)
    if not filter.strip():
        raise InputError("filter is needed: it says which documents to delete")
    tree = parse_filter(filter)

    def run() -> dict[str, Any]:
        with services.engine.database.read() as session:
            ids = documents.matching(session, collection, tree)
        return plain(ingest.remove(services.engine.database, collection, ids, time.time()))

    taken = await anyio.to_thread.run_sync(run)
    wake(services)
    return taken


@get("/api/sources", summary="List sources", tags=["documents"])
async def list_sources(
    request: AnyRequest, services: Services, collection: str = "default", uri_prefix: str = "", cursor: str | None = None
) -> dict[str, Any]:
    """List accepted sources with their state, by uri: what `indexer add --prune` compares with the disk."""
    refuse_unknown(request, {"collection", "uri_prefix", "cursor"})
    require_write(request, services.settings)

    def run() -> dict[str, Any]:
        with services.engine.database.read() as session:
            page = sources.under(session, collection, uri_prefix, cursor, 1000)
        return {"sources": [plain(one) for one in page], "cursor": page[-1].uri if len(page) == 1000 else None}

    return await anyio.to_thread.run_sync(run)


@post("/api/sources/delete", summary="Delete sources", tags=["documents"], status_code=202)
async def remove_sources(request: AnyRequest, services: Services) -> dict[str, Any]:
    """Delete sources with all their documents."""
    require_write(request, services.settings)
    body: SourceIds = typed(await read_json(request, 1_000_000), SourceIds)
    taken = await anyio.to_thread.run_sync(
        partial(ingest.remove_sources, services.engine.database, body.collection, body.source_ids or [], time.time())
    )
    wake(services)
    return plain(taken)


@post("/api/sources/retry", summary="Retry failed sources", tags=["documents"], status_code=202)
async def retry_sources(request: AnyRequest, services: Services) -> dict[str, Any]:
    """Parse failed sources again: those named, or all of the collection."""
    require_write(request, services.settings)
    body: SourceIds = typed(await read_json(request, 1_000_000), SourceIds)
    taken = await anyio.to_thread.run_sync(
        partial(ingest.retry, services.engine.database, body.collection, body.source_ids, time.time())
    )
    wake(services)
    return plain(taken)


def wake(services: Services) -> None:
    """Tell the worker that there is work."""
    if services.worker is not None:
        services.worker.wake()


def plain(value: Any) -> dict[str, Any]:
    """Return a dataclass as JSON types."""
    found: dict[str, Any] = msgspec.to_builtins(value)
    return found


def refuse_unknown(request: AnyRequest, known: set[str]) -> None:
    """Refuse URL parameters that do nothing. Raises: InputError naming the parameter."""
    for name in request.query_params:
        if name not in known:
            raise InputError(f"unknown parameter `{name}`; this route takes {', '.join(sorted(known))}")


HANDLERS = [add, listing, read, remove, remove_by_filter, list_sources, remove_sources, retry_sources]
