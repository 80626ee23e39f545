"""What is forgotten while nothing waits, and what is not."""

from __future__ import annotations

from sqlalchemy import func, select

from indexer import ingest
from indexer.engine import Engine
from indexer.housekeeping import TASKS_KEPT_S, keep_house
from indexer.status import task_of
from indexer.store.tables import VectorRow
from indexer.types import SourceFile
from indexer.worker import Worker


def posted(name: str, text: str) -> SourceFile:
    return SourceFile(uri=f"api:{name}", name=f"{name}.txt", content=text.encode(), document_id=name)


def accept(engine: Engine, *files: SourceFile) -> str:
    return ingest.accept(engine.database, engine.settings, "default", files, engine.clock()).task_id


def cached(engine: Engine) -> int:
    with engine.database.read() as session:
        return session.scalar(select(func.count()).select_from(VectorRow)) or 0


def test_old_tasks_and_vectors_of_deleted_text_are_forgotten(engine: Engine) -> None:
    worker = Worker(engine)
    task_id = accept(engine, posted("a", "The gearbox needs oil."), posted("b", "A pump."), posted("c", "A pump."))
    worker.run_until_idle()
    ingest.remove(engine.database, "default", ["a", "b"], engine.clock())
    assert keep_house(engine) == (0, 0)
    worker.run_until_idle()
    worker.stop()
    before = cached(engine)
    assert keep_house(engine) == (0, 2)
    assert cached(engine) == before - 2 == 1
    assert task_of(engine.database, task_id) is not None

    now = engine.clock()
    engine.clock = lambda: now + TASKS_KEPT_S + 1
    assert keep_house(engine) == (2, 0)
    assert task_of(engine.database, task_id) is None
    assert cached(engine) == 1
