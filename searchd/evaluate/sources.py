"""Where an evaluation's rankings come from: the indexes themselves, or a daemon that owns them. Before fusion, so that every
fusion can be tried on the same ones.

Takes a query's text; gives both systems' rankings of passages. `workbench.py` chooses, and reads the passages.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import msgspec

from indexer.client import RemoteIndexer
from indexer.errors import TransientError
from indexer.lexical.query import parse_query
from indexer.scope import Scope
from indexer.store import passages
from indexer.types import RankedPassage
from searchd.judge.given import within_limits
from searchd.load import filled
from searchd.operators import is_plain, meaning_of, obeying
from searchd.services import Services
from searchd.types import Candidate, Query, Ranking

RETRIEVAL_S = 60.0
"""How long a system may take: quality is measured apart from time limits, and what it took is told."""


@dataclass(frozen=True, slots=True)
class Retrieved:
    """What the systems found; `excluded` are passages that the query's operators do not allow."""

    meaning: str
    rankings: tuple[Ranking, ...]
    excluded: frozenset[str]
    ms: Mapping[str, float]
    """By system."""


class RetrievalSource(Protocol):
    """Ranks passages by every system."""

    def retrieve(self, text: str, depth: int) -> Retrieved:
        """Return each system's first `depth` passages. Raises: TransientError if a system does not answer."""


class FolderSource:
    """The indexes of opened Services."""

    def __init__(self, services: Services, scope: Scope) -> None:
        self._services = services
        self._scope = scope

    def retrieve(self, text: str, depth: int) -> Retrieved:
        """See `RetrievalSource`."""
        query = Query(text=within_limits(text), lexical=parse_query(within_limits(text)))
        live = self._services.engine.live(self._scope.collection)
        meaning = meaning_of(query)
        deadline = time.monotonic() + RETRIEVAL_S
        found = self._services.pipeline.retriever.retrieve(live, query, meaning, self._scope, depth, deadline)
        if found.degraded:
            reasons = "; ".join(f"{one.name}: {one.reason}" for one in found.reports if one.name in found.degraded)
            raise TransientError(f"a query could not be measured, for not all systems answered ({reasons})")
        ms = {report.name: report.ms for report in found.reports if report.status == "full"}
        return Retrieved(meaning, found.rankings, self._excluded(query, found.rankings), ms)

    def readable(self, found: Retrieved) -> Retrieved:
        """Return what was found without passages that, by SQL, are gone or that the asker may not read now."""
        live = self._services.engine.live(self._scope.collection)
        with self._services.engine.database.read() as session:
            there = passages.load(session, self._scope, live.generation_id, list(bare_candidates(found.rankings)))
        rankings = (
            replace(one, passages=tuple(passage for passage in one.passages if passage.passage_id in there))
            for one in found.rankings
        )
        return replace(found, rankings=tuple(rankings))

    def _excluded(self, query: Query, rankings: tuple[Ranking, ...]) -> frozenset[str]:
        if is_plain(query.lexical):
            return frozenset()
        live = self._services.engine.live(self._scope.collection)
        found = bare_candidates(rankings)
        with self._services.engine.database.read() as session:
            loaded = passages.load(session, self._scope, live.generation_id, list(found))
        read = [filled(found[name], passage) for name, passage in loaded.items()]
        allowed = {one.passage_id for one in obeying(query.lexical, read, live.lexical)}
        return frozenset(loaded) - allowed


class RankingsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What `/api/rankings` answers; passages are [passage_id, document_id, score], best first."""

    meaning: str
    rankings: dict[str, list[tuple[str, str, float]]]
    excluded: list[str]
    ms: dict[str, float]


class DaemonSource:
    """The indexes of a running daemon, over its API."""

    def __init__(self, client: RemoteIndexer, collection: str) -> None:
        self._client = client
        self._collection = collection

    def retrieve(self, text: str, depth: int) -> Retrieved:
        """See `RetrievalSource`."""
        body = {"q": within_limits(text), "collection": self._collection, "depth": depth}
        answer = msgspec.convert(self._client.call("POST", "/api/rankings", json=body), RankingsAnswer)
        rankings = tuple(
            Ranking(system, tuple(RankedPassage(*row) for row in rows)) for system, rows in answer.rankings.items()
        )
        return Retrieved(answer.meaning, rankings, frozenset(answer.excluded), answer.ms)


def rankings_answer(found: Retrieved) -> RankingsAnswer:
    """Return rankings as they are sent."""
    return RankingsAnswer(
        meaning=found.meaning,
        rankings={one.system: [(p.passage_id, p.document_id, p.score) for p in one.passages] for one in found.rankings},
        excluded=sorted(found.excluded),
        ms=dict(found.ms),
    )


def bare_candidates(rankings: tuple[Ranking, ...]) -> dict[str, Candidate]:
    """Return every passage once, with the systems that found it in `ranks`."""
    ranks: dict[str, dict[str, int]] = {}
    documents: dict[str, str] = {}
    for ranking in rankings:
        for rank, passage in enumerate(ranking.passages, start=1):
            ranks.setdefault(passage.passage_id, {})[ranking.system] = rank
            documents[passage.passage_id] = passage.document_id
    return {name: Candidate(name, documents[name], {}, of) for name, of in ranks.items()}
