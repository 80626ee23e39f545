"""What the crash tests run in a process of its own, forked from one that has done the slow imports."""

from __future__ import annotations

import json
import os
from pathlib import Path

import sentence_transformers  # noqa: F401  # imported before the fork, so that each run does not pay for it
from transformers import BertModel  # noqa: F401  # as above

from indexer import ingest, rebuild
from indexer.compare import compare_generation
from indexer.engine import Engine
from indexer.types import SourceFile
from indexer.worker import Worker
from searchd.settings import Settings


def run(data: str, steps: list[str], crash_at: str, report: str) -> None:
    """Do the steps on a data folder, dying at `crash_at`; write the state of the live generation to `report`."""
    os.environ["SEARCHD_CRASH_AT"] = crash_at
    engine = Engine.open(Settings(data_dir=data, parser_processes=1))
    worker = Worker(engine)
    for step in steps:
        do(step, engine)
        worker.run_until_idle()
    engine.refresh()
    live = engine.live("default")
    state = {
        "wrong": compare_generation(engine, live),
        "lexical": sorted(held.document_id for held in live.lexical.scan()),
        "dense": sorted(point.document_id for point, _ in live.vectors.scan()),
    }
    Path(report).write_text(json.dumps(state))
    worker.stop()
    engine.close()


def do(step: str, engine: Engine) -> None:
    """Do one step; "wait" only lets the worker catch up."""
    now = engine.clock()
    if step == "add":
        files = [posted("a", "alpha"), posted("b", "beta")]
        ingest.accept(engine.database, engine.settings, "default", files, now)
    elif step == "change":
        ingest.accept(engine.database, engine.settings, "default", [posted("a", "gamma")], now)
    elif step == "delete":
        ingest.remove(engine.database, "default", ["b"], now)
    elif step == "rebuild":
        rebuild.start_rebuild(engine, "default", engine.settings, now)


def posted(name: str, text: str) -> SourceFile:
    """Return a document as the API would take it."""
    return SourceFile(uri=f"document:{name}", name=f"{name}.txt", content=text.encode(), document_id=name)
