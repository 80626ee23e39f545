"""One frozen dataclass per page: all that its template shows. No markup here; `render.py` does the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from indexer.status import CollectionStatus
from web.answer import Answer
from web.choices import Choice
from web.judge_contexts import Grading, JudgedSetPage, JudgedSetsPage, JudgePage, SignInPage
from web.links import Link
from web.moves import Moves
from web.reading import Reading
from web.state import SearchState


@dataclass(frozen=True, slots=True)
class CollectionView:
    """A collection to choose, and how much is in it."""

    name: str
    documents: int
    passages: int


@dataclass(frozen=True, slots=True)
class FieldErrors:
    """What is wrong with which field of the form; empty strings where nothing is."""

    q: str = ""
    filter: str = ""
    other: str = ""

    def __bool__(self) -> bool:
        return bool(self.q or self.filter or self.other)


@dataclass(frozen=True, slots=True)
class SearchPage:
    """`/`: the form, and below it the hits, or what there is to search."""

    template: ClassVar[str] = "search.html"
    section: str
    state: SearchState
    modes: tuple[Choice, ...]
    stages: tuple[Choice, ...]
    profiles: tuple[str, ...]
    thresholds: tuple[tuple[str, str], ...]
    """Of relevance, as value and words; none where it is not calibrated."""
    collections: tuple[CollectionView, ...]
    chosen: CollectionView | None
    """The collection searched; None if there is none of that name."""
    examples: tuple[Choice, ...]
    errors: FieldErrors
    answer: Answer | None
    grading: Grading | None = None
    """What a judge is offered beside the hits; None for everybody else."""


@dataclass(frozen=True, slots=True)
class DocumentPage:
    """`/documents/...`: a document as it was parsed, the passage marked."""

    template: ClassVar[str] = "document.html"
    section: str
    state: SearchState
    title: str
    source: Link
    metadata: tuple[tuple[str, str], ...]
    reading: Reading
    missing_passage: bool
    base: str
    """The page's own address, ready for one more parameter."""
    back: str | None


@dataclass(frozen=True, slots=True)
class ErrorPage:
    """What went wrong, in words, and where to go from there."""

    template: ClassVar[str] = "error.html"
    section: str
    state: SearchState
    status: int
    title: str
    detail: str
    code: str


@dataclass(frozen=True, slots=True)
class Failure:
    """A source that could not be indexed, why, and whether it is worth another try."""

    collection: str
    source_id: str
    label: str
    code: str
    explanation: str
    message: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How ingestion stands: open jobs, documents there are, failed sources, how far unfinished tasks have come."""

    queued: int
    running: int
    documents: int
    failed: int
    done: int
    total: int

    @property
    def working(self) -> bool:
        """Whether anything is waiting or under way."""
        return bool(self.queued or self.running)


@dataclass(frozen=True, slots=True)
class Health:
    """One part of the system: ok, or why not."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class StatusPage:
    """`/status`: what is being indexed, what failed, what is searched, what runs."""

    template: ClassVar[str] = "status.html"
    section: str
    state: SearchState
    progress: Progress
    failures: tuple[Failure, ...]
    collections: tuple[CollectionStatus, ...]
    models: tuple[tuple[str, str], ...]
    health: tuple[Health, ...]
    may_write: bool
    notice: str
    started_at: float
    uptime_s: float


@dataclass(frozen=True, slots=True)
class FieldView:
    """A parameter, or a field of a body or an answer, nested ones named with dots."""

    name: str
    kind: str
    required: bool
    default: str
    meaning: str


@dataclass(frozen=True, slots=True)
class OperationView:
    """One operation: what it takes and gives."""

    method: str
    path: str
    anchor: str
    summary: str
    description: str
    parameters: tuple[FieldView, ...]
    body: tuple[FieldView, ...]
    body_example: str
    form: tuple[FieldView, ...]
    answer: tuple[FieldView, ...]
    answer_example: str
    statuses: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ReferencePage:
    """`/docs`: every operation, by topic."""

    template: ClassVar[str] = "reference.html"
    section: str
    state: SearchState
    version: str
    description: str
    topics: tuple[tuple[str, tuple[OperationView, ...]], ...]


@dataclass(frozen=True, slots=True)
class PlaygroundPage:
    """`/playground`: the form as it was filled, and below it the passages in their new order."""

    template: ClassVar[str] = "playground.html"
    section: str
    state: SearchState
    query: str
    passages: str
    profile: str
    profiles: tuple[str, ...]
    stages: tuple[str, ...]
    """Those that run."""
    takes_instruction: bool
    instruction: str
    examples: tuple[Choice, ...]
    most_passages: int
    most_query_chars: int
    error: str
    passages_error: str
    moves: Moves | None


JudgesPage = SignInPage | JudgedSetsPage | JudgedSetPage | JudgePage
Page = SearchPage | DocumentPage | ErrorPage | StatusPage | ReferencePage | PlaygroundPage | JudgesPage
