"""`/api/rankings`: what each system ranks for a query, before fusion; what `searchd eval`, `tune` and `calibrate` ask a daemon.

For callers who may write, and of what they may read: an evaluation costs more than searches, and no page needs it.
"""

from __future__ import annotations

from typing import Annotated

import anyio.to_thread
from litestar import post
from litestar.di import NamedDependency
from msgspec import Meta

from indexer.scope import Scope
from searchd.api.operation import Operation
from searchd.api.principals import require_write
from searchd.api.reading import AnyRequest, read_json, read_query
from searchd.api.schemas import Collection, NoParameters, Request, Text
from searchd.evaluate.sources import FolderSource, RankingsAnswer, rankings_answer
from searchd.services import Services

EXAMPLE = {
    "meaning": "how do refunds work",
    "rankings": {"bm25": [["5c8f…", "faq-1", 7.31]], "dense": [["5c8f…", "faq-1", 0.62]]},
    "excluded": [],
    "ms": {"bm25": 1.2, "dense": 9.8},
}


class RankingsRequest(Request, frozen=True, kw_only=True):
    """A query to rank by every system."""

    q: Text
    collection: Collection = "default"
    depth: Annotated[int, Meta(ge=1, le=1000, description="Passages of each system")] = 100


@post(
    "/api/rankings",
    status_code=200,
    opt=Operation(
        "Rank passages by every system, before fusion", "maintenance", body=RankingsRequest, answer=RankingsAnswer,
        body_example={"q": "how do refunds work"}, answer_example=EXAMPLE, writes=True, errors=(400, 404, 503),
    ).opt(),
)  # fmt: skip
async def rankings(request: AnyRequest, services: NamedDependency[Services]) -> RankingsAnswer:
    """Return both systems' rankings with scores; `excluded` are passages that operators of the query do not allow."""
    caller = require_write(request, services.settings)
    read_query(request, NoParameters)
    asked = await read_json(request, RankingsRequest)
    source = FolderSource(services, Scope.of(asked.collection, caller.principals))

    def run() -> RankingsAnswer:
        return rankings_answer(source.readable(source.retrieve(asked.q, asked.depth)))

    return await anyio.to_thread.run_sync(run)


HANDLERS = [rankings]
