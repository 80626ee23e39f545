"""The cascade: the one ordering rule, blending, budgets on a clock of our own, and rerankers that fail in every way."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from indexer.device import Device, Priority
from indexer.errors import Busy, ConfigError, InputError
from searchd.rerank.cascade import Cascade
from searchd.rerank.types import LongInstruction, PassageText, QueryCut, ScoreRequest
from searchd.settings import Settings, Stage
from searchd.types import Candidate, RerankRequest, StageReport

FAR = 1e6
ALONE = {"budget_ms": 60_000, "blend": 1.0}


class Clock:
    """Seconds that pass only when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Listed:
    """A reranker that knows its scores by text, and takes `pair_s` of the clock for each; notes what it was asked.

    It believes that each takes `believed_s`.
    """

    fingerprint = "listed"
    cut: QueryCut | None = None

    def __init__(
        self, scores: Mapping[str, float], clock: Clock | None = None, pair_s: float = 0.01, believed_s: float = 0.0
    ) -> None:
        self.scores, self.clock, self.pair_s, self.believed_s = scores, clock, pair_s, believed_s
        self.asked: list[list[str]] = []
        self.requests: list[ScoreRequest] = []

    def fits(self, request: ScoreRequest, passages: Sequence[PassageText], seconds: float) -> int:
        return min(len(passages), int(seconds / self.believed_s + 1e-9)) if self.believed_s else len(passages)

    def query_cut(self, request: ScoreRequest) -> QueryCut | None:
        return self.cut

    def score(self, request: ScoreRequest, passages: Sequence[PassageText]) -> NDArray[np.float32]:
        texts = [passage.text.splitlines()[-1] for passage in passages]
        self.asked.append(texts)
        self.requests.append(request)
        in_time = len(texts)
        if self.clock is not None:
            left = np.inf if request.deadline is None else request.deadline - self.clock.now
            in_time = min(len(texts), int(left / self.pair_s + 1e-9))
            self.clock.now += min(left, self.pair_s * len(texts))
            if not in_time:
                raise TimeoutError
        scores = [self.scores[text] for text in texts[:in_time]] + [np.nan] * (len(texts) - in_time)
        return np.array(scores, dtype=np.float32)

    @property
    def texts(self) -> list[str]:
        return list(itertools.chain(*self.asked))


def fused(names: str) -> tuple[Candidate, ...]:
    """Return candidates in fused order, one per letter, which is its passage id and its text."""
    return tuple(
        Candidate(name, f"doc-{name}", {"rrf": 1 / (60 + rank)}, {"rrf": rank}, title="T", text=name)
        for rank, name in enumerate(names, start=1)
    )


def rerank(
    candidates: Sequence[Candidate],
    *stages: tuple[Stage, Listed],
    clock: Callable[[], float] | None = None,
    deadline: float = FAR,
    cancelled: Callable[[], bool] = lambda: False,
    **request: object,
) -> tuple[tuple[Candidate, ...], tuple[StageReport, ...]]:
    rerankers = {stage.name: reranker for stage, reranker in stages}
    cascade = Cascade(lambda stage: rerankers[stage.name], clock=clock or Clock())
    asked = RerankRequest(**request)  # type: ignore[arg-type]  # the tests' own words
    return cascade.rerank("q", candidates, [stage for stage, _ in stages], asked, deadline, cancelled)


def letters(candidates: Sequence[Candidate]) -> str:
    return "".join(candidate.passage_id for candidate in candidates)


def small(scores: Mapping[str, float], **options: object) -> tuple[Stage, Listed]:
    return Stage(name="small", **(ALONE | options)), Listed(scores)  # type: ignore[arg-type]


def large(scores: Mapping[str, float], **options: object) -> tuple[Stage, Listed]:
    return Stage(name="large", **(ALONE | options)), Listed(scores)  # type: ignore[arg-type]


RISING = {name: float(i) for i, name in enumerate("abcdefgh")}
FALLING = {name: -float(i) for i, name in enumerate("abcdefgh")}
EQUAL = dict.fromkeys("abcdefgh", 1.0)


