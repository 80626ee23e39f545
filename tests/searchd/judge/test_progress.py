"""Which queries of a set wait, and which is next."""

from __future__ import annotations

from indexer.store.judged import JudgedQuery
from searchd.judge.progress import ENOUGH, Progress


def queries(*names: str, aside: str = "") -> list[JudgedQuery]:
    return [JudgedQuery(name, name, "file", place, 1.0 if name in aside else None) for place, name in enumerate(names)]


def test_a_query_waits_until_it_has_enough_judgments_or_is_put_aside() -> None:
    progress = Progress.of(queries("a", "b", "c", "d", aside="c"), {"a": ENOUGH, "b": ENOUGH - 1}, 1000)
    assert [one.query_id for one in progress.waiting] == ["b", "d"]
    assert progress.judged == 2


def test_of_a_small_collection_no_more_is_asked_than_it_has() -> None:
    assert Progress.of(queries("a", "b"), {"a": 3}, 3).waiting == (queries("a", "b")[1],)
    assert Progress.of(queries("a"), {}, 0).waiting


def test_the_next_query_is_after_this_one_and_after_the_end_the_first_that_waits() -> None:
    progress = Progress.of(queries("a", "b", "c", "d", aside="b"), {"d": ENOUGH}, 1000)
    following = [progress.after(name) for name in ("", "a", "b", "c", "unknown")]
    assert [one.query_id if one else None for one in following] == ["a", "c", "c", "a", "a"]


def test_a_query_is_not_its_own_next_one() -> None:
    assert Progress.of(queries("a"), {}, 1000).after("a") is None
    assert Progress.of([], {}, 1000).after() is None
