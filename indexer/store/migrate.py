"""Brings a database's schema to the newest revision, in one transaction, by one process at a time.

The alembic scripts are `migrations/` in a checkout and `indexer/store/_migrations` in a wheel.
"""

from __future__ import annotations

import threading
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection, Engine, text

from indexer.crash import crash_point
from indexer.errors import ConfigError

ADVISORY_KEY = 0x5EA2C4D0
"""Of the PostgreSQL advisory lock that one migrating process holds."""

_ALEMBIC_IS_GLOBAL = threading.Lock()


def scripts_path() -> Path:
    """Return the folder of the migration scripts: packaged, or beside the packages in a checkout."""
    here = Path(__file__).parent
    packaged = here / "_migrations"
    return packaged if packaged.is_dir() else here.parent.parent / "migrations"


def configuration() -> Config:
    """Return alembic's configuration for these scripts."""
    config = Config()
    config.set_main_option("script_location", str(scripts_path()).replace("%", "%%"))
    return config


def migrate(engine: Engine, name: str, *, upgrade: bool) -> None:
    """Upgrade to the newest revision; free when it is there already.

    Raises: ConfigError if a newer version made the schema, or if it is old or missing and `upgrade` is off.
    """
    scripts = ScriptDirectory.from_config(configuration())
    head = scripts.get_current_head()
    with engine.connect() as connection:
        current = _current(connection, scripts, name)
    if current == head:
        return
    if not upgrade:
        if current is None:
            raise ConfigError(f"database {name} is empty; `indexer add` fills it")
        raise ConfigError(f"database {name} has an old schema; `indexer status` upgrades it")
    # SQLite's BEGIN IMMEDIATE (the engine's) is the lock there.
    with _ALEMBIC_IS_GLOBAL, engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_KEY})
        if _current(connection, scripts, name) == head:
            return
        run(connection, "head")
        crash_point("mid-migration")


def run(connection: Connection, revision: str) -> None:
    """Upgrade to `revision` on this connection, in its transaction."""
    config = configuration()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
    if connection.dialect.name == "sqlite":
        dangling = connection.execute(text("PRAGMA foreign_key_check")).fetchall()
        if dangling:
            raise RuntimeError(f"the migration left {len(dangling)} rows that refer to nothing")


def _current(connection: Connection, scripts: ScriptDirectory, name: str) -> str | None:
    current = MigrationContext.configure(connection).get_current_revision()
    if current is not None:
        try:
            scripts.get_revision(current)
        except CommandError as error:
            raise ConfigError(
                f"database {name} was made by a newer searchd (schema {current}, this one knows "
                f"{scripts.get_current_head()}); install that version, or set database_url to another database"
            ) from error
    return current
