"""A judged set of SQL -> JudgedData: one grade a document, and only the queries that something was judged for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from sqlalchemy.orm import Session

from indexer.errors import InputError
from indexer.store import judged
from indexer.store.judged import JudgedSet, Judgment
from searchd.evaluate.types import JudgedData, Qrels, Topic


def judged_data(session: Session, one: JudgedSet) -> JudgedData:
    """Return a set's judged queries and grades. Raises: InputError if nothing in it is judged."""
    qrels = grades(judged.judgments(session, one.set_id))
    topics = tuple(
        Topic(query.query_id, query.text) for query in judged.queries(session, one.set_id) if query.query_id in qrels
    )
    if not topics:
        raise InputError(
            f"judged set {one.name!r} has no judgments yet: `searchd judge {one.name}`, or import some",
            code="nothing_judged",
        )
    return JudgedData(one.name, one.collection, one.kind, one.complete, topics, qrels)


def grades(judgments: Iterable[Judgment]) -> Qrels:
    """Return the grade of each judged document: the document's own, else the best of its passages'."""
    own: defaultdict[str, dict[str, int]] = defaultdict(dict)
    parts: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for one in judgments:
        found = parts[one.query_id] if one.passage_id else own[one.query_id]
        found[one.document_id] = max(one.grade, found.get(one.document_id, 0))
    return {query_id: {**parts[query_id], **own[query_id]} for query_id in [*own, *(q for q in parts if q not in own)]}
