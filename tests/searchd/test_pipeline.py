"""The whole search: order, pages, totals, facets, sorting, access, and what becomes of it when a part is missing."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from indexer import ingest
from indexer.device import Device, Priority
from indexer.engine import Engine
from indexer.errors import Busy, ConfigError, NotFound, TransientError
from indexer.lexical import LexicalRanking
from indexer.scope import Scope
from indexer.store import profiles as store_profiles
from searchd.api.answers import answer_of
from searchd.api.schemas import SearchRequest
from searchd.api.search import query_from_request
from searchd.pipeline import SearchPipeline
from searchd.profiles import body_of
from searchd.rerank.scheduler import Scheduler
from searchd.rerank.table import RerankerCache
from searchd.rerank.types import PassageText, Reranker, ScoreRequest
from searchd.services import Services
from searchd.settings import Profile, Settings, Stage
from searchd.types import SearchResponse
from tests.searchd.library import MANUALS, PROFILES, CountingReranker, FaultyEngine, ask, index, services_over, source
from tests.searchd.test_retrieve import OwnLexical, OwnVectors
from web.asking import fusion_of
from web.explain import why_of

EVERYONE = Scope.of("default")
GROUPS = ("public", "a", "b", "c", "d")


def search(services: Services, q: str, scope: Scope = EVERYONE, **options: Any) -> SearchResponse:
    return services.pipeline.search(ask(services, q, **options), scope)


def ids(response: SearchResponse) -> list[str]:
    return [hit.candidate.document_id for hit in response.hits]


# -- order and pages ------------------------------------------------------------------------------------------------


def test_a_question_is_answered_by_the_document_about_it(services: Services) -> None:
    response = search(services, "get my money back")
    assert {"refunds", "returns"} <= set(ids(response)[:4])
    assert response.degraded == ()
    assert [report.status for report in (*response.systems, *response.stages)] == ["full"] * 4


def test_ranks_count_from_one_and_scores_say_what_ordered_them(services: Services) -> None:
    response = search(services, "valve of pump number 7", limit=30)
    assert [hit.rank for hit in response.hits] == list(range(1, 31))
    names = [hit.scored_by for hit in response.hits]
    assert names[:6] == ["large.blend"] * 6
    assert names[6:12] == ["small.blend"] * 6
    assert set(names[12:]) <= {"rrf", "bm25"}
    for name in ("large.blend", "small.blend"):
        scores = [hit.score for hit in response.hits if hit.scored_by == name]
        assert scores == sorted(scores, reverse=True)


def test_a_profile_that_fuses_scores_orders_by_their_sum_and_explains_it(services: Services) -> None:
    asked = SearchRequest(q="valve of pump number 7", profile="by-scores", limit=30, explain=True)
    query, _ = query_from_request(asked, services.settings)
    response = services.pipeline.search(query, EVERYONE)
    assert {hit.scored_by for hit in response.hits[:6]} == {"small.blend"}
    fused = [one for one in response.candidates if "linear" in one.scores]
    assert [one.scores["linear"] for one in sorted(fused, key=lambda one: one.ranks["linear"])] == sorted(
        (one.scores["linear"] for one in fused), reverse=True
    )
    profile = services.settings.profiles["by-scores"]
    answer = answer_of(response, asked, query, profile, None)
    for hit in answer.hits[:6]:
        assert hit.scores and hit.moved
        assert sum(hit.scores["linear"].parts.values()) == pytest.approx(hit.scores["linear"].score)
        assert hit.moved["small"].from_ == hit.scores["linear"].rank
    why = why_of(response.hits[0], response, fusion_of(profile))
    row = next(row for row in why.rows if row.name == "linear")
    assert row.rank and row.score == pytest.approx(answer.hits[0].scores["linear"].score)  # type: ignore[index]
    assert "0.6 x" in row.note and "z(linear)" in why.rows[-1].note


def test_a_profile_applied_to_a_collection_serves_it(services: Services) -> None:
    tuned = Profile(depth=20, stages=(msgspec.structs.replace(PROFILES["plain"].stages[0], name="only"),))
    with services.engine.database.session() as session:
        store_profiles.apply(session, "default", "tuned", body_of(tuned), author="test", why="", now=1.0)
    pipeline = SearchPipeline(services.engine, services.pipeline.cascade, services.settings)
    asked = SearchRequest(q="valve of pump number 7", profile="tuned")
    query, _ = query_from_request(asked, services.settings, pipeline.profiles)
    assert [report.name for report in pipeline.search(query, EVERYONE).stages] == ["only"]
    with services.engine.database.session() as session:
        store_profiles.activate(session, "default", "tuned", None)
    with pytest.raises(NotFound, match="no profile 'tuned'"):
        query_from_request(asked, services.settings)


@pytest.mark.parametrize("mode", ["hybrid", "lexical", "semantic"])
@pytest.mark.parametrize("size", [7, 10, 33])
def test_walking_the_pages_gives_every_matching_document_once(services: Services, mode: str, size: int) -> None:
    seen: list[str] = []
    for offset in itertools.count(0, size):
        page = search(services, "valve pump", mode=mode, limit=size, offset=offset)
        assert [hit.rank for hit in page.hits] == list(range(offset + 1, offset + 1 + len(page.hits)))
        seen += ids(page)
        if len(page.hits) < size:
            break
    assert len(seen) == len(set(seen)) == page.total
    if mode == "lexical":
        assert set(seen) == {f"manual-{i:02}" for i in range(MANUALS)}


def test_a_page_is_the_same_however_it_is_cut(services: Services) -> None:
    whole = ids(search(services, "valve pump", limit=60))
    cut = [name for offset in range(0, 60, 20) for name in ids(search(services, "valve pump", limit=20, offset=offset))]
    assert cut == whole


class Fidgety(CountingReranker):
    """Runs another number of passages side by side whenever it is asked."""

    def __init__(self) -> None:
        self.chunks = itertools.cycle((3, 1, 7, 2, 11))

    def at_once(self, request: ScoreRequest, passages: Sequence[PassageText]) -> int:
        return min(next(self.chunks), len(passages))


def test_pages_agree_where_a_stage_stops_early_and_nothing_is_degraded(services: Services) -> None:
    stage = Stage(name="small", depth=20, keep=4, blend=0.5, budget_ms=5000, early_stop_margin=0.0)
    profiles = {"plain": Profile(depth=20, stages=(stage,))}
    fidgety = Fidgety()
    settings = msgspec.structs.replace(services.settings, profiles=profiles)
    settling = services_over(services.engine, settings, lambda _: fidgety)
    pages = [search(settling, "valve pump 7", limit=10, offset=offset) for offset in range(0, 40, 10)]
    ends = {(page.stages[0].scored, page.stages[0].reason, page.degraded) for page in pages}
    assert len(ends) == 1
    [(scored, reason, degraded)] = ends
    assert 4 <= scored < 20
    assert (reason, degraded) == (f"settled after {scored} of 20", ())
    assert [name for page in pages for name in ids(page)] == ids(search(settling, "valve pump 7", limit=40))


def test_a_query_of_which_a_stage_reads_part_is_answered_in_full_and_told_so(services: Services) -> None:
    (stage,) = (one for one in Profile().stages if one.name == "small")
    profiles = {"plain": Profile(depth=20, stages=(msgspec.structs.replace(stage, budget_ms=20_000),))}
    settings = msgspec.structs.replace(services.settings, profiles=profiles, dtype="float32")
    rerankers = RerankerCache(settings, Scheduler(services.engine.device))
    reading = services_over(services.engine, settings, rerankers.of)
    rerankers.check(profiles["plain"].stages)
    found = search(reading, "valve " + "oilcan " * 30, strict=True)
    assert [(one.status, one.reason) for one in found.stages] == [("full", "the query was read to 32 of its 61 tokens")]
    assert found.degraded == ()
    short = search(reading, "which valve is closed")
    assert [(one.status, one.reason) for one in short.stages] == [("full", None)]


def test_beyond_the_last_page_there_is_nothing_and_the_total_stays(services: Services) -> None:
    response = search(services, "valve", limit=10, offset=5000)
    assert response.hits == ()
    assert response.total >= MANUALS


class FailingDeep:
    """The lexical index, but a look deeper than so many passages fails."""

    def __init__(self, inner: Any, error: Exception, deepest: int = 100) -> None:
        self.inner, self.error, self.deepest = inner, error, deepest

    def search(self, query: Any, scope: Scope, filter: Any, depth: int) -> LexicalRanking:
        if depth > self.deepest:
            raise self.error
        found: LexicalRanking = self.inner.search(query, scope, filter, depth)
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


@pytest.mark.parametrize(
    ("error", "said"), [(TimeoutError(), "no time was left"), (OSError("/secret"), "OSError on a")]
)
def test_a_page_that_no_deeper_look_could_fill_is_cut_short_and_says_so(
    services: Services, error: Exception, said: str
) -> None:
    words = source("long", "# Long\n\n" + "\n\n".join(f"The turbine of hall {i} turns. " * 30 for i in range(120)))
    more = [
        source(f"more-{i:02}", f"# More {i}\n\nA turbine, at the very end, {'in a word ' * 40}.") for i in range(30)
    ]
    index(services.engine, [words, *more], "turbines")
    broken = FaultyEngine(services.engine, lexical=FailingDeep(services.engine.live("turbines").lexical, error))
    faulty = services_over(broken, services.settings)
    scope = Scope.of("turbines")
    sound = search(services, "turbine hall", scope, mode="lexical", limit=30)
    response = search(faulty, "turbine hall", scope, mode="lexical", limit=30)
    assert len(sound.hits) == 30
    assert 0 < len(response.hits) < 30
    assert ids(response) == ids(sound)[: len(response.hits)]
    assert response.degraded == ("bm25",)
    assert response.systems[0].status == "partial"
    assert said in (response.systems[0].reason or "")
    assert "/secret" not in (response.systems[0].reason or "")


def test_a_document_comes_once_with_its_other_passages_folded(services: Services) -> None:
    parts = [f"## Part {i}\n\nThe gearbox needs oil number {i}. " + "More words. " * 150 for i in range(5)]
    text = "# Long\n\n" + "\n\n".join(parts)
    index(services.engine, [source("long", text), source("short", "# Short\n\nThe gearbox.")], "folded")
    response = search(services, "gearbox oil", Scope.of("folded"))
    assert sorted(ids(response)) == ["long", "short"]
    long = next(hit for hit in response.hits if hit.candidate.document_id == "long")
    assert len(long.more_passages) >= 2
    assert long.candidate.passage_id not in {other.passage_id for other in long.more_passages}


# -- totals, facets, sorting ----------------------------------------------------------------------------------------


def test_the_total_counts_documents_that_match_and_may_be_read(services: Services) -> None:
    assert search(services, "valve", mode="lexical").total == MANUALS
    assert search(services, "valve", Scope.of("default", ["hr"]), mode="lexical").total == MANUALS + 2
    assert search(services, "valve", mode="lexical", filter="even").total == MANUALS // 2


def test_facets_count_documents_over_exactly_the_matches(services: Services) -> None:
    response = search(services, "valve", mode="lexical", facets=("even", "tags", "missing"), limit=1)
    assert response.facets["even"] == {"false": MANUALS // 2, "true": MANUALS // 2}
    assert response.facets["tags"]["pump"] == MANUALS
    assert next(iter(response.facets["tags"])) == "pump"
    assert response.facets["missing"] == {}
    assert response.total == MANUALS


def test_facets_of_what_vectors_find_are_of_documents_within_depth(services: Services) -> None:
    response = search(services, "valve", mode="semantic", facets=("kind",), limit=100)
    assert sum(response.facets["kind"].values()) <= response.total == len(response.hits)


@pytest.mark.parametrize(("order", "first"), [("number:asc", "manual-00"), ("number:desc", f"manual-{MANUALS - 1}")])
def test_sorting_is_over_all_matches_not_over_a_page(services: Services, order: str, first: str) -> None:
    response = search(services, "valve", sort=(order,), mode="lexical", limit=5)
    assert ids(response)[0] == first
    assert [report.status for report in response.stages] == ["skipped", "skipped"]
    assert response.degraded == ()
    rest = search(services, "valve", sort=(order,), mode="lexical", limit=5, offset=5)
    numbers = [hit.metadata["number"] for hit in (*response.hits, *rest.hits)]
    assert numbers == sorted(numbers, reverse=order.endswith("desc"))  # type: ignore[type-var]  # all are numbers


def test_documents_without_the_field_come_last_in_both_directions(services: Services) -> None:
    for order in ("price:asc", "price:desc"):
        found = ids(search(services, "money back goods card parcels", sort=(order,), limit=50))
        assert found[0] == "returns"


def test_a_second_sort_key_breaks_ties_of_the_first(services: Services) -> None:
    response = search(services, "valve", sort=("even:desc", "number:desc"), mode="lexical", limit=100)
    pairs = [(hit.metadata["even"], hit.metadata["number"]) for hit in response.hits]
    assert pairs == sorted(pairs, reverse=True)


def test_only_the_fields_asked_for_come_back(services: Services) -> None:
    response = search(services, "valve", fields=("kind", "missing"), limit=3, mode="lexical")
    assert [dict(hit.metadata) for hit in response.hits] == [{"kind": "manual"}] * 3


# -- who may read ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def restricted(services: Services) -> dict[str, tuple[str, ...]]:
    """Index documents with random readers in a collection of their own; return the readers of each."""
    chance = random.Random(7)
    access = {f"doc-{i}": tuple(chance.sample(GROUPS, chance.randint(1, 2))) for i in range(60)}
    files = [source(name, f"# {name}\n\nThe turbine {name} runs.", {"g": "x"}, *a) for name, a in access.items()]
    index(services.engine, files, "restricted")
    return access


@pytest.mark.parametrize("mode", ["hybrid", "lexical", "semantic"])
def test_nothing_forbidden_is_found_counted_or_summed_up(
    services: Services, restricted: dict[str, tuple[str, ...]], mode: str
) -> None:
    chance = random.Random(mode)
    for _ in range(20):
        scope = Scope.of("restricted", chance.sample(GROUPS[1:], chance.randint(0, 3)))
        allowed = {name for name, readers in restricted.items() if scope.allows(readers)}
        response = search(services, "turbine", scope, mode=mode, limit=100, facets=("g",), profile="default")
        assert set(ids(response)) == allowed
        assert response.total == len(allowed)
        assert response.facets["g"] == ({"x": len(allowed)} if allowed else {})


def test_what_is_deleted_or_revoked_is_gone_before_any_index_knows(services: Services) -> None:
    engine, scope = services.engine, Scope.of("fading")
    index(engine, [source(f"d{i}", f"# D{i}\n\nThe turbine number {i} runs.") for i in range(6)], "fading")
    assert search(services, "turbine", scope, limit=50).total == 6
    ingest.remove(engine.database, "fading", ["d0", "d1"], engine.clock())
    closed = source("d2", "# D2\n\nThe turbine number 2 runs.", None, "hr")
    ingest.accept(engine.database, engine.settings, "fading", [closed], engine.clock())
    for mode in ("hybrid", "lexical", "semantic"):
        response = search(services, "turbine", scope, mode=mode, limit=50, facets=("x",))
        assert sorted(ids(response)) == ["d3", "d4", "d5"]
        assert response.total == 3


# -- when a part is missing -----------------------------------------------------------------------------------------


class RaisingReranker(CountingReranker):
    """Raises whatever it is asked."""

    def score(self, request: ScoreRequest, passages: Sequence[PassageText]) -> NDArray[np.float32]:
        raise RuntimeError("out of order")


class HangingReranker(CountingReranker):
    """Hangs on a device, where all models run."""

    def __init__(self, device: Device, release: threading.Event) -> None:
        self.device = device
        self.release = release

    def score(self, request: ScoreRequest, passages: Sequence[PassageText]) -> NDArray[np.float32]:
        def hang() -> NDArray[np.float32]:
            self.release.wait(30)
            return np.zeros(len(passages), dtype=np.float32)

        return self.device.run(hang, priority=Priority.RERANK, deadline=request.deadline)


@pytest.fixture
def release() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def other_device(release: threading.Event) -> Iterator[Device]:
    device = Device(Settings())
    yield device
    release.set()
    device.close()


def engine_without(engine: Engine, system: str, fault: str, release: threading.Event) -> Engine:
    """Return an engine in which one system is out of order."""

    def failing() -> Any:
        if fault == "hangs":
            release.wait(30)
            return LexicalRanking((), frozenset(), True) if system == "bm25" else ()
        raise RuntimeError("out of order") if fault == "raises" else FileNotFoundError("it is not there")

    parts = {"bm25": {"lexical": OwnLexical(failing)}, "dense": {"vectors": OwnVectors(failing)}}
    return FaultyEngine(engine, **parts[system])


def rerankers_without(
    stage_name: str, fault: str, device: Device, release: threading.Event
) -> Callable[[Stage], Reranker]:
    """Return a loader in which one stage's reranker is out of order."""

    def load(stage: Stage) -> Reranker:
        if stage.name != stage_name:
            return CountingReranker()
        if fault == "absent":
            raise ConfigError("the model is not installed")
        return RaisingReranker() if fault == "raises" else HangingReranker(device, release)

    return load


