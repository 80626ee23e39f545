"""Commands in their own processes: beside a running daemon, without one, and two that want the same folder."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.daemon import Daemon, command

FLOAT32 = {"SEARCHD_DTYPE": "float32"}


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    for number in range(12):
        text = f"# Pump {number}\n\nPump number {number} moves water through valve{number}x into the upper tank.\n"
        (folder / f"pump-{number}.md").write_text(text)
    return folder


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with Daemon(tmp_path / "data", **FLOAT32) as started:
        yield started


def run(daemon_or_folder: Daemon | Path, *arguments: str, fresh: bool = False, **settings: str) -> Any:
    """Run a command of `indexer` on the data folder."""
    folder = daemon_or_folder.data_dir if isinstance(daemon_or_folder, Daemon) else daemon_or_folder
    return command("indexer", *arguments, data_dir=folder, fresh=fresh, **(FLOAT32 | settings))


def top(daemon: Daemon, text: str, **asked: object) -> list[str]:
    """Return the file names of the hits."""
    body = {"q": text, "rerank": {"enabled": False}} | asked
    answer = httpx.post(f"{daemon.url}/api/search", json=body, timeout=30, trust_env=False)
    assert answer.status_code == 200, answer.text
    return [hit["uri"].rsplit("/", 1)[-1] for hit in answer.json()["hits"]]


def test_head_sends_no_body(daemon: Daemon) -> None:
    host, port = daemon.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as raw:
        raw.sendall(f"HEAD /healthz HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: raw.recv(4096), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert b"content-length: 15" in head.lower()
    assert body == b""


def test_add_hands_over_to_the_daemon_waits_and_adds_nothing_twice(daemon: Daemon, docs: Path) -> None:
    done = run(daemon, "add", str(docs))
    assert done.returncode == 0, done.stderr
    assert "12 accepted, 0 unchanged" in done.stderr
    assert top(daemon, "valve7x", mode="lexical") == ["pump-7.md"]

    again = run(daemon, "add", str(docs))
    assert (again.returncode, "Nothing to do: 0 accepted, 12 unchanged" in again.stderr) == (0, True), again.stderr

    (docs / "pump-3.md").write_text("# Pump 3\n\nIt was replaced by a turbine with gate99x.\n")
    (docs / "pump-4.md").unlink()
    (docs / "broken.pdf").write_bytes(b"%PDF-1.7 this is no pdf")
    changed = run(daemon, "add", str(docs / ".." / "docs"), "--prune")
    assert changed.returncode == 1
    assert "2 accepted, 10 unchanged, 1 removed" in changed.stderr
    assert "broken.pdf" in changed.stderr
    assert top(daemon, "gate99x", mode="lexical") == ["pump-3.md"]
    assert top(daemon, "valve3x", mode="lexical") == top(daemon, "valve4x", mode="lexical") == []

    status = json.loads(run(daemon, "status", "--json").stdout)
    assert [failure["uri"].rsplit("/", 1)[-1] for failure in status["failures"]] == ["broken.pdf"]
    assert run(daemon, "doctor").returncode == 0


def test_add_without_a_daemon_opens_the_folder_itself_and_a_daemon_finds_it_later(tmp_path: Path, docs: Path) -> None:
    done = run(tmp_path / "data", "add", str(docs), fresh=True)
    assert (done.returncode, "12 accepted" in done.stderr) == (0, True), done.stderr
    assert run(tmp_path / "data", "doctor").returncode == 0
    with Daemon(tmp_path / "data", fresh=True, **FLOAT32) as daemon:
        assert top(daemon, "valve7x", mode="lexical") == ["pump-7.md"]


def test_no_wait_leaves_the_work_to_a_daemon_that_starts_later(tmp_path: Path, docs: Path) -> None:
    done = run(tmp_path / "data", "add", str(docs), "--no-wait")
    assert done.returncode == 0, done.stderr
    with Daemon(tmp_path / "data", **FLOAT32) as daemon:
        assert run(daemon, "add", str(docs)).returncode == 0
        end = time.monotonic() + 30
        while top(daemon, "valve7x", mode="lexical") != ["pump-7.md"]:
            assert time.monotonic() < end
            time.sleep(0.2)


def test_a_second_owner_gets_one_clear_line(daemon: Daemon) -> None:
    for arguments in (("searchd", "serve", "--port", "0"), ("indexer", "run")):
        refused = command(*arguments, data_dir=daemon.data_dir, **FLOAT32)
        assert refused.returncode != 0
        (line,) = [line for line in refused.stderr.splitlines() if line.strip()]
        assert daemon.url in line
        assert "is in use" in line
        assert "SEARCHD_DATA_DIR" in line


def test_changed_sizes_are_noticed_at_start_and_a_rebuild_switches(tmp_path: Path, docs: Path) -> None:
    data = tmp_path / "data"
    assert run(data, "add", str(docs)).returncode == 0
    smaller = {"SEARCHD_PASSAGE_TOKENS": "24", "SEARCHD_PASSAGE_OVERLAP_TOKENS": "0"}
    refused = command("searchd", "serve", "--port", "0", data_dir=data, **FLOAT32, **smaller)
    assert refused.returncode == 2
    assert refused.stderr.rstrip().endswith("indexer rebuild --collection default")
    rebuilt = run(data, "rebuild", **smaller)
    assert rebuilt.returncode == 0, rebuilt.stderr
    with Daemon(data, **FLOAT32, **smaller) as daemon:
        assert top(daemon, "valve7x", mode="lexical") == ["pump-7.md"]
        assert run(daemon, "doctor", **smaller).returncode == 0


def test_search_goes_on_while_a_rebuild_with_other_sizes_switches(daemon: Daemon, docs: Path) -> None:
    assert run(daemon, "add", str(docs)).returncode == 0
    wrong: list[object] = []
    asked = 0
    smaller = {"SEARCHD_PASSAGE_TOKENS": "32", "SEARCHD_PASSAGE_OVERLAP_TOKENS": "0"}
    least: list[int] = []  # questions, once the rebuild has ended

    def ask() -> None:
        nonlocal asked
        while not least or asked < least[0]:
            number = asked % 12
            for mode in ("lexical", "hybrid"):
                found = top(daemon, f"valve{number}x", mode=mode)
                if found[:1] != [f"pump-{number}.md"]:
                    wrong.append((mode, number, found))
            asked += 1

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        rebuilt = run(daemon, "rebuild", **smaller)
        assert rebuilt.returncode == 0, rebuilt.stderr
    finally:
        least.append(asked + 13)
        asking.join()
    assert wrong == []
    assert run(daemon, "doctor", **smaller).returncode == 0
    assert "passage_tokens 32 -> 200" in run(daemon, "doctor").stdout
