"""A judge's pages from what is known of a set: long sets are listed in part, and say so."""

from __future__ import annotations

from indexer.store.judged import JudgedQuery, JudgedSet
from indexer.types import PUBLIC
from searchd.api.principals import Caller
from searchd.judge.progress import Progress
from web.judge_views import LISTED, Desk, set_page
from web.render import markup


def page_of(count: int) -> str:
    queries = [JudgedQuery(f"q{number}", f"words {number}", "file", number) for number in range(1, count + 1)]
    one = JudgedSet("id", "default", "big", "judged", False, 1.0)
    caller = Caller(frozenset({PUBLIC}), True)
    return markup(set_page(Desk(caller, one, Progress.of(queries, {}, 10), 0)))


def test_a_set_of_many_queries_is_listed_in_part_and_says_so() -> None:
    page = page_of(LISTED + 234)
    assert page.count("<tr>") == LISTED + 1
    assert "The first 1,000 of 1,234." in page
    assert "The first" not in page_of(12)