@pytest.mark.parametrize("fault", ["raises", "hangs", "absent"])
@pytest.mark.parametrize("part", ["bm25", "dense", "small", "large"])
def test_with_any_one_part_out_of_order_there_is_an_answer_in_time_that_names_it(
    services: Services, part: str, fault: str, release: threading.Event, other_device: Device
) -> None:
    search(services, "refund paid to the card")
    if part in ("bm25", "dense"):
        faulty = services_over(engine_without(services.engine, part, fault, release), services.settings)
    else:
        loader = rerankers_without(part, fault, other_device, release)
        faulty = services_over(services.engine, services.settings, loader)
    started = time.monotonic()
    response = search(faulty, "refund paid to the card", timeout_ms=1500, limit=5)
    assert (time.monotonic() - started) * 1000 < 1500 + 500
    assert ids(response)[0] == "refunds"
    reports = {report.name: report for report in (*response.systems, *response.stages)}
    assert part in response.degraded
    assert reports[part].status in ("failed", "skipped")
    assert reports[part].reason
    expected = {part} if not (part == "small" and fault == "hangs") else {"small", "large"}
    assert set(response.degraded) <= expected
    if part in ("bm25", "dense"):
        assert not response.total_is_exact
    with pytest.raises(TransientError, match=part) as caught:
        search(faulty, "refund paid to the card", timeout_ms=1500, strict=True)
    assert caught.value.code == "degraded"


