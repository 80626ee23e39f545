"""Sources: folders walked in a fixed order, what cannot be read named, and the documentation of Python itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from indexer.formats.table import parse
from indexer.settings import Settings
from indexer.sources.folder import UnreadableFile, walk
from indexer.sources.python_docs import walk_python_docs
from indexer.types import SourceFile

SETTINGS = Settings()


def names(found: list[SourceFile | UnreadableFile]) -> list[str]:
    return [one.name if isinstance(one, SourceFile) else f"! {one.code}" for one in found]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "docs"
    (root / "sub").mkdir(parents=True)
    (root / ".git").mkdir()
    for name in ("b.md", "a.txt", "sub/c d é.rst", ".hidden", ".git/config"):
        (root / name).write_text(f"text of {name}")
    return root


def test_files_come_once_in_a_fixed_order_without_hidden_ones(folder: Path) -> None:
    found = list(walk([folder, folder / "a.txt"], SETTINGS))
    assert names(found) == ["a.txt", "b.md", "c d é.rst"]
    assert found == list(walk([folder], SETTINGS))
    assert found[2].uri == (folder / "sub" / "c d é.rst").as_uri()


def test_a_touched_file_is_the_same_source(folder: Path) -> None:
    before = list(walk([folder], SETTINGS))
    os.utime(folder / "a.txt", (1, 1))
    assert list(walk([folder], SETTINGS)) == before


def test_a_file_gives_the_same_source_whichever_folder_it_is_reached_by(folder: Path) -> None:
    (alone,) = walk([folder / "sub"], SETTINGS)
    assert alone in list(walk([folder], SETTINGS))


def test_links_are_followed_only_to_files_within_the_folder(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "outside.txt").write_text("secret")
    (folder / "out.txt").symlink_to(tmp_path / "outside.txt")
    (folder / "in.txt").symlink_to(folder / "a.txt")
    (folder / "loop").symlink_to(folder)
    (folder / "dangling").symlink_to(folder / "nowhere")
    assert names(list(walk([folder], SETTINGS))) == ["a.txt", "b.md", "in.txt", "c d é.rst"]


def test_what_cannot_be_read_is_named_and_nothing_blocks(folder: Path) -> None:
    os.mkfifo(folder / "pipe.txt")
    with (folder / "huge.txt").open("wb") as file:
        file.truncate(SETTINGS.max_document_mb * 1_000_000 + 1)
    found = list(walk([folder], SETTINGS))
    assert names(found) == ["a.txt", "b.md", "! too_large", "! unreadable", "c d é.rst"]


def test_the_documentation_of_python_has_titles_addresses_and_text() -> None:
    found = list(walk_python_docs())
    assert len({one.uri for one in found}) == len(found) > 200
    assert all(one.uri.startswith("https://docs.python.org/3") for one in found)
    by_name = {one.name: one for one in found}
    document = parse("argparse.md", by_name["argparse.md"].content)[0]
    assert document.title.startswith("argparse")
    assert any(block.kind == "code" for block in document.blocks)
    assert sum(len(one.content) for one in found) > 1_000_000
