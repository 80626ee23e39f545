"""What befalls the index's folder: crashes, several writers, damage, loss."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from indexer.errors import Busy, StaleIndex, TransientError
from indexer.lexical.manifest import MANIFEST
from indexer.lexical.tantivy import TantivyIndex
from tests.indexer.lexical.documents import document, found, ranking

SPAWN = multiprocessing.get_context("spawn")


def filled(path: Path) -> Path:
    """Make an index of two files with deletions."""
    index = TantivyIndex(path, "en")
    index.replace([document(f"d{n}", f"pump number {n} " + "valve " * (n % 7)) for n in range(300)])
    index.flush()
    index.replace([document(f"d{n}", "gear pump", version=2) for n in range(20)])
    index.flush()
    index.close()
    return path


def write_and_wait(path: Path, written: Event) -> None:
    index = TantivyIndex(path, "en")
    index.replace([document(f"lost{n}", "pump") for n in range(50)])
    written.set()
    signal.pause()


def test_a_killed_writer_loses_only_what_was_not_flushed_and_its_lock(tmp_path: Path) -> None:
    path = filled(tmp_path / "index")
    written = SPAWN.Event()
    process = SPAWN.Process(target=write_and_wait, args=(path, written))
    process.start()
    assert written.wait(30)
    waiting = TantivyIndex(path, "en", lock_wait_s=0.1)
    with pytest.raises(Busy, match="another process"):
        waiting.replace([document("x", "pump")])
    process.kill()
    process.join()
    assert len(ranking(waiting, "pump", depth=999).document_ids) == 300
    waiting.replace([document("x", "pump")])
    waiting.flush()
    assert len(ranking(waiting, "pump", depth=999).document_ids) == 301
    assert waiting.verify() == []
    waiting.close()


def write_in_turn(path: Path, name: str) -> None:
    index = TantivyIndex(path, "en")
    for n in range(5):
        index.replace([document(f"{name}{n}", f"pump {name}")])
        index.flush()
    index.close()


def test_processes_write_in_turn_and_lose_nothing(tmp_path: Path) -> None:
    path = filled(tmp_path / "index")
    processes = [SPAWN.Process(target=write_in_turn, args=(path, name)) for name in ("left", "right")]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    index = TantivyIndex(path, "en")
    assert {p.document_id for p in index.scan()} >= {f"{name}{n}" for name in ("left", "right") for n in range(5)}
    assert len(list(index.scan())) == 310
    assert index.verify() == []
    index.close()


def committed_files(path: Path) -> list[Path]:
    return sorted(f for f in path.iterdir() if f.is_file() and not f.name.startswith(".") and f.suffix != ".lock")


def is_watched(file: Path) -> bool:
    return file.name != "managed.json" and file.name != MANIFEST and file.suffix not in (".lock", ".managed")


def test_every_changed_byte_is_noticed(tmp_path: Path) -> None:
    sound = filled(tmp_path / "sound")
    draw = random.Random(7)
    for number, file in enumerate(f for f in committed_files(sound) if is_watched(f)):
        path = tmp_path / f"damaged{number}"
        shutil.copytree(sound, path)
        content = bytearray((path / file.name).read_bytes())
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        (path / file.name).write_bytes(content)
        try:
            index = TantivyIndex(path, "en")
        except StaleIndex as error:
            assert str(error).endswith("run: indexer rebuild")
            continue
        assert any(file.name in sentence for sentence in index.verify()), file.name
        index.close()


def test_a_missing_or_shortened_file_is_refused_at_once_with_the_command(tmp_path: Path) -> None:
    sound = filled(tmp_path / "sound")
    for number, file in enumerate(f for f in committed_files(sound) if is_watched(f)):
        for how in ("missing", "shortened"):
            path = tmp_path / f"{how}{number}"
            shutil.copytree(sound, path)
            if how == "missing":
                (path / file.name).unlink()
            else:
                content = (path / file.name).read_bytes()
                (path / file.name).write_bytes(content[: len(content) // 2])
            with pytest.raises(StaleIndex, match=r"run: indexer rebuild$"):
                TantivyIndex(path, "en")


def test_an_opened_index_refuses_damage_on_refresh(tmp_path: Path) -> None:
    path = filled(tmp_path / "index")
    index = TantivyIndex(path, "en")
    (path / "meta.json").write_text("{}")
    with pytest.raises(StaleIndex, match=r"run: indexer rebuild$"):
        index.refresh()
    assert index.verify()
    assert len(found(index, "pump")) > 0  # what is open is searched on
    index.close()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"segments": 3}', "\xff\xfe"])
def test_a_damaged_list_of_checksums_is_said(tmp_path: Path, text: str) -> None:
    path = filled(tmp_path / "index")
    (path / MANIFEST).write_text(text)
    with pytest.raises(StaleIndex, match="checksums"):
        TantivyIndex(path, "en")


def test_an_index_of_another_schema_is_refused(tmp_path: Path) -> None:
    code = (
        "import tantivy, sys; b = tantivy.SchemaBuilder(); b.add_text_field('x'); "
        "i = tantivy.Index(b.build(), sys.argv[1]); w = i.writer(15_000_000, 1); w.commit()"
    )
    path = tmp_path / "other"
    path.mkdir()
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    with pytest.raises(StaleIndex, match=r"run: indexer rebuild$"):
        TantivyIndex(path, "en")


def test_a_commit_whose_checksums_were_not_recorded_is_sound_and_recorded_by_the_next(tmp_path: Path) -> None:
    path = filled(tmp_path / "index")
    before = (path / MANIFEST).read_bytes()
    index = TantivyIndex(path, "en")
    index.replace([document("new", "pump")])
    index.flush()
    recorded = (path / MANIFEST).read_bytes()
    (path / MANIFEST).write_bytes(before)  # as if the process had died in between
    assert index.verify() == []
    index.close()
    again = TantivyIndex(path, "en")
    again.replace([document("newer", "pump")])
    again.flush()
    assert again.verify() == []
    assert (path / MANIFEST).read_bytes() != recorded
    again.close()


def test_a_closed_index_says_so(tmp_path: Path) -> None:
    index = TantivyIndex(tmp_path / "index", "en")
    index.close()
    index.close()
    with pytest.raises(TransientError, match="closed"):
        found(index, "pump")
    with pytest.raises(TransientError, match="closed"):
        index.replace([document("a", "pump")])


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
def test_a_folder_that_cannot_be_written_is_transient(tmp_path: Path) -> None:
    path = filled(tmp_path / "index")
    path.chmod(0o500)
    index = TantivyIndex(path, "en")
    with pytest.raises(TransientError):
        index.replace([document("a", "pump")])
    path.chmod(0o700)
    index.close()
