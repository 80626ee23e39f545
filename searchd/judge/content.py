"""What a set holds, for writers of files and for telling about it; and what of it files about documents alone can hold."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
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
        """Return one grade per document, as `document_grades` has it. Queries in their order."""
        places = {query.query_id: place for place, query in enumerate(self.queries)}
        found = (
            Qrel(query_id, document_id, grade)
            for query_id, of_query in document_grades(self.judgments).items()
            for document_id, grade in of_query.items()
        )
        return sorted(found, key=lambda one: (places[one.query_id], one.document_id))


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


def document_grades(judgments: Iterable[Judgment]) -> dict[str, dict[str, int]]:
    """Return the grade of each judged document by query: the document's own, else the best of its passages'."""
    own: defaultdict[str, dict[str, int]] = defaultdict(dict)
    parts: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for one in judgments:
        found = parts[one.query_id] if one.passage_id else own[one.query_id]
        found[one.document_id] = max(one.grade, found.get(one.document_id, 0))
    return {query_id: {**parts[query_id], **own[query_id]} for query_id in dict.fromkeys((*own, *parts))}


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
