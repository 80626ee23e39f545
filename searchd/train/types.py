"""What training is made of: documents with their passages, questions asked of them, groups of texts to choose from.

    documents -> builders -> Question -> mining -> Group -> fitting

Passages are `indexer`'s own, and a text is what a reranker reads at query time, to the letter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from random import Random

from indexer.apply import embedded_text
from indexer.types import Passage


@dataclass(frozen=True, slots=True)
class Link:
    """The text by which a document points at another one (or at a part of itself), and where to."""

    text: str
    target: str
    """The uri of the document pointed at."""
    fragment: str = ""
    entry: bool = False
    """Whether it stands in an index: then the text is the entry's term."""


ENGLISH = "en"


@dataclass(frozen=True, slots=True)
class TrainingDocument:
    """A document of the collection as training reads it; `source` is what held-out documents are chosen by."""

    document_id: str
    title: str
    uri: str
    passages: tuple[Passage, ...]
    links: tuple[Link, ...] = ()
    source: str = ""


@dataclass(frozen=True)
class Material:
    """All documents of a run, in a fixed order."""

    documents: tuple[TrainingDocument, ...]
    language: str = ENGLISH
    """The collection's: that of its stemming, and of the words of questions."""

    @cached_property
    def by_uri(self) -> Mapping[str, TrainingDocument]:
        """Documents by uri: where links lead."""
        return {document.uri: document for document in self.documents}

    @cached_property
    def passages(self) -> Mapping[str, tuple[TrainingDocument, Passage]]:
        """Passages by id, each with its document."""
        return {passage.passage_id: (document, passage) for document in self.documents for passage in document.passages}


@dataclass(frozen=True, slots=True)
class Question:
    """A query and the passage that answers it.

    `body` stands for the passage's text where the query's own words were taken out of it. `bare` leaves the line of title
    and headings out, of every text of the group, so that matching titles is not all that is learned.
    """

    query: str
    kind: str
    passage_id: str
    also: frozenset[str] = frozenset()
    """Other passages that answer it too: never negatives."""
    body: str | None = None
    bare: bool = False


Builder = Callable[[TrainingDocument, Material, Random], Iterator[Question]]
"""Makes the questions that one document answers."""


@dataclass(frozen=True, slots=True)
class Group:
    """A query with texts to order: the first answers it, the others were mined.

    `teacher` is the bi-encoder's cosine of each text to the query.
    """

    query: str
    kind: str
    texts: tuple[str, ...]
    teacher: tuple[float, ...]
    labels: tuple[float, ...] = field(default=())


def text_of(document: TrainingDocument, passage: Passage, *, body: str | None = None, bare: bool = False) -> str:
    """Return what a reranker reads of a passage: title and headings on one line, then the text."""
    text = passage.text if body is None else body
    if bare:
        return text.strip()
    line, _, _ = embedded_text(document.title, passage).partition("\n")
    return f"{line}\n{text}".strip()
