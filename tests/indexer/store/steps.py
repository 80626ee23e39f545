"""Steps of ingestion on a database alone, as the worker takes them: accept, parse (the text is given), index."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import numpy as np
from sqlalchemy.orm import Session

from indexer.scope import Scope
from indexer.store import collections, documents, generations, jobs, passages, sources, tasks
from indexer.store.content import SourceContent
from indexer.store.database import Database
from indexer.store.documents import Saved
from indexer.store.generations import Generation
from indexer.store.sources import Outcome
from indexer.types import (
    Block,
    Document,
    IndexedDocument,
    ParsedText,
    Passage,
    SourceFile,
    content_hash,
    passage_id,
    source_id,
)

DOCS = "docs"
PUBLIC_READER = Scope.of(DOCS)


def parsed(
    text: str,
    *,
    title: str = "Title",
    document_id: str | None = None,
    access: tuple[str, ...] | None = None,
    metadata: dict[str, str | int | float | bool] | None = None,
) -> ParsedText:
    """Return a text of one paragraph, as a parser yields it."""
    return ParsedText(title, text, (Block("paragraph", 0, len(text)),), metadata or {}, document_id, None, access)


def file(uri: str, content: str = "", **overrides: object) -> SourceFile:
    """Return a source file named by the last part of its uri."""
    return SourceFile(uri, uri.rpartition("/")[2], content.encode(), **overrides)  # type: ignore[arg-type] # by name


def new_task(session: Session, kind: tasks.Kind = "add", now: float = 1.0) -> str:
    """Make a task in `docs`, which exists afterwards; return its id."""
    collections.ensure(session, DOCS, "en", now)
    task_id = str(uuid.uuid4())
    tasks.create(session, task_id, DOCS, kind, now)
    return task_id


def accept(database: Database, *files: SourceFile, now: float = 1.0) -> tuple[str, Outcome]:
    """Accept files into `docs`."""
    with database.session() as session:
        task_id = new_task(session, "add", now)
        outcome = sources.accept(session, DOCS, files, task_id, now)
        tasks.set_totals(session, task_id, accepted=outcome.accepted, unchanged=outcome.unchanged)
    return task_id, outcome


def content_of(database: Database, uri: str) -> SourceContent | None:
    """Return the source at a uri as the worker loads it."""
    with database.read() as session:
        return sources.load_content(session, source_id(DOCS, uri))


def save(database: Database, source: SourceContent | None, *texts: ParsedText, now: float = 2.0) -> Saved:
    """Save what a parser made of a source, under a task of its own."""
    assert source is not None
    with database.session() as session:
        return documents.save_parsed(session, source, texts, new_task(session, "add", now), now)


def add(database: Database, uri: str, *texts: ParsedText, now: float = 1.0, **overrides: object) -> Saved:
    """Accept a source and parse it to these texts (none: its uri is the text)."""
    made = texts or (parsed(uri),)
    accept(database, file(uri, repr(made), **overrides), now=now)
    return save(database, content_of(database, uri), *made, now=now)


def live(database: Database) -> Generation:
    """Return the live generation of `docs`, made if there is none."""
    with database.session() as session:
        collections.ensure(session, DOCS, "en", 1.0)
        return generations.ensure_live(session, DOCS, fingerprint="f", parts={"n": 1}, dimension=2, now=1.0)


def indexed(document: Document) -> IndexedDocument:
    """Return a document with its whole text as one passage."""
    name = passage_id(document.collection, document.document_id, 0)
    passage = Passage(name, document.document_id, 0, document.text, 0, len(document.text))
    return IndexedDocument(
        document_id=document.document_id,
        version=document.version,
        title=document.title,
        metadata=document.metadata,
        access=document.access,
        passages=(passage,),
        vectors=np.zeros((1, 2), np.float32),
    )


def hash_of(text: str) -> str:
    """Return the text hash of a passage."""
    return content_hash(text.encode())


def index(database: Database, generation: Generation, document_ids: Sequence[str]) -> list[str]:
    """Write the passages of documents as they are now; return the ids of the passages."""
    with database.session() as session:
        found = [indexed(one) for one in documents.load_for_index(session, DOCS, document_ids)]
        hashes = [[hash_of(passage.text) for passage in one.passages] for one in found]
        passages.replace(session, generation.generation_id, found, hashes)
    return [passage.passage_id for document in found for passage in document.passages]


def claim(database: Database, *kinds: str, limit: int = 100, now: float = 10.0) -> list[jobs.Job]:
    """Claim as a worker named `w` for 60 seconds."""
    with database.session() as session:
        return jobs.claim(session, "w", kinds, limit, now, 60.0)


def finish(database: Database, claimed: Sequence[jobs.Job], now: float = 11.0) -> None:
    """Finish claimed jobs."""
    with database.session() as session:
        jobs.finish(session, "w", [job.job_id for job in claimed], now)


def do_all(database: Database) -> None:
    """Claim and finish everything that waits, with nothing done for it."""
    while claimed := claim(database, "parse", "index", "delete"):
        finish(database, claimed)
