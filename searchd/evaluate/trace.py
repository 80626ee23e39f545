"""A query's way through a profile: the order of its documents after fusion and after each stage, and what each step took.

Takes a Question of the workbench; the cascade runs once, and the order after each of its stages is read off the scores that it
gave, by the cascade's own rule. `systems.py` makes runs of traces, `failures.py` and `flows.py` say what happened on the way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from searchd.evaluate.types import Question
from searchd.evaluate.workbench import Workbench, fused_candidates
from searchd.present import by_document
from searchd.settings import Profile, Stage
from searchd.types import Candidate, StageReport

FULL = "full"


@dataclass(frozen=True, slots=True)
class Step:
    """What fusion or a stage left: documents, best first."""

    name: str
    documents: tuple[str, ...]
    ms: float
    pairs: int = 0
    seen: frozenset[str] = frozenset()
    """Documents of which a passage has a score of this stage."""
    short: str = ""
    """Why a stage did not do all of its work; empty: it did."""
    late: bool = False
    """Whether a stage took longer than its budget, at which a search would have stopped it."""


@dataclass(frozen=True, slots=True)
class Trace:
    """One query: what was found for it, fusion and stages in order, and the last stage's raw scores.

    The question's passages are kept without their texts.
    """

    question: Question
    steps: tuple[Step, ...]
    scores: Mapping[str, float]
    """By document, of those that the last stage scored: of the passage that stands for it in the answer."""

    @property
    def query_id(self) -> str:
        """The judged query's id."""
        return self.question.topic.query_id

    def title(self, document_id: str) -> str:
        """Return the title of a document that was found, empty if it was not."""
        found = (one.title for one in self.question.passages.values() if one.document_id == document_id)
        return next(found, "")


def running_stages(profile: Profile) -> tuple[Stage, ...]:
    """Return the stages that a search runs unless it asks for others."""
    return tuple(stage for stage in profile.stages if stage.enabled)


def follow(
    bench: Workbench, question: Question, profile: Profile, clock: Callable[[], float] = time.monotonic
) -> Trace:
    """Fuse and rerank what was found for a query, as the profile says, and return how it went."""
    started = clock()
    fused = fused_candidates(question, profile)
    first = Step(profile.fusion, document_order(fused), (clock() - started) * 1000)
    stages = running_stages(profile)
    ordered, reports = bench.rerank(question, fused, stages) if stages else (fused, ())
    after = tuple(step_after(fused, ordered, stages, reports, number) for number in range(len(stages)))
    scores = scores_of(ordered, stages[-1].name) if stages else {}
    return Trace(without_texts(question), (first, *after), scores)


def fusion_step(question: Question, profile: Profile, clock: Callable[[], float] = time.monotonic) -> Step:
    """Return what a profile's fusion leaves of a question."""
    started = clock()
    documents = document_order(fused_candidates(question, profile))
    return Step(profile.fusion, documents, (clock() - started) * 1000)


def step_after(
    fused: Sequence[Candidate],
    ordered: Sequence[Candidate],
    stages: Sequence[Stage],
    reports: Sequence[StageReport],
    number: int,
) -> Step:
    """Return what the stage of this number left, read off the scores of all."""
    name, report = stages[number].name, reports[number]
    order = order_after(fused, ordered, stages[: number + 1])
    seen = frozenset(one.document_id for one in ordered if name in one.scores)
    pairs = report.of - report.saved if report.status == FULL else report.scored
    short = "" if report.status == FULL else f"{report.status}: {report.reason}"
    late = report.ms > stages[number].budget_ms
    return Step(name, document_order(order), report.ms, pairs, seen, short, late)


def order_after(
    fused: Sequence[Candidate], ordered: Sequence[Candidate], stages: Sequence[Stage]
) -> tuple[Candidate, ...]:
    """Return the order that these stages left, whatever ran after them: the cascade's rule over their scores alone."""
    places = {one.passage_id: place for place, one in enumerate(fused)}

    def key(one: Candidate) -> tuple[int, float, int, str]:
        for number in reversed(range(len(stages))):
            value = one.scores.get(f"{stages[number].name}.blend")
            if value is not None:
                return (-number, -value, 0, one.passage_id)
        return (1, 0.0, places[one.passage_id], one.passage_id)

    return tuple(sorted(ordered, key=key))


def document_order(ordered: Sequence[Candidate]) -> tuple[str, ...]:
    """Return the documents of passages, each at its best one's place."""
    return tuple(by_document(ordered))


def scores_of(ordered: Sequence[Candidate], stage: str) -> dict[str, float]:
    """Return a stage's raw score of each document's first passage, where it has one."""
    firsts = {name: found[0] for name, found in by_document(ordered).items()}
    return {name: one.scores[stage] for name, one in firsts.items() if stage in one.scores}


def without_texts(question: Question) -> Question:
    """Return a question that takes little memory: all but the texts of its passages."""
    bare = {name: replace(one, text="", metadata={}, tokens={}, vectors={}) for name, one in question.passages.items()}
    return replace(question, passages=bare)
