"""Remembered scores: what makes a key of its own, how many are kept, and that only what is unknown is scored."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from indexer.errors import Busy
from searchd.rerank.cached import CachedReranker
from searchd.rerank.cascade import Cascade
from searchd.rerank.local import LocalReranker
from searchd.rerank.memory import SHORTAGES
from searchd.rerank.remote import RemoteReranker, load_remote
from searchd.rerank.scheduler import Scheduler
from searchd.rerank.score_cache import ScoreCache, keys_of
from searchd.rerank.table import REMOTE_KEPT_S, RerankerCache, reusable
from searchd.rerank.types import PartScores, PassageText, ScoreRequest
from searchd.settings import Settings, Stage
from searchd.types import Candidate, RerankRequest, StageReport
from tests.searchd.rerank.http_server import service
from tests.searchd.rerank.models import write_tiny
from tests.searchd.rerank.provider_servers import KEY, MODEL, SERVERS
from tests.searchd.rerank.test_scheduler import SumModel

ASKED = ScoreRequest("oil", 64, instruction="manuals")
TEXTS = [PassageText(text) for text in ("oil", "a pump", "", "\ud800", "oil ")]


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def floats(*values: float) -> NDArray[np.float32]:
    return np.array(values, dtype=np.float32)


# -- the table ------------------------------------------------------------------------------------------------------


def test_what_was_kept_comes_back_bit_for_bit_and_the_rest_is_nan() -> None:
    cache, scores = ScoreCache(10), floats(0.1, -3e-30, 7)
    cache.keep([key(1), key(2), key(3)], scores)
    found = cache.found([key(3), key(9), key(1), key(2)])
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, floats(7, np.nan, 0.1, -3e-30))


def test_the_least_lately_used_goes_first_and_the_bound_holds() -> None:
    cache = ScoreCache(3)
    cache.keep([key(n) for n in range(3)], floats(0, 1, 2))
    cache.found([key(0)])
    cache.keep([key(3)], floats(3))
    assert np.isnan(cache.found([key(n) for n in range(4)])).tolist() == [False, True, False, False]
    cache.keep([key(n) for n in range(100)], np.arange(100, dtype=np.float32))
    assert len(cache) == 3
    assert cache.found([key(97), key(98), key(99)]).tolist() == [97, 98, 99]


def test_what_is_no_score_is_never_kept() -> None:
    cache = ScoreCache(10)
    cache.keep([key(n) for n in range(4)], floats(np.nan, np.inf, -np.inf, 1))
    assert len(cache) == 1


def test_threads_get_the_scores_of_their_keys_and_the_bound_holds() -> None:
    cache, wrong = ScoreCache(50), []

    def client(seed: int) -> None:
        chance = np.random.default_rng(seed)
        for _ in range(300):
            numbers = chance.integers(0, 200, size=10).tolist()
            found = cache.found([key(n) for n in numbers])
            wrong.extend(n for n, score in zip(numbers, found, strict=True) if not np.isnan(score) and score != n)
            cache.keep([key(n) for n in numbers], floats(*numbers))
            if len(cache) > 50:
                wrong.append(len(cache))

    with ThreadPoolExecutor(8) as clients:
        list(clients.map(client, range(8)))
    assert wrong == []


@pytest.mark.parametrize(
    "changed",
    [
        {"query": "oil "},
        {"query": "oilmanuals", "instruction": ""},
        {"instruction": ""},
        {"max_length": 65},
        {"parts": False},
        {"fingerprint": "other"},
    ],
    ids=str,
)
def test_model_query_instruction_and_how_much_is_read_each_make_keys_of_their_own(changed: dict[str, Any]) -> None:
    plain = keys_of("model", ASKED, TEXTS)
    fingerprint = changed.get("fingerprint", "model")
    asked = replace(ASKED, **{name: value for name, value in changed.items() if name != "fingerprint"})
    assert not set(plain) & set(keys_of(fingerprint, asked, TEXTS))


def test_every_text_has_a_key_of_its_own_whoever_asks_and_whenever() -> None:
    plain = keys_of("model", ASKED, TEXTS)
    assert len(set(plain)) == len(TEXTS)
    assert keys_of("model", replace(ASKED, deadline=5.0, place=3), TEXTS) == plain


# -- a reranker behind it -------------------------------------------------------------------------------------------


class Asking:
    """A reranker of the lengths of stored ids, with a cache before it."""

    def __init__(self, scheduler: Scheduler, **options: Any) -> None:
        self.model = SumModel()
        self.noted: list[tuple[int, int]] = []
        self.cache = ScoreCache(1000)
        inner = LocalReranker(self.model, scheduler)
        self.reranker = CachedReranker(inner, self.cache, lambda *counts: self.noted.append(counts), **options)

    def passages(self, *lengths: int) -> list[PassageText]:
        name = self.model.tokenizer.fingerprint
        return [PassageText(str(length), {name: np.ones(length, dtype=np.int32)}) for length in lengths]

    def score(self, *lengths: int, **asked: Any) -> list[float]:
        return self.reranker.score(replace(ASKED, max_length=10_000, **asked), self.passages(*lengths)).tolist()

    @property
    def ran(self) -> list[int]:
        """The lengths of the passages that the model was given, and forget them."""
        lengths = sorted(length - 3 for batch in self.model.batches for length in batch)
        self.model.batches.clear()
        return lengths


def test_only_what_is_unknown_is_scored_and_all_come_in_order(scheduler: Scheduler) -> None:
    asking = Asking(scheduler)
    assert asking.score(5, 9) == [5, 9]
    assert asking.ran == [5, 9]
    assert asking.score(7, 9, 1, 5) == [7, 9, 1, 5]
    assert asking.ran == [1, 7]
    assert asking.score(1, 5, 7, 9) == [1, 5, 7, 9]
    assert asking.ran == []
    assert asking.score() == []
    assert asking.noted == [(0, 2), (2, 2), (4, 0), (0, 0)]


def test_what_is_known_costs_nothing_when_it_is_asked_what_fits(scheduler: Scheduler) -> None:
    asking = Asking(scheduler)
    asked = replace(ASKED, max_length=10_000)
    asking.score(7, 17, 27)
    scheduler.costs.learn(asking.model.fingerprint, 10, 1000, 1e9)
    passages = asking.passages(7, 37, 17, 27, 47, 57)
    assert asking.reranker.fits(asked, passages, 0.001) == 4, "one that is unknown, and the known ones round it"
    assert asking.reranker.fits(asked, passages[:1], 0.001) == 1
    assert asking.reranker.fits(asked, asking.passages(17, 27, 7), 0.0) == 3


def test_a_score_that_came_too_late_is_not_kept_and_the_known_ones_are_given(scheduler: Scheduler) -> None:
    asking = Asking(scheduler)
    asking.score(5)
    late = asking.score(5, 6, deadline=0.0)
    assert late[0] == 5
    assert np.isnan(late[1])
    with pytest.raises(TimeoutError):
        asking.score(6, deadline=0.0)
    assert len(asking.cache) == 1
    assert asking.score(5, 6) == [5, 6]


@pytest.mark.parametrize("error", [Busy("the queue is full"), TimeoutError("the queue is full of others")], ids=repr)
def test_a_reranker_that_says_why_it_fails_is_heard_and_nothing_of_it_is_kept(
    scheduler: Scheduler, error: Exception
) -> None:
    asking = Asking(scheduler)
    asking.score(5)

    def failing(_: int) -> Any:
        raise error

    asking.model.fault = failing
    with pytest.raises(PartScores, match="full") as caught:
        asking.score(5, 6)
    assert caught.value.scores[0] == 5.0
    assert np.isnan(caught.value.scores[1])
    asking.model.fault = failing
    with pytest.raises(type(error), match="full"):
        asking.score(6, 7)
    assert len(asking.cache) == 1


def test_while_a_model_is_left_alone_a_stage_keeps_the_scores_that_are_known(scheduler: Scheduler) -> None:
    short, stage = Scheduler(scheduler.device), Stage(name="a", depth=9, blend=1.0, budget_ms=9000)
    asking = Asking(short)
    name = asking.model.tokenizer.fingerprint
    given = tuple(
        Candidate(str(n), "d", {"rrf": 1 / (60 + n)}, {}, text=str(n), tokens={name: np.ones(n, dtype=np.int32)})
        for n in range(1, 10)
    )

    def reports(candidates: tuple[Candidate, ...]) -> tuple[StageReport, ...]:
        cascade = Cascade(lambda _: asking.reranker)
        return cascade.rerank("oil", candidates, [stage], RerankRequest(), time.monotonic() + 9)[1]

    reports(given[:8])
    for _ in range(SHORTAGES):
        short.memory.ran_out(asking.model.fingerprint, 100, 2, begun=time.monotonic(), halved=False)
    (report,) = reports(given)
    assert (report.status, report.scored) == ("partial", 8)
    assert "ran out of memory" in (report.reason or "")
    (report,) = reports(given[8:])
    assert (report.status, report.scored) == ("skipped", 0)
    with pytest.raises(Busy, match="ran out of memory"):
        asking.reranker.fits(replace(ASKED, whole=True), asking.passages(8, 9), 9.0)


def test_what_has_a_time_is_asked_for_again_after_it(scheduler: Scheduler) -> None:
    now = [7200.0]
    asking = Asking(scheduler, kept_s=3600.0, clock=lambda: now[0])
    asking.score(5)
    now[0] += 3599
    asking.score(5)
    assert asking.ran == [5]
    now[0] += 1
    asking.score(5)
    assert asking.ran == [5]


def test_threads_share_what_was_scored(scheduler: Scheduler) -> None:
    asking, ready = Asking(scheduler), threading.Barrier(8, timeout=20)

    def client(seed: int) -> list[list[float]]:
        chance = np.random.default_rng(seed)
        ready.wait()
        return [
            [score - length for score, length in zip(asking.score(*lengths), lengths, strict=True)]
            for lengths in (chance.integers(1, 40, size=12).tolist() for _ in range(20))
        ]

    with ThreadPoolExecutor(8) as clients:
        differences = [one for found in clients.map(client, range(8)) for many in found for one in many]
    assert set(differences) == {0.0}
    assert len(asking.cache) <= 39
    asking.model.batches.clear()
    asking.score(*range(1, 40))
    asking.model.batches.clear()
    asking.score(*range(1, 40))
    assert asking.ran == []


# -- whose scores are kept ------------------------------------------------------------------------------------------


def cached(settings: Settings, scheduler: Scheduler, entries: int = 1000) -> RerankerCache:
    return RerankerCache(settings, scheduler, ScoreCache(entries) if entries else None)


def test_stages_with_one_model_share_its_scores_and_a_model_loaded_again_finds_them(
    settings: Settings, scheduler: Scheduler, tmp_path: Path
) -> None:
    stages = [Stage(name=name, model=str(write_tiny(tmp_path / name))) for name in ("a", "b")]
    other = Stage(name="c", model=str(write_tiny(tmp_path / "c", seed=4)))
    loaded = cached(settings, scheduler)
    assert loaded.scores is not None
    first, second = [loaded.of(stage).score(ASKED, TEXTS[:3]) for stage in stages]
    assert len(loaded.scores) == 3, "two folders of equal files are one model"
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(loaded.of(other).score(ASKED, TEXTS[:3]), first)
    assert len(loaded.scores) == 6


def test_switched_off_nothing_stands_before_a_model(settings: Settings, scheduler: Scheduler, tmp_path: Path) -> None:
    stage = Stage(name="a", model=str(write_tiny(tmp_path / "a")))
    off, on = cached(settings, scheduler, 0), cached(settings, scheduler)
    assert off.scores is None
    for loaded in (off, on):
        plain, again = (loaded.of(stage).score(ASKED, TEXTS[:2]) for _ in range(2))
        np.testing.assert_array_equal(plain, again)


def test_a_paid_service_is_asked_once_for_a_score_and_for_the_new_ones_only(
    settings: Settings, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THE_KEY", KEY)
    with service(SERVERS["cohere"]) as server:
        stage = Stage(name="a", kind="remote", provider="cohere", model=MODEL, url=server.url, key_variable="THE_KEY")
        remote = load_remote(stage, settings, scheduler)
        assert isinstance(remote, RemoteReranker)
        reranker = CachedReranker(remote, ScoreCache(100), lambda hits, misses: None, kept_s=REMOTE_KEPT_S)
        known = [PassageText("oil"), PassageText("a pump")]
        first = reranker.score(ASKED, known)
        again = reranker.score(ASKED, [*known, PassageText("oil for a pump")])
        remote.close()
    assert [len(one.body["documents"]) for one in server.asked] == [2, 1]
    np.testing.assert_array_equal(again[:2], first)


@pytest.mark.parametrize(
    ("stage", "kept"),
    [
        (Stage(name="a"), True),
        (Stage(name="a", kind="onnx", model="m"), True),
        (Stage(name="a", kind="remote", provider="jina", model="jina-reranker-v2-base-multilingual"), True),
        (Stage(name="a", kind="remote", provider="jina", model="jina-reranker-v3"), False),
        (Stage(name="a", kind="remote", provider="vllm", model="jinaai/jina-reranker-v3"), False),
        (Stage(name="a", kind="listwise", model="m", url="http://127.0.0.1"), False),
    ],
    ids=lambda value: f"{value.kind} {value.model}" if isinstance(value, Stage) else str(value),
)
def test_scores_that_depend_on_the_other_passages_are_not_kept(stage: Stage, kept: bool) -> None:
    assert reusable(stage) is kept
