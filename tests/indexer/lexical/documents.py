"""Documents of text only, for the tests of the lexical index."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from indexer.lexical import LexicalIndex, LexicalRanking
from indexer.lexical.query import parse_query
from indexer.scope import Scope
from indexer.types import PUBLIC, IndexedDocument, Metadata, Passage

EVERYONE = Scope.of("c")


def document(
    name: str,
    *texts: str,
    title: str = "",
    headings: tuple[str, ...] = (),
    metadata: Metadata | None = None,
    access: Sequence[str] = (PUBLIC,),
    version: int = 1,
) -> IndexedDocument:
    """Return a document whose passages `<name>-<n>` have these texts."""
    passages = tuple(
        Passage(f"{name}-{n}", name, n, text, 0, len(text), heading_path=headings) for n, text in enumerate(texts)
    )
    vectors = np.zeros((len(texts), 2), np.float32)
    return IndexedDocument(name, version, title, metadata or {}, tuple(access), passages, vectors)


def ranking(index: LexicalIndex, text: str, scope: Scope = EVERYONE, depth: int = 100) -> LexicalRanking:
    """Search as a user would."""
    return index.search(parse_query(text), scope, None, depth)


def found(index: LexicalIndex, text: str, scope: Scope = EVERYONE) -> list[str]:
    """Return the documents in order of their best passage."""
    return list(dict.fromkeys(passage.document_id for passage in ranking(index, text, scope).passages))
