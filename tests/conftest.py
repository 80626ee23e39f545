"""Databases for tests: one that takes `database` or `empty_url` runs on SQLite and on a real PostgreSQL server.

`postgres` is that server, started once a run, at its first use.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from indexer.store.database import Database, open_database
from tests.postgres import PostgresServer, started_server

DIALECTS = ("sqlite", "postgresql")

# How long an example takes says how busy the machine is. (Where CI is set, these are Hypothesis's own settings too.)
hypothesis_settings.register_profile(
    "unhurried", hypothesis_settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile("unhurried")


def pytest_collection_finish() -> None:
    """Leave what the tests imported out of the cycle collector's sight, as `indexer.device.importing` does."""
    gc.freeze()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with started_server() as server:
        yield server


@pytest.fixture(params=DIALECTS)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database that nothing has been done to."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'searchd.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    with server.database() as url:
        yield url


@pytest.fixture
def database(empty_url: str) -> Iterator[Database]:
    opened = open_database(empty_url)
    yield opened
    opened.close()