def test_the_embedder_out_of_order_leaves_bm25(services: Services, release: threading.Event) -> None:
    class HangingEmbedder:
        def encode_query(self, text: str, deadline_s: float | None = None) -> NDArray[np.float32]:
            release.wait(30)
            raise TimeoutError

    faulty = services_over(FaultyEngine(services.engine, embedder=HangingEmbedder()), services.settings)
    response = search(faulty, "refund paid to the card", timeout_ms=800)
    assert response.degraded == ("dense",)
    assert ids(response)[0] == "refunds"


def test_with_both_systems_down_it_is_a_transient_error(services: Services, release: threading.Event) -> None:
    def failing() -> Any:
        raise RuntimeError("out of order")

    down = FaultyEngine(services.engine, lexical=OwnLexical(failing), vectors=OwnVectors(failing))
    with pytest.raises(TransientError) as caught:
        search(services_over(down, services.settings), "refund")
    assert caught.value.code == "retrieval_down"


def test_what_nobody_asked_for_degrades_nothing(services: Services) -> None:
    for rerank in ({"enabled": False}, {"stages": ["large"]}, {"stages": []}):
        response = search(services, "refund", rerank=rerank, strict=True)
        assert response.degraded == ()
        assert {report.status for report in response.stages} <= {"skipped", "full"}


