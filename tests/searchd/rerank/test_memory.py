"""A device without memory: batches are halved and smaller ever after; what cannot fit, and a model that fails on, is named."""

from __future__ import annotations

import gc
import itertools
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from indexer.device import Device
from indexer.errors import Busy, ConfigError
from searchd.rerank import scheduler as module
from searchd.rerank.cascade import Cascade
from searchd.rerank.local import LocalReranker, Pair
from searchd.rerank.memory import CLEAN, FIRST_WAIT_S, MOST_WAIT_S, PAUSE_S, SHORTAGES, WITHIN_S, Memory, is_shortage
from searchd.rerank.scheduler import Scheduler
from searchd.rerank.table import RERANKERS, RerankerCache
from searchd.rerank.types import PartScores, Reranker
from searchd.settings import Settings, Stage
from searchd.types import Candidate, RerankRequest, StageReport
from tests.searchd.rerank.test_scheduler import Held, SumModel, asked, pairs, until


class SmallMemory(SumModel):
    """Has memory for so many tokens, padding included."""

    def __init__(self, tokens: int, fingerprint: str = "small") -> None:
        super().__init__(fingerprint)
        self.tokens = tokens
        self.failed: list[list[int]] = []

    def forward(self, batch: Sequence[Pair]) -> NDArray[np.float32]:
        lengths = [pair.length for pair in batch]
        if max(lengths) * len(lengths) > self.tokens:
            self.failed.append(lengths)
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return super().forward(batch)


@pytest.fixture
def now() -> list[float]:
    return [1000.0]


@pytest.fixture
def scheduler(now: list[float]) -> Iterator[Scheduler]:
    device = Device(Settings(device="cpu", threads=1))
    yield Scheduler(device, clock=lambda: now[0])
    device.close()


@pytest.fixture(autouse=True)
def large_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(module.FIRST_TOKENS, "cpu", 1600)
    monkeypatch.setitem(module.BATCH_S, "cpu", 1e6)
    monkeypatch.setattr(module, "MOST_TOKENS", 1600)


def retries(scheduler: Scheduler) -> float | None:
    labels = {"kind": "other", "model": "other"}
    return scheduler.metrics.registry.get_sample_value("searchd_rerank_memory_retries_total", labels)


@pytest.mark.parametrize(
    ("error", "short"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
            True,
        ),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9.00 GB, max allowed: 9.07 GB)."), True),
        (RuntimeError("bfc_arena.cc:376 Failed to allocate memory for requested buffer of size 9"), True),
        (RuntimeError("std::bad_alloc"), True),
        (MemoryError(), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (ValueError("out of range"), False),
    ],
)
def test_what_is_a_shortage_of_memory(error: Exception, short: bool) -> None:
    assert is_shortage(error) is short


def test_batches_that_run_out_side_by_side_are_one_shortage(now: list[float]) -> None:
    memory = Memory(lambda: now[0])
    for _ in range(2 * SHORTAGES):  # all begun before the first of them ended
        now[0] += 0.01
        memory.ran_out("a", 1000, 4, begun=1000.0, halved=False)
    memory.check("a")
    for _ in range(SHORTAGES - 1):
        begun = now[0]
        now[0] += 1.0
        memory.ran_out("a", 100, 4, begun=begun, halved=False)
    with pytest.raises(Busy, match="ran out of memory"):
        memory.check("a")


def test_a_batch_of_the_cpu_that_does_not_fit_is_one() -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(1 << 55, dtype=torch.uint8)
    assert is_shortage(raised.value)


def test_a_batch_that_does_not_fit_runs_in_halves_and_no_later_one_is_as_large(scheduler: Scheduler) -> None:
    model = SmallMemory(500)
    assert scheduler.score(model, pairs(*[97] * 16), asked()).tolist() == [97] * 16
    assert [len(batch) for batch in model.failed] == [16, 8]
    assert [len(batch) for batch in model.batches] == [4, 4, 4, 4]
    assert retries(scheduler) == 2
    model.failed.clear()
    model.batches.clear()
    assert scheduler.score(model, pairs(*[97] * 40), asked()).tolist() == [97] * 40
    assert model.failed == []
    assert [len(batch) for batch in model.batches] == [4] * 10