# -- order ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        pytest.param([], "abcdefgh", id="no stage leaves the fused order"),
        pytest.param([small(RISING)], "hgfedcba", id="one stage over all orders all"),
        pytest.param([small(RISING, depth=3)], "cbadefgh", id="what a stage did not see stays behind in fused order"),
        pytest.param(
            [small(RISING, keep=3), large(FALLING)], "fghedcba", id="survivors by the last stage, then others"
        ),
        pytest.param([small(RISING, keep=4), large(FALLING, depth=2)], "ghfedcba", id="depth cuts what survived"),
        pytest.param(
            [small(RISING, depth=5, keep=2), large(FALLING)], "decbafgh", id="last stage, earlier stage, fused order"
        ),
        pytest.param([small(EQUAL)], "abcdefgh", id="ties go by passage id"),
        pytest.param([small(RISING, keep=2), large(EQUAL)], "ghfedcba", id="ties of the last stage go by passage id"),
    ],
)
def test_one_rule_orders_all(stages: list[tuple[Stage, Listed]], expected: str) -> None:
    ordered, reports = rerank(fused("abcdefgh"), *stages)
    assert letters(ordered) == expected
    assert {report.status for report in reports} <= {"full"}


def test_ties_go_by_passage_id_even_against_the_fused_order() -> None:
    ordered, _ = rerank(fused("hgfedcba"), small(EQUAL, depth=4))
    assert letters(ordered) == "efghdcba"


def test_scores_and_ranks_grow_by_name_and_nothing_is_changed_or_lost() -> None:
    before = fused("abcd")
    ordered, _ = rerank(before, small(RISING, depth=3, keep=2), large(FALLING))
    found = {candidate.passage_id: candidate for candidate in ordered}
    assert letters(ordered) == "bcad"
    assert found["b"].scores.keys() == {"rrf", "small", "small.blend", "large", "large.blend"}
    assert found["a"].scores.keys() == {"rrf", "small", "small.blend"}
    assert found["d"].scores == before[3].scores
    assert (found["c"].scores["small"], found["c"].scores["large"]) == (2.0, -2.0)
    assert dict(found["c"].ranks) == {"rrf": 3, "small": 1, "large": 2}
    assert dict(found["a"].ranks) == {"rrf": 1, "small": 3}
    assert before == fused("abcd")


def test_the_blend_is_the_weighted_sum_of_both_standard_scores_over_what_was_scored() -> None:
    candidates = tuple(
        Candidate(name, name, {"rrf": rrf}, {}, text=name)
        for name, rrf in zip("abcd", (0.04, 0.03, 0.02, 9.0), strict=True)
    )
    ordered, _ = rerank(candidates, small({"a": 1.0, "b": 5.0, "c": 3.0}, depth=3, blend=0.25))
    blends = {candidate.passage_id: candidate.scores.get("small.blend") for candidate in ordered}
    # logits 1, 5, 3: mean 3, deviation sqrt(8/3), z = -1.2247, 1.2247, 0; rrf .04, .03, .02: z = 1.2247, 0, -1.2247
    assert blends["a"] == pytest.approx(0.25 * -1.224745 + 0.75 * 1.224745)
    assert blends["b"] == pytest.approx(0.25 * 1.224745)
    assert blends["c"] == pytest.approx(0.75 * -1.224745)
    assert blends["d"] is None
    assert letters(ordered) == "abcd"


@pytest.mark.parametrize(("weight", "expected"), [(0.0, "abcd"), (1.0, "dcba")])
def test_a_weight_of_nought_keeps_the_fused_order_and_one_is_the_stage_alone(weight: float, expected: str) -> None:
    assert letters(rerank(fused("abcd"), small(RISING, blend=weight))[0]) == expected


def test_where_nothing_differs_the_standard_score_is_nought() -> None:
    ordered, _ = rerank(fused("abc"), small(EQUAL, blend=0.5))
    assert letters(ordered) == "abc"
    single, _ = rerank(fused("a"), small(RISING, blend=0.5))
    assert single[0].scores["small.blend"] == 0


# -- what a request asks --------------------------------------------------------------------------------------------


