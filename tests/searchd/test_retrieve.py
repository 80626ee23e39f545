"""Retrieval: both systems at once, and what is said of one that raises, hangs, is overloaded or has nothing to do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from indexer.engine import LiveIndexes
from indexer.errors import Busy, LimitError, TransientError
from indexer.filters import Filter
from indexer.lexical import LexicalQuery, LexicalRanking
from indexer.scope import Scope
from indexer.types import IndexedDocument, IndexedPassage, RankedPassage
from searchd.operators import meaning_of
from searchd.retrieve import Lane, Retrieval, Retriever
from searchd.services import Services
from searchd.types import Query
from tests.searchd.library import ask

SCOPE = Scope.of("default")


@dataclass
class OwnLexical:
    """A lexical index that answers as it is told."""

    answer: Callable[[], LexicalRanking]

    def search(self, query: LexicalQuery, scope: Scope, filter: Filter | None, depth: int) -> LexicalRanking:
        return self.answer()

    def matched_terms(self, query: LexicalQuery, text: str) -> tuple[tuple[int, int, str], ...]:
        return ()

    def replace(self, documents: object) -> None: ...
    def delete(self, document_ids: object) -> None: ...
    def flush(self) -> None: ...
    def refresh(self) -> None: ...
    def close(self) -> None: ...
    def verify(self) -> list[str]:
        return []

    def scan(self) -> Iterator[IndexedPassage]:
        return iter(())


@dataclass
class OwnVectors:
    """A vector index that answers as it is told."""

    answer: Callable[[], tuple[RankedPassage, ...]]

    def search(
        self, vector: NDArray[np.float32], scope: Scope, filter: Filter | None, depth: int
    ) -> tuple[RankedPassage, ...]:
        return self.answer()

    def replace(self, documents: list[IndexedDocument]) -> None: ...
    def delete(self, document_ids: object) -> None: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...
    def verify(self) -> list[str]:
        return []

    def optimize(self) -> bool:
        return False

    def scan(self) -> Iterator[tuple[IndexedPassage, NDArray[np.float32]]]:
        return iter(())


def broken(*_: object) -> LexicalRanking:
    raise RuntimeError("the disk is on fire at /secret/path")


def retrieve(
    live: LiveIndexes, query: Query, *, within_s: float = 20.0, retriever: Retriever | None = None
) -> Retrieval:
    deadline = time.monotonic() + within_s
    return (retriever or Retriever()).retrieve(live, query, meaning_of(query), SCOPE, 20, deadline)


@pytest.fixture
def live(services: Services) -> LiveIndexes:
    return services.engine.live("default")


def test_both_systems_rank_and_report_in_full(services: Services, live: LiveIndexes) -> None:
    found = retrieve(live, ask(services, "refund to the card"))
    assert [ranking.system for ranking in found.rankings] == ["bm25", "dense"]
    assert [report.status for report in found.reports] == ["full", "full"]
    assert found.degraded == ()
    bm25 = found.ranking("bm25")
    assert bm25 is not None
    assert bm25.passages[0].document_id == "refunds"
    assert "refunds" in found.lexical_documents


def test_systems_run_at_the_same_time(services: Services, live: LiveIndexes) -> None:
    meeting = threading.Barrier(2, timeout=10)

    def lexical() -> LexicalRanking:
        meeting.wait()
        return LexicalRanking((), frozenset(), True)

    def vectors() -> tuple[RankedPassage, ...]:
        meeting.wait()
        return ()

    found = retrieve(replace(live, lexical=OwnLexical(lexical), vectors=OwnVectors(vectors)), ask(services, "pump"))
    assert found.degraded == ()


@pytest.mark.parametrize(("mode", "runs", "rests"), [("lexical", "bm25", "dense"), ("semantic", "dense", "bm25")])
def test_a_mode_runs_one_system_and_says_so_of_the_other(
    services: Services, live: LiveIndexes, mode: str, runs: str, rests: str
) -> None:
    found = retrieve(live, ask(services, "refund", mode=mode))
    reports = {report.name: report for report in found.reports}
    assert [ranking.system for ranking in found.rankings] == [runs]
    assert (reports[rests].status, reports[rests].reason) == ("skipped", f"mode is {mode}")
    assert found.degraded == ()


def test_a_system_that_raises_is_named_without_its_inner_words(services: Services, live: LiveIndexes) -> None:
    found = retrieve(replace(live, lexical=OwnLexical(broken)), ask(services, "refund"))
    reports = {report.name: report for report in found.reports}
    assert (reports["bm25"].status, reports["bm25"].reason) == ("failed", "RuntimeError; the daemon's log says more")
    assert found.degraded == ("bm25",)
    assert [ranking.system for ranking in found.rankings] == ["dense"]


def test_a_system_that_hangs_is_given_up_at_the_deadline(services: Services, live: LiveIndexes) -> None:
    release = threading.Event()
    retrieve(live, ask(services, "refund"))

    def hanging() -> LexicalRanking:
        release.wait(30)
        return LexicalRanking((), frozenset(), True)

    started = time.monotonic()
    found = retrieve(replace(live, lexical=OwnLexical(hanging)), ask(services, "refund"), within_s=0.5)
    release.set()
    assert time.monotonic() - started < 5
    assert found.degraded == ("bm25",)
    assert "no answer within" in (found.reports[0].reason or "")


def test_hung_calls_are_bounded_then_the_system_is_skipped_and_recovers(services: Services, live: LiveIndexes) -> None:
    release = threading.Event()

    def hanging() -> LexicalRanking:
        release.wait(30)
        return LexicalRanking((), frozenset(), True)

    hung, retriever, query = replace(live, lexical=OwnLexical(hanging)), Retriever(2), ask(services, "refund")
    for _ in range(2):
        assert retrieve(hung, query, within_s=0.3, retriever=retriever).reports[0].status == "failed"
    third = retrieve(hung, query, within_s=5, retriever=retriever)
    assert third.reports[0].status == "skipped"
    assert (third.reports[0].reason or "").startswith("busy")
    assert third.degraded == ("bm25",)
    release.set()
    end = time.monotonic() + 10
    while retrieve(live, query, retriever=retriever).degraded:
        assert time.monotonic() < end
        time.sleep(0.02)


def test_with_no_system_left_it_is_a_transient_error(services: Services, live: LiveIndexes) -> None:
    down = replace(live, lexical=OwnLexical(broken), vectors=OwnVectors(broken))  # type: ignore[arg-type]  # it raises
    with pytest.raises(TransientError, match=r"bm25: RuntimeError.*; dense: RuntimeError"):
        retrieve(down, ask(services, "refund"))
    with pytest.raises(TransientError):
        retrieve(down, ask(services, "refund", mode="lexical"))


def test_what_the_caller_did_wrong_is_not_a_fault_of_the_system(services: Services, live: LiveIndexes) -> None:
    def refusing() -> LexicalRanking:
        raise LimitError("filter: too long")

    with pytest.raises(LimitError):
        retrieve(replace(live, lexical=OwnLexical(refusing)), ask(services, "refund"))


def test_a_query_of_prohibitions_has_no_meaning_to_embed(services: Services, live: LiveIndexes) -> None:
    found = retrieve(live, ask(services, "-valve"))
    assert found.reports[1].status == "skipped"
    assert found.degraded == ()


def test_a_deep_page_gets_as_many_documents_as_there_are(services: Services, live: LiveIndexes) -> None:
    deadline = time.monotonic() + 20
    for wanted in (5, 60, 500):
        query = ask(services, "valve")
        first = retrieve(live, query)
        found = Retriever().deeper(live, query, SCOPE, first, wanted, deadline)
        assert len({passage.document_id for passage in found}) >= min(wanted, 60)


def test_a_lane_takes_no_more_than_it_has_places() -> None:
    release = threading.Event()
    lane = Lane("bm25", 1)
    first = lane.start(lambda: release.wait(10))
    with pytest.raises(Busy):
        lane.start(lambda: True)
    release.set()
    assert first.result(10)[0] is True
