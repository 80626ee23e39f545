"""The replay orders as the product's cascade does, whatever the stages, and measures as ir-measures does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from indexer.types import RankedPassage
from searchd.evaluate.measures import by_query
from searchd.evaluate.replay import Places, Values, fused_of, ndcg, replayed, sheet_of
from searchd.evaluate.types import Question, Topic
from searchd.evaluate.workbench import fused_candidates
from searchd.present import by_document
from searchd.rerank.cascade import Cascade
from searchd.rerank.types import PassageText, QueryCut, ScoreRequest
from searchd.settings import Profile, Stage
from searchd.types import Candidate, Ranking, RerankRequest

MODELS = ("a", "b", "c")


class Known:
    """A model whose scores are known by text."""

    fingerprint = "known"

    def __init__(self, scores: dict[str, float], batch: int) -> None:
        self.scores, self.batch = scores, batch

    def fits(self, request: ScoreRequest, passages: Sequence[PassageText], seconds: float) -> int:
        return len(passages)

    def at_once(self, request: ScoreRequest, passages: Sequence[PassageText]) -> int:
        return min(self.batch, len(passages))

    def query_cut(self, request: ScoreRequest) -> QueryCut | None:
        return None

    def score(self, request: ScoreRequest, passages: Sequence[PassageText]):  # type: ignore[no-untyped-def]
        return np.array([self.scores[one.text] for one in passages], dtype=np.float32)


def random_question(random: np.random.Generator, query_id: str) -> Question:
    count = int(random.integers(0, 40))
    names = [f"p{place:02}" for place in range(count)]
    documents = {name: f"d{int(random.integers(0, max(1, count // 2)))}" for name in names}
    rankings = []
    for system in ("bm25", "dense"):
        kept = [str(name) for name in random.permutation(names)[: int(random.integers(0, count + 1))]]
        passages = tuple(RankedPassage(name, documents[name], float(-rank // 3)) for rank, name in enumerate(kept))
        rankings.append(Ranking(system, passages))
    found = {one.passage_id for ranking in rankings for one in ranking.passages}
    loaded = {
        name: Candidate(name, documents[name], {}, {}, text=f"{query_id} {name}")
        for name in names
        if name in found and random.random() > 0.1  # some may not be read
    }
    return Question(Topic(query_id, "text"), "text", tuple(rankings), loaded, {})


def random_profile(random: np.random.Generator) -> Profile:
    stages = []
    for model in MODELS[: int(random.integers(0, 4))]:
        depth, keep = int(random.integers(1, 30)), int(random.integers(1, 30))
        margin = float(random.choice([-1.0, 0.0, 0.5, 1.0, 2.0])) if keep < depth and random.random() < 0.5 else None
        blend = float(random.choice([0.0, 0.3, 0.6, 1.0]))
        stages.append(
            Stage(
                name=model, model=model, depth=depth, keep=keep, blend=blend, early_stop_margin=margin, budget_ms=60_000
            )
        )
    fusion = str(random.choice(["rrf", "linear"]))
    return Profile(depth=int(random.integers(1, 40)), fusion=fusion, weights={"dense": 0.7}, stages=tuple(stages))


@pytest.mark.parametrize("seed", range(60))
def test_a_replay_orders_as_the_cascade_does(seed: int) -> None:
    random = np.random.default_rng(seed)
    question, profile = random_question(random, "q"), random_profile(random)
    logits = {  # few values, so that many are tied
        model: {one.text: float(np.float32(random.integers(-3, 4) / 3)) for one in question.passages.values()}
        for model in MODELS
    }
    batch = int(random.integers(1, 8))
    cascade = Cascade(lambda stage: Known(logits[stage.model], batch))
    expected, reports = cascade.rerank(
        question.meaning, fused_candidates(question, profile), profile.stages, RerankRequest(), float("inf")
    )
    assert {report.status for report in reports} <= {"full"}
    sheet = sheet_of(question, {})

    def scores_of(stage: Stage, places: Places) -> Values:
        return np.array([logits[stage.model][question.passages[sheet.names[place]].text] for place in places])

    order, counts = replayed(fused_of(question, sheet, profile), profile.stages, scores_of)
    assert [sheet.names[place] for place in order] == [one.passage_id for one in expected]
    assert list(counts) == [report.scored for report in reports]


def test_early_stop_is_among_the_cases() -> None:
    randoms = (np.random.default_rng(seed) for seed in range(60))
    profiles = [(random_question(random, "q"), random_profile(random))[1] for random in randoms]
    assert sum(stage.early_stop_margin is not None for profile in profiles for stage in profile.stages) > 10


def test_ndcg_equals_that_of_ir_measures() -> None:
    random = np.random.default_rng(9)
    questions = [random_question(random, f"q{number}") for number in range(50)]
    qrels = {
        one.topic.query_id: {f"d{number}": int(random.integers(0, 4)) for number in random.permutation(30)[:12]}
        for one in questions
    }
    qrels["q0"] = dict.fromkeys(qrels["q0"], 0)
    ours, run = {}, {}
    for one in questions:
        sheet = sheet_of(one, qrels[one.topic.query_id])
        fused = fused_of(one, sheet, Profile(stages=()))
        ours[one.topic.query_id] = ndcg(sheet, fused.order)
        run[one.topic.query_id] = list(by_document(fused_candidates(one, Profile(stages=()))))
    theirs = by_query(qrels, run)["nDCG@10"]
    assert ours["q0"] == 0.0 and max(ours.values()) > 0.3
    for query_id, value in theirs.items():
        assert ours[query_id] == pytest.approx(value, abs=1e-6)