def test_a_request_can_switch_all_reranking_off() -> None:
    ordered, reports = rerank(fused("abc"), small(RISING), large(RISING), enabled=False)
    assert letters(ordered) == "abc"
    assert [(report.status, report.reason) for report in reports] == [
        ("skipped", "reranking was switched off by the request")
    ] * 2


def test_a_request_names_the_stages_that_run() -> None:
    ordered, reports = rerank(fused("abc"), small(RISING), large(RISING), stages=("large",))
    assert letters(ordered) == "cba"
    assert [report.status for report in reports] == ["skipped", "full"]


def test_a_stage_that_is_off_runs_only_if_it_is_named_and_may_be() -> None:
    on_request = small(RISING, enabled=False, on_request=True)
    assert letters(rerank(fused("abc"), on_request)[0]) == "abc"
    assert letters(rerank(fused("abc"), on_request, stages=("small",))[0]) == "cba"
    ordered, (report,) = rerank(fused("abc"), small(RISING, enabled=False), stages=("small",))
    assert (letters(ordered), report.status, report.reason) == ("abc", "skipped", "switched off in the profile")


def test_depth_of_a_request_caps_the_first_stage_and_never_widens_it() -> None:
    assert letters(rerank(fused("abcd"), small(RISING), depth=2)[0]) == "bacd"
    assert letters(rerank(fused("abcd"), small(RISING, depth=3), depth=100)[0]) == "cbad"


def test_no_candidates_are_fully_reranked() -> None:
    ordered, reports = rerank((), small(RISING))
    assert (ordered, reports[0].status, reports[0].of) == ((), "full", 0)


# -- time -----------------------------------------------------------------------------------------------------------

MANY = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
SCORES = {name: float(place) for place, name in enumerate(MANY)}


def timed(clock: Clock, pair_s: float, **options: object) -> tuple[Stage, Listed]:
    stage = Stage(name="small", **({"blend": 1.0} | options))  # type: ignore[arg-type]
    return stage, Listed(SCORES, clock, pair_s, believed_s=pair_s)


def test_a_stage_stops_before_its_budget_and_ranks_what_it_scored() -> None:
    clock = Clock()
    ordered, (report,) = rerank(fused(MANY), timed(clock, 0.01, depth=50, budget_ms=300), clock=clock)
    assert report.status == "partial"
    assert 20 <= report.scored <= 30
    assert report.of == 50
    assert report.ms <= 301
    assert report.reason == f"its budget of 300 ms was reached after {report.scored} of 50"
    scored, rest = MANY[: report.scored], MANY[report.scored :]
    assert letters(ordered) == scored[::-1] + rest


def test_the_query_s_own_deadline_and_a_request_s_budget_count_too() -> None:
    clock = Clock()
    _, (late,) = rerank(fused(MANY), timed(clock, 0.01, budget_ms=5000), clock=clock, deadline=clock.now + 0.2)
    assert late.status == "partial"
    assert (late.reason or "").startswith("the query's time was reached after")
    assert late.ms <= 201
    _, (asked,) = rerank(fused(MANY), timed(clock, 0.01, budget_ms=5000), clock=clock, budget_ms=150)
    assert asked.ms <= 151
    assert "150 ms" in (asked.reason or "")


def test_without_time_left_a_stage_is_skipped_and_says_so() -> None:
    clock = Clock()
    ordered, (report,) = rerank(fused("abc"), timed(clock, 0.01), clock=clock, deadline=clock.now)
    assert (letters(ordered), report.status, report.reason) == ("abc", "skipped", "no time was left for it")


def test_what_a_partial_stage_scored_goes_on_to_the_next() -> None:
    clock = Clock()
    first = timed(clock, 0.01, depth=50, keep=30, budget_ms=300)
    second = (Stage(name="large", blend=1.0, budget_ms=60_000), Listed({n: -s for n, s in SCORES.items()}))
    ordered, reports = rerank(fused(MANY), first, second, clock=clock)
    assert [report.status for report in reports] == ["partial", "full"]
    assert reports[1].of == reports[0].scored
    assert letters(ordered) == MANY


