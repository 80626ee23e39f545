"""What a set holds, for writers of files and for telling about it; and what of it files about documents alone can hold."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from sqlalchemy.orm import Session

from indexer.store import documents, judged
from indexer.store.judged import JudgedQuery, JudgedSet, Judgment


@dataclass(frozen=True, slots=True)
class Qrel:
    """A grade of a document as a whole."""

    query_id: str
    document_id: str
    grade: int


@dataclass(frozen=True, slots=True)
class SetContent:
    """The queries of a set in their order, and its judgments."""

    queries: tuple[JudgedQuery, ...]
    judgments: tuple[Judgment, ...]

    @property
    def of_passages(self) -> int:
        """How many of the judgments are of passages."""
        return sum(bool(one.passage_id) for one in self.judgments)

    def qrels(self) -> list[Qrel]:
        """Return one grade per document: its own, else the best of its passages'. Queries in their order."""
        found: dict[tuple[str, str], int] = {}
        for one in (judgment for judgment in self.judgments if judgment.passage_id):
            key = (one.query_id, one.document_id)
            found[key] = max(one.grade, found.get(key, 0))
        found |= {(one.query_id, one.document_id): one.grade for one in self.judgments if not one.passage_id}
        places = {query.query_id: place for place, query in enumerate(self.queries)}
        ordered = sorted(found.items(), key=lambda pair: (places[pair[0][0]], pair[0][1]))
        return [Qrel(query_id, document_id, grade) for (query_id, document_id), grade in ordered]


@dataclass(frozen=True, slots=True)
class Told:
    """What there is to tell of a set."""

    queries: int
    skipped: int
    grades: dict[int, int]
    """Grade -> judgments."""
    judges: dict[str, int]
    """Name -> judgments, most first."""
    first_at: float | None
    last_at: float | None
    unknown_documents: int
    """Judged documents that the collection does not have now."""


def content_of(session: Session, set_id: str) -> SetContent:
    """Return all of a set."""
    return SetContent(tuple(judged.queries(session, set_id)), tuple(judged.judgments(session, set_id)))


def told_of(session: Session, one: JudgedSet) -> Told:
    """Return what there is to tell of a set."""
    content = content_of(session, one.set_id)
    times = [judgment.judged_at for judgment in content.judgments]
    ids = {judgment.document_id for judgment in content.judgments}
    return Told(
        queries=len(content.queries),
        skipped=sum(query.skipped_at is not None for query in content.queries),
        grades=dict(sorted(Counter(judgment.grade for judgment in content.judgments).items(), reverse=True)),
        judges=dict(Counter(judgment.judge for judgment in content.judgments).most_common()),
        first_at=min(times, default=None),
        last_at=max(times, default=None),
        unknown_documents=len(ids - documents.present(session, one.collection, sorted(ids))),
    )
