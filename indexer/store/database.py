"""Opens the database and hands out transactions: SQLite by default, PostgreSQL (psycopg 3) by URL.

`session()` writes and commits on success, `read()` sees one snapshot and cannot write. A database that is away, locked
or full becomes a TransientError that names it; everything else that SQL complains about is a bug and stays one.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import msgspec
from sqlalchemy import JSON, URL, Engine, Select, Text, create_engine, event, func, make_url, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, NoSuchModuleError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import ORMExecuteState, Session, sessionmaker
from sqlalchemy.pool import NullPool, QueuePool

from indexer.errors import ConfigError, SearchdError, TransientError
from indexer.store import migrate as migrations

ACCEPTED = "sqlite:///path/to/file.db or postgresql://user:password@host/database"
WAIT_S = 30.0
"""How long a write waits for another process's write, or a thread for a connection."""
PARAMETERS_AT_ONCE = 5000
"""Values in one IN list: SQLite takes 32,766 parameters in a statement, PostgreSQL 65,535."""
READERS = 16
READ_ONLY = "25006"
"""The SQLSTATE of a PostgreSQL server that is a standby, as for a moment after a fail-over."""

_AWAY = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
}

T = TypeVar("T")


class Database:
    """An opened database. Thread-safe; a session is not."""

    def __init__(self, url: str) -> None:
        """Prepare connections; nothing is opened yet. Raises: ConfigError for a URL that cannot work."""
        self.url = normalised(url)
        self.dialect = self.url.get_backend_name()
        self.name = self.url.render_as_string(hide_password=True)
        if self.dialect == "sqlite":
            # SQLite has one writer at a time: queueing threads for its connection is fair, its busy handler is not.
            self._writer = _sqlite_engine(self.url, writing=True)
            self._reader = _sqlite_engine(self.url, writing=False)
        else:
            self._writer = _postgresql_engine(self.url)
            self._reader = self._writer.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        self._write = sessionmaker(self._writer, autoflush=False, expire_on_commit=False)
        self._read = sessionmaker(self._reader, autoflush=False, expire_on_commit=False)
        event.listen(self._write, "do_orm_execute", _leave_identity_map_alone)

    @contextlib.contextmanager
    def session(self) -> Iterator[Session]:
        """Yield a transaction that commits when the block ends well and rolls back when it raises.

        Do not nest: SQLite admits one writer. Raises: TransientError.
        """
        with self.naming_what_is_away(), self._write.begin() as session:
            yield session

    @contextlib.contextmanager
    def read(self) -> Iterator[Session]:
        """Yield a transaction that sees one snapshot and refuses to write. Raises: TransientError."""
        with self.naming_what_is_away(), self._read() as session:
            yield session

    def migrate(self, *, upgrade: bool = True) -> None:
        """Bring the schema to this version's revision; without `upgrade` only check that it is there.

        Raises: ConfigError for a schema that a newer version made, or that is old and may not be upgraded.
        """
        with self.naming_what_is_away():
            engine = _migration_engine(self.url)
            try:
                migrations.migrate(engine, self.name, upgrade=upgrade)
            finally:
                engine.dispose()

    @contextlib.contextmanager
    def naming_what_is_away(self) -> Iterator[None]:
        """Turn a database that is away, locked or full into a TransientError with its name."""
        try:
            yield
        except PoolTimeout as error:
            raise TransientError(f"database {self.name}: no connection was free for {WAIT_S:.0f} s") from error
        except DBAPIError as error:
            if is_away(error):
                raise TransientError(f"database {self.name} cannot be used now: {_first_line(error)}") from error
            raise

    def close(self) -> None:
        """Close all connections."""
        self._reader.dispose()
        self._writer.dispose()


def open_database(url: str, *, migrate: bool = True) -> Database:
    """Open a database and bring its schema up to date (`migrate=False`: refuse one that is not).

    Raises: ConfigError for a URL that cannot work or a schema made by a newer version; TransientError if it is away.
    """
    database = Database(url)
    try:
        database.migrate(upgrade=migrate)
    except TransientError as error:
        database.close()
        if _sqlite_code(error.__cause__) == sqlite3.SQLITE_CANTOPEN:
            raise ConfigError(f"database_url {database.name}: the file cannot be opened or made there") from error
        raise
    except SearchdError:
        database.close()
        raise
    return database


def normalised(url: str) -> URL:
    """Return the SQLAlchemy URL that a setting means. Raises: ConfigError saying what is accepted."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ConfigError(f"database_url is no URL; it accepts {ACCEPTED}") from error
    backend = parsed.drivername.partition("+")[0]
    if backend in ("postgres", "postgresql"):
        return parsed.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise ConfigError(f"database_url cannot be {backend!r}; it accepts {ACCEPTED}")
    if parsed.database in (None, "", ":memory:"):
        raise ConfigError(
            f"database_url {url}: a database in memory cannot be shared by threads; it accepts {ACCEPTED}"
        )
    return parsed.set(drivername="sqlite+pysqlite")


def batches(values: Sequence[T], size: int = PARAMETERS_AT_ONCE) -> Iterator[Sequence[T]]:
    """Yield `values` in portions that fit into one statement; none for no values."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


