"""What nobody asks for any more, forgotten while nothing waits: ended tasks, vectors and token ids of texts that are gone.

Called by the worker's sweep; several workers may do it at once.
"""

from __future__ import annotations

from typing import Final

from indexer.engine import Engine
from indexer.store import jobs, tasks, token_vectors, tokens, vectors
from indexer.store.database import batches

EVERY_S: Final = 3600.0
TASKS_KEPT_S: Final = 30 * 86_400.0
"""How long `GET /api/tasks/{id}` knows a task that has ended."""


def keep_house(engine: Engine) -> tuple[int, int]:
    """Forget old tasks, and vectors and token ids of unused texts, unless work waits; return how many tasks and texts."""
    with engine.database.read() as session:
        if sum(count for state, count in jobs.counts(session).items() if state in jobs.OPEN):
            return 0, 0
        unused = sorted({*vectors.unused(session), *tokens.unused(session), *token_vectors.unused(session)})
    with engine.database.session() as session:
        forgotten = tasks.forget(session, engine.clock() - TASKS_KEPT_S)
    for some in batches(unused):
        with engine.database.session() as session:  # a transaction each: no writer waits long for the next
            vectors.forget(session, some)
            tokens.forget(session, some)
            token_vectors.forget(session, some)
    return forgotten, len(unused)
