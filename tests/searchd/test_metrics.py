"""What rerankers count: by the names of the settings, from the scheduler's batches and the score cache's look-ups."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from indexer.device import Device
from searchd.metrics import RerankMetrics, SearchMetrics
from searchd.rerank import batches
from searchd.rerank.scheduler import Scheduler
from searchd.rerank.score_cache import ScoreCache
from searchd.rerank.table import RerankerCache
from searchd.rerank.types import PassageText, ScoreRequest
from searchd.settings import Settings, Stage
from searchd.types import SearchResponse, StageReport
from tests.searchd.rerank.models import write_tiny
from tests.searchd.rerank.test_scheduler import Held, SumModel, asked, pairs, until

TOY = {"kind": "cross_encoder", "model": "toy"}


@pytest.fixture
def device() -> Iterator[Device]:
    opened = Device(Settings(device="cpu", threads=1, dtype="float32"))
    yield opened
    opened.close()


def value(metrics: RerankMetrics | SearchMetrics, name: str, **labels: str) -> float | None:
    found = metrics.registry.get_sample_value(f"searchd_{name}", labels)
    return found if found is None else round(found, 6)


def test_a_batch_is_counted_with_its_pairs_tokens_padding_and_the_longest_wait(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "WASTE_SHARE", 1.0)
    now = [50.0]
    scheduler = Scheduler(device, clock=lambda: now[0])
    scheduler.metrics.named("sum", "cross_encoder", "toy")
    with ThreadPoolExecutor(2) as clients:
        with Held(device):
            first = clients.submit(scheduler.score, SumModel(), pairs(7, 17), asked())
            until(lambda: scheduler.waiting() == 2)
            now[0] += 3
        first.result(10)
    scheduler.score(SumModel(), pairs(7), asked())
    metrics = scheduler.metrics
    assert value(metrics, "rerank_pairs_total", **TOY) == 3
    assert value(metrics, "rerank_tokens_total", **TOY, sort="real") == 10 + 20 + 10
    assert value(metrics, "rerank_tokens_total", **TOY, sort="padding") == 10
    assert value(metrics, "rerank_batch_pairs_bucket", **TOY, le="1.0") == 1
    assert value(metrics, "rerank_batch_pairs_bucket", **TOY, le="2.0") == 2
    assert value(metrics, "rerank_wait_seconds_sum", **TOY) == 3


def test_a_model_that_packs_has_no_padding(device: Device) -> None:
    scheduler, model = Scheduler(device), SumModel()
    model.packs = int
    scheduler.score(model, pairs(7, 170, 3), asked())
    assert value(scheduler.metrics, "rerank_tokens_total", kind="other", model="other", sort="padding") == 0


def test_what_fills_up_the_row_of_a_model_that_packs_is_padding(device: Device) -> None:
    scheduler, model = Scheduler(device), SumModel()
    model.packs = lambda tokens: tokens + 5
    scheduler.score(model, pairs(7, 17), asked())
    assert value(scheduler.metrics, "rerank_tokens_total", kind="other", model="other", sort="real") == 30
    assert value(scheduler.metrics, "rerank_tokens_total", kind="other", model="other", sort="padding") == 5


def test_models_that_nobody_named_share_one_series(device: Device) -> None:
    scheduler = Scheduler(device)
    for number in range(5):
        scheduler.score(SumModel(f"model {number}"), pairs(1), asked())
    assert value(scheduler.metrics, "rerank_pairs_total", kind="other", model="other") == 5


def test_a_loaded_model_counts_by_its_kind_and_the_last_part_of_its_folder(device: Device, tmp_path: Path) -> None:
    search = SearchMetrics()
    scheduler = Scheduler(device, metrics=RerankMetrics(search.registry))
    cache = RerankerCache(Settings(device="cpu", threads=1, dtype="float32"), scheduler, ScoreCache(10))
    stage = Stage(name="a", model=str(write_tiny(tmp_path / "tiny")))
    for texts in (["oil"], ["oil", "a pump"]):
        cache.of(stage).score(ScoreRequest("oil", 64), [PassageText(text) for text in texts])
    tiny = {"kind": "cross_encoder", "model": "tiny"}
    assert value(search, "rerank_pairs_total", **tiny) == 2
    assert value(search, "score_cache_lookups_total", **tiny, outcome="hit") == 1
    assert value(search, "score_cache_lookups_total", **tiny, outcome="miss") == 2
    [(model, path)] = cache.paths()
    assert model == "tiny"
    assert path.startswith("cross_encoder, float32")


def test_pairs_that_an_early_stop_saved_are_counted_by_stage() -> None:
    metrics = SearchMetrics()
    settled = StageReport("small", "full", 12, 30, 40.0, "settled after 12 of 30", saved=14)
    answer = SearchResponse(
        "q", (), 0, True, {}, (), (settled, StageReport("large", "full", 10, 10, 1.0)), (), {}, 1.0, "p"
    )
    metrics.answered(answer)
    metrics.answered(answer)
    assert value(metrics, "pairs_saved_total", stage="small") == 28
    assert value(metrics, "pairs_saved_total", stage="large") is None
    assert value(metrics, "searches_total", outcome="complete") == 2


def test_the_stages_of_rerank_calls_are_timed() -> None:
    metrics = SearchMetrics()
    metrics.reranked(
        [StageReport("small", "full", 3, 3, 40.0, None), StageReport("large", "partial", 1, 3, 7.0, "late")]
    )
    assert value(metrics, "rerank_stage_seconds_sum", stage="small") == 0.04
    assert value(metrics, "reranks_total", outcome="degraded") == 1
