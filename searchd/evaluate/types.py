"""What an evaluation is about: judged queries, and what the product found for each before anything was chosen.

Flow: `judged_data.py` -> JudgedData; `workbench.py` -> a Question per topic; from there runs, figures, tuning, calibration.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from searchd.types import Candidate, Ranking

Qrels = Mapping[str, Mapping[str, int]]
"""Grade, 0 to 3, by query id and document id."""
Run = Mapping[str, Sequence[str]]
"""Document ids, best first, by query id."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A judged query."""

    query_id: str
    text: str


@dataclass(frozen=True, slots=True)
class JudgedData:
    """A judged set as it is measured with: the topics that have a judgment, and their grades by document."""

    name: str
    collection: str
    kind: str
    """judged, or clicks: weak grades, which every figure made of them says."""
    complete: bool
    """Whether a document without a judgment is known not to be relevant."""
    topics: tuple[Topic, ...]
    qrels: Qrels
    first: int = 0
    """How many of the set's queries these are, its first; 0: all of them."""

    @property
    def pairs(self) -> int:
        """How many (query, document) pairs are judged."""
        return sum(map(len, self.qrels.values()))


def first_queries(data: JudgedData, count: int) -> JudgedData:
    """Return a set with its first so many queries alone (0: all)."""
    topics = data.topics[: count or None]
    if len(topics) == len(data.topics):
        return data
    return replace(data, topics=topics, first=count, qrels={one.query_id: data.qrels[one.query_id] for one in topics})


@dataclass(frozen=True, slots=True)
class Question:
    """A topic, and what the systems found for it: passages best first by system, with their texts."""

    topic: Topic
    meaning: str
    """What embedder and rerankers read of the query."""
    rankings: tuple[Ranking, ...]
    passages: Mapping[str, Candidate]
    """By passage id, of all rankings: those that may be read and that the query's operators allow; no scores yet."""
    ms: Mapping[str, float]
    """What each system took, and `load`."""

    @property
    def retrieve_ms(self) -> float:
        """What retrieval took: the systems run at once."""
        return max((self.ms.get(ranking.system, 0.0) for ranking in self.rankings), default=0.0)
