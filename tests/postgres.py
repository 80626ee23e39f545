"""A PostgreSQL server of the tests' own, started from installed binaries, and a fresh database in it for each test.

It listens on a Unix socket in a temporary folder and keeps nothing. PostgreSQL refuses to run as root, so root starts
it as the user `postgres` (or `nobody`).
"""

from __future__ import annotations

import functools
import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql

START_S = 60


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A running server. `socket_dir` is where clients find it; superuser `searchd`, no password."""

    binaries: Path
    data_dir: Path
    socket_dir: Path
    account: str | None

    def url(self, database: str) -> str:
        """Return the URL of a database as searchd's settings take it."""
        return f"postgresql://searchd@/{database}?host={quote(str(self.socket_dir))}"

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        """Return a connection of its own, in autocommit."""
        return psycopg.connect(host=str(self.socket_dir), user="searchd", dbname=database, autocommit=True)

    @contextmanager
    def database(self) -> Iterator[str]:
        """Make an empty database, yield its URL, drop it with whoever is still connected."""
        name = f"t{uuid.uuid4().hex}"
        with self.connect() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        try:
            yield self.url(name)
        finally:
            with self.connect() as connection:
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def run(self, program: str, *arguments: str) -> None:
        """Run one of the server's programs as the account that may."""
        run_as(self.account, [str(self.binaries / program), *arguments])

    def start(self) -> None:
        """Start it, and return once it answers."""
        log = self.data_dir.parent / "log"
        self.run("pg_ctl", "-D", str(self.data_dir), "-l", str(log), "-w", "-t", str(START_S), "start")

    def stop(self) -> None:
        """Stop it at once, as a crash would: connections break."""
        self.run("pg_ctl", "-D", str(self.data_dir), "-m", "immediate", "-w", "stop")


def find_binaries() -> Path | None:
    """Return the folder of an installed server's programs, the newest version's; None if there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True)
    config = shutil.which("pg_config")
    if config is not None:
        found.append(
            Path(subprocess.run([config, "--bindir"], capture_output=True, text=True, check=True).stdout.strip())
        )
    server = shutil.which("postgres")
    if server is not None:
        found.append(Path(server).resolve().parent)
    return next((path for path in found if all((path / p).exists() for p in ("initdb", "pg_ctl", "postgres"))), None)


def run_as(account: str | None, command: Sequence[str]) -> None:
    """Run a command to its end as another user (None: as this one). Its output is shown only if it fails."""
    user = None if account is None else pwd.getpwnam(account)
    done = subprocess.run(
        command,
        user=None if user is None else user.pw_uid,
        group=None if user is None else user.pw_gid,
        extra_groups=None if user is None else [],
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if command[-1] != "start" else subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        timeout=START_S * 2,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {(done.stdout or b'').decode(errors='replace')}")


@contextmanager
def started_server() -> Iterator[PostgresServer]:
    """Make a cluster in a temporary folder, run it, and delete it at the end.

    Skips the asking test if no server is installed; where CI=true, fails it.
    """
    binaries = find_binaries()
    if binaries is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("no PostgreSQL server is installed")
    account = server_account()
    # Not under pytest's tmp_path: another user must reach it, and a socket's path has at most 107 bytes.
    root = Path(tempfile.mkdtemp(prefix="pg-"))
    try:
        if account is not None:
            shutil.chown(root, account)
        server = PostgresServer(binaries, root / "data", root, account)
        server.run("initdb", "-D", str(server.data_dir), "-U", "searchd", "-A", "trust", "-E", "UTF8", "--no-sync")
        settings = {
            "listen_addresses": "''",
            "unix_socket_directories": f"'{root}'",
            "fsync": "off",
            "max_connections": "60",
            "shared_buffers": "'32MB'",
            "autovacuum": "off",
            "log_min_messages": "fatal",
        }
        with (server.data_dir / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = {value}\n" for name, value in settings.items())
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(root, ignore_errors=True)


@functools.cache
def server_account() -> str | None:
    """Return the user that root starts the server as; None if this process is not root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"
