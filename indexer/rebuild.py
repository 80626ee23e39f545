"""A new generation beside the live one, built from SQL by the ordinary worker, then one transaction that flips.

`start_rebuild` makes the generation and one `index` job a document; the worker's sweep calls `finish_ready`, which
verifies the new pair against SQL, requeues what is missing, and flips. Search goes on with the old pair meanwhile.
A document that fails for good is named by its job and by doctor, and does not keep the others from going live; where
many fail that can be found now, the old pair stays and the rebuild has failed.
"""

from __future__ import annotations

import logging
import uuid

import msgspec
from sqlalchemy.orm import Session

from indexer.compare import compare_generation
from indexer.crash import crash_point
from indexer.engine import GRACE_S, Engine
from indexer.errors import NotFound
from indexer.settings import Settings
from indexer.store import collections, generations, jobs, passages, tasks
from indexer.store.generations import Generation

log = logging.getLogger(__name__)

LOSABLE = 0.01
"""Of the documents that can be found now, so many (and always one) may fail without stopping a rebuild."""


def start_rebuild(engine: Engine, collection: str, settings: Settings, now: float) -> str:
    """Start building a collection anew under `settings`; return the task to follow.

    An unfinished rebuild of the collection is given up in favour of this one.
    Raises: NotFound; ConfigError if the embedder of `settings` cannot be loaded.
    """
    with engine.database.read() as session:
        found = collections.get(session, collection)
    if found is None:
        raise NotFound(f"there is no collection {collection!r}")
    recipe = engine.wanted_recipe(found.language, settings)
    task_id, generation_id = str(uuid.uuid4()), uuid.uuid4().hex
    with engine.database.session() as session:
        for unfinished in generations.building(session, collection):
            generations.retire(session, unfinished.generation_id, now)
        generations.create(
            session,
            generation_id,
            collection,
            fingerprint=recipe.fingerprint,
            parts=msgspec.to_builtins(recipe),
            dimension=recipe.dimension,
            now=now,
        )
        tasks.create(session, task_id, collection, "rebuild", now, generation_id)
        count = jobs.enqueue_all_documents(session, collection, generation_id, task_id, now)
        tasks.set_totals(session, task_id, accepted=count, unchanged=0)
    crash_point("flip-created")
    return task_id


def finish_ready(engine: Engine) -> None:
    """Flip every building generation whose jobs are done and which agrees with SQL; requeue what does not."""
    with engine.database.read() as session:
        ready = [g for g in generations.all_building(session) if not jobs.open_for(session, g.generation_id)]
    for generation in ready:
        wrong = compare_generation(engine, engine.opened(generation))
        with engine.database.read() as session:
            failed = wrong.keys() & jobs.failed_documents(session, generation.generation_id)
            lost, kept = _lost(session, generation, failed) if failed else (failed, 0)
        if wrong.keys() - failed:
            _do_again(engine, generation, sorted(wrong.keys() - failed))
        elif len(lost) > max(1, kept * LOSABLE):
            log.error(
                "generation %s is given up: %d of %d documents that can be found now could not be indexed in it",
                generation.generation_id,
                len(lost),
                kept,
            )
            with engine.database.session() as session:
                generations.retire(session, generation.generation_id, engine.clock())
        else:
            _flip(engine, generation, failed)


def _lost(session: Session, generation: Generation, failed: set[str]) -> tuple[set[str], int]:
    """Return the failed documents that the live generation holds, and how many it holds in all."""
    live = generations.live(session, generation.collection)
    held = set() if live is None else {passage.document_id for passage in passages.scan(session, live.generation_id)}
    return failed & held, len(held)


def _do_again(engine: Engine, generation: Generation, document_ids: list[str]) -> None:
    log.warning(
        "generation %s differs from SQL in %d documents; doing them again", generation.generation_id, len(document_ids)
    )
    now, task_id = engine.clock(), str(uuid.uuid4())
    with engine.database.session() as session:
        tasks.create(session, task_id, generation.collection, "rebuild", now)
        jobs.enqueue_documents(
            session, generation.collection, document_ids, task_id, now, generation_id=generation.generation_id
        )


def _flip(engine: Engine, generation: Generation, failed: set[str]) -> None:
    if failed:
        log.error(
            "generation %s goes live without %d documents that cannot be indexed; `indexer doctor` names them",
            generation.generation_id,
            len(failed),
        )
    crash_point("flip-verified")
    with engine.database.session() as session:
        generations.flip(session, generation.generation_id, engine.clock())
    crash_point("flip-committed")
    engine.refresh()
    log.info("collection %s: generation %s is live", generation.collection, generation.generation_id)


def drop_retired(engine: Engine, *, grace_s: float = GRACE_S) -> None:
    """Delete generations that were retired a while ago: their files, then their rows."""
    with engine.database.read() as session:
        old = generations.retired(session, engine.clock() - grace_s)
    for generation in old:
        engine.drop(generation.generation_id, str(generation.parts["vector_backend"]))
        crash_point("flip-dropped")
        with engine.database.session() as session:
            generations.drop(session, generation.generation_id)
