"""What every format promises, run over the whole FORMATS table."""

from __future__ import annotations

from itertools import pairwise

import pytest

from indexer.errors import ParseFailure
from indexer.formats import FAILURE_CODES
from indexer.formats.table import FORMATS, format_of, parse
from tests.samples import SAMPLES


@pytest.mark.parametrize("name", FORMATS)
class TestFormat:
    def test_a_sample_is_known_by_its_name(self, name: str) -> None:
        file, make = SAMPLES[name]
        assert format_of(file, make()) == name

    def test_it_yields_a_title_and_the_text(self, name: str) -> None:
        file, make = SAMPLES[name]
        first = parse(file, make())[0]
        assert first.title.startswith(file if name == "text" else "The gearbox manual")
        assert "Oil is changed" in first.text

    def test_blocks_are_in_order_do_not_overlap_and_cover_the_text(self, name: str) -> None:
        file, make = SAMPLES[name]
        for document in parse(file, make()):
            assert document.blocks
            covered = [False] * len(document.text)
            for block in document.blocks:
                assert 0 <= block.start < block.end <= len(document.text)
                covered[block.start : block.end] = [True] * (block.end - block.start)
                assert document.text[block.start : block.end].strip()
            assert all(a.end <= b.start for a, b in pairwise(document.blocks))
            assert all(c or s.isspace() for c, s in zip(covered, document.text, strict=True))

    def test_equal_files_give_equal_documents(self, name: str) -> None:
        file, make = SAMPLES[name]
        content = make()
        assert parse(file, content) == parse(file, content)

    def test_an_empty_file_says_so(self, name: str) -> None:
        with pytest.raises(ParseFailure) as failed:
            parse(SAMPLES[name][0], b"")
        assert failed.value.code == "empty"

    def test_noise_ends_as_a_named_failure_or_as_text(self, name: str) -> None:
        for noise in (b"\x00\x01\x02\x03" * 500, b"\xff\xfe\x00", b"PK\x03\x04" + b"\x00" * 100, b"%PDF-1.7\n%%EOF"):
            try:
                parse(SAMPLES[name][0], noise)
            except ParseFailure as failed:
                assert failed.code in FAILURE_CODES


def test_every_format_has_a_sample() -> None:
    assert set(SAMPLES) == set(FORMATS)


def test_pages_are_numbered_from_one() -> None:
    for name, count in (("pdf", 3), ("pptx", 2)):
        file, make = SAMPLES[name]
        assert {block.page for block in parse(file, make())[0].blocks} == set(range(1, count + 1))