def test_a_stage_scores_what_fits_in_fused_order_and_goes_on_while_there_is_time() -> None:
    clock = Clock()
    stage, reranker = timed(clock, 0.01, depth=50, budget_ms=400)
    reranker.believed_s = 0.02
    _, (report,) = rerank(fused(MANY), (stage, reranker), clock=clock)
    assert "".join(reranker.texts) == MANY[: report.scored]
    assert [len(batch) for batch in reranker.asked][:4] == [20, 10, 5, 2]
    assert report.status == "partial"


def test_what_did_not_come_in_time_keeps_its_place_behind_what_did() -> None:
    clock = Clock()
    stage, reranker = timed(clock, 0.01, depth=50, budget_ms=300)
    reranker.believed_s = 0.001
    ordered, (report,) = rerank(fused(MANY), (stage, reranker), clock=clock)
    assert (report.status, report.scored, len(reranker.asked)) == ("partial", 30, 1)
    assert letters(ordered) == MANY[:30][::-1] + MANY[30:]


def test_a_stage_for_which_nothing_fits_is_skipped_without_trying() -> None:
    clock = Clock()
    stage, reranker = timed(clock, 5.0, budget_ms=400, depth=50)
    ordered, (report,) = rerank(fused(MANY), (stage, reranker), clock=clock)
    assert (letters(ordered), report.status, reranker.asked) == (MANY, "skipped", [])
    assert report.reason == "its budget of 400 ms does not suffice for one passage"


def test_where_only_all_is_of_use_nothing_is_begun_that_cannot_end_in_time() -> None:
    clock = Clock()
    stage, reranker = timed(clock, 0.01, depth=50, budget_ms=300)
    ordered, (report,) = rerank(fused(MANY), (stage, reranker), clock=clock, whole=True)
    assert (letters(ordered), report.status, reranker.asked) == (MANY, "skipped", [])
    assert report.reason == "only 30 of 50 can be scored in time"
    _, (report,) = rerank(fused(MANY[:30]), (stage, reranker), clock=clock, whole=True)
    assert report.status == "full"


def test_a_caller_who_goes_away_ends_it() -> None:
    clock = Clock()
    stage, reranker = timed(clock, 0.01, depth=50, budget_ms=400)
    reranker.believed_s = 0.02
    ordered, (report,) = rerank(fused(MANY), (stage, reranker), clock=clock, cancelled=lambda: len(reranker.asked) == 2)
    assert (report.status, report.reason) == ("partial", "the caller went away")
    assert len(reranker.asked) == 2
    assert sorted(letters(ordered)) == sorted(MANY)


def test_a_caller_who_goes_away_while_a_model_loads_is_no_failure_of_it() -> None:
    gone: list[int] = []

    class Loading(Listed):
        def score(self, request: ScoreRequest, passages: Sequence[PassageText]) -> NDArray[np.float32]:
            gone.append(1)
            raise TimeoutError("its model is still being loaded")

    stage = Stage(name="small", budget_ms=400)
    _, (report,) = rerank(fused("abc"), (stage, Loading(RISING)), cancelled=lambda: bool(gone))
    assert (report.status, report.reason) == ("skipped", "the caller went away")
    gone.clear()
    _, (report,) = rerank(fused("abc"), (stage, Loading(RISING)))
    assert (report.status, report.reason) == ("failed", "its model is still being loaded")


def test_a_reranker_is_told_its_place_instruction_policy_and_deadline() -> None:
    clock = Clock()
    first = (Stage(name="small", long="beginning", max_length=32, budget_ms=500), Listed(RISING))
    second = (
        Stage(name="large", kind="causal", model="m", prompt="chat", instruction="find bugs", budget_ms=9000),
        Listed(RISING),
    )
    rerank(fused("abc"), first, second, clock=clock, deadline=clock.now + 3)
    told = [reranker.requests[0] for reranker in (first[1], second[1])]
    assert [(one.place, one.instruction, one.parts) for one in told] == [(0, "", False), (1, "find bugs", True)]
    assert [one.deadline for one in told] == [clock.now + 0.5, clock.now + 3]
    assert (told[0].query, told[0].max_length) == ("q", 32)
    rerank(fused("abc"), first, second, clock=clock, instruction="find jokes")
    assert second[1].requests[-1].instruction == "find jokes"
    assert first[1].requests[-1].instruction == "", "its remembered scores hold whatever is wished of another stage"


