"""Dying at each named point of ingestion, for an add, a change and a delete: the next start ends in the same state."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import crash_program
from tests.forks import FORKS

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
EXPECTED = {"add": ["a", "b"], "change": ["a", "b"], "delete": ["a"]}
DIED = 137


def run(data: Path, steps: list[str], crash_at: str = "") -> int | None:
    """Run the steps in a process of its own; return its exit status."""
    process = FORKS.Process(target=crash_program.run, args=(str(data), steps, crash_at, str(data.with_suffix(".json"))))
    process.start()
    process.join(120)
    if process.is_alive():
        process.kill()
    return process.exitcode


def state_after(data: Path) -> dict[str, object]:
    """Return the state once a next start has caught up."""
    assert run(data, ["wait"]) == 0
    state: dict[str, object] = json.loads(data.with_suffix(".json").read_text())
    return state


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("operation", ["add", "change", "delete"])
def test_a_crash_at_any_point_of_an_operation_is_made_good_at_the_next_start(
    tmp_path: Path, point: str, operation: str
) -> None:
    data = tmp_path / "data"
    if operation != "add":
        assert run(data, ["add"]) == 0
    passed_by = operation == "delete" and point == "mid-tantivy-add"
    assert run(data, [operation], crash_at=point) == (0 if passed_by else DIED)
    assert state_after(data) == {"wrong": {}, "lexical": EXPECTED[operation], "dense": EXPECTED[operation]}


@pytest.mark.parametrize("point", REBUILD_POINTS)
def test_a_crash_at_any_step_of_a_flip_leaves_one_whole_generation(tmp_path: Path, point: str) -> None:
    data = tmp_path / "data"
    assert run(data, ["add"]) == 0
    assert run(data, ["rebuild"], crash_at=point) == DIED
    assert state_after(data) == {"wrong": {}, "lexical": ["a", "b"], "dense": ["a", "b"]}
