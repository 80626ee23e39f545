"""Calibrations on both databases: the newest of each profile is kept, and goes with its collection."""

from __future__ import annotations

from dataclasses import replace

from indexer.store import calibrations, collections
from indexer.store.calibrations import StoredCalibration
from indexer.store.database import Database

FIT = StoredCalibration("docs", "default", 5.0, {"stages": {"large": {"slope": 0.25}}, "cuts": [0.5, 0.75]})


def test_a_fit_replaces_the_one_before_and_is_forgotten_when_told(database: Database) -> None:
    with database.session() as session:
        collections.ensure(session, "docs", "en", 1.0)
        collections.ensure(session, "faq", "en", 1.0)
        calibrations.put(session, FIT)
        calibrations.put(session, replace(FIT, profile="fast"))
        calibrations.put(session, replace(FIT, collection="faq"))
    again = replace(FIT, fitted_at=6.0, body={"stages": {}})
    with database.session() as session:
        calibrations.put(session, again)
    with database.read() as session:
        assert calibrations.get(session, "docs", "default") == again
        assert calibrations.get(session, "docs", "slow") is None
        assert calibrations.list_all(session, "docs") == [again, replace(FIT, profile="fast")]
        assert [one.collection for one in calibrations.list_all(session)] == ["docs", "docs", "faq"]
    with database.session() as session:
        assert calibrations.delete(session, "docs", "default")
        assert not calibrations.delete(session, "docs", "default")
        collections.delete(session, "faq", 7.0)
    with database.read() as session:
        assert calibrations.list_all(session) == [replace(FIT, profile="fast")]