class Cramped(Listed):
    """Has no room for an instruction of more than ten letters."""

    def fits(self, request: ScoreRequest, passages: Sequence[PassageText], seconds: float) -> int:
        if len(request.instruction) > 10:
            raise LongInstruction("instruction: too long")
        return super().fits(request, passages, seconds)


def test_a_callers_too_long_instruction_is_told_the_caller_and_one_of_the_settings_fails_its_stage() -> None:
    stage = Stage(name="large", kind="causal", model="m", prompt="chat", instruction="find bugs and jokes")
    with pytest.raises(InputError, match="instruction: too long") as caught:
        rerank(fused("abc"), (stage, Cramped(RISING)), instruction="find jokes and bugs")
    assert caught.value.code == "invalid_parameter"
    _, (report,) = rerank(fused("abc"), (stage, Cramped(RISING)))
    assert report.status == "failed"
    _, (report,) = rerank(fused("abc"), (stage, Cramped(RISING)), instruction="find jokes")
    assert report.status == "full"


# -- what fails -----------------------------------------------------------------------------------------------------


class Failing(Listed):
    """Answers the first `sound` times, then does what it is told."""

    def __init__(self, fault: Callable[[int], NDArray[np.float32]], sound: int = 0) -> None:
        super().__init__(SCORES)
        self.fault, self.sound = fault, sound

    def fits(self, request: ScoreRequest, passages: Sequence[PassageText], seconds: float) -> int:
        return min(2, len(passages))

    def score(self, request: ScoreRequest, passages: Sequence[PassageText]) -> NDArray[np.float32]:
        scores = super().score(request, passages)
        return scores if len(self.asked) <= self.sound else self.fault(len(passages))


def raising(_: int) -> NDArray[np.float32]:
    raise RuntimeError("the model is out of order")


FAULTS = {
    "raises": (raising, "RuntimeError; the daemon's log says more"),
    "nan": (lambda n: np.full(n, np.nan, dtype=np.float32), "a score is not a number"),
    "infinite": (lambda n: np.full(n, np.inf, dtype=np.float32), "a score is not a number"),
    "one nan": (
        lambda n: np.array([0.0] * (n - 1) + [np.nan], dtype=np.float32),
        "a score is not a number",
    ),
    "too few": (lambda n: np.zeros(n - 1, dtype=np.float32), "scores came back for"),
}


@pytest.mark.parametrize("sound", [0, 1])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_stage_that_fails_leaves_the_order_and_the_next_stage_runs(fault: str, sound: int) -> None:
    broken = (Stage(name="small", **ALONE), Failing(FAULTS[fault][0], sound))  # type: ignore[arg-type]
    ordered, (report,) = rerank(fused(MANY), broken)
    assert letters(ordered) == MANY
    assert (report.status, report.scored) == ("failed", 0)
    assert FAULTS[fault][1] in (report.reason or "")
    assert all(candidate.scores.keys() == {"rrf"} for candidate in ordered)
    ordered, reports = rerank(fused("abcd"), broken, large(RISING))
    assert (letters(ordered), [one.status for one in reports]) == ("dcba", ["failed", "full"])


class Interrupted(Listed):
    """Scores the first four, and says why it does no more."""

    def fits(self, request: ScoreRequest, passages: Sequence[PassageText], seconds: float) -> int:
        return min(4, len(passages))

    def score(self, request: ScoreRequest, passages: Sequence[PassageText]) -> NDArray[np.float32]:
        if self.asked:
            raise TimeoutError("the device was busy until the deadline")
        return super().score(request, passages)


def test_a_stage_that_is_late_and_says_why_is_partial_if_it_has_scores() -> None:
    ordered, (report,) = rerank(fused("abcdef"), (Stage(name="small", blend=1.0), Interrupted(RISING)))
    assert (letters(ordered), report.status, report.scored) == ("dcbaef", "partial", 4)
    assert report.reason == "the device was busy until the deadline"


