"""The scheduler: requests share batches, urgent ones go first, and what nobody waits for leaves the queue."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tokenizers import Tokenizer, models

from indexer.device import Device, Priority
from indexer.errors import Busy, LimitError, TransientError
from indexer.tokens import PassageTokenizer
from searchd.rerank import scheduler as module
from searchd.rerank.batches import WASTE_SHARE, window
from searchd.rerank.cascade import Cascade
from searchd.rerank.cost import CostTable
from searchd.rerank.local import Frame, LocalReranker, Pair
from searchd.rerank.scheduler import Scheduler
from searchd.rerank.types import BadScores, ScoreRequest
from searchd.settings import Settings, Stage
from searchd.types import Candidate, RerankRequest

NOTHING = np.zeros(0, dtype=np.int32)
FRAME = Frame(np.array([1, 2], dtype=np.int32), np.array([3], dtype=np.int32))


class SumModel:
    """Scores a pair by the sum of its passage's ids; notes the batches, and does what it is told in between."""

    path, longest = "sums", 10_000
    packs: Callable[[int], int] | None = None

    def __init__(self, fingerprint: str = "sum") -> None:
        self.fingerprint = fingerprint
        self.tokenizer = PassageTokenizer(Tokenizer(models.BPE()))
        self.batches: list[list[int]] = []
        self.fault: Any = None

    def frame(self, query: str, instruction: str, limit: int) -> Frame:
        return FRAME

    def forward(self, batch: Sequence[Pair]) -> NDArray[np.float32]:
        self.batches.append([pair.length for pair in batch])
        if self.fault is not None:
            fault, self.fault = self.fault, None
            return np.asarray(fault(len(batch)), dtype=np.float32)
        return np.array([pair.passage.sum() for pair in batch], dtype=np.float32)


@pytest.fixture
def device() -> Iterator[Device]:
    opened = Device(Settings(device="cpu", threads=1))
    yield opened
    opened.close()


@pytest.fixture
def scheduler(device: Device) -> Scheduler:
    return Scheduler(device)


def pairs(*lengths: int) -> list[Pair]:
    """Return pairs whose scores are the lengths of their passages."""
    return [Pair(FRAME, np.ones(length, dtype=np.int32)) for length in lengths]


def asked(**options: Any) -> ScoreRequest:
    return ScoreRequest("q", 64, **options)


class Held:
    """The device, kept busy until it is let go."""

    def __init__(self, device: Device) -> None:
        self._event, begun = threading.Event(), threading.Event()

        def hold() -> None:
            begun.set()
            self._event.wait(20)

        self._work = device.submit(hold, priority=Priority.QUERY)
        assert begun.wait(10)

    def __enter__(self) -> Held:
        return self

    def __exit__(self, *_: object) -> None:
        self._event.set()
        self._work.result(20)


def until(condition: Any) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def test_scores_come_back_in_the_order_asked(scheduler: Scheduler) -> None:
    scores = scheduler.score(SumModel(), pairs(5, 1, 9, 3), asked())
    assert scores.tolist() == [5, 1, 9, 3]
    assert scores.dtype == np.float32