def test_stages_run_in_the_order_that_the_request_names(services: Services) -> None:
    response = search(services, "refund", rerank={"stages": ["large", "small"]})
    assert [report.name for report in response.stages] == ["large", "small"]


def test_a_caller_who_goes_stops_the_cascade(services: Services) -> None:
    asked = itertools.count()
    response = services.pipeline.search(ask(services, "refund"), EVERYONE, lambda: next(asked) > 0)
    assert [report.status for report in response.stages] == ["skipped", "skipped"]
    assert "went away" in (response.stages[0].reason or "")


def test_nothing_is_searched_for_a_caller_who_is_gone_or_has_waited_for_all_of_the_budget(services: Services) -> None:
    with pytest.raises(Busy, match="went away"):
        services.pipeline.search(ask(services, "refund"), EVERYONE, lambda: True)
    with pytest.raises(Busy, match=r"waited for 2\d{4} ms"):
        services.pipeline.search(ask(services, "refund"), EVERYONE, arrived=time.monotonic() - 21)


def test_what_a_caller_waited_for_a_thread_counts(services: Services) -> None:
    response = services.pipeline.search(ask(services, "refund"), EVERYONE, arrived=time.monotonic() - 5)
    assert response.took_ms > 5000
    assert response.timings_ms["wait"] > 5000
    assert response.degraded == ()


def test_a_caller_who_waited_until_only_the_answering_is_left_is_told_that_it_is_busy(services: Services) -> None:
    with pytest.raises(Busy, match="all the time it had"):
        services.pipeline.search(ask(services, "refund"), EVERYONE, arrived=time.monotonic() - 19.98)


def test_an_unknown_collection_is_not_found(services: Services) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        search(services, "refund", Scope.of("nowhere"))


def test_the_log_has_one_line_a_query_and_no_text_of_it(services: Services, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        response = search(services, "unmistakable refund words")
    lines = [record.getMessage() for record in caplog.records if record.name == "searchd.pipeline"]
    assert len(lines) == 1
    assert response.query_id in lines[0]
    assert "unmistakable" not in caplog.text