CUT = QueryCut(32, 1069)
SAID = "the query was read to 32 of its 1,069 tokens"


def test_a_stage_that_reads_part_of_the_query_says_so_and_all_else_is_as_before() -> None:
    stage, reranker = small(RISING, keep=2)
    before, (plain, last) = rerank(fused("abcd"), (stage, reranker), large(RISING))
    reranker.cut = CUT
    ordered, reports = rerank(fused("abcd"), (stage, reranker), large(RISING))
    assert ordered == before
    assert reports == (replace(plain, reason=SAID), last)
    assert (plain.status, plain.reason, last.reason) == ("full", None, None)


def test_how_far_a_query_was_read_stands_behind_what_ended_the_stage() -> None:
    interrupted = Interrupted(RISING)
    interrupted.cut = CUT
    _, (report,) = rerank(fused("abcdef"), (Stage(name="small", blend=1.0), interrupted))
    assert report.reason == f"the device was busy until the deadline; {SAID}"


@pytest.mark.parametrize("sound", [0, 1])
def test_nothing_is_said_of_the_query_where_nothing_counts(sound: int) -> None:
    failing = Failing(raising, sound)
    failing.cut = CUT
    _, (report,) = rerank(fused(MANY), (Stage(name="small", **ALONE), failing))  # type: ignore[arg-type]
    assert (report.status, report.reason) == ("failed", "RuntimeError; the daemon's log says more")


def test_a_stage_whose_queue_is_full_is_skipped_in_its_own_words() -> None:
    def full(_: int) -> NDArray[np.float32]:
        raise Busy("1,000,000 tokens wait to be reranked, which is the most")

    ordered, (report,) = rerank(fused("abc"), (Stage(name="small"), Failing(full)))
    assert (letters(ordered), report.status) == ("abc", "skipped")
    assert report.reason == "1,000,000 tokens wait to be reranked, which is the most"


def test_a_model_that_is_absent_when_asked_for_fails_its_stage() -> None:
    def load(stage: Stage) -> Listed:
        raise ConfigError("stage model 'x' cannot be loaded")

    ordered, (report,) = Cascade(load).rerank("q", fused("abc"), [Stage(name="small")], RerankRequest(), FAR)
    assert (letters(ordered), report.status) == ("abc", "failed")
    assert report.reason == "ConfigError; the daemon's log says more"


@pytest.fixture
def device() -> Iterator[Device]:
    opened = Device(Settings())
    yield opened
    opened.close()


class Hanging(Listed):
    """Hangs on a real device from some call on."""

    def __init__(self, device: Device, sound: int) -> None:
        super().__init__(SCORES)
        self.device, self.sound, self.release = device, sound, threading.Event()

    def fits(self, request: ScoreRequest, passages: Sequence[PassageText], seconds: float) -> int:
        return min(8, len(passages))

    def score(self, request: ScoreRequest, passages: Sequence[PassageText]) -> NDArray[np.float32]:
        scores = super().score(request, passages)
        if len(self.asked) > self.sound:
            self.device.run(lambda: self.release.wait(20), priority=Priority.RERANK, deadline=request.deadline)
        return scores


@pytest.mark.parametrize("sound", [0, 1])
def test_a_stage_that_hangs_ends_with_its_budget_and_keeps_what_it_scored(device: Device, sound: int) -> None:
    hanging = Hanging(device, sound)
    stage = Stage(name="small", blend=1.0, depth=50, budget_ms=200)
    started = time.monotonic()
    ordered, (report,) = rerank(fused(MANY), (stage, hanging), clock=time.monotonic, deadline=started + 30)
    took_ms = (time.monotonic() - started) * 1000
    hanging.release.set()
    assert 150 < took_ms < 1500
    assert report.status == ("partial" if sound else "failed")
    assert ("was reached after 8 of 50" if sound else "no answer within") in (report.reason or "")
    assert report.scored == sum(len(batch) for batch in hanging.asked[:sound])
    assert letters(ordered) == MANY[: report.scored][::-1] + MANY[report.scored :]
