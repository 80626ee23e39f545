"""Bare texts through the cascade: the one order, ranks after each stage, scores that never rise, and none left out."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from indexer.engine import Engine
from indexer.errors import Busy, InputError, LimitError, NotFound, TransientError
from searchd.rerank import scales
from searchd.rerank.cascade import Cascade
from searchd.rerank.choosing import check_instruction, choices, choose, shortened
from searchd.rerank.lengths import measured, tokens_of_parts
from searchd.rerank.providers import PROVIDERS
from searchd.rerank.scales import Scale, scale_of
from searchd.rerank.table import RERANKERS
from searchd.rerank.texts import TextRanking, relevance_scores, rerank_texts
from searchd.rerank.types import PassageText, QueryCut, ScoreRequest
from searchd.services import Services
from searchd.settings import Profile, Settings, Stage

LETTERS = list("abcdef")
RISING = {letter: float(place) for place, letter in enumerate(LETTERS)}
FALLING = {letter: -float(place) for place, letter in enumerate(LETTERS)}


class Listed:
    """Knows scores by text; notes what it was asked. Scores as many as `most`, the rest are NaN; `error` is raised."""

    fingerprint = "listed"

    def __init__(self, scores: Mapping[str, float], *, most: int | None = None, error: Exception | None = None) -> None:
        self.scores, self.most, self.error = scores, most, error
        self.asked: list[tuple[ScoreRequest, list[str]]] = []

    def fits(self, request: ScoreRequest, passages: Sequence[PassageText], seconds: float) -> int:
        return len(passages) if self.most is None else max(0, self.most - sum(len(texts) for _, texts in self.asked))

    def query_cut(self, request: ScoreRequest) -> QueryCut | None:
        return None

    def score(self, request: ScoreRequest, passages: Sequence[PassageText]) -> NDArray[np.float32]:
        if self.error is not None:
            raise self.error
        self.asked.append((request, [one.text for one in passages]))
        return np.array([self.scores[one.text] for one in passages], dtype=np.float32)


def ranked(
    *stages: tuple[Stage, Listed], texts: Sequence[str] = LETTERS, gone: Callable[[], bool] = lambda: False
) -> TextRanking:
    rerankers = {stage.name: reranker for stage, reranker in stages}
    return rerank_texts(
        Cascade(lambda stage: rerankers[stage.name]),
        "q",
        texts,
        [stage for stage, _ in stages],
        deadline=time.monotonic() + 60,
        cancelled=gone,
    )


def letters(ranking: TextRanking) -> str:
    return "".join(LETTERS[text.index] for text in ranking.texts)


SMALL, LARGE = Stage(name="small", depth=2, keep=3), Stage(name="large", depth=9)


def test_one_stage_orders_all_whatever_its_depth() -> None:
    ranking = ranked((SMALL, Listed(RISING)))
    assert letters(ranking) == "fedcba"
    assert [text.score for text in ranking.texts] == [5, 4, 3, 2, 1, 0]


def test_a_cascade_orders_survivors_by_the_last_stage_and_keeps_all_others_behind_them() -> None:
    small, large = Listed(RISING), Listed(FALLING)
    ranking = ranked((SMALL, small), (LARGE, large))
    assert letters(ranking) == "defcba"
    assert large.asked[0][1] == ["f", "e", "d"]
    assert [text.stage for text in ranking.texts] == ["large"] * 3 + ["small"] * 3
    assert {LETTERS[text.index]: dict(text.ranks) for text in ranking.texts} == {
        "d": {"small": 3, "large": 1},
        "e": {"small": 2, "large": 2},
        "f": {"small": 1, "large": 3},
        "c": {"small": 4, "large": 4},
        "b": {"small": 5, "large": 5},
        "a": {"small": 6, "large": 6},
    }


def test_ties_keep_the_order_of_the_request_beyond_ten_texts() -> None:
    texts = [f"text {number}" for number in range(25)]
    ranking = ranked((SMALL, Listed(dict.fromkeys(texts, 1.0))), texts=texts)
    assert [text.index for text in ranking.texts] == list(range(25))


def test_nothing_is_blended_and_a_stage_has_no_budget_of_its_own_here() -> None:
    stage = Stage(name="small", blend=0.1, budget_ms=1, long="beginning", max_length=32)
    reranker = Listed(RISING)
    assert letters(ranked((stage, reranker))) == "fedcba"
    request = reranker.asked[0][0]
    assert request.parts
    assert request.max_length == 32
    assert request.deadline is not None and request.deadline > time.monotonic() + 30


def test_no_stage_stops_early_here_however_few_texts_there_are() -> None:
    stage = Stage(name="small", keep=2, early_stop_margin=-10)
    reranker = Listed(RISING)
    assert letters(ranked((stage, reranker))) == "fedcba"
    assert letters(ranked((stage, reranker), texts="a")) == "a"
    assert [len(texts) for _, texts in reranker.asked] == [6, 1]


def test_only_the_beginning_is_read_where_that_is_asked_for() -> None:
    reranker = Listed(RISING)
    cascade = Cascade(lambda stage: reranker)
    rerank_texts(cascade, "q", LETTERS, [SMALL], deadline=time.monotonic() + 60, beginning_only=True)
    assert not reranker.asked[0][0].parts


LOGITS = {"small": Scale("logit"), "large": Scale("logit")}


def test_relevance_never_rises_and_a_lone_stage_gives_the_sigmoid() -> None:
    scores = {"a": -30.0, "b": 3.0, "c": 0.0, "d": 40.0, "e": -1.0, "f": 8.0}
    alone = ranked((SMALL, Listed(scores)))
    expected = sorted((1 / (1 + math.exp(-score)) for score in scores.values()), reverse=True)
    np.testing.assert_allclose(relevance_scores(alone.texts, LOGITS), expected, rtol=1e-5)
    both = relevance_scores(ranked((SMALL, Listed(scores)), (LARGE, Listed(FALLING))).texts, LOGITS)
    assert all(0 <= low <= high <= 1 for high, low in itertools.pairwise(both))


@pytest.mark.parametrize(
    ("scale", "raw", "expected"),
    [
        (Scale("probability"), [0.9, 0.2], [0.9, 0.2]),
        (Scale("probability"), [1.5, -0.1], [1.0, 0.0]),
        (Scale("cosine", 32), [32.0, 24.0, 23.0, 0.0, -32.0], [1.0, 0.875, 0.859375, 0.5, 0.0]),
        (Scale("cosine"), [0.8, -0.5], [0.9, 0.25]),
        (Scale("order"), [4.0, 3.0, 2.0, 1.0], [0.875, 0.625, 0.375, 0.125]),
        (Scale("order"), [1.0], [0.5]),
        (Scale("logit"), [20.0, 0.0, -200.0], [1.0, 0.5, 0.0]),
    ],
    ids=str,
)
def test_each_scale_becomes_a_number_from_nought_to_one(scale: Scale, raw: list[float], expected: list[float]) -> None:
    found = scale.relevance(np.array(raw, dtype=np.float32))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.dtype == np.float32


def test_a_cascade_of_two_scales_reads_each_score_by_its_own_stage() -> None:
    shares = dict(zip(LETTERS, (0.1, 0.2, 0.3, 0.7, 0.8, 0.9), strict=True))
    ranking = ranked((SMALL, Listed(shares)), (LARGE, Listed({"d": 3.0, "e": 2.0, "f": 1.0})))
    found = relevance_scores(ranking.texts, {"small": Scale("probability"), "large": Scale("order")})
    assert found == pytest.approx([5 / 6, 3 / 6, 1 / 6, 1 / 6, 1 / 6, 0.1], abs=1e-6)


def test_every_kind_and_provider_has_a_scale() -> None:
    assert set(scales.KINDS) | {"remote"} == set(RERANKERS)
    assert set(scales.PROVIDERS) == set(PROVIDERS)
    far = Stage(name="far", kind="remote", provider="jina", model="jinaai/jina-reranker-v3")
    assert scale_of(far).name == "cosine"
    assert scale_of(msgspec.structs.replace(far, model="jina-reranker-v2-base-multilingual")).name == "probability"


def test_a_text_that_was_not_scored_is_an_error_that_says_why() -> None:
    with pytest.raises(
        TransientError, match=r"6 of 6 texts got no score.*small skipped: only 2 of 6 can be scored in time"
    ) as caught:
        ranked((SMALL, Listed(RISING, most=2)))
    assert caught.value.code == "degraded"
    with pytest.raises(TransientError, match="small failed: RuntimeError"):
        ranked((SMALL, Listed(RISING, error=RuntimeError("/secret/path"))))


def test_a_later_stage_that_fails_leaves_the_order_before_it_and_is_named() -> None:
    ranking = ranked((SMALL, Listed(RISING)), (LARGE, Listed(FALLING, error=RuntimeError())))
    assert letters(ranking) == "fedcba"
    assert [(report.name, report.status) for report in ranking.degraded] == [("large", "failed")]
    assert all(text.ranks.keys() == {"small"} for text in ranking.texts)


def test_more_texts_than_the_queue_holds_are_the_callers_to_mend() -> None:
    with pytest.raises(LimitError, match="2,000,000 tokens"):
        ranked((SMALL, Listed(RISING, error=LimitError("2,000,000 tokens are to be reranked"))))


def test_who_went_away_gets_nothing() -> None:
    with pytest.raises(Busy) as caught:
        ranked((SMALL, Listed(RISING)), gone=lambda: True)
    assert caught.value.code == "caller_gone"


class TestChoice:
    settings = Settings(
        profiles={
            "fast": Profile(stages=(Stage(name="quick"), Stage(name="large", model="other"))),
            "off": Profile(stages=(Stage(name="asleep", enabled=False, on_request=True),)),
            "closed": Profile(stages=(Stage(name="shut", model="hidden", enabled=False), Stage(name="open"))),
        }
    )

    @pytest.mark.parametrize(
        ("model", "stages", "name", "expected"),
        [
            (None, None, "large", ["large"]),
            ("", None, "large", ["large"]),
            ("small", None, "small", ["small"]),
            ("default", None, "default", ["small", "large"]),
            ("fast", None, "fast", ["quick", "large"]),
            ("fast/large", None, "fast/large", ["large"]),
            ("quick", None, "fast/quick", ["quick"]),
            ("asleep", None, "off/asleep", ["asleep"]),
            ("rerank-base", None, "large", ["large"]),
            ("other", None, "large", ["large"]),
            (None, ["large", "small"], "large+small", ["large", "small"]),
            ("fast", ["quick"], "quick", ["quick"]),
        ],
    )
    def test_a_model_is_a_stage_a_profile_or_what_a_stage_runs(
        self, model: str | None, stages: list[str] | None, name: str, expected: list[str]
    ) -> None:
        choice = choose(self.settings, model, stages)
        assert (choice.name, [stage.name for stage in choice.stages]) == (name, expected)

    def test_the_same_name_in_two_profiles_is_told_apart_by_the_profile(self) -> None:
        assert choose(self.settings, "large").stages[0].model == "rerank-base"
        assert choose(self.settings, "fast/large").stages[0].model == "other"

    def test_an_unknown_model_is_refused_with_what_there_is(self) -> None:
        with pytest.raises(NotFound, match=r"'rerank-english-v3\.0'; there are: small, large, default, fast") as caught:
            choose(self.settings, "rerank-english-v3.0")
        assert caught.value.code == "unknown_model"
        assert "off" not in choices(self.settings)

    def test_a_refusal_names_no_folder_of_the_server_and_a_model_is_known_by_its_folders_name(
        self, tmp_path: Path
    ) -> None:
        (tmp_path / "mine").mkdir()
        gone = str(tmp_path / "gone")
        stages = (Stage(name="own", model=str(tmp_path / "mine")), Stage(name="lost", model=gone))
        settings = Settings(profiles={"default": Profile(stages=stages)})
        with pytest.raises(NotFound, match=r"there are: own, lost, default, .*gone, mine$") as caught:
            choose(settings, "none")
        assert str(tmp_path) not in str(caught.value)
        for model, name in (("mine", "own"), (str(tmp_path / "mine"), "own"), ("gone", "lost"), (gone, "lost")):
            assert choose(settings, model).name == name

    @pytest.mark.parametrize("model", ["shut", "closed/shut", "hidden"])
    def test_a_stage_that_is_off_cannot_be_asked_for_by_any_name(self, model: str) -> None:
        with pytest.raises(NotFound):
            choose(self.settings, model)
        assert not any("shut" in name or name == "hidden" for name in choices(self.settings))
        with pytest.raises(InputError, match="'shut' is switched off, and not `on_request`") as caught:
            choose(self.settings, "closed", ["open", "shut"])
        assert caught.value.code == "stage_off"
        with pytest.raises(InputError, match=r"there are: open$"):
            choose(self.settings, "closed", ["none"])

    @pytest.mark.parametrize("stages", [["none"], ["small", "small"], ["quick"]])
    def test_stages_are_of_one_profile_and_run_once(self, stages: list[str]) -> None:
        with pytest.raises(InputError):
            choose(self.settings, None, stages)

    def test_an_instruction_needs_a_stage_that_takes_one(self) -> None:
        with pytest.raises(InputError, match="instruction"):
            check_instruction("find laws", choose(self.settings, None))
        settings = Settings(profiles={"default": Profile(stages=(Stage(name="big", kind="causal", model="m"),))})
        check_instruction("find laws", choose(settings, None))

    def test_only_what_is_read_here_can_be_shortened(self) -> None:
        assert shortened(choose(self.settings, "large"), 20).stages[0].max_length == 20
        assert shortened(choose(self.settings, "large"), -1).stages[0].max_length == 256
        assert shortened(choose(self.settings, "large"), 9000).stages[0].max_length == 256
        settings = Settings(profiles={"default": Profile(stages=(Stage(name="far", kind="remote", model="m"),))})
        with pytest.raises(InputError, match="remote"):
            shortened(choose(settings, None), 20)

    def test_without_any_stage_there_is_nothing_to_choose(self) -> None:
        with pytest.raises(NotFound, match="no stages"):
            choose(Settings(profiles={"default": Profile(stages=())}), None)


def test_texts_are_counted_and_cut_at_token_borders(services: Services) -> None:
    engine: Engine = services.engine
    tokenizer = engine.embedder.tokenizer
    texts = ["one two three four", "", "Ünïcödé six " * 40, "word " * 3]
    whole = measured(tokenizer, texts)
    assert whole.texts == tuple(texts)
    assert whole.cut == 0
    some = measured(tokenizer, texts, 3)
    assert some.texts[:2] == ("one two three", "")
    assert (some.cut, some.texts[3]) == (2, "word word word ")
    assert measured(tokenizer, some.texts).tokens <= some.tokens == 9
    assert some.tokens < whole.tokens


def test_parts_reach_as_far_as_the_reranker_would_read_in_so_many() -> None:
    assert tokens_of_parts(1, 64, 11) == 50
    assert tokens_of_parts(3, 64, 11) == 50 + 2 * (50 - 12)
