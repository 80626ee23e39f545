"""Databases for tests: one that takes `database` or `empty_url` runs on SQLite and on a real PostgreSQL server.

`postgres` is that server, started once a worker, at its first use. Tests run on a worker for each core; where only files
are named, all in one process.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from indexer.store.database import Database, open_database
from tests.postgres import PostgresServer, started_server

DIALECTS = ("sqlite", "postgresql")
MOST_WORKERS = 4
"""Each holds libraries, models and servers of its own: memory runs out before cores do."""

# Before torch comes: threads of workers that share cores wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# How long an example takes says how busy the machine is. (Where CI is set, these are Hypothesis's own settings too.)
hypothesis_settings.register_profile(
    "unhurried", hypothesis_settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile("unhurried")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return how many processes run the tests: one a core; none beside this one where only files are named."""
    if all(".py" in name for name in config.args):
        return 0
    return min(os.cpu_count() or 1, MOST_WORKERS)


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
