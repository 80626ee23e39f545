"""A BEIR folder (corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv), judged and indexed in a throw-away folder, as a workbench.

The settings are the owner's, so that what is measured is what would serve; only data, indexes and Qdrant are apart.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from indexer.engine import Engine
from indexer.errors import InputError
from indexer.formats.jsonl import identifier
from indexer.ingest import accept
from indexer.scope import Scope
from indexer.status import task_of
from indexer.types import DEFAULT_COLLECTION, SourceFile
from indexer.worker import Worker
from searchd.evaluate.types import JudgedData, Topic, first_queries
from searchd.evaluate.workbench import Workbench, of_services
from searchd.judge import beir
from searchd.judge.given import Problems
from searchd.judge.jsonl import DECODE_FAILURES
from searchd.metrics import LogMetrics
from searchd.pipeline import SearchPipeline
from searchd.query_log import QueryLog
from searchd.rerank.cascade import Cascade
from searchd.rerank.scheduler import Scheduler
from searchd.rerank.stage_tokenizers import StageTokenizers
from searchd.rerank.table import RerankerCache
from searchd.services import Services
from searchd.settings import Settings

CORPUS, QUERIES, SPLIT = "corpus.jsonl", beir.QUERIES, beir.SPLIT
BOM = b"\xef\xbb\xbf"
DOCUMENTS_AT_ONCE = 2000
JUDGED = "judged"


def read_dataset(folder: Path, split: str = SPLIT, *, complete: bool = False, limit: int = 0) -> JudgedData:
    """Return the queries and grades of a folder; `limit` keeps the first so many judged queries (0: all).

    Raises: InputError naming the file and line that cannot be read, or a split that is not there.
    """
    given = beir.read_folder(folder, split, Problems("nothing was measured"))
    qrels: dict[str, dict[str, int]] = {}
    for one in given.judgments:
        qrels.setdefault(one.query_id, {})[one.document_id] = one.grade
    topics = tuple(Topic(query.query_id, query.text) for query in given.queries)
    if not topics:
        raise InputError(f"no query of {folder / QUERIES} has a judgment in split {split!r}")
    return first_queries(JudgedData(folder.name, folder.name, JUDGED, complete, topics, qrels), limit)


def read_rows(path: Path, needed: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects of a file. Raises: InputError naming the line that is none, or lacks a field."""
    return (row for _, row in _numbered(path, needed))


def read_documents(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield a folder's documents. Raises: InputError naming the line of one that cannot be indexed, or that comes twice."""
    first: dict[str, str] = {}
    for where, row in _numbered(folder / CORPUS, ("_id", "text")):
        try:
            name = identifier(row["_id"])
        except InputError as error:
            raise InputError(f"{where}: {error}") from error
        if name is None or not isinstance(row["text"], str) or not isinstance(row.get("title") or "", str):
            raise InputError(f"{where}: _id is a string or a whole number, text and title are strings")
        if first.setdefault(name, where) != where:
            raise InputError(f"{where}: document {name[:80]!r} stands on {first[name].rpartition(', ')[2]} too")
        yield row


def _numbered(path: Path, needed: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                text = line.removeprefix(BOM) if number == 1 else line
                if text.strip():
                    where = f"{path}, line {number}"
                    yield where, _row(text, needed, where)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error


def _row(line: bytes, needed: Sequence[str], where: str) -> dict[str, Any]:
    try:
        row = msgspec.json.decode(line, type=dict[str, Any])
    except DECODE_FAILURES as error:
        raise InputError(f"{where}: {error}") from error
    lacking = [name for name in needed if name not in row]
    if lacking:
        raise InputError(f"{where}: there is no {' and no '.join(lacking)}")
    return row


def index_corpus(engine: Engine, folder: Path, progress: Callable[[int], None] = lambda done: None) -> None:
    """Index a folder's documents as they would be added. Told how many are in. Raises: InputError naming a bad line."""
    rows = read_documents(folder)
    worker, done = Worker(engine), 0
    try:
        for number in itertools.count():
            some = list(itertools.islice(rows, DOCUMENTS_AT_ONCE))
            if not some:
                break
            source = SourceFile(uri=f"corpus:{number}", name=f"corpus-{number}.jsonl", content=lines_of(some))
            taken = accept(engine.database, engine.settings, DEFAULT_COLLECTION, [source], time.time())
            worker.run_until_idle()
            _check(engine, folder, taken.task_id)
            done += len(some)
            progress(done)
    finally:
        worker.stop()
    engine.refresh()


def _check(engine: Engine, folder: Path, task_id: str) -> None:
    """Refuse to measure on a part of the documents. Raises: InputError saying what could not be indexed."""
    task = task_of(engine.database, task_id)
    if task is not None and task.errors:
        raise InputError(f"{folder / CORPUS} cannot be indexed: {task.errors[0].message}")


def lines_of(rows: Sequence[dict[str, Any]]) -> bytes:
    """Return documents as JSON lines of the product."""
    found = ({"id": str(row["_id"]), "title": row.get("title") or "", "text": row["text"]} for row in rows)
    return "\n".join(map(json.dumps, found)).encode()


@contextlib.contextmanager
def opened_dataset(
    settings: Settings, folder: Path, progress: Callable[[int], None] = lambda done: None
) -> Iterator[Workbench]:
    """Yield the workbench of a folder's documents, indexed meanwhile in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="searchd-eval-") as where, apart(settings, Path(where)) as services:
        index_corpus(services.engine, folder, progress)
        yield of_services(services, Scope.of(DEFAULT_COLLECTION))


@contextlib.contextmanager
def apart(settings: Settings, where: Path) -> Iterator[Services]:
    """Yield services whose data lie in `where`, with the models that the settings' own data folder has in use."""
    away = msgspec.structs.replace(settings, data_dir=str(where), database_url="", vector_backend="edge")
    engine = Engine.open(away)
    rerankers = RerankerCache(settings, Scheduler(engine.device))
    try:
        engine.reranking = StageTokenizers(settings, rerankers.tokenizers)
        engine.token_encoder = rerankers.token_encoder()
        pipeline = SearchPipeline(engine, Cascade(rerankers.of), away, stored=rerankers.stored)
        unused = QueryLog(engine.database, away, engine.clock, LogMetrics(pipeline.metrics.registry))
        yield Services(away, engine, pipeline, rerankers, None, engine.clock(), unused)
    finally:
        rerankers.close()
        engine.close()
