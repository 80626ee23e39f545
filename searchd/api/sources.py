"""`/api/sources`: files and posted documents as they were accepted: list, delete with their documents, try again."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio.to_thread
import msgspec
from litestar import Request, get, post
from litestar.di import NamedDependency

from indexer import ingest
from indexer.store import sources
from searchd.api.cursors import cursor_of, fingerprint, read_cursor
from searchd.api.document_schemas import (
    Accepted,
    SourceLine,
    SourceList,
    SourceParameters,
    SourcesToDelete,
    SourcesToRetry,
)
from searchd.api.documents import acknowledged
from searchd.api.examples import ACCEPTED
from searchd.api.operation import Operation
from searchd.api.principals import require_write
from searchd.api.reading import read_json, read_query
from searchd.api.schemas import NoParameters
from searchd.services import Services

AnyRequest = Request[Any, Any, Any]
LISTED_AT_ONCE = 1000
IDS_BODY_BYTES = 8_000_000


@get(
    "/api/sources",
    opt=Operation("List sources", "documents", query=SourceParameters, answer=SourceList, writes=True).opt(),
)
async def listing(request: AnyRequest, services: NamedDependency[Services]) -> SourceList:
    """List accepted sources with their state, by uri: what `indexer add --prune` compares with the disk."""
    require_write(request, services.settings)
    asked = read_query(request, SourceParameters)
    of = fingerprint("sources", asked.collection, asked.uri_prefix)
    after = str(read_cursor(asked.cursor, of, (str,))) if asked.cursor else None

    def read() -> SourceList:
        with services.engine.database.read() as session:
            page = sources.under(session, asked.collection, asked.uri_prefix, after, LISTED_AT_ONCE)
        return SourceList(
            sources=tuple(msgspec.convert(one, SourceLine, from_attributes=True) for one in page),
            cursor=cursor_of(page[-1].uri, of) if len(page) == LISTED_AT_ONCE else None,
        )

    return await anyio.to_thread.run_sync(read)


@post(
    "/api/sources/delete",
    status_code=202,
    opt=Operation(
        "Delete sources with their documents", "documents", body=SourcesToDelete, answer=Accepted,
        body_example={"source_ids": ["6a1d0f3e-8f57-5a0e-9d2c-0b1a2c3d4e5f"]}, answer_example=ACCEPTED, writes=True,
        errors=(404, 503),
    ).opt(),
)  # fmt: skip
async def remove(request: AnyRequest, services: NamedDependency[Services]) -> Accepted:
    """Delete sources with all their documents: they are in no answer from now on."""
    require_write(request, services.settings)
    read_query(request, NoParameters)
    body = await read_json(request, SourcesToDelete, IDS_BODY_BYTES)
    work = partial(ingest.remove_sources, services.engine.database, body.collection, body.source_ids)
    return await acknowledged(services, work)


@post(
    "/api/sources/retry",
    status_code=202,
    opt=Operation(
        "Try failed sources again", "documents", body=SourcesToRetry, answer=Accepted,
        body_example={"collection": "default"}, answer_example=ACCEPTED, writes=True, errors=(404, 503),
    ).opt(),
)  # fmt: skip
async def retry(request: AnyRequest, services: NamedDependency[Services]) -> Accepted:
    """Parse failed sources again: those named, or all of the collection."""
    require_write(request, services.settings)
    read_query(request, NoParameters)
    body = await read_json(request, SourcesToRetry, IDS_BODY_BYTES)
    return await acknowledged(
        services, partial(ingest.retry, services.engine.database, body.collection, body.source_ids)
    )


HANDLERS = [listing, remove, retry]
