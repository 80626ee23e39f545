"""What readers opened: `POST /api/events` takes clicks for answers that were given, and nothing else.

Anybody who may read may tell; an event names an answer by its id, which only who got that answer knows. No text comes in.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

import anyio.to_thread
from litestar import Request, Response, post
from litestar.di import NamedDependency
from msgspec import Meta

from indexer.errors import Forbidden, InputError, NotFound
from indexer.store.searches import Click
from searchd.api.event_schemas import MAX_EVENTS, Event, EventsTaken
from searchd.api.operation import Operation
from searchd.api.principals import is_same_site, principal_of
from searchd.api.reading import read_json, read_query
from searchd.api.schemas import NoParameters
from searchd.query_log import QueryLog
from searchd.services import Services

Events = Event | Annotated[list[Event], Meta(min_length=1, max_length=MAX_EVENTS)]
EVENT_BODY = {"query_id": "9f2c81d04b7a6e35", "document_id": "handbook/refunds.md", "position": 1, "dwell_ms": 42_000}


def clicks_of(events: Sequence[Event], query_log: QueryLog, now: float) -> list[Click]:
    """Return the clicks that events mean; reads SQL for answers of long ago.

    Raises: NotFound (`unknown_query`) for an answer that nobody knows; InputError (`not_shown`) for a document that did
    not stand there.
    """
    clicks = []
    for event in events:
        shown = query_log.shown(event.query_id)
        if shown is None:
            raise NotFound(f"query_id {event.query_id!r} is of no answer that is remembered", code="unknown_query")
        if not shown.has(event.document_id, event.position):
            raise InputError(
                f"document {event.document_id[:80]!r} was not shown at position {event.position} of that answer",
                code="not_shown",
            )
        clicks.append(Click(event.query_id, event.document_id, shown.collection, event.position, event.dwell_ms, now))
    return clicks


@post(
    "/api/events",
    status_code=202,
    opt=Operation(
        "Tell what was opened", "search", body=Event, body_may_be_list=True, answer=EventsTaken,
        body_example=EVENT_BODY, answer_example={"accepted": 1}, errors=(400, 403, 404, 413, 415, 503),
    ).opt(),
)  # fmt: skip
async def post_events(request: Request[Any, Any, Any], services: NamedDependency[Services]) -> Response[EventsTaken]:
    """Take clicks, all or none. Each was shown, at its position, in the answer with this `query_id`."""
    read_query(request, NoParameters)
    principal_of(request, services.settings)
    if not is_same_site(request):
        raise Forbidden("this came from another site's page; events come from the page that shows the answer")
    body: Any = await read_json(request, Events)  # type: ignore[arg-type]  # a union is a type to msgspec alone
    events = body if isinstance(body, list) else [body]
    now = services.engine.clock()
    clicks = await anyio.to_thread.run_sync(partial(clicks_of, events, services.query_log, now))
    services.query_log.clicked(clicks)
    return Response(EventsTaken(accepted=len(clicks)), status_code=202, headers={"Cache-Control": "no-store"})


HANDLERS = [post_events]
