"""Judged questions made by hand for tuning: rankings, grades and what each model would say, without an index or a model.

Each question has the passages p00 to p29 of one document each, ranked by both systems alike; one of them is relevant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from indexer.types import RankedPassage
from searchd.evaluate.scores import ScoreTable
from searchd.evaluate.types import JudgedData, Question, Topic
from searchd.rerank.types import PassageText, QueryCut, Reranker, ScoreRequest
from searchd.settings import Stage
from searchd.types import Candidate, Ranking

PASSAGES = 30
CHEAP = Stage(name="cheap", model="cheap", depth=20, keep=10, blend=0.5)
DEAR = Stage(name="dear", model="dear", depth=10, keep=10, blend=0.8)
COST_MS = {"cheap": 1.0, "dear": 10.0}

Says = Callable[[str, int, bool], float]
"""What a model says of a passage: question, place, and whether it is relevant."""


@dataclass(slots=True)
class Clock:
    """Seconds that pass when somebody works."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True, slots=True)
class SayingReranker:
    """A model that says of each passage what it is told to, and takes its time by a clock."""

    model: str
    clock: Clock
    says: Says
    asked: list[int] = field(default_factory=list)

    @property
    def fingerprint(self) -> str:
        return self.model

    def fits(self, request: ScoreRequest, passages: Sequence[PassageText], seconds: float) -> int:
        return len(passages)

    def at_once(self, request: ScoreRequest, passages: Sequence[PassageText]) -> int:
        return min(4, len(passages))

    def query_cut(self, request: ScoreRequest) -> QueryCut | None:
        return None

    def score(self, request: ScoreRequest, passages: Sequence[PassageText]) -> NDArray[np.float32]:
        self.clock.now += len(passages) * COST_MS[self.model] / 1000
        self.asked.append(len(passages))
        found = []
        for one in passages:
            _, query_id, place, relevant = one.text.split()
            found.append(self.says(query_id, int(place), relevant == "yes"))
        return np.array(found, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class MadeSet:
    """Questions with their grades, and a table of scores with the models behind it."""

    questions: list[Question]
    data: JudgedData
    table: ScoreTable
    models: dict[str, SayingReranker]


def made_set(count: int, *, cheap: Says, dear: Says, seed: int = 1) -> MadeSet:
    """Return so many questions; the place of the relevant passage is drawn, mostly among the first."""
    random = np.random.default_rng(seed)
    questions, qrels = [], {}
    for number in range(count):
        query_id = f"q{number:03}"
        relevant = min(PASSAGES - 1, int(random.exponential(6)))
        questions.append(question_of(query_id, relevant))
        qrels[query_id] = {f"d{relevant:02}": int(random.integers(1, 4))}
    clock = Clock()
    models = {"cheap": SayingReranker("cheap", clock, cheap), "dear": SayingReranker("dear", clock, dear)}

    def load(stage: Stage) -> Reranker:
        return models[stage.model]

    topics = tuple(one.topic for one in questions)
    data = JudgedData("made", "default", "judged", False, topics, qrels)
    return MadeSet(questions, data, ScoreTable(load, clock), models)


def question_of(query_id: str, relevant: int) -> Question:
    """Return a question whose systems agree on the order of its passages."""
    ranked = tuple(RankedPassage(f"p{place:02}", f"d{place:02}", 1 / (1 + place)) for place in range(PASSAGES))
    passages = {
        one.passage_id: Candidate(
            one.passage_id,
            one.document_id,
            {},
            {},
            text=f"text {query_id} {place} {'yes' if place == relevant else 'no'}",
        )
        for place, one in enumerate(ranked)
    }
    rankings = (Ranking("bm25", ranked), Ranking("dense", ranked))
    return Question(Topic(query_id, query_id), query_id, rankings, passages, {"bm25": 2.0, "dense": 5.0, "load": 3.0})


def drawn(query_id: str, place: int, seed: int) -> float:
    """Return a number of a normal distribution that is always the same for a passage of a question."""
    return float(np.random.default_rng([seed, int(query_id[1:]), place]).normal())


def knowing(strength: float, seed: int = 3) -> Says:
    """Return a model that raises what is relevant by so many standard deviations; less than 0 lowers it."""
    return lambda query_id, place, relevant: drawn(query_id, place, seed) + strength * relevant
