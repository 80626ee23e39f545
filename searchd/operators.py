"""What a user's operators mean beyond the lexical index: the text that has a meaning, and what dense hits must obey.

BM25 obeys `+`, `-`, `title:` and quotes by itself; a vector knows none, so its passages are checked once loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from indexer.lexical import Clause, LexicalIndex, LexicalQuery
from searchd.types import Candidate, Query


def is_plain(query: LexicalQuery) -> bool:
    """Say whether a query is words only."""
    return not any(c.phrase or c.required or c.forbidden or c.title_only for c in query.clauses)


def meaning_of(query: Query) -> str:
    """Return what embedder and rerankers read: the text without operators and without what it forbids."""
    if is_plain(query.lexical):
        return query.text
    return " ".join(clause.text for clause in query.lexical.clauses if not clause.forbidden)


def obeying(query: LexicalQuery, candidates: Sequence[Candidate], lexical: LexicalIndex) -> list[Candidate]:
    """Return the candidates without those that only vectors found and that an operator excludes."""
    if is_plain(query):
        return list(candidates)
    return [one for one in candidates if "bm25" in one.ranks or _obeys(query.clauses, one, lexical)]


def _obeys(clauses: Sequence[Clause], candidate: Candidate, lexical: LexicalIndex) -> bool:
    for clause in clauses:
        must = clause.required or clause.phrase or clause.title_only
        if not (must or clause.forbidden):
            continue
        wanted = LexicalQuery((replace(clause, required=False, forbidden=False),))
        places = [candidate.title] if clause.title_only else [candidate.title, *candidate.heading_path, candidate.text]
        if any(lexical.matched_terms(wanted, place) for place in places) is clause.forbidden:
            return False
    return True
