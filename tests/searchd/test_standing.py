"""Which calibration holds: read again within seconds, held against what answers now, never an error for one that is old."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from indexer.store import calibrations, collections
from indexer.store.calibrations import StoredCalibration
from indexer.store.database import Database, open_database
from searchd.standing import EVERY_S, Standings
from tests.searchd.calibrations import calibration
from tests.searchd.calibrations import put as put_in
from tests.searchd.library import COUNT_WORDS, PROFILES

RATED = PROFILES["plain"]


class Shop:
    """A database with a collection `default`, as an engine has it."""

    def __init__(self, database: Database) -> None:
        self.database = database


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    database = open_database(f"sqlite:///{tmp_path / 'x.db'}")
    with database.session() as session:
        collections.ensure(session, "default", "en", 1.0)
    yield Shop(database)
    database.close()


def test_one_that_is_fitted_or_removed_beside_the_daemon_counts_within_seconds(shop: Shop) -> None:
    now = 100.0
    standings = Standings(shop.database, lambda stage: COUNT_WORDS, clock=lambda: now)
    assert standings.of("default", "plain", RATED, "g1").said == "not calibrated"
    put_in(shop, calibration("g1", RATED, "plain"))  # type: ignore[arg-type]
    assert standings.of("default", "plain", RATED, "g1").stored is None
    now += EVERY_S
    found = standings.of("default", "plain", RATED, "g1")
    assert found.calibration == calibration("g1", RATED, "plain")
    assert found.said == "calibrated, fitted 2026-01-01 on valves"
    assert standings.of("default", "other", RATED, "g1").stored is None
    with shop.database.session() as session:
        calibrations.delete(session, "default", "plain")
    now += EVERY_S
    assert standings.of("default", "plain", RATED, "g1").stored is None


def test_a_model_that_is_not_loaded_yet_breaks_no_tie_and_another_one_does(shop: Shop) -> None:
    put_in(shop, calibration("g1", RATED, "plain"))  # type: ignore[arg-type]
    for fingerprint, broken in ((None, 0), (COUNT_WORDS, 0), ("another", 2)):
        standing = Standings(shop.database, lambda stage, name=fingerprint: name).of("default", "plain", RATED, "g1")
        assert len(standing.broken) == broken
        assert (standing.calibration is None) == bool(broken)


def test_one_that_another_version_wrote_is_none(shop: Shop) -> None:
    with shop.database.session() as session:
        calibrations.put(session, StoredCalibration("default", "plain", 1.0, {"curve": "of old"}))
    assert Standings(shop.database, lambda stage: None).of("default", "plain", RATED, "g1").stored is None
