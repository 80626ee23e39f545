"""`/api/collections`: list, make, delete, rebuild."""

from __future__ import annotations

import re
from typing import Any

import anyio.to_thread
import msgspec
from litestar import Request, delete, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath

from indexer.errors import ConfigError, Conflict, Forbidden, InputError, NotFound
from indexer.rebuild import start_rebuild
from indexer.settings import HOUSE_EMBEDDER
from indexer.status import CollectionStatus, status_of
from indexer.store import collections
from searchd.api.document_schemas import (
    CollectionChoices,
    CollectionLine,
    CollectionList,
    DeletedCollection,
    RebuildChoices,
    TaskStarted,
)
from searchd.api.operation import Operation
from searchd.api.principals import is_loopback, principal_of, require_write
from searchd.api.reading import read_json, read_query
from searchd.api.schemas import NoParameters
from searchd.services import Services

AnyRequest = Request[Any, Any, Any]
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
LINE = {
    "name": "default", "language": "en", "documents": 12, "passages": 87, "failed": 0,
    "generation": "0f3a5c1e7b9d4f60a1b2c3d4e5f60718", "building": 0,
}  # fmt: skip


@get(
    "/api/collections",
    opt=Operation(
        "List collections", "collections", answer=CollectionList, answer_example={"collections": [LINE]}
    ).opt(),
)
async def listing(request: AnyRequest, services: NamedDependency[Services]) -> CollectionList:
    """Return every collection that holds documents for the caller, with counts of those."""
    read_query(request, NoParameters)
    caller = principal_of(request, services.settings)
    found = await anyio.to_thread.run_sync(status_of, services.engine.database, caller.sees_only)
    return CollectionList(collections=tuple(_line(one) for one in found.collections))


@put(
    "/api/collections/{name:str}",
    opt=Operation(
        "Make a collection", "collections", body=CollectionChoices, answer=CollectionLine,
        body_example={"language": "de"}, answer_example=LINE, writes=True, errors=(400, 409),
    ).opt(),
)  # fmt: skip
async def make(request: AnyRequest, services: NamedDependency[Services], name: FromPath[str]) -> CollectionLine:
    """Make a collection; making it again with the same language, or without one, changes nothing."""
    require_write(request, services.settings)
    read_query(request, NoParameters)
    body = await read_json(request, CollectionChoices)

    def run() -> CollectionLine:
        language = body.language or services.settings.default_language
        with services.engine.database.session() as session:
            found = collections.ensure(session, name, language, services.engine.clock())
        if body.language not in (None, found.language):
            raise Conflict(f"collection {name!r} exists with the language {found.language!r}, which cannot be changed")
        services.engine.refresh()
        return next(_line(one) for one in status_of(services.engine.database).collections if one.name == name)

    return await anyio.to_thread.run_sync(run)


@delete(
    "/api/collections/{name:str}",
    status_code=200,
    opt=Operation(
        "Delete a collection", "collections", answer=DeletedCollection, writes=True, errors=(404, 409),
        answer_example={"name": "old", "generations_retired": 1},
    ).opt(),
)  # fmt: skip
async def remove(request: AnyRequest, services: NamedDependency[Services], name: FromPath[str]) -> DeletedCollection:
    """Delete a collection with all its documents; its indexes follow. `default` stays."""
    require_write(request, services.settings)
    read_query(request, NoParameters)
    if name == "default":
        raise Conflict("the collection 'default' cannot be deleted; its documents can")

    def run() -> DeletedCollection:
        with services.engine.database.session() as session:
            if collections.get(session, name) is None:
                raise NotFound(f"there is no collection {name[:80]!r}")
            retired = collections.delete(session, name, services.engine.clock())
        services.engine.refresh()
        return DeletedCollection(name=name, generations_retired=len(retired))

    return await anyio.to_thread.run_sync(run)


@post(
    "/api/collections/{name:str}/rebuild",
    status_code=202,
    opt=Operation(
        "Rebuild a collection's indexes", "collections", body=RebuildChoices, answer=TaskStarted,
        body_example={"passage_tokens": 200}, writes=True, errors=(400, 404, 503),
        answer_example={"task_id": "0b6f3c1e-58f5-4b53-9f0c-6c2d1a3e4f50"},
    ).opt(),
)  # fmt: skip
async def rebuild(request: AnyRequest, services: NamedDependency[Services], name: FromPath[str]) -> TaskStarted:
    """Build new indexes beside the live ones, under these settings, then switch."""
    require_write(request, services.settings)
    read_query(request, NoParameters)
    body = await read_json(request, RebuildChoices)
    check_embedder(body.embedder, services, request)

    chosen = body.settings(services.settings)

    def run() -> str:
        try:
            return start_rebuild(services.engine, name, chosen, services.engine.clock())
        except ConfigError as error:  # of the caller's choices, not of the daemon's settings
            raise InputError(str(error), code="invalid_parameter") from error

    task_id = await anyio.to_thread.run_sync(run)
    if services.worker is not None:
        services.worker.wake()
    return TaskStarted(task_id=task_id)


def check_embedder(name: str | None, services: Services, request: AnyRequest) -> None:
    """Refuse a folder that another machine names: no path from outside reaches the file system. Raises: Forbidden."""
    if name is None or name in (HOUSE_EMBEDDER, services.settings.embedder):
        return
    here = request.client is not None and is_loopback(request.client.host)
    if not here and not HUB_NAME.fullmatch(name):
        raise Forbidden("embedder: a folder can be named only from the daemon's own machine, or in its settings")


def _line(found: CollectionStatus) -> CollectionLine:
    return msgspec.convert(found, CollectionLine, from_attributes=True)


HANDLERS = [listing, make, remove, rebuild]
