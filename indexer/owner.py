"""Who owns the data folder: one process at a time in embedded mode, found and reached by the command line.

`searchd serve` (or `indexer add` without a daemon) holds `owner.lock`; a serving owner also writes `daemon.json` with
its address, so that the command line talks to it instead of opening the folder. In the server profile nobody owns it.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import filelock
import httpx
import msgspec

from indexer.errors import Busy, ConfigError
from indexer.settings import Settings

LOCK_NAME = "owner.lock"
DAEMON_NAME = "daemon.json"


class DaemonAddress(msgspec.Struct, frozen=True):
    """Where a daemon of this data folder answers, and as which process."""

    url: str
    pid: int


def needs_owner(settings: Settings) -> bool:
    """Say whether the data folder admits one process only: SQLite's worker or an in-process Qdrant live in it."""
    return settings.vector_backend == "edge" or settings.resolved_database_url.startswith("sqlite")


@dataclass(slots=True)
class Owner:
    """Holds the data folder until `release`; a context manager."""

    data_path: Path
    lock: filelock.BaseFileLock | None

    @classmethod
    def acquire(cls, settings: Settings) -> Owner:
        """Make the data folder and take it.

        Raises: Busy, naming the process that has it; ConfigError if the folder cannot be made or written.
        """
        path = settings.data_path
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not needs_owner(settings):
                return cls(path, None)
            lock = filelock.FileLock(path / LOCK_NAME, timeout=0, thread_local=False)
            lock.acquire()
        except filelock.Timeout:
            daemon = read_address(path)
            who = f"the searchd daemon at {daemon.url} (process {daemon.pid})" if daemon else "another process"
            raise Busy(f"data folder {path} is in use by {who}; stop it first, or set SEARCHD_DATA_DIR") from None
        except OSError as error:
            raise ConfigError(
                f"data_dir {path} cannot be used: {error.strerror}; it needs a writable folder"
            ) from error
        return cls(path, lock)

    def announce(self, url: str) -> None:
        """Write where the daemon answers, readable by this user only."""
        target = self.data_path / DAEMON_NAME
        draft = target.with_suffix(f".{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_bytes(msgspec.json.encode(DaemonAddress(url, os.getpid())))
        draft.replace(target)

    def release(self) -> None:
        """Give the folder back."""
        if self.lock is not None:
            with contextlib.suppress(FileNotFoundError):
                address = read_address(self.data_path)
                if address is not None and address.pid == os.getpid():
                    (self.data_path / DAEMON_NAME).unlink()
            self.lock.release()

    def __enter__(self) -> Owner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


def read_address(data_path: Path) -> DaemonAddress | None:
    """Return the address last announced, None if there is none; it may be of a daemon that has died."""
    try:
        return msgspec.json.decode((data_path / DAEMON_NAME).read_bytes(), type=DaemonAddress)
    except (OSError, msgspec.DecodeError):
        return None


def running_daemon(settings: Settings) -> DaemonAddress | None:
    """Return the address of a daemon of this data folder that answers now, None if none does."""
    address = read_address(settings.data_path)
    if address is None:
        return None
    try:
        answer = httpx.get(f"{address.url}/healthz", timeout=5, trust_env=False)
    except httpx.HTTPError:
        return None
    return address if answer.status_code == 200 else None
