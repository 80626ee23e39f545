"""The LexicalIndex contract, run over every implementation (one today: Tantivy)."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from indexer.filters import parse_filter
from indexer.lexical import LexicalIndex, LexicalQuery
from indexer.lexical.query import parse_query
from indexer.lexical.tantivy import MATCHES_KEPT, TantivyIndex
from indexer.scope import Scope
from tests.indexer.lexical.documents import EVERYONE, document, found, ranking

Opener = Callable[[Path], LexicalIndex]
OPENERS: dict[str, Opener] = {"tantivy": lambda folder: TantivyIndex(folder / "index", "en")}


@pytest.fixture(params=sorted(OPENERS))
def opener(request: pytest.FixtureRequest) -> Opener:
    return OPENERS[request.param]


@pytest.fixture
def index(opener: Opener, tmp_path: Path) -> Iterator[LexicalIndex]:
    opened = opener(tmp_path)
    yield opened
    opened.close()


class TestLexicalIndex:
    def test_an_empty_index_finds_nothing_and_is_sound(self, index: LexicalIndex) -> None:
        assert ranking(index, "pump").passages == ()
        assert list(index.scan()) == []
        assert index.verify() == []
        index.flush()
        index.refresh()
        assert index.verify() == []

    def test_a_query_of_nothing_or_of_negatives_only_matches_nothing(self, index: LexicalIndex) -> None:
        index.replace([document("a", "pump")])
        index.flush()
        for text in ("", "?", "-valve", '-"old valve" -title:x'):
            assert ranking(index, text).document_ids == frozenset()
        assert index.search(LexicalQuery(()), EVERYONE, None, 5).passages == ()
        assert index.search(parse_query("pump"), EVERYONE, None, 0).passages == ()

    def test_a_change_is_seen_after_the_flush_and_not_before(self, index: LexicalIndex) -> None:
        index.replace([document("a", "the pump")])
        assert found(index, "pump") == []
        index.flush()
        assert found(index, "pump") == ["a"]
        index.delete(["a", "unknown"])
        assert found(index, "pump") == ["a"]
        index.flush()
        assert found(index, "pump") == []

    def test_replacing_takes_the_place_of_all_passages_and_repeats_without_effect(self, index: LexicalIndex) -> None:
        index.replace([document("a", "pump one", "pump two", "pump three"), document("b", "pump")])
        index.flush()
        for _ in range(2):
            index.replace([document("a", "valve", version=2)])
        index.flush()
        assert {(p.passage_id, p.document_id, p.version) for p in index.scan()} == {("a-0", "a", 2), ("b-0", "b", 1)}
        assert found(index, "pump") == ["b"]
        index.replace([document("a", "gear", version=3), document("a", "rotor", version=4), document("b")])
        index.flush()
        assert {(p.passage_id, p.version) for p in index.scan()} == {("a-0", 4)}

    def test_unflushed_changes_are_dropped_on_closing(self, opener: Opener, tmp_path: Path) -> None:
        first = opener(tmp_path)
        first.replace([document("a", "pump")])
        first.flush()
        first.replace([document("b", "pump")])
        first.close()
        again = opener(tmp_path)
        assert found(again, "pump") == ["a"]
        again.replace([document("c", "pump")])  # the lock was let go
        again.flush()
        assert sorted(found(again, "pump")) == ["a", "c"]
        again.close()

    def test_another_opening_sees_a_commit_after_refresh(self, opener: Opener, tmp_path: Path) -> None:
        writer, reader = opener(tmp_path), opener(tmp_path)
        for number in range(12):  # files are merged meanwhile
            writer.replace([document(f"d{number}", "pump")])
            writer.flush()
            reader.refresh()
            assert len(found(reader, "pump")) == number + 1
        writer.close()
        reader.close()

    def test_the_best_come_first_and_depth_cuts(self, index: LexicalIndex) -> None:
        index.replace([document(f"d{n}", "pump " * n + "filler " * (10 - n)) for n in range(1, 9)])
        index.flush()
        best = ranking(index, "pump", depth=3)
        assert [p.document_id for p in best.passages] == ["d8", "d7", "d6"]
        assert [p.score for p in best.passages] == sorted((p.score for p in best.passages), reverse=True)
        assert best.document_ids == {f"d{n}" for n in range(1, 9)}
        assert best.complete

    def test_ties_are_broken_by_passage_id_however_many(self, index: LexicalIndex) -> None:
        names = [f"d{(n * 37) % 200:03d}" for n in range(200)]
        for start in range(0, 200, 67):
            index.replace([document(name, "the same pump and valve") for name in names[start : start + 67]])
            index.flush()
        for depth in (1, 10, 150, 200, 500):
            passages = ranking(index, "pump valve", depth=depth).passages
            assert [p.document_id for p in passages] == sorted(names)[:depth]

    def test_a_deeper_look_only_appends_however_many_tie(self, index: LexicalIndex) -> None:
        for start in range(0, 9000, 4500):
            index.replace([document(f"d{n * 7919 % 9000:04d}", "pump") for n in range(start, start + 4500)])
            index.flush()
        looks = [[p.passage_id for p in ranking(index, "pump", depth=depth).passages] for depth in (7, 100, 440, 480)]
        assert [len(look) for look in looks] == [7, 100, 440, 480]
        assert all(longer[: len(look)] == look for look, longer in itertools.pairwise(looks))

    def test_more_matches_than_are_kept_are_said_to_be_incomplete(self, index: LexicalIndex) -> None:
        index.replace([document(f"d{n}", "pump") for n in range(MATCHES_KEPT + 1)])
        index.flush()
        many = ranking(index, "pump", depth=5)
        assert len(many.document_ids) == MATCHES_KEPT
        assert not many.complete
        index.delete(["d7"])
        index.flush()
        assert ranking(index, "pump", depth=5).complete

    def test_a_principal_never_sees_what_is_anothers(self, index: LexicalIndex) -> None:
        index.replace(
            [
                document("open", "pump"),
                document("anns", "pump pump", access=("ann",)),
                document("bobs", "pump pump pump", access=("bob", "team/x y")),
                document("nobodys", "pump pump pump pump", access=()),
            ]
        )
        index.flush()
        seen = {
            name: set(found(index, "pump", Scope.of("c", [name]))) for name in ("ann", "bob", "team/x y", "team", "")
        }
        assert seen["ann"] == {"open", "anns"}
        assert seen["bob"] == seen["team/x y"] == {"open", "bobs"}
        assert seen["team"] == seen[""] == {"open"}
        assert ranking(index, "pump", Scope("c", frozenset({"ann"})), 1).document_ids == {"anns"}
        assert ranking(index, "pump", Scope("c", frozenset())).document_ids == frozenset()
        assert ranking(index, "pump", depth=1).passages[0].document_id == "open"  # applied before the cut

    def test_scope_and_filter_add_nothing_to_a_score(self, index: LexicalIndex) -> None:
        index.replace(
            [document(f"d{n}", "pump " * (n + 1), metadata={"n": n}, access=("public", "ann")) for n in range(5)]
        )
        index.flush()
        plain = ranking(index, "pump").passages
        narrow = index.search(parse_query("pump"), Scope.of("c", ["ann", "bob"]), parse_filter("n >= 0 AND NOT x"), 9)
        assert narrow.passages == plain
        two = index.search(parse_query("pump"), EVERYONE, parse_filter("n IN [1, 3]"), 1)
        assert two.document_ids == {"d1", "d3"}
        assert [p.document_id for p in two.passages] == ["d3"]

    def test_signs_require_forbid_and_bind_to_the_title(self, index: LexicalIndex) -> None:
        index.replace(
            [
                document("a", "the pump drives", title="Valve"),
                document("b", "the valve closes", title="Pumps"),
                document("c", "pump and valve", title="Gear box"),
            ]
        )
        index.flush()
        assert set(found(index, "pump valve")) == {"a", "b", "c"}
        assert set(found(index, "+pump valve")) == {"a", "b", "c"}
        assert found(index, "pump -gear") == ["a", "b"] or found(index, "pump -gear") == ["b", "a"]
        assert found(index, "+pump +closes") == ["b"]
        assert found(index, "title:pump") == ["b"]
        assert found(index, 'title:"gear box" pump') == ["c"]
        assert found(index, "pump -title:valve -title:pumps") == ["c"]
        assert found(index, 'pump -"pump and valve" -title:pump') == ["a"]

    def test_headings_are_searched_and_a_phrase_stays_within_one(self, index: LexicalIndex) -> None:
        index.replace([document("a", "some text", headings=("Water pumps", "Safety valves"))])
        index.flush()
        assert found(index, "pump") == ["a"]
        assert found(index, '"safety valves"') == ["a"]
        assert found(index, '"pumps safety"') == []

    def test_scan_gives_every_passage_once(self, index: LexicalIndex) -> None:
        for start in (0, 3000):
            index.replace([document(f"d{n}", "a", "b", version=n) for n in range(start, start + 3000)])
            index.flush()
        index.delete([f"d{n}" for n in range(0, 6000, 2)])
        index.flush()
        held = list(index.scan())
        assert len(held) == len(set(held)) == 6000
        assert all(p.document_id == f"d{p.version}" and p.version % 2 == 1 for p in held)

    def test_searches_go_on_while_another_thread_writes(self, index: LexicalIndex) -> None:
        index.replace([document("fixed", "pump")])
        index.flush()
        errors: list[BaseException] = []

        def search() -> None:
            try:
                for _ in range(100):
                    assert "fixed" in found(index, "pump")
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=search) for _ in range(3)]
        for thread in threads:
            thread.start()
        for n in range(8):
            index.replace([document(f"d{n % 3}", "pump " * n, version=n)])
            index.flush()
        for thread in threads:
            thread.join()
        assert errors == []
