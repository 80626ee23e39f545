"""What an evaluation is held against: the newest before it of its set and profile that passed its gates."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from indexer.store import collections
from indexer.store.database import Database, open_database
from searchd.evaluate import stored
from searchd.evaluate.evaluation import Evaluation
from tests.web.evaluations import evaluation


@pytest.fixture
def database(tmp_path: Path) -> Database:
    opened = open_database(f"sqlite:///{tmp_path / 'searchd.db'}")
    with opened.session() as session:
        collections.ensure(session, MADE.collection, "en", 1.0)
    return opened


MADE = evaluation()


def at(day: float, **changed: object) -> Evaluation:
    return msgspec.structs.replace(MADE, evaluation_id=f"id-{day:g}", evaluated_at=day, **changed)


def test_one_that_failed_a_gate_is_passed_over(database: Database) -> None:
    kept = [
        at(1.0),
        at(2.0),
        at(3.0, profile="other"),
        at(4.0, failed_gates=("max-drop",)),
        at(5.0, failed_gates=("min-ndcg", "max-drop")),
    ]
    for one in kept:
        stored.keep(database, one)
    assert stored.before(database, at(6.0)) == kept[1]
    assert stored.before(database, at(2.0)) == kept[0]
    assert stored.before(database, at(1.0)) is None
    assert stored.before(database, at(9.0, set_name="another")) is None