def test_a_batch_holds_pairs_of_like_length_within_its_tokens(
    scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(module.FIRST_TOKENS, "cpu", 400)
    monkeypatch.setitem(module.BATCH_S, "cpu", 0.0)
    monkeypatch.setattr(module, "LEAST_TOKENS", 400)
    model = SumModel()
    lengths = [7, 97, 17, 47, 97, 7, 47, 17, 97, 97, 7, 7]
    assert scheduler.score(model, pairs(*lengths), asked()).tolist() == lengths
    assert model.batches == [[100] * 4, [50, 50], [20, 20, 10, 10], [10, 10]]


def test_requests_that_wait_together_share_a_batch(device: Device, scheduler: Scheduler) -> None:
    model = SumModel()
    with ThreadPoolExecutor(8) as clients:
        with Held(device):
            lengths = [(20 + n % 3, 21 + n % 3) for n in range(8)]
            futures = [clients.submit(scheduler.score, model, pairs(*two), asked()) for two in lengths]
            until(lambda: scheduler.waiting() == 16)
        assert [tuple(future.result(10).tolist()) for future in futures] == lengths
    assert len(model.batches) == 1
    assert model.batches[0] == sorted(model.batches[0], reverse=True)
    assert scheduler.waiting() == 0


def test_later_stages_go_first_and_then_nearer_deadlines(device: Device, scheduler: Scheduler) -> None:
    now = time.monotonic()
    order: list[str] = []

    class Noting(SumModel):
        def forward(self, batch: Sequence[Pair]) -> NDArray[np.float32]:
            order.append(self.fingerprint)
            return super().forward(batch)

    wishes = {
        "first stage, soon": asked(place=0, deadline=now + 30),
        "first stage, no deadline": asked(place=0),
        "second stage, later": asked(place=1, deadline=now + 90),
        "second stage, soon": asked(place=1, deadline=now + 60),
    }
    with ThreadPoolExecutor(8) as clients:
        with Held(device):
            futures = [clients.submit(scheduler.score, Noting(name), pairs(3), wish) for name, wish in wishes.items()]
            until(lambda: scheduler.waiting() == 4)
        for future in futures:
            future.result(10)
    assert order == [
        "second stage, soon",
        "second stage, later",
        "first stage, soon",
        "first stage, no deadline",
    ]


def test_a_query_is_embedded_between_two_batches(
    device: Device, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(module.FIRST_TOKENS, "cpu", 10)
    monkeypatch.setitem(module.BATCH_S, "cpu", 0.0)
    monkeypatch.setattr(module, "LEAST_TOKENS", 10)
    model, seen = SumModel(), []
    started = threading.Event()

    def embed() -> None:
        seen.append(len(model.batches))

    class Slow(SumModel):
        def forward(self, batch: Sequence[Pair]) -> NDArray[np.float32]:
            started.set()
            time.sleep(0.01)
            return super().forward(batch)

    model = Slow()
    with ThreadPoolExecutor(1) as clients:
        future = clients.submit(scheduler.score, model, pairs(*[7] * 20), asked())
        started.wait(5)
        device.run(embed, priority=Priority.QUERY)
        future.result(10)
    assert 1 <= seen[0] < 20 == len(model.batches)


def test_what_is_late_or_cancelled_leaves_the_queue_without_being_run(device: Device, scheduler: Scheduler) -> None:
    model, gone = SumModel(), threading.Event()
    with ThreadPoolExecutor(8) as clients:
        with Held(device):
            late = clients.submit(scheduler.score, model, pairs(1), asked(deadline=time.monotonic() + 0.05))
            cancelled = clients.submit(scheduler.score, model, pairs(2), asked(cancelled=gone.is_set))
            stays = clients.submit(scheduler.score, model, pairs(3), asked())
            until(lambda: scheduler.waiting() == 3)
            gone.set()
            for one in (late, cancelled):
                with pytest.raises(TimeoutError):
                    one.result(5)
            assert scheduler.waiting() == 1
        assert stays.result(10).tolist() == [3]
    assert model.batches == [[6]]


def test_at_the_deadline_what_was_scored_comes_back_and_the_rest_is_nan(
    scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(module.FIRST_TOKENS, "cpu", 10)
    monkeypatch.setitem(module.BATCH_S, "cpu", 0.0)
    monkeypatch.setattr(module, "LEAST_TOKENS", 10)

    class Slow(SumModel):
        def forward(self, batch: Sequence[Pair]) -> NDArray[np.float32]:
            time.sleep(0.03)
            return super().forward(batch)

    model = Slow()
    scores = scheduler.score(model, pairs(*[7] * 40), asked(deadline=time.monotonic() + 0.3))
    done = int((~np.isnan(scores)).sum())
    assert 0 < done < 40
    assert set(scores[~np.isnan(scores)].tolist()) == {7.0}
    until(lambda: scheduler.waiting() == 0)
    time.sleep(0.1)
    assert len(model.batches) <= done + 1


def test_a_batch_that_comes_too_late_changes_nothing_that_was_answered(scheduler: Scheduler) -> None:
    second, go = threading.Event(), threading.Event()

    class Slow(SumModel):
        def forward(self, batch: Sequence[Pair]) -> NDArray[np.float32]:
            if self.batches:
                second.set()
                go.wait(10)
            return super().forward(batch)

    model = Slow()
    model.packs = int
    scores = scheduler.score(model, pairs(500, 500), asked(deadline=time.monotonic() + 0.2))
    assert second.is_set()
    assert scores[0] == 500
    assert np.isnan(scores[1])
    go.set()
    until(lambda: len(model.batches) == 2)
    time.sleep(0.02)
    assert np.isnan(scores[1])


def test_a_full_queue_refuses_at_once(device: Device, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 100)
    model = SumModel()
    with ThreadPoolExecutor(1) as clients:
        with Held(device):
            first = clients.submit(scheduler.score, model, pairs(47, 37), asked())
            until(lambda: scheduler.waiting() == 2)
            with pytest.raises(Busy, match="90 tokens wait to be reranked"):
                scheduler.score(model, pairs(20), asked())
        assert first.result(10).tolist() == [47, 37]
    assert scheduler.score(model, pairs(20), asked()).tolist() == [20]


def refuse(_: int) -> Any:
    raise RuntimeError("out of order")


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (refuse, RuntimeError),
        (lambda n: [np.nan] * n, BadScores),
        (lambda n: [np.inf] * n, BadScores),
        (lambda n: [0.0] * (n - 1), BadScores),
    ],
)
def test_a_batch_that_fails_fails_its_requests_and_no_others(
    scheduler: Scheduler, fault: Any, error: type[Exception]
) -> None:
    model = SumModel()
    model.fault = fault
    with pytest.raises(error):
        scheduler.score(model, pairs(1, 2), asked())
    assert scheduler.score(model, pairs(1, 2), asked()).tolist() == [1, 2]
    assert scheduler.waiting() == 0


@pytest.mark.parametrize("raises", [True, False])
def test_a_pair_that_cannot_be_scored_fails_its_own_request_alone_of_those_in_its_batch(
    device: Device, scheduler: Scheduler, raises: bool
) -> None:
    class Picky(SumModel):
        def forward(self, batch: Sequence[Pair]) -> NDArray[np.float32]:
            scores = super().forward(batch)
            if raises and (scores == 13).any():
                raise RuntimeError("not thirteen")
            scores[scores == 13] = np.nan
            return scores

    model = Picky()
    with ThreadPoolExecutor(8) as clients:
        with Held(device):
            lengths = [(12, 14), (13, 14), (15, 12)]
            futures = [clients.submit(scheduler.score, model, pairs(*two), asked()) for two in lengths]
            until(lambda: scheduler.waiting() == 6)
        assert futures[0].result(10).tolist() == [12, 14]
        assert futures[2].result(10).tolist() == [15, 12]
        with pytest.raises(RuntimeError if raises else BadScores):
            futures[1].result(10)
    assert len(model.batches[0]) == 6


def test_a_turn_that_is_lost_fails_who_waits_and_the_next_request_gets_as_many_turns_as_before() -> None:
    device, going, go = Device(Settings(device="cpu", threads=2)), threading.Event(), threading.Event()
    scheduler = Scheduler(device)

    class Slow(SumModel):
        def forward(self, batch: Sequence[Pair]) -> NDArray[np.float32]:
            going.set()
            assert go.wait(10)
            return super().forward(batch)

    def broken() -> bool:
        if threading.current_thread().name.startswith("device"):
            raise RuntimeError("out of order")
        return False

    with ThreadPoolExecutor(2) as clients:
        running = clients.submit(scheduler.score, Slow(), pairs(5), asked())
        assert going.wait(10)
        with pytest.raises(RuntimeError, match="out of order"):
            scheduler.score(SumModel(), pairs(1), asked(cancelled=broken))
        go.set()
        with pytest.raises(RuntimeError, match="out of order"):
            running.result(10)
    until(lambda: scheduler._tickets._turns == 0)
    assert scheduler.score(SumModel(), pairs(1, 2), asked()).tolist() == [1, 2]
    until(lambda: scheduler._tickets._turns == 0)
    device.close()


def test_lists_that_must_be_scored_whole_wait_for_searches(device: Device, scheduler: Scheduler) -> None:
    model, now = SumModel(), time.monotonic()
    scheduler.costs.learn(model.fingerprint, 50, 50, 1.0)
    with ThreadPoolExecutor(2) as clients:
        with Held(device):
            listed = asked(place=1, deadline=now + 30, whole=True)
            first = clients.submit(scheduler.score, model, pairs(*[47] * 20), listed)
            until(lambda: scheduler.waiting() == 20)
            assert scheduler.fits(model, [50] * 3, 10, asked(deadline=now + 60)) == 3
            assert scheduler.fits(model, [50] * 3, 10, asked(place=1, deadline=now + 60, whole=True)) == 0
        first.result(10)


def test_more_tokens_than_the_queue_holds_are_refused_for_good(
    scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 100)
    with pytest.raises(LimitError, match="120 tokens are to be reranked; at most 100"):
        scheduler.score(SumModel(), pairs(*[9] * 10), asked())


def test_a_device_that_is_closed_refuses(device: Device, scheduler: Scheduler) -> None:
    scheduler.score(SumModel(), pairs(1), asked())
    device.close()
    for _ in range(2):
        with pytest.raises(TransientError, match="shut down"):
            scheduler.score(SumModel(), pairs(1), asked())
    assert scheduler.waiting() == 0


def test_a_device_that_closes_while_pairs_wait_lets_nobody_wait_for_ever(device: Device, scheduler: Scheduler) -> None:
    with ThreadPoolExecutor(1) as clients:
        with Held(device):
            waiting = clients.submit(scheduler.score, SumModel(), pairs(1), asked())
            until(lambda: scheduler.waiting() == 1)
            threading.Thread(target=device.close).start()
            with pytest.raises(TransientError, match="shut down"):
                waiting.result(5)


def test_many_threads_with_models_lengths_and_deadlines_of_their_own_get_their_own_scores(
    scheduler: Scheduler,
) -> None:
    models_ = [SumModel("a"), SumModel("b")]
    wrong: list[object] = []

    def client(seed: int) -> None:
        chance = np.random.default_rng(seed)
        for _ in range(25):
            lengths = chance.integers(1, 60, size=int(chance.integers(1, 30))).tolist()
            deadline = time.monotonic() + float(chance.choice([0.0005, 0.01, 30.0]))
            model = models_[int(chance.integers(2))]
            try:
                scores = scheduler.score(model, pairs(*lengths), asked(deadline=deadline, place=seed % 2))
            except TimeoutError:
                continue
            wrong.extend(
                (score, length)
                for score, length in zip(scores, lengths, strict=True)
                if score not in (length,) and not np.isnan(score)
            )

    with ThreadPoolExecutor(16) as clients:
        list(clients.map(client, range(16)))
    assert wrong == []
    until(lambda: scheduler.waiting() == 0)


@given(st.lists(st.integers(1, 500), min_size=1, max_size=60), st.integers(0, 59), st.integers(100, 4000))
def test_a_window_holds_its_place_within_its_tokens_and_little_padding(
    lengths: list[int], place: int, budget: int
) -> None:
    lengths.sort(reverse=True)
    place %= len(lengths)
    start, end = window(lengths, place, budget)
    assert start <= place < end
    padded = lengths[start] * (end - start)
    if end - start > 1:
        assert padded <= budget
    assert padded - sum(lengths[start:end]) <= WASTE_SHARE * budget


def test_a_model_that_packs_gets_pairs_in_the_order_of_their_requests(
    scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(module.FIRST_TOKENS, "cpu", 200)
    monkeypatch.setitem(module.BATCH_S, "cpu", 0.0)
    monkeypatch.setattr(module, "LEAST_TOKENS", 200)
    model = SumModel()
    model.packs = int
    lengths = [7, 97, 17, 47, 97, 7, 300, 17]
    assert scheduler.score(model, pairs(*lengths), asked()).tolist() == lengths
    assert model.batches == [[10, 100, 20, 50], [100, 10], [303], [20]]


def test_one_request_is_shared_out_among_the_workers() -> None:
    device = Device(Settings(device="cpu", threads=2))
    scheduler, together = Scheduler(device), threading.Barrier(2, timeout=10)

    class Meeting(SumModel):
        def forward(self, batch: Sequence[Pair]) -> NDArray[np.float32]:
            together.wait()
            return super().forward(batch)

    model = Meeting()
    assert scheduler.score(model, pairs(*[97] * 4), asked()).tolist() == [97] * 4
    assert model.batches == [[100, 100], [100, 100]]
    device.close()


# -- what fits ------------------------------------------------------------------------------------------------------


def test_what_fits_follows_what_was_measured() -> None:
    costs = CostTable()
    assert costs.fitting("m", [10, 10], 1.0) is None
    costs.learn("m", longest=40, tokens=100, seconds=0.1)
    assert costs.fitting("m", [40] * 100, 1.01) == 25
    assert costs.fitting("m", [40] * 100, 0.001) == 0
    assert costs.fitting("m", [40, 400], 0.43) == 1, "the only class known stands for the others"
    costs.learn("m", longest=400, tokens=400, seconds=0.8)
    assert costs.fitting("m", [400] * 10, 1.7) == 2
    for _ in range(60):
        costs.learn("m", longest=40, tokens=100, seconds=0.2)
    assert costs.per_token("m", 40) == pytest.approx(0.002, rel=1e-3)
    assert costs.table().keys() == {("m", 48), ("m", 768)}


class Working(SumModel):
    """Takes `token_s` for every token, without padding."""

    packs, token_s = int, 0.0004

    def forward(self, batch: Sequence[Pair]) -> NDArray[np.float32]:
        time.sleep(sum(pair.length for pair in batch) * self.token_s)
        return super().forward(batch)


def test_how_deep_a_search_reads_follows_its_budget_and_what_a_token_takes_now(
    device: Device, scheduler: Scheduler
) -> None:
    model = Working()
    name, ids = model.tokenizer.fingerprint, np.ones(22, dtype=np.int32)
    candidates = [
        Candidate(f"{place:03}", "", {"rrf": 1 / place}, {}, text="oil", tokens={name: ids}) for place in range(1, 301)
    ]
    cascade = Cascade(lambda _: LocalReranker(model, scheduler))

    def depth(budget_ms: int) -> int:
        stage = Stage(name="small", depth=300, max_length=64, budget_ms=budget_ms)
        _, (report,) = cascade.rerank("oil", candidates, [stage], RerankRequest(), time.monotonic() + 60)
        assert (report.status, report.ms < budget_ms + 150) == ("partial", True)
        return report.scored

    scheduler.score(model, pairs(22), asked())
    for budget_ms in (300, 600, 1200):
        possible = budget_ms / (25 * 0.4)  # ms for a pair of 25 tokens
        assert possible / 2 <= depth(budget_ms) <= possible + 1
    model.token_s *= 3
    depth(600)
    assert depth(600) <= 600 / 30 + 1


def test_a_batch_is_as_large_as_its_own_time_allows_and_not_the_time_that_others_took(scheduler: Scheduler) -> None:
    model = Working()  # it sleeps: the processor is others' meanwhile
    scheduler.score(model, pairs(97), asked())
    wall, own = (table.per_token(model.fingerprint, 100) for table in (scheduler.costs, scheduler.work))
    assert wall is not None
    assert own == pytest.approx(wall / module.CROWDED)


def test_a_slow_moment_is_forgotten_but_not_at_once() -> None:
    now = [100.0]
    costs = CostTable(lambda: now[0])
    costs.learn("m", 40, 1000, 1.0)
    for _ in range(100):
        costs.learn("m", 40, 1000, 9.0)
    assert costs.per_token("m", 40) == pytest.approx(0.009, rel=1e-3)
    now[0] += 10
    assert costs.per_token("m", 40) == pytest.approx(0.005, rel=1e-3)
    assert costs.table() == {("m", 48): pytest.approx(5, rel=1e-3)}
    now[0] += 1000
    assert costs.per_token("m", 40) == pytest.approx(0.001, rel=1e-3)


def test_all_fits_until_something_was_measured_and_one_always_if_nothing_waits(
    device: Device, scheduler: Scheduler
) -> None:
    model, now = SumModel(), time.monotonic()
    assert scheduler.fits(model, [10] * 50, 0.001, asked()) == 50
    scheduler.costs.learn(model.fingerprint, 10, 100, 1.0)
    assert scheduler.fits(model, [10] * 50, 0.001, asked()) == 1
    assert scheduler.fits(model, [10] * 50, 1.0, asked()) == 8
    with ThreadPoolExecutor(1) as clients:
        with Held(device):
            waiting = clients.submit(scheduler.score, model, pairs(47), asked(place=1, deadline=now + 60))
            until(lambda: scheduler.waiting() == 1)
            later = asked(place=1, deadline=now + 90)
            assert scheduler.fits(model, [10] * 50, 0.4, later) == 0
            assert scheduler.fits(model, [10] * 50, 1.0, later) == 3, "half a second's work waits before it"
            assert scheduler.fits(model, [10] * 50, 1.0, asked(place=1, deadline=now + 30)) == 8, "sooner goes first"
            assert scheduler.fits(model, [10] * 50, 1.0, asked(place=2)) == 8, "so does a later stage"
        waiting.result(10)
