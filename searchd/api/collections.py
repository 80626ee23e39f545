"""`/api/collections`: list, make, delete, rebuild."""

from __future__ import annotations

import re
import time
from typing import Any

import anyio.to_thread
import msgspec
from litestar import Request, delete, get, post, put
from litestar.params import FromPath

from indexer.errors import Conflict, InputError, NotFound
from indexer.rebuild import start_rebuild
from indexer.settings import Settings as IndexerSettings
from indexer.status import status_of
from indexer.store import collections
from searchd.api.bodies import read_json
from searchd.api.documents import plain, typed, wake
from searchd.api.principals import require_write
from searchd.api.schemas import CollectionChoices, RebuildChoices
from searchd.services import Services

AnyRequest = Request[Any, Any, Any]
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


@get("/api/collections", summary="List collections", tags=["collections"])
async def listing(services: Services) -> dict[str, Any]:
    """Return every collection with its counts."""
    found = await anyio.to_thread.run_sync(status_of, services.engine.database)
    return {"collections": [plain(one) for one in found.collections]}


@put("/api/collections/{name:str}", summary="Make a collection", tags=["collections"])
async def make(request: AnyRequest, services: Services, name: FromPath[str]) -> dict[str, Any]:
    """Make a collection with a language; making it again with the same language does nothing."""
    require_write(request, services.settings)
    if not NAME.fullmatch(name):
        raise InputError("a collection's name has 1 to 64 of a-z, 0-9, _ and -, and begins with a letter or digit")
    body: CollectionChoices = typed(await read_json(request, 10_000), CollectionChoices)

    def run() -> dict[str, Any]:
        with services.engine.database.session() as session:
            found = collections.ensure(session, name, body.language, time.time())
        if found.language != body.language:
            raise Conflict(f"collection {name!r} exists with language {found.language!r}")
        services.engine.refresh()
        return plain(found)

    return await anyio.to_thread.run_sync(run)


@delete("/api/collections/{name:str}", summary="Delete a collection", tags=["collections"], status_code=200)
async def remove(request: AnyRequest, services: Services, name: FromPath[str]) -> dict[str, Any]:
    """Delete a collection with all its documents and indexes. `default` stays."""
    require_write(request, services.settings)
    if name == "default":
        raise Conflict("the collection `default` cannot be deleted; delete its documents instead")

    def run() -> dict[str, Any]:
        with services.engine.database.session() as session:
            if collections.get(session, name) is None:
                raise NotFound(f"there is no collection {name!r}")
            gone = collections.delete(session, name, time.time())
        services.engine.refresh()
        return {"name": name, "generations_retired": len(gone)}

    return await anyio.to_thread.run_sync(run)


@post("/api/collections/{name:str}/rebuild", summary="Rebuild indexes", tags=["collections"], status_code=202)
async def rebuild(request: AnyRequest, services: Services, name: FromPath[str]) -> dict[str, Any]:
    """Build a collection's indexes anew beside the live ones, under these settings, then switch."""
    require_write(request, services.settings)
    body: RebuildChoices = typed(await read_json(request, 10_000), RebuildChoices)
    given = {k: v for k, v in msgspec.structs.asdict(body).items() if v is not None}

    def run() -> str:
        values = msgspec.structs.asdict(services.settings) | given
        try:
            chosen = msgspec.convert({k: msgspec.to_builtins(v) for k, v in values.items()}, type(services.settings))
        except msgspec.ValidationError as error:
            raise InputError(f"setting refused: {error}") from error
        settings: IndexerSettings = chosen
        return start_rebuild(services.engine, name, settings, time.time())

    task_id = await anyio.to_thread.run_sync(run)
    wake(services)
    return {"task_id": task_id}


HANDLERS = [listing, make, remove, rebuild]
