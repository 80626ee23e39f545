"""What `searchd demo` prints of a question: every part, what it puts first, what moved, and the time it took."""

from __future__ import annotations

import io

from rich.console import Console

from searchd.demo import place, table_of
from searchd.services import Services
from searchd.types import Candidate
from tests.searchd.library import ask
from tests.searchd.test_pipeline import EVERYONE


def printed(services: Services, text: str, **options: object) -> list[list[str]]:
    """Return the cells of a question's table, a list a row."""
    response = services.pipeline.search(ask(services, text, **options), EVERYONE)
    console = Console(file=io.StringIO(), width=200)
    console.print(table_of(text, response))
    assert isinstance(console.file, io.StringIO)
    rows = console.file.getvalue().splitlines()
    return [[cell for cell in row.split("  ") if cell.strip()] for row in rows]


def test_every_system_and_stage_has_a_row_with_its_first_passage_and_its_time(services: Services) -> None:
    rows = printed(services, "valve of pump number 7", limit=1)
    assert rows[0][0].strip() == "? valve of pump number 7"
    assert [row[0].strip() for row in rows[2:7]] == ["bm25", "dense", "rrf", "small", "large"]
    for row in rows[2:7]:
        assert "Manual" in row[1]
        assert row[-1].strip().isdecimal()
    assert "of 12 moved" in rows[5][2]
    assert "whole query" in rows[7][0]


def test_a_part_that_did_not_run_says_why(services: Services) -> None:
    rows = printed(services, "refund", mode="lexical", rerank={"stages": ["small"]})
    assert rows[3][1].strip() == "mode is lexical"
    assert rows[6][1].strip() == "not among the stages asked for"


def test_a_place_is_title_and_innermost_heading_and_no_word_twice() -> None:
    def shown(title: str, *path: str) -> str:
        return place(Candidate("p", "d", {}, {}, title=title, heading_path=path, uri="file:///a.txt"))

    assert shown("Guide", "Guide", "Install", "On Linux") == "Guide > On Linux"
    assert shown("csv", "csv", "csv.reader(file)") == "csv.reader(file)"
    assert shown("Guide", "Guide") == "Guide"
    assert shown("Guide") == "Guide"
    assert shown("") == "file:///a.txt"
