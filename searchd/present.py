"""Presentation: ordered passages -> hits, one per document with its best passage, the others folded beneath it.

Takes candidates in final order with their text; gives the hits of one page, highlighted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from indexer.lexical import LexicalIndex
from indexer.types import Metadata
from searchd.fuse import FUSED
from searchd.highlight import highlights_of
from searchd.types import Candidate, Hit, Query, StageReport

MORE_PASSAGES = 10
"""Folded passages shown with a hit."""


def by_document(ordered: Iterable[Candidate]) -> dict[str, list[Candidate]]:
    """Return the passages of each document, documents in the order of their best passage."""
    documents: dict[str, list[Candidate]] = {}
    for candidate in ordered:
        documents.setdefault(candidate.document_id, []).append(candidate)
    return documents


def present(
    documents: Mapping[str, Sequence[Candidate]],
    page: Sequence[str],
    query: Query,
    collection: str,
    lexical: LexicalIndex,
    stages: Sequence[StageReport],
) -> tuple[Hit, ...]:
    """Return the hits of the documents `page`, ranked from `query.offset + 1`; a document without passages is left out.

    The rank counts places in the whole order, so that a page that lost a document keeps the others' ranks.
    """
    return tuple(
        _hit(documents[name], place, query, collection, lexical, stages)
        for place, name in enumerate(page, start=query.offset + 1)
        if documents.get(name)
    )


def _hit(
    passages: Sequence[Candidate],
    rank: int,
    query: Query,
    collection: str,
    lexical: LexicalIndex,
    stages: Sequence[StageReport],
) -> Hit:
    best = passages[0]
    places = lexical.matched_terms(query.lexical, best.text)
    in_title = lexical.matched_terms(query.lexical, best.title)
    score, name = deciding_score(best, stages)
    return Hit(
        candidate=best,
        collection=collection,
        rank=rank,
        score=score,
        scored_by=name,
        highlights=highlights_of(best.text, places, query.highlight),
        more_passages=tuple(passages[1 : 1 + MORE_PASSAGES]),
        metadata=chosen_fields(best, query.fields),
        matched_terms=tuple(dict.fromkeys(word for _, _, word in (*in_title, *places))),
    )


def deciding_score(candidate: Candidate, stages: Sequence[StageReport]) -> tuple[float, str]:
    """Return the last score that ordered a candidate, and its name."""
    names = [name for report in reversed(stages) for name in (f"{report.name}.blend", report.name)]
    for name in (*names, *FUSED, "bm25", "dense"):
        if name in candidate.scores:
            return candidate.scores[name], name
    return 0.0, "none"


def chosen_fields(candidate: Candidate, fields: Sequence[str] | None) -> Metadata:
    """Return the metadata fields asked for; None asks for all."""
    if fields is None:
        return candidate.metadata
    return {name: candidate.metadata[name] for name in fields if name in candidate.metadata}
