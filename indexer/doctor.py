"""Compare the three stores: SQL is the truth; Tantivy and Qdrant must hold exactly its passages, at its versions.

Also checked: files against their checksums, every stored vector against SQL's, the generation against the settings,
unfinished work. Findings name the documents; `repair` queues them again, or a rebuild where files are damaged.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from indexer.compare import compare_generation
from indexer.engine import Engine, recipe_from
from indexer.errors import StaleIndex
from indexer.generation import differences
from indexer.rebuild import start_rebuild
from indexer.settings import Settings
from indexer.store import collections, generations, jobs, sources, tasks

log = logging.getLogger(__name__)

Remedy = Literal["reindex", "rebuild", "wait", "none"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: where, what, and what mends it (`document_ids` for reindex)."""

    collection: str
    message: str
    remedy: Remedy
    document_ids: tuple[str, ...] = ()


def examine(engine: Engine, settings: Settings | None = None) -> list[Finding]:
    """Return everything that is wrong in every collection; empty when sound.

    Generations are held against `settings` (default: the engine's own): a command may have read newer ones than the
    daemon that it asks.
    """
    findings: list[Finding] = []
    with engine.database.read() as session:
        known = collections.list_all(session)
        live = {c.name: generations.live(session, c.name) for c in known}
        pending = jobs.counts(session)
        failed = sources.count_failed(session)
    if waiting := pending.get("queued", 0) + pending.get("running", 0):
        findings.append(
            Finding("", f"{waiting} jobs are unfinished; a running daemon or `indexer run` does them", "wait")
        )
    if failed:
        log.info("%d sources could not be parsed; `indexer status` lists them", failed)
    for collection in known:
        generation = live[collection.name]
        if generation is None:
            findings.append(Finding(collection.name, "has no live generation", "rebuild"))
            continue
        recipe = recipe_from(generation.parts)
        if changed := differences(recipe, engine.wanted_recipe(collection.language, settings)):
            findings.append(
                Finding(collection.name, f"was indexed under other settings: {'; '.join(changed)}", "rebuild")
            )
        if recipe.fingerprint != generation.fingerprint:
            findings.append(Finding(collection.name, "its generation's fingerprint does not fit its recipe", "rebuild"))
        findings.extend(_examine_indexes(engine, collection.name, generation))
    return findings


def _examine_indexes(engine: Engine, collection: str, generation: generations.Generation) -> Iterable[Finding]:
    try:
        indexes = engine.opened(generation)
        damaged = [*indexes.lexical.verify(), *indexes.vectors.verify()]
        wrong = {} if damaged else compare_generation(engine, indexes)
    except StaleIndex as error:
        yield Finding(collection, str(error), "rebuild")
        return
    for sentence in damaged:
        yield Finding(collection, sentence, "rebuild")
    reasons: dict[str, list[str]] = {}
    for document_id, reason in wrong.items():
        reasons.setdefault(reason, []).append(document_id)
    for reason, ids in reasons.items():
        shown = ", ".join(sorted(ids)[:3]) + (", ..." if len(ids) > 3 else "")
        yield Finding(collection, f"{len(ids)} documents: {reason} ({shown})", "reindex", tuple(sorted(ids)))


def repair(engine: Engine, findings: Iterable[Finding], settings: Settings | None = None) -> list[str]:
    """Queue what mends these findings under `settings` (default: the engine's own); return the tasks to wait for."""
    task_ids: list[str] = []
    rebuilt: set[str] = set()
    for finding in findings:
        if finding.remedy == "rebuild" and finding.collection not in rebuilt:
            rebuilt.add(finding.collection)
            task_ids.append(start_rebuild(engine, finding.collection, settings or engine.settings, engine.clock()))
    for finding in findings:
        if finding.remedy == "reindex" and finding.collection not in rebuilt:
            task_id = str(uuid.uuid4())
            now = engine.clock()
            with engine.database.session() as session:
                tasks.create(session, task_id, finding.collection, "rebuild", now)
                jobs.enqueue_documents(session, finding.collection, finding.document_ids, task_id, now)
                tasks.set_totals(session, task_id, accepted=len(finding.document_ids), unchanged=0)
            task_ids.append(task_id)
    return task_ids