def rounds(scheduler: Scheduler, model: SmallMemory, count: int) -> None:
    for _ in range(count):
        assert scheduler.score(model, pairs(*[97] * 16), asked()).tolist() == [97] * 16


def test_batches_grow_again_by_and_by_once_there_is_memory_again(scheduler: Scheduler, now: list[float]) -> None:
    model = SmallMemory(500)
    rounds(scheduler, model, 1)
    assert scheduler.memory.most_tokens("small") == 400
    model.tokens = 100_000
    rounds(scheduler, model, CLEAN)
    assert scheduler.memory.most_tokens("small") == 400, "not before some time has passed"
    seen = []
    for _ in range(7):
        now[0] += FIRST_WAIT_S
        rounds(scheduler, model, 1)
        seen.append(scheduler.memory.most_tokens("small"))
        rounds(scheduler, model, CLEAN)
    assert seen == [500, 625, 782, 978, 1223, 1529, 1912]
    model.batches.clear()
    rounds(scheduler, model, 1)
    assert [len(batch) for batch in model.batches] == [16]
    assert len(model.failed) == 2, "those of the first round"


def test_a_step_that_fails_is_taken_back_and_the_next_waits_twice_as_long(
    scheduler: Scheduler, now: list[float]
) -> None:
    model = SmallMemory(450)
    rounds(scheduler, model, CLEAN)
    failed: list[float] = []
    for _ in range(60):
        now[0] += FIRST_WAIT_S / 2
        before = len(model.failed)
        rounds(scheduler, model, CLEAN // 2)
        failed += [now[0] - 1000] * (len(model.failed) - before)
    assert scheduler.memory.most_tokens("small") in (400, 500)
    waits = [later - sooner for sooner, later in itertools.pairwise(failed)]
    assert waits == sorted(waits)
    assert len(failed) <= 5, "in half an hour"
    assert all(len(batch) <= 5 for batch in model.failed[2:])
    model.tokens = 100_000
    now[0] += MOST_WAIT_S
    for _ in range(8):
        rounds(scheduler, model, CLEAN)
        now[0] += FIRST_WAIT_S
    assert scheduler.memory.most_tokens("small") >= 1600, "once a step has held, the next ones wait as the first did"


def test_a_bound_that_nobody_needs_does_not_grow(scheduler: Scheduler, now: list[float]) -> None:
    model = SmallMemory(500)
    rounds(scheduler, model, 1)
    for _ in range(100):
        now[0] += FIRST_WAIT_S
        assert scheduler.score(model, pairs(50), asked()).tolist() == [50]
    assert scheduler.memory.most_tokens("small") == 400


def test_halves_of_a_batch_for_which_nobody_waits_any_more_are_not_run(scheduler: Scheduler) -> None:
    gone = threading.Event()

    class Left(SmallMemory):
        """Its caller leaves during the first batch."""

        def forward(self, batch: Sequence[Pair]) -> NDArray[np.float32]:
            try:
                return super().forward(batch)
            finally:
                gone.set()
                time.sleep(0.2)

    model = Left(500)
    with pytest.raises(TimeoutError):
        scheduler.score(model, pairs(*[97] * 16), asked(cancelled=gone.is_set))
    assert scheduler.score(SumModel("other"), pairs(5), asked()).tolist() == [5]
    assert ([len(batch) for batch in model.failed], model.batches) == ([16], [])


def test_halves_of_a_batch_that_several_requests_share_come_back_to_each(scheduler: Scheduler) -> None:
    model = SmallMemory(150)
    with ThreadPoolExecutor(4) as clients:
        with Held(scheduler.device):
            wanted = [[40 + n, 41 + n] for n in range(4)]
            futures = [clients.submit(scheduler.score, model, pairs(*two), asked()) for two in wanted]
            until(lambda: scheduler.waiting() == 8)
        assert [future.result(10).tolist() for future in futures] == wanted
    assert scheduler.waiting() == 0


def test_a_pair_that_does_not_fit_alone_is_the_only_one_without_a_score_and_named_in_words(
    scheduler: Scheduler,
) -> None:
    model = SmallMemory(400)
    model.packs = int
    with ThreadPoolExecutor(2) as clients:
        with Held(scheduler.device):
            sound = clients.submit(scheduler.score, model, pairs(10, 20), asked())
            until(lambda: scheduler.waiting() == 2)
            long = clients.submit(scheduler.score, model, pairs(500, 30), asked())
            until(lambda: scheduler.waiting() == 4)
        assert sound.result(10).tolist() == [10, 20]
        with pytest.raises(
            PartScores, match="a passage of 503 tokens with its query does not fit into the device's memory"
        ) as caught:
            long.result(10)
    np.testing.assert_array_equal(caught.value.scores, [np.nan, 30])
    assert scheduler.score(model, pairs(10, 20), asked()).tolist() == [10, 20]
    assert scheduler.waiting() == 0


def test_a_list_that_must_be_scored_whole_fails_at_once_for_one_pair(scheduler: Scheduler) -> None:
    model = SmallMemory(400)
    for _ in range(2):
        with pytest.raises(Busy, match="does not fit") as caught:
            scheduler.score(model, pairs(500, 30), asked(whole=True))
        assert not isinstance(caught.value, PartScores)
    assert len(model.failed) == 1, "the second time nothing is tried"
    assert scheduler.waiting() == 0


def reranked(model: SumModel, scheduler: Scheduler, *lengths: int, **options: Any) -> tuple[str, StageReport]:
    """Return the order that a cascade gives passages of so many tokens, and its report."""
    candidates = [
        Candidate(str(n), "", {}, {}, text="x", tokens={model.tokenizer.fingerprint: np.ones(length, dtype=np.int32)})
        for n, length in enumerate(lengths)
    ]
    stage = Stage(name="small", depth=50, blend=1.0, budget_ms=60_000, max_length=10_000, **options)
    cascade = Cascade(lambda stage: LocalReranker(model, scheduler), clock=scheduler._clock)
    found, (report,) = cascade.rerank("q", candidates, [stage], RerankRequest(), 1e9)
    return "".join(one.passage_id for one in found), report


def test_a_passage_that_does_not_fit_keeps_its_place_behind_those_that_were_scored(scheduler: Scheduler) -> None:
    model = SmallMemory(400)
    for words in ("memory", "memory; tried again in 60 s"):
        order, report = reranked(model, scheduler, 10, 500, 30, 20)
        assert (order, report.status, report.scored, report.of) == ("2301", "partial", 3, 4)
        assert report.reason == f"a passage of 503 tokens with its query does not fit into the device's {words}"


def test_a_passage_of_which_one_part_does_not_fit_is_not_scored_by_the_others(scheduler: Scheduler) -> None:
    model = SmallMemory(400)
    model.longest = 500
    order, report = reranked(model, scheduler, 10, 900, 30)
    assert (order, report.status, report.scored) == ("201", "partial", 2)


def test_what_did_not_fit_alone_is_refused_unrun_for_a_minute_and_closes_nothing(
    scheduler: Scheduler, now: list[float]
) -> None:
    model = SmallMemory(400)
    for _ in range(2 * SHORTAGES):
        with pytest.raises(Busy, match="does not fit"):
            scheduler.score(model, pairs(500), asked())
    assert len(model.failed) == 1
    assert scheduler.score(model, pairs(300), asked()).tolist() == [300]
    now[0] += PAUSE_S
    model.tokens = 1000
    assert scheduler.score(model, pairs(500), asked()).tolist() == [500]


def test_without_any_memory_a_request_ends_after_few_tries(scheduler: Scheduler) -> None:
    model = SmallMemory(0)
    with pytest.raises(Busy, match="does not fit"):
        scheduler.score(model, pairs(*[10] * 64), asked())
    assert [len(batch) for batch in model.failed] == [64, 32, 16, 8, 4, 2, 1]
    assert scheduler.waiting() == 0


def short(scheduler: Scheduler, model: SmallMemory) -> None:
    """Let a batch of a model run out of memory."""
    scheduler.memory.ran_out(model.fingerprint, 10_000, 2, begun=scheduler.memory._clock(), halved=False)


def test_three_batches_within_a_minute_close_the_model_for_a_minute(scheduler: Scheduler, now: list[float]) -> None:
    model, other = SmallMemory(10_000), SmallMemory(10_000, "other")
    for _ in range(SHORTAGES - 1):
        short(scheduler, model)
        now[0] += WITHIN_S / 2
    short(scheduler, model)
    assert now[0] == 1000 + WITHIN_S
    for ask in (
        lambda: scheduler.score(model, pairs(5), asked()),
        lambda: scheduler.fits(model, [5], 1.0, asked()),
    ):
        with pytest.raises(Busy, match=r"ran out of memory 3 times within a minute; tried again in 60 s"):
            ask()
    now[0] += PAUSE_S - 1.5
    with pytest.raises(Busy, match="tried again in 2 s"):
        scheduler.score(model, pairs(5), asked())
    assert scheduler.score(other, pairs(5), asked()).tolist() == [5], "another model is not concerned"
    now[0] += 1.5
    assert scheduler.score(model, pairs(5), asked()).tolist() == [5]


def test_three_batches_in_more_than_a_minute_close_nothing(scheduler: Scheduler, now: list[float]) -> None:
    model = SmallMemory(10_000)
    for _ in range(2 * SHORTAGES):
        short(scheduler, model)
        now[0] += WITHIN_S / 2 + 1
    assert scheduler.score(model, pairs(5), asked()).tolist() == [5]


def test_who_waits_when_a_model_is_closed_is_told_at_once(scheduler: Scheduler) -> None:
    model = SmallMemory(0)
    model.packs = int
    for _ in range(SHORTAGES - 1):
        short(scheduler, model)
    with ThreadPoolExecutor(8) as clients:
        with Held(scheduler.device):
            futures = [clients.submit(scheduler.score, model, pairs(1000, 900), asked()) for _ in range(6)]
            until(lambda: scheduler.waiting() == 12)
        for future in futures:
            with pytest.raises(Busy, match="3 times within a minute"):
                future.result(10)
    assert len(model.failed) == 1
    assert scheduler.waiting() == 0


def test_the_tensors_of_a_batch_are_gone_when_torch_is_told_to_free_what_it_keeps(
    scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: list[Any] = []
    when_freed: list[bool] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: when_freed.append(any(one() is not None for one in alive)))

    class Keeping(SmallMemory):
        def forward(self, batch: Sequence[Pair]) -> NDArray[np.float32]:
            activations = torch.zeros(8)
            alive.append(weakref.ref(activations))
            return super().forward(batch)

    gc.disable()
    try:
        assert scheduler.score(Keeping(500), pairs(*[97] * 16), asked()).tolist() == [97] * 16
    finally:
        gc.enable()
    assert when_freed == [False, False]


def test_a_cascade_goes_on_with_the_smaller_stage_and_names_the_larger(scheduler: Scheduler) -> None:
    small, large = SumModel("smaller"), SmallMemory(0)
    for _ in range(SHORTAGES):
        short(scheduler, large)
    models = {"small": small, "large": large}

    def load(stage: Stage) -> Reranker:
        return LocalReranker(models[stage.name], scheduler)

    stages = [Stage(name=name, depth=3, keep=3, blend=1.0, budget_ms=60_000) for name in models]
    ids = np.ones(9, dtype=np.int32)
    candidates = [
        Candidate(str(n), "", {}, {}, text="x", tokens={small.tokenizer.fingerprint: ids[: 1 + n]}) for n in range(3)
    ]
    found, reports = Cascade(load, clock=scheduler._clock).rerank("q", candidates, stages, RerankRequest(), 1e9)
    assert [one.passage_id for one in found] == ["2", "1", "0"], "the smaller stage's order"
    assert [(one.name, one.status) for one in reports] == [("small", "full"), ("large", "skipped")]
    assert reports[1].reason == "its model ran out of memory 3 times within a minute; tried again in 60 s"


def test_a_model_that_the_device_has_no_memory_for_is_found_at_start(
    scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RERANKERS, "cross_encoder", lambda *_: LocalReranker(SmallMemory(0), scheduler))
    with pytest.raises(ConfigError, match=r"stage 'large'.* does not fit into the device's memory"):
        RerankerCache(Settings(), scheduler).check([Stage(name="large")])
