"""The database as commands open it that work beside a daemon or alone: it has to be there and of this version.

Settings -> Database. What owns the data folder opens it with `indexer.engine`, which makes or upgrades it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from indexer.store.database import Database, open_database
from searchd.settings import Settings


@contextmanager
def opened_database(settings: Settings) -> Iterator[Database]:
    """Yield the database of these settings. Raises: ConfigError if there is none yet, or an old one; TransientError."""
    with closing(open_database(settings.resolved_database_url, migrate=False)) as database:
        yield database
