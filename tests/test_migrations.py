"""The migrations on both databases: they equal the models, undo themselves, and run once however many open at once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, inspect, text
from sqlalchemy.pool import NullPool

from indexer.crash import EXIT_CODE, VARIABLE
from indexer.errors import ConfigError
from indexer.store import migrate
from indexer.store.database import normalised, open_database
from indexer.store.tables import Base

ROOT = Path(__file__).parent.parent
OPEN = "import sys; from indexer.store.database import open_database; open_database(sys.argv[1]).close()"


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    """Yield a plain connection that commits, beside searchd's own ways."""
    engine = create_engine(normalised(url), poolclass=NullPool)
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def opening(url: str, **environment: str) -> subprocess.Popen[str]:
    """Start a process that opens the database and ends."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", OPEN, url],
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def tables(url: str) -> set[str]:
    """Return the names of the tables there are."""
    with connected(url) as connection:
        return set(inspect(connection).get_table_names())


def test_an_upgrade_from_empty_equals_the_models(empty_url: str) -> None:
    open_database(empty_url).close()
    with connected(empty_url) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []


def test_a_downgrade_to_base_leaves_nothing(empty_url: str) -> None:
    open_database(empty_url).close()
    config = migrate.configuration()
    with connected(empty_url) as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    assert tables(empty_url) == {"alembic_version"}
    with connected(empty_url) as connection:
        assert connection.execute(text("SELECT count(*) FROM alembic_version")).scalar() == 0
    open_database(empty_url).close()
    assert set(Base.metadata.tables) < tables(empty_url)


def test_alembic_on_the_command_line_is_configured_from_pyproject(empty_url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "alembic", "upgrade", "head"],
        cwd=ROOT,
        env=os.environ | {"SEARCHD_DATABASE_URL": empty_url, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    open_database(empty_url, migrate=False).close()


def test_four_processes_that_open_at_once_migrate_once(empty_url: str) -> None:
    started = [opening(empty_url) for _ in range(4)]
    for process in started:
        output, _ = process.communicate(timeout=60)
        assert (process.returncode, output) == (0, "")
    with connected(empty_url) as connection:
        assert connection.execute(text("SELECT count(*) FROM alembic_version")).scalar() == 1


def test_a_crash_in_the_middle_leaves_nothing_behind(empty_url: str) -> None:
    crashed = opening(empty_url, **{VARIABLE: "mid-migration"})
    crashed.communicate(timeout=60)
    assert crashed.returncode == EXIT_CODE
    assert tables(empty_url) == set()
    open_database(empty_url).close()
    assert set(Base.metadata.tables) < tables(empty_url)


def test_a_database_of_a_newer_version_is_refused(empty_url: str) -> None:
    open_database(empty_url).close()
    with connected(empty_url) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigError, match=r"newer searchd \(schema 9999"):
        open_database(empty_url)


def test_an_old_database_is_refused_where_it_may_not_be_migrated(empty_url: str) -> None:
    open_database(empty_url).close()
    scripts = ScriptDirectory.from_config(Config(toml_file=str(ROOT / "pyproject.toml")))
    with connected(empty_url) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :oldest"), {"oldest": scripts.get_bases()[0]})
    with pytest.raises(ConfigError, match="old schema"):
        open_database(empty_url, migrate=False)


def test_an_empty_database_is_called_so_where_it_may_not_be_migrated(empty_url: str) -> None:
    with pytest.raises(ConfigError, match="is empty; `indexer add` fills it"):
        open_database(empty_url, migrate=False)
    assert "documents" not in tables(empty_url)


def test_there_is_one_head_and_every_revision_names_itself_in_its_file() -> None:
    scripts = ScriptDirectory.from_config(Config(toml_file=str(ROOT / "pyproject.toml")))
    assert len(scripts.get_heads()) == 1
    for revision in scripts.walk_revisions():
        assert Path(revision.path).name.startswith(f"{revision.revision}_")
