"""Loading: ids that the indexes found -> candidates with text, as SQL lets the asker read them now.

The only SQL of a search, in one snapshot: passages of the fused order with their token ids, the set of matches, and what
a deep or sorted page needs beyond the fused order. What SQL does not know or allow is dropped here, before anything else
sees it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from indexer.apply import text_hash
from indexer.engine import LiveIndexes
from indexer.errors import Busy
from indexer.scope import Scope
from indexer.store import passages, token_vectors, tokens
from indexer.store.database import Database
from indexer.store.passages import LoadedPassage
from indexer.types import RankedPassage
from searchd.matching import Matches, read_matches
from searchd.operators import obeying
from searchd.present import MORE_PASSAGES
from searchd.rerank.text import passage_text
from searchd.retrieve import BM25, Retrieval, Retriever
from searchd.types import Candidate, Query, Stored

log = logging.getLogger(__name__)

Deep = tuple[tuple[RankedPassage, ...], str | None]
"""A lexical ranking, and why it is not there if it is not."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """`head` is the fused order; `tail` are passages of the documents `tail_page` (or of a sorted page) beyond it."""

    head: tuple[Candidate, ...]
    matches: Matches
    tail: tuple[Candidate, ...] = ()
    tail_page: tuple[str, ...] = ()
    short: str | None = None
    """Why passages beyond the fused order are missing from the page, None if they are not."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What rerankers can use of what is stored of so many of the first candidates."""

    passages: int
    stored: Stored


def load(
    database: Database,
    retriever: Retriever,
    live: LiveIndexes,
    query: Query,
    scope: Scope,
    found: Retrieval,
    fused: Sequence[Candidate],
    deadline: float,
    rerankers_want: Wanted,
) -> Loaded:
    """Return what the asker may read of the fused candidates, and of what the page needs beyond them.

    The order beyond the fused one is the lexical ranking's: a deeper look only ever appends, so pages never overlap. If
    that look fails or comes too late, the answer is what there is without it, and `short` says why.
    """

    def look_deeper(documents: int) -> Deep:
        return _deeper(lambda: retriever.deeper(live, query, scope, found, documents, deadline))

    with database.read() as session:
        head = obeying(query.lexical, _read(session, scope, live, fused), live.lexical)
        head = _with_stored(session, head, rerankers_want)
        documents = list(dict.fromkeys(candidate.document_id for candidate in head))
        exact, lexical = found.complete and not found.degraded, found.lexical_documents
        matches = read_matches(session, scope, documents, lexical, exact, facets=query.facets, sort=query.sort)
        end = query.offset + query.limit
        if matches.ordered is not None:
            wanted = [name for name in matches.ordered[query.offset : end] if name not in set(documents)]
            deep, short = look_deeper(len(found.lexical_documents)) if wanted else ((), None)
            tail = _sorted_tail(session, scope, live, wanted, deep)
            return Loaded(tuple(head), matches, tuple(tail), short=short)
        if end <= len(documents) or found.ranking(BM25) is None:
            return Loaded(tuple(head), matches)
        deep, short = look_deeper(end)
        beyond = [name for name in _documents(deep) if name not in set(documents)]
        page = beyond[max(0, query.offset - len(documents)) : end - len(documents)]
        return Loaded(tuple(head), matches, tuple(_tail(session, scope, live, page, deep)), tuple(page), short)


def _deeper(look: Callable[[], tuple[RankedPassage, ...]]) -> Deep:
    """Return a deeper ranking, or why there is none in words for every reader."""
    try:
        return look(), None
    except TimeoutError:
        return (), "no time was left to look deeper for this page"
    except Busy as error:
        return (), f"busy: {error}"
    except Exception as error:
        log.exception("looking deeper for a page failed")
        return (), f"{type(error).__name__} on a deeper look; the daemon's log says more"


def _documents(ranking: Iterable[RankedPassage]) -> list[str]:
    return list(dict.fromkeys(passage.document_id for passage in ranking))


def _read(session: Session, scope: Scope, live: LiveIndexes, bare: Sequence[Candidate]) -> list[Candidate]:
    """Fill candidates with their passages; those that may not be read are left out."""
    loaded = passages.load(session, scope, live.generation_id, [candidate.passage_id for candidate in bare])
    return [filled(candidate, passage) for candidate in bare if (passage := loaded.get(candidate.passage_id))]


def _with_stored(session: Session, head: Sequence[Candidate], wanted: Wanted) -> list[Candidate]:
    """Give the first candidates their stored token ids and vectors.

    What is looked up is the text as SQL has it now: under a changed title nothing is found, and the reranker makes the ids.
    """
    first = head[: wanted.passages] if wanted.stored.tokenizers else []
    hashes = [text_hash(passage_text(candidate)) for candidate in first]
    ids = tokens.read(session, wanted.stored.tokenizers, hashes)
    vectors = {model: token_vectors.read(session, model, hashes) for model in wanted.stored.models}
    given = []
    for candidate, hashed in zip(first, hashes, strict=True):
        found = {model: by_hash[hashed] for model, by_hash in vectors.items() if hashed in by_hash}
        given.append(replace(candidate, tokens=ids.get(hashed, {}), vectors=found))
    return [*given, *head[len(first) :]]


def _tail(
    session: Session, scope: Scope, live: LiveIndexes, page: Sequence[str], deep: Sequence[RankedPassage]
) -> list[Candidate]:
    """Load the passages of these documents in the order of the deep lexical ranking."""
    left = dict.fromkeys(page, 1 + MORE_PASSAGES)
    bare = []
    for rank, passage in enumerate(deep, start=1):
        if left.get(passage.document_id, 0):
            left[passage.document_id] -= 1
            bare.append(Candidate(passage.passage_id, passage.document_id, {BM25: passage.score}, {BM25: rank}))
    return _read(session, scope, live, bare)


def _sorted_tail(
    session: Session, scope: Scope, live: LiveIndexes, wanted: Sequence[str], deep: Sequence[RankedPassage]
) -> list[Candidate]:
    """Load passages of documents that metadata put on the page: as ranked, else from the document's beginning."""
    tail = _tail(session, scope, live, wanted, deep)
    missing = set(wanted) - {candidate.document_id for candidate in tail}
    for name in sorted(missing):
        for passage in passages.of_document(session, scope, live.generation_id, name)[:1]:
            tail.append(filled(Candidate(passage.passage_id, name, {}, {}), passage))
    return tail


def filled(candidate: Candidate, passage: LoadedPassage) -> Candidate:
    """Return the candidate with what SQL says of its passage."""
    return replace(
        candidate,
        document_id=passage.document_id,
        title=passage.title,
        text=passage.text,
        uri=passage.uri,
        heading_path=passage.heading_path,
        page=passage.page,
        start=passage.start,
        end=passage.end,
        metadata=passage.metadata,
    )
