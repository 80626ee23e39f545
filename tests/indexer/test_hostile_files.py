"""Hostile files: each is indexed or fails with a named code; the pool and this process live on unharmed."""

from __future__ import annotations

from collections.abc import Iterator

import psutil
import pytest

from indexer.errors import ParseFailure
from indexer.formats import FAILURE_CODES
from indexer.parsing import ParserPool
from indexer.settings import Settings
from tests.hostile import hostile_files

EXPECTED = {
    "bomb-100mb.docx": "unpacks_too_large",
    "bomb-media.docx": "unpacks_too_large",
    "members.docx": "too_many_members",
    "nested-zip.docx": "nested_archive",
    "nested-disguised.docx": "nested_archive",
    "laughs.docx": "malformed",
    "external.docx": "malformed",
    "encrypted.docx": "encrypted",
    "locked-member.docx": "encrypted",
    "truncated.docx": "malformed",
    "empty.docx": "empty",
    "beyond.docx": "malformed",
    "bomb-of-one-that-lies.docx": "unpacks_too_large",
    "encrypted-rc4.pdf": "encrypted",
    "no-pages.pdf": "empty",
    "deep.jsonl": "malformed",
    "types.jsonl": "malformed",
    "many.jsonl": "too_large",
    "columns.csv": "too_large",
    "rows.csv": "too_large",
    "empty.txt": "empty",
    "blank.md": "empty",
    "program.txt": "not_text",
    "picture.txt": "not_text",
    "packed.txt": "not_text",
    "program.exe": "unknown_type",
    "nul.txt": "not_text",
}
MAX_GROWTH_BYTES = 50_000_000


@pytest.fixture(scope="module")
def pool() -> Iterator[ParserPool]:
    made = ParserPool(Settings(parser_processes=1, parser_memory_mb=400, parser_cpu_s=3, parser_wall_s=8))
    made.parse("warm.txt", b"up")
    yield made
    made.close()


def test_every_hostile_file_is_indexed_or_fails_by_name_and_nobody_is_harmed(pool: ParserPool) -> None:
    files = list(hostile_files())
    assert len({name for name, _ in files}) == len(files) >= 60
    this = psutil.Process()
    before = this.memory_info().rss
    outcomes: dict[str, str] = {}
    for name, content in files:
        try:
            documents = pool.parse(name, content)
        except ParseFailure as failed:
            outcomes[name] = failed.code
            assert failed.code in FAILURE_CODES, f"{name}: {failed.code}"
            assert str(failed), name
        else:
            outcomes[name] = "indexed"
            assert any(document.text.strip() for document in documents), name
            for document in documents:
                document.text.encode()
                assert "root:x:0" not in document.text, name
                assert all(0 <= b.start < b.end <= len(document.text) for b in document.blocks), name
            del documents
    assert {name: outcomes[name] for name in EXPECTED} == EXPECTED
    assert this.memory_info().rss - before < MAX_GROWTH_BYTES
    assert pool.parse("after.md", b"# Still\n\nhere")[0].title == "Still"
