"""`/api/documents`: add files or JSON, list, read, delete. Reads are under the caller's scope; writes need leave."""

from __future__ import annotations

from functools import partial
from typing import Any
from urllib.parse import unquote

import anyio.to_thread
import msgspec
from litestar import Request, delete, get, post
from litestar.di import NamedDependency

from indexer import ingest
from indexer.errors import InputError, NotFound
from indexer.filters import Filter, parse_filter
from indexer.scope import Scope
from indexer.store import documents
from searchd.api.cursors import cursor_of, fingerprint, read_cursor
from searchd.api.document_schemas import (
    Accepted,
    DocumentAnswer,
    DocumentLine,
    DocumentList,
    FilterParameters,
    ListParameters,
    OfCollection,
    PostedDocuments,
    UploadFields,
)
from searchd.api.examples import ACCEPTED, DOCUMENTS_BODY
from searchd.api.operation import Operation
from searchd.api.principals import principal_of, require_write
from searchd.api.reading import read_json, read_query
from searchd.api.schemas import NoParameters
from searchd.api.uploads import posted_sources, uploaded_sources
from searchd.services import Services

AnyRequest = Request[Any, Any, Any]


@post(
    "/api/documents",
    status_code=202,
    opt=Operation(
        "Add documents or files", "documents", body=PostedDocuments, files=UploadFields, answer=Accepted,
        body_example=DOCUMENTS_BODY, answer_example=ACCEPTED, writes=True, errors=(400, 413, 415, 503),
    ).opt(),
)  # fmt: skip
async def add(request: AnyRequest, services: NamedDependency[Services]) -> Accepted:
    """Take documents as JSON, or files as a form: durable when this answers, findable when the task is done."""
    require_write(request, services.settings)
    read_query(request, NoParameters)
    limit = services.settings.max_document_mb * 1_000_000
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type == "multipart/form-data":
        collection, files = await uploaded_sources(request, limit)
    else:
        posted = await read_json(request, PostedDocuments, limit)
        collection, files = posted.collection, posted_sources(posted)
    accept = partial(ingest.accept, services.engine.database, services.settings, collection, files)
    return await acknowledged(services, accept)


@get(
    "/api/documents",
    opt=Operation("List documents", "documents", query=ListParameters, answer=DocumentList, errors=(404,)).opt(),
)
async def listing(request: AnyRequest, services: NamedDependency[Services]) -> DocumentList:
    """List the documents that the caller may read, in the order of their ids."""
    asked = read_query(request, ListParameters)
    scope = Scope.of(asked.collection, principal_of(request, services.settings).principals)
    of = fingerprint("documents", asked.collection, asked.filter)
    after = str(read_cursor(asked.cursor, of, (str,))) if asked.cursor else None
    tree = parse_filter(asked.filter) if asked.filter and asked.filter.strip() else None

    def read() -> DocumentList:
        services.engine.live(asked.collection)
        with services.engine.database.read() as session:
            page = documents.page(session, scope, after, asked.limit, tree)
        return DocumentList(
            documents=tuple(msgspec.convert(line, DocumentLine, from_attributes=True) for line in page.documents),
            cursor=None if page.cursor is None else cursor_of(page.cursor, of),
        )

    return await anyio.to_thread.run_sync(read)


@get(
    "/api/documents/{document_id:path}",
    opt=Operation("Read a document", "documents", query=OfCollection, answer=DocumentAnswer, errors=(404,)).opt(),
)
async def read(request: AnyRequest, services: NamedDependency[Services]) -> DocumentAnswer:
    """Return a document with its text."""
    asked = read_query(request, OfCollection)
    caller = principal_of(request, services.settings)
    scope = Scope.of(asked.collection, caller.principals)
    name = id_in_path(request)

    def load() -> DocumentAnswer:
        with services.engine.database.read() as session:
            found = documents.get(session, scope, name)
        if found is None:
            raise no_document(name, asked.collection)
        answer = msgspec.convert(found, DocumentAnswer, from_attributes=True)
        return answer if caller.may_write else msgspec.structs.replace(answer, access=msgspec.UNSET)

    return await anyio.to_thread.run_sync(load)


@delete(
    "/api/documents/{document_id:path}",
    status_code=202,
    opt=Operation(
        "Delete a document", "documents", query=OfCollection, answer=Accepted, answer_example=ACCEPTED, writes=True,
        errors=(404, 503),
    ).opt(),
)  # fmt: skip
async def remove(request: AnyRequest, services: NamedDependency[Services]) -> Accepted:
    """Delete a document: it is in no answer from now on."""
    require_write(request, services.settings)
    asked = read_query(request, OfCollection)
    name = id_in_path(request)
    taken = await acknowledged(services, partial(ingest.remove, services.engine.database, asked.collection, [name]))
    if not taken.accepted:
        raise no_document(name, asked.collection)
    return taken


@delete(
    "/api/documents",
    status_code=202,
    opt=Operation(
        "Delete documents by filter", "documents", query=FilterParameters, answer=Accepted, answer_example=ACCEPTED,
        query_example={"filter": 'product = "router"'}, writes=True, errors=(404, 503),
    ).opt(),
)  # fmt: skip
async def remove_by_filter(request: AnyRequest, services: NamedDependency[Services]) -> Accepted:
    """Delete every document whose metadata passes the filter, whoever may read it."""
    require_write(request, services.settings)
    asked = read_query(request, FilterParameters)
    if not asked.filter.strip():
        raise InputError("filter: it says which documents to delete, and cannot be empty", code="invalid_parameter")
    tree = parse_filter(asked.filter)
    return await acknowledged(services, partial(_remove_matching, services, asked.collection, tree))


def _remove_matching(services: Services, collection: str, tree: Filter, now: float) -> ingest.Acceptance:
    with services.engine.database.read() as session:
        ids = documents.matching(session, collection, tree)
    return ingest.remove(services.engine.database, collection, ids, now)


async def acknowledged(services: Services, work: Any) -> Accepted:
    """Do `work(now)`, which gives an Acceptance, on a thread; wake the worker; return the acknowledgement."""
    taken: ingest.Acceptance = await anyio.to_thread.run_sync(work, services.engine.clock())
    if services.worker is not None:
        services.worker.wake()
    return Accepted(task_id=taken.task_id, accepted=taken.accepted, unchanged=taken.unchanged)


def id_in_path(request: AnyRequest) -> str:
    """Return the document id of the path as it was sent: routing would merge the id's own slashes."""
    raw: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    return unquote(raw.split(b"?")[0].decode("latin-1").split("/", 3)[-1])


def no_document(document_id: str, collection: str) -> NotFound:
    """Return the error for a document that is not there, or not for this caller."""
    return NotFound(f"there is no document {document_id[:200]!r} in collection {collection!r} that you may read")


HANDLERS = [add, listing, read, remove, remove_by_filter]
