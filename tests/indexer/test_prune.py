"""`indexer add --prune` beside a folder that cannot be read."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from indexer.__main__ import cli
from indexer.settings import Settings
from indexer.store import sources
from indexer.store.database import open_database


def names(data_dir: Path) -> set[str]:
    database = open_database(Settings(data_dir=str(data_dir)).resolved_database_url)
    with database.read() as session:
        found = {source.name for source in sources.under(session, "default", "file://", None, 100)}
    database.close()
    return found


def test_what_lies_in_a_folder_that_cannot_be_read_is_not_taken_for_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    share = tmp_path / "docs" / "share"
    share.mkdir(parents=True)
    (share / "kept.txt").write_text("On a share that is away.")
    (tmp_path / "docs" / "gone.txt").write_text("Soon deleted.")
    (tmp_path / "docs" / "there.txt").write_text("Still there.")
    monkeypatch.setenv("SEARCHD_DATA_DIR", str(tmp_path / "data"))

    def add(*options: str) -> Any:
        return CliRunner().invoke(cli, ["add", str(tmp_path / "docs"), "--no-wait", *options])

    assert add().exit_code == 0
    (tmp_path / "docs" / "gone.txt").unlink()
    scandir = os.scandir

    def away(path: Any) -> Any:
        if Path(path) == share:
            raise OSError(errno.ESTALE, "Stale file handle")
        return scandir(path)

    monkeypatch.setattr("indexer.sources.folder.os.scandir", away)
    add("--prune")
    assert names(tmp_path / "data") == {"kept.txt", "there.txt"}
