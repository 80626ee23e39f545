"""Dying at each named point of ingestion, for an add, a change and a delete: the next start ends in the same state."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.daemon import environment

POINTS = (
    "after-sql-commit",
    "after-claim",
    "mid-tantivy-add",
    "after-tantivy-commit",
    "before-vector-flush",
    "after-vector-flush",
    "before-finish",
)
REBUILD_POINTS = ("flip-created", "flip-verified", "flip-committed")

PROGRAM = """
import sys, json
from indexer import ingest, rebuild
from indexer.compare import compare_generation
from indexer.engine import Engine
from indexer.settings import environment, load_settings
from indexer.types import SourceFile
from indexer.worker import Worker
from searchd.settings import Settings

def file(name, text):
    return SourceFile(uri="api:" + name, name=name + ".txt", content=text.encode(), document_id=name)

engine = Engine.open(load_settings(Settings, environ=environment()))
worker = Worker(engine)
for step in json.loads(sys.argv[1]):
    if step == "add":
        ingest.accept(engine.database, engine.settings, "default", [file("a", "alpha"), file("b", "beta")], engine.clock())
    elif step == "change":
        ingest.accept(engine.database, engine.settings, "default", [file("a", "gamma")], engine.clock())
    elif step == "delete":
        ingest.remove(engine.database, "default", ["b"], engine.clock())
    elif step == "rebuild":
        rebuild.start_rebuild(engine, "default", engine.settings, engine.clock())
    worker.run_until_idle()
engine.refresh()
live = engine.live("default")
print(json.dumps({
    "wrong": compare_generation(engine, live),
    "lexical": sorted(p.document_id for p in live.lexical.scan()),
    "dense": sorted(p.document_id for p, _ in live.vectors.scan()),
}))
worker.stop()
engine.close()
"""
EXPECTED = {"add": ["a", "b"], "change": ["a", "b"], "delete": ["a"], "rebuild": ["a", "b"]}


def run(data: Path, steps: list[str], crash_at: str = "") -> subprocess.CompletedProcess[str]:
    settings = {"SEARCHD_CRASH_AT": crash_at} if crash_at else {}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(steps)],
        env=environment(data, **settings),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("operation", ["add", "change", "delete"])
def test_a_crash_at_any_point_of_an_operation_is_made_good_at_the_next_start(
    tmp_path: Path, point: str, operation: str
) -> None:
    if operation != "add":
        assert run(tmp_path, ["add"]).returncode == 0
    crashed = run(tmp_path, [operation], crash_at=point)
    reached = not (operation == "delete" and point == "mid-tantivy-add")
    assert crashed.returncode == (137 if reached else 0), crashed.stderr
    after = run(tmp_path, ["wait"])
    assert after.returncode == 0, after.stderr
    state = json.loads(after.stdout)
    assert state == {"wrong": {}, "lexical": EXPECTED[operation], "dense": EXPECTED[operation]}


@pytest.mark.parametrize("point", REBUILD_POINTS)
def test_a_crash_at_any_step_of_a_flip_leaves_one_whole_generation(tmp_path: Path, point: str) -> None:
    assert run(tmp_path, ["add"]).returncode == 0
    assert run(tmp_path, ["rebuild"], crash_at=point).returncode == 137
    after = run(tmp_path, ["wait"])
    assert after.returncode == 0, after.stderr
    assert json.loads(after.stdout) == {"wrong": {}, "lexical": ["a", "b"], "dense": ["a", "b"]}