def insert_into(session: Session, table: Any) -> Any:
    """Return an INSERT that knows ON CONFLICT, in the words of the session's database."""
    dialect = session.get_bind().dialect.name
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)


def fetch(session: Session, query: Select[Any]) -> Sequence[Sequence[Any]]:
    """Return all rows of a query, their order aside.

    From SQLite they come as one JSON text: its driver lets go of the interpreter at every row, and beside other busy
    threads waits up to 5 ms to get it back (eight searches at once took 130 ms to load 170 passages, alone 9).
    """
    if is_postgresql(session):
        return session.execute(query).all()
    rows = query.subquery()
    values = [func.json(column) if isinstance(column.type, JSON) else column for column in rows.c]
    found: list[list[Any]] = msgspec.json.decode(
        session.scalar(select(func.json_group_array(func.json_array(*values, type_=Text), type_=Text))) or "[]"
    )
    return found


def is_postgresql(session: Session) -> bool:
    """Say whether this session talks to PostgreSQL."""
    return session.get_bind().dialect.name == "postgresql"


def is_away(error: DBAPIError) -> bool:
    """Say whether trying again may help: no connection, locked, full, a deadlock; not a mistake in SQL."""
    if isinstance(error.orig, sqlite3.Error):
        return _sqlite_code(error) in _AWAY
    fallen_back = getattr(error.orig, "sqlstate", None) == READ_ONLY
    return error.connection_invalidated or fallen_back or isinstance(error, (OperationalError, InterfaceError))


def _sqlite_code(error: BaseException | None) -> int | None:
    original = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(original, "sqlite_errorcode", None)
    return None if code is None else int(code) & 0xFF


def _first_line(error: DBAPIError) -> str:
    return str(error.orig).strip().partition("\n")[0]


def _leave_identity_map_alone(state: ORMExecuteState) -> None:
    if state.is_update or state.is_delete:
        state.update_execution_options(synchronize_session=False)


def _to_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _create(url: URL, **options: Any) -> Engine:
    try:
        # Parameters are document texts: they must not come out in an error's message.
        return create_engine(
            url, json_serializer=_to_json, json_deserializer=msgspec.json.decode, hide_parameters=True, **options
        )
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        raise ConfigError(
            f"database_url {url.render_as_string(hide_password=True)} needs the PostgreSQL driver: "
            "pip install 'searchd[server]'"
        ) from error


def _postgresql_engine(url: URL) -> Engine:
    return _create(
        url,
        pool_size=8,
        max_overflow=READERS,
        pool_timeout=WAIT_S,
        pool_pre_ping=True,
        connect_args=_noticing_loss(url),
    )


def _noticing_loss(url: URL) -> dict[str, Any]:
    """Return connection parameters (where the URL leaves them open) that bound the wait for a host that is gone."""
    chosen = {"connect_timeout": 5, "keepalives_idle": 30, "tcp_user_timeout": 30_000}
    return {name: value for name, value in chosen.items() if name not in url.query}


def _sqlite_engine(url: URL, *, writing: bool, pool: type[QueuePool] | type[NullPool] = QueuePool) -> Engine:
    sizes: dict[str, Any] = {}
    if pool is QueuePool:
        sizes = {"pool_size": 1 if writing else 4, "max_overflow": 0 if writing else READERS, "pool_timeout": WAIT_S}
    connect_args = {"timeout": WAIT_S, "check_same_thread": False}
    engine = _create(url, poolclass=pool, connect_args=connect_args, **sizes)

    def connected(connection: sqlite3.Connection, _record: object) -> None:
        # The driver's own BEGIN is deferred and comes late; ours takes the write lock first, so that no transaction
        # that has read is refused its write (SQLITE_BUSY_SNAPSHOT, which no timeout helps).
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(f"PRAGMA foreign_keys={'OFF' if pool is NullPool else 'ON'}")
        connection.execute("PRAGMA journal_size_limit=67108864")
        if not writing:
            connection.execute("PRAGMA query_only=ON")

    begin = "BEGIN IMMEDIATE" if writing else "BEGIN"
    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    return engine


def _migration_engine(url: URL) -> Engine:
    """Return an engine for one migration: on SQLite without foreign keys, which cascade when a table is rebuilt."""
    if url.get_backend_name() == "sqlite":
        return _sqlite_engine(url, writing=True, pool=NullPool)
    return _create(url, poolclass=NullPool, connect_args=_noticing_loss(url))
