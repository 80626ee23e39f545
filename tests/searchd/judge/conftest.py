"""A database with a collection, and sets in it that tests name differently."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from indexer.store import collections
from indexer.store.database import Database, open_database
from searchd.settings import Settings


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data folder whose database has the collection `default`, without documents."""
    folder = tmp_path_factory.mktemp("judged")
    opened = open_database(Settings(data_dir=str(folder)).resolved_database_url)
    with opened.session() as session:
        collections.ensure(session, "default", "en", 1.0)
    opened.close()
    return folder


@pytest.fixture(scope="module")
def store(data_dir: Path) -> Iterator[Database]:
    """Return the database of the data folder."""
    opened = open_database(Settings(data_dir=str(data_dir)).resolved_database_url, migrate=False)
    yield opened
    opened.close()
