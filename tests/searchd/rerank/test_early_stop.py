"""Stopping early: where a stage's order is settled, that a search and a replay agree on it, and what an answer says."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from indexer.device import Device
from searchd.rerank import scheduler as scheduling
from searchd.rerank.cascade import Cascade
from searchd.rerank.early_stop import stop_at, stop_margins
from searchd.rerank.local import LocalReranker
from searchd.rerank.order import fused_scores
from searchd.rerank.scheduler import Scheduler
from searchd.rerank.types import QueryCut, ScoreRequest
from searchd.settings import Settings, Stage
from searchd.types import Candidate, RerankRequest
from tests.searchd.rerank.test_cascade import Clock, Listed, fused, large, letters, rerank
from tests.searchd.rerank.test_scheduler import SumModel
from tests.searchd.rerank.test_score_cache import Asking

NAMES = "abcdefghijklmnopqrst"
FALLING = {name: -float(place) for place, name in enumerate(NAMES)}
RISING = {name: float(place) for place, name in enumerate(NAMES)}
FUSED = np.array([1 / (60 + rank) for rank in range(1, 41)])


def floats(*values: float) -> NDArray[np.float64]:
    return np.array(values)


# -- the rule -------------------------------------------------------------------------------------------------------


def test_the_margin_of_a_count_is_what_the_best_left_would_need_to_reach_the_last_of_the_first() -> None:
    margins = stop_margins(floats(4, 2, 0), floats(0.04, 0.03, 0.02, 0.01), keep=2, weight=0.5)
    # after two: both z are 1 and -1, so is the blend; what is left has z(rrf) = -3: -1 = 0.5 * m - 0.5 * 3, m = 1
    # after three: z are 1.2247, 0, -1.2247, the second blend is 0; left z(rrf) = -2.4495: m = 2.4495
    np.testing.assert_allclose(margins, [-np.inf, -np.inf, 1, 2.449490], rtol=1e-6)
    assert [stop_at(margins, margin) for margin in (0.9, 1.1, 2.4, 3)] == [2, 3, 3, None]


def test_with_all_scored_no_margin_is_too_large() -> None:
    assert stop_at(stop_margins(floats(1, 2, 3), floats(3, 2, 1), keep=1, weight=1), 10) == 3


def test_while_nothing_tells_how_far_scores_spread_nothing_is_settled() -> None:
    for logits, fused_ in ((floats(1, 1, 1), floats(4, 3, 2, 1)), (floats(3, 2, 1), floats(2, 2, 2, 1))):
        assert stop_at(stop_margins(logits, fused_, keep=2, weight=0.5), -10) is None


def test_the_best_of_those_left_counts_not_the_next() -> None:
    alike = stop_margins(floats(3, 2, 1), floats(4, 3, 2, 1, 1), keep=2, weight=0.5)
    later = stop_margins(floats(3, 2, 1), floats(4, 3, 2, 1, 5), keep=2, weight=0.5)
    assert later[3] < alike[3]


def test_a_stage_without_a_say_in_the_blend_settles_what_fusion_has_settled() -> None:
    assert stop_at(stop_margins(floats(1, 5, 3), FUSED, keep=2, weight=0), 10) == 2


scores = st.lists(st.floats(-12, 12, width=32), min_size=1, max_size=40)


@given(scores, st.integers(1, 12), st.floats(0.05, 1), st.data())
def test_what_comes_later_changes_no_bit_of_a_margin(
    logits: list[float], keep: int, weight: float, data: st.DataObject
) -> None:
    whole = stop_margins(np.array(logits), FUSED[: len(logits)], keep, weight)
    count = data.draw(st.integers(0, len(logits)))
    part = stop_margins(np.array(logits[:count]), FUSED[: len(logits)], keep, weight)
    assert part.tolist() == whole[: count + 1].tolist()
    after = data.draw(st.integers(0, count))
    later = stop_margins(np.array(logits[:count]), FUSED[: len(logits)], keep, weight, after=after)
    assert later[after + 1 :].tolist() == part[after + 1 :].tolist()
    assert np.isneginf(later[: min(after + 1, len(logits))]).all()


@given(scores, st.integers(1, 12), st.floats(0.05, 1))
def test_a_smaller_margin_never_stops_later_and_none_before_keep(logits: list[float], keep: int, weight: float) -> None:
    margins = stop_margins(np.array(logits), FUSED[: len(logits)], keep, weight)
    counts = [stop_at(margins, margin) or 0 for margin in (-10, -1, 0, 0.5, 1, 2, 10)]
    assert counts == sorted(counts)
    assert counts[0] >= min(keep, len(logits))
    assert counts[-1] <= len(logits)


# -- the cascade ----------------------------------------------------------------------------------------------------


class Chunked(Listed):
    """Runs `chunk` passages side by side."""

    def __init__(self, scores: dict[str, float], chunk: int, **options: float) -> None:
        super().__init__(scores, **options)  # type: ignore[arg-type]  # the tests' own words
        self.chunk = chunk

    def at_once(self, request: ScoreRequest, passages: Sequence[object]) -> int:
        return min(self.chunk, len(passages))


def stage(margin: float | None, **options: object) -> Stage:
    plain = {"keep": 3, "depth": 20, "blend": 0.5, "budget_ms": 60_000}
    return Stage(name="small", early_stop_margin=margin, **(plain | options))  # type: ignore[arg-type]


def test_a_stage_whose_order_is_settled_stops_is_full_and_says_so() -> None:
    reranker = Chunked(FALLING, 4)
    ordered, (report,) = rerank(fused(NAMES), (stage(0.5), reranker))
    assert letters(ordered) == NAMES
    assert report.status == "full"
    assert report.reason == f"settled after {report.scored} of 20"
    assert 3 <= report.scored <= len(reranker.texts) < 20 == report.of
    assert report.saved == 20 - len(reranker.texts)


def test_a_stage_that_is_settled_also_says_how_far_it_read_the_query() -> None:
    reranker = Chunked(FALLING, 4)
    reranker.cut = QueryCut(32, 69)
    _, (report,) = rerank(fused(NAMES), (stage(0.5), reranker))
    assert report.reason == f"settled after {report.scored} of 20; the query was read to 32 of its 69 tokens"


def test_without_a_margin_all_are_scored_in_one_go() -> None:
    reranker = Chunked(FALLING, 4)
    _, (report,) = rerank(fused(NAMES), (stage(None), reranker))
    assert [len(texts) for texts in reranker.asked] == [20]
    assert (report.scored, report.reason, report.saved) == (20, None, 0)


def test_a_stage_whose_order_is_never_settled_scores_all_and_has_nothing_to_say() -> None:
    ordered, (report,) = rerank(fused(NAMES), (stage(2.0, blend=1.0), Chunked(RISING, 4)))
    assert letters(ordered) == NAMES[::-1]
    assert (report.status, report.scored, report.reason, report.saved) == ("full", 20, None, 0)


def test_where_only_all_scores_are_of_use_no_stage_stops_early() -> None:
    _, (report,) = rerank(fused(NAMES), (stage(-10), Chunked(FALLING, 4)), whole=True)
    assert (report.scored, report.reason) == (20, None)


@pytest.mark.parametrize("seed", range(5))
def test_the_order_is_the_same_whatever_runs_side_by_side(seed: int) -> None:
    """Pages are computed one by one, while chunks follow what was measured in between."""
    chance = np.random.default_rng(seed)
    known = {name: float(score) for name, score in zip(NAMES, chance.normal(size=20), strict=True)}
    found = {
        (letters(ordered), report.scored)
        for chunk in (1, 3, 4, 7, 16, 20)
        for ordered, (report,) in [rerank(fused(NAMES), (stage(0.8), Chunked(known, chunk)))]
    }
    assert len(found) == 1


def test_what_was_not_scored_or_does_not_count_comes_behind_in_the_order_before() -> None:
    ordered, (report,) = rerank(fused(NAMES), (stage(-10, keep=5), Chunked({**FALLING, "a": -99.0}, 8)))
    assert report.scored == 5
    assert (report.saved, letters(ordered)[5:]) == (20 - 8, NAMES[5:])
    assert all("small" not in candidate.scores for candidate in ordered[5:])
    assert sorted(letters(ordered)[:5]) == list("abcde")


def test_nothing_is_asked_in_pieces_smaller_than_what_is_to_be_kept() -> None:
    reranker = Chunked(RISING, 2)
    rerank(fused(NAMES), (stage(9, keep=7), reranker))
    assert [len(texts) for texts in reranker.asked][:3] == [7, 2, 2]


def test_what_a_stage_that_stopped_kept_goes_on_to_the_next() -> None:
    ordered, reports = rerank(fused(NAMES), (stage(0.0), Chunked(FALLING, 4)), large(RISING, depth=9))
    assert reports[0].reason is not None
    assert reports[1].of == 3
    assert letters(ordered)[:3] == "cba"


def test_time_that_ends_before_the_order_is_settled_leaves_a_partial_stage() -> None:
    clock = Clock()
    reranker = Chunked(RISING, 4, clock=clock, pair_s=0.01, believed_s=0.01)  # type: ignore[arg-type]
    ordered, (report,) = rerank(fused(NAMES), (stage(3.0, budget_ms=105), reranker), clock=clock)
    assert (report.status, report.scored, report.saved) == ("partial", 10, 0)
    assert letters(ordered)[10:] == NAMES[10:]


# -- what runs side by side -----------------------------------------------------------------------------------------


def test_a_batch_for_each_worker_runs_at_once_and_follows_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(scheduling.BATCH_S, "cpu", 0.1)
    devices = [Device(Settings(device="cpu", threads=threads)) for threads in (1, 3)]
    one, three = Scheduler(devices[0]), Scheduler(devices[1])
    model = SumModel()
    assert one.at_once(model, [100] * 50) == scheduling.FIRST_TOKENS["cpu"] // 100
    for scheduler in (one, three):
        scheduler.work.learn(model.fingerprint, 100, 1000, 0.1)
        assert scheduler.at_once(model, [100] * 50) == 10 * scheduler.device.workers
        scheduler.work.learn("slow", 100, 1, 1.0)
        assert scheduler.at_once(SumModel("slow"), [1000] * 50) == scheduler.device.workers
        assert scheduler.at_once(SumModel("slow"), [1000] * 2) == min(2, scheduler.device.workers)
        assert scheduler.at_once(model, []) == 0
    for device in devices:
        device.close()


def test_a_passage_in_parts_runs_whole_and_what_is_known_comes_along(scheduler: Scheduler) -> None:
    asking = Asking(scheduler)
    fingerprint = asking.model.fingerprint
    scheduler.work.learn(fingerprint, 100, 1000, 1.0)
    reading = ScoreRequest("oil", 10_000)
    passages = asking.passages(*range(100, 2000, 100))
    running = LocalReranker(asking.model, scheduler).at_once(reading, passages)
    assert 1 <= running < len(passages)
    assert asking.reranker.at_once(reading, passages) == running
    asking.reranker.score(reading, passages[:running])
    assert asking.reranker.at_once(reading, passages) > running
    asking.reranker.score(reading, passages)
    assert asking.reranker.at_once(reading, passages) == len(passages)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("ms_per_token", [0.2, 1.0, 5.0])
def test_a_search_stops_where_a_replay_of_all_its_scores_says(threads: int, ms_per_token: float) -> None:
    device = Device(Settings(device="cpu", threads=threads))
    scheduler, model, chance = Scheduler(device), SumModel(), np.random.default_rng(7)
    cascade = Cascade(lambda _: LocalReranker(model, scheduler))
    stopped = set()
    for _ in range(20):
        logits = chance.permutation(200)[:40] - np.arange(40)
        candidates = candidates_of(logits, model.tokenizer.fingerprint)
        margin = float(chance.uniform(-0.5, 2))
        asking = stage(margin, depth=40, keep=10, blend=0.7)
        scheduler.work.learn(model.fingerprint, 48, 1000, ms_per_token)
        _, (report,) = cascade.rerank("q", candidates, [asking], RerankRequest(), time.monotonic() + 60)
        margins = stop_margins(logits.astype(float), np.array(fused_scores(candidates)), 10, 0.7)
        assert report.scored == stop_at(margins, margin)
        stopped.add(report.scored)
    assert len(stopped) > 5
    device.close()


def candidates_of(logits: NDArray[np.int64], tokenizer: str) -> tuple[Candidate, ...]:
    """Return candidates of forty tokens each, to which `SumModel` gives these logits."""
    return tuple(
        Candidate(
            f"{place:03}",
            str(place),
            {"rrf": float(FUSED[place])},
            {"rrf": place + 1},
            text=str(place),
            tokens={tokenizer: np.array([logit, *[0] * 39], dtype=np.int32)},
        )
        for place, logit in enumerate(logits)
    )
