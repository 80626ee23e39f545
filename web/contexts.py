"""One frozen dataclass per page: all that its template shows, built from what the pipeline and the store return.

No markup here: text stays text, and a highlighted stretch is a tuple of pieces. `render.py` does the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import urlencode

from indexer.types import Metadata
from searchd.settings import Stage
from searchd.types import Candidate, Highlight, Hit, SearchResponse, StageReport
from web import words
from web.explain import Fusion, Why, why_of
from web.links import Link, document_path, link_of
from web.reading import Reading
from web.state import HITS_PER_PAGE, MODES, SearchState

DATE_FIELDS = ("date", "published", "modified", "updated", "last_modified", "created")
SNIPPET_CHARS = 240
MODE_WORDS = {
    "hybrid": ("Hybrid", "words and meaning, fused"),
    "lexical": ("Lexical", "words only: bm25"),
    "semantic": ("Semantic", "meaning only: dense vectors"),
}


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of text that is highlighted or not."""

    text: str
    marked: bool


@dataclass(frozen=True, slots=True)
class PassageView:
    """Another passage of a hit's document, as one line that leads there."""

    href: str
    crumbs: tuple[str, ...]
    page: int | None
    text: str


@dataclass(frozen=True, slots=True)
class HitView:
    """One document among the hits."""

    rank: int
    title: str
    href: str
    source: Link
    crumbs: tuple[str, ...]
    page: int | None
    date: str
    relevance: str
    fragments: tuple[tuple[Piece, ...], ...]
    more: tuple[PassageView, ...]
    why: Why


@dataclass(frozen=True, slots=True)
class Step:
    """What one system or stage did: `words` says it, `href` switches it where it can be switched."""

    name: str
    status: str
    words: str
    reason: str


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several ways to search, as a link to the same search done that way."""

    label: str
    hint: str
    href: str
    chosen: bool


@dataclass(frozen=True, slots=True)
class CollectionView:
    """A collection to choose, and how much is in it."""

    name: str
    documents: int
    passages: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What a search gave, ready to be shown."""

    hits: tuple[HitView, ...]
    count: str
    took: str
    steps: tuple[Step, ...]
    missing: tuple[Step, ...]
    suggestions: tuple[Choice, ...]
    first: int
    previous: str | None
    next: str | None
    query_id: str


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
    collections: tuple[CollectionView, ...]
    examples: tuple[Choice, ...]
    errors: FieldErrors
    answer: Answer | None


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
class CollectionStatus:
    """A collection's size, what is under way in it, and the generation that answers."""

    name: str
    documents: int
    passages: int
    failed: int
    pending: int
    generation: str


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
    jobs: Mapping[str, int]
    done: int
    total: int
    working: bool
    failures: tuple[Failure, ...]
    failures_in_all: int
    collections: tuple[CollectionStatus, ...]
    models: tuple[tuple[str, str], ...]
    health: tuple[Health, ...]
    may_write: bool
    notice: str
    started_at: float
    uptime_s: float


Page = SearchPage | DocumentPage | ErrorPage | StatusPage


def pieces_of(highlight: Highlight) -> tuple[Piece, ...]:
    """Cut a fragment at its ranges; ranges that overlap or leave the text are clipped, never an error."""
    pieces: list[Piece] = []
    at = 0
    for start, end in sorted(highlight.ranges):
        start, end = max(at, start), min(len(highlight.text), end)
        if start >= end:
            continue
        if start > at:
            pieces.append(Piece(highlight.text[at:start], False))
        pieces.append(Piece(highlight.text[start:end], True))
        at = end
    if at < len(highlight.text):
        pieces.append(Piece(highlight.text[at:], False))
    return tuple(pieces)


def crumbs_of(heading_path: Sequence[str], title: str) -> tuple[str, ...]:
    """Return the headings above a passage, without the title that is shown anyway and without repetitions."""
    path = [heading for heading in heading_path if heading.strip()]
    while path and path[0].strip().casefold() == title.strip().casefold():
        path.pop(0)
    return tuple(path)


def date_of(metadata: Metadata) -> str:
    """Return the first date among the usual metadata fields, as its day; empty if there is none."""
    for name in DATE_FIELDS:
        value = metadata.get(name)
        if isinstance(value, str) and len(value) >= 10 and value[4:5] == value[7:8] == "-":
            return value[:10]
    return ""


def passage_href(state: SearchState, collection: str, candidate: Candidate) -> str:
    """Return the address of a passage within its document; the search comes along, for the way back."""
    pairs = [("passage", candidate.passage_id), *(pair for pair in state.pairs() if pair[0] != "collection")]
    return f"{document_path(collection, candidate.document_id)}?{urlencode(pairs)}#passage"


def snippet(text: str, limit: int = SNIPPET_CHARS) -> str:
    """Return the start of a passage on one line, cut at a word."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[:limit].rsplit(" ", 1)[0] + " …"


def hit_view(hit: Hit, response: SearchResponse, state: SearchState, fusion: Fusion) -> HitView:
    """Return a hit as the page shows it."""
    candidate = hit.candidate
    title = candidate.title.strip() or candidate.document_id
    fragments = tuple(pieces_of(highlight) for highlight in hit.highlights if highlight.text.strip())
    relevance = ""
    if hit.relevance is not None:
        relevance = f"{hit.relevance:.0%} {hit.relevance_label or 'relevant'}"
    return HitView(
        rank=hit.rank,
        title=title,
        href=passage_href(state, hit.collection, candidate),
        source=link_of(candidate.uri),
        crumbs=crumbs_of(candidate.heading_path, title),
        page=candidate.page,
        date=date_of(hit.metadata),
        relevance=relevance,
        fragments=fragments or ((Piece(snippet(candidate.text), False),),),
        more=tuple(
            PassageView(
                passage_href(state, hit.collection, other),
                crumbs_of(other.heading_path, title),
                other.page,
                snippet(other.text, 160),
            )
            for other in hit.more_passages
        ),
        why=why_of(hit, response, fusion),
    )


def step_of(report: StageReport, *, counts: bool) -> Step:
    """Say what a system or stage did in a few words: `12 ms`, `50/50 in 210 ms`, `skipped`."""
    if report.status in ("skipped", "failed"):
        said = report.status
    elif counts:
        said = f"{report.scored:,}/{report.of:,} in {words.in_ms(report.ms)}"
    else:
        said = words.in_ms(report.ms)
    return Step(report.name, report.status, said, report.reason or "")


def answer_of(response: SearchResponse, state: SearchState, fusion: Fusion) -> Answer:
    """Return a response as the page shows it."""
    systems = [step_of(report, counts=False) for report in response.systems]
    stages = [step_of(report, counts=True) for report in response.stages]
    steps = (*systems, *stages)
    further = response.total > state.offset + HITS_PER_PAGE and len(response.hits) == HITS_PER_PAGE
    return Answer(
        hits=tuple(hit_view(hit, response, state, fusion) for hit in response.hits),
        count=("" if response.total_is_exact else "at least ") + words.plural(response.total, "document"),
        took=words.in_ms(response.took_ms),
        steps=steps,
        missing=tuple(
            next((step for step in steps if step.name == name), Step(name, "failed", "missing", ""))
            for name in response.degraded
        ),
        suggestions=() if response.hits else tuple(suggestions(state)),
        first=state.offset + 1,
        previous=state.url(page=state.page - 1) if state.page > 1 else None,
        next=state.url(page=state.page + 1) if further else None,
        query_id=response.query_id,
    )


def suggestions(state: SearchState) -> Iterable[Choice]:
    """Yield the same search made less narrow, for a page without hits."""
    if state.page > 1:
        yield Choice("Go back to the first page", "", state.url(), False)
    if state.filter:
        yield Choice("Search without the filter", state.filter, state.url(filter=""), False)
    if '"' in state.q:
        bare = " ".join(state.q.replace('"', " ").split())
        yield Choice("Search for the words without the quotes", bare, state.url(q=bare), False)
    narrowing = [word for word in state.q.split() if word[0] in "+-" or word.lower().startswith("title:")]
    if narrowing and '"' not in state.q:
        bare = " ".join(word.removeprefix("+").removeprefix("title:") for word in state.q.split() if word[0] != "-")
        yield Choice("Drop what must or must not occur", bare, state.url(q=bare), False)
    if state.mode != "hybrid":
        yield Choice("Search by words and by meaning", "hybrid", state.url(mode="hybrid"), False)


def mode_choices(state: SearchState) -> tuple[Choice, ...]:
    """Return the ways to retrieve, the present one chosen."""
    return tuple(Choice(*MODE_WORDS[mode], state.url(mode=mode), mode == state.mode) for mode in MODES)


def stage_choices(state: SearchState, stages: Sequence[Stage]) -> tuple[Choice, ...]:
    """Return a switch for every stage of the profile; its link is the same search with that stage the other way."""
    enabled = {stage.name: stage.enabled for stage in stages}
    choices = []
    for stage in stages:
        runs = state.runs(stage.name, stage.enabled)
        hint = f"{stage.model}: scores the top {stage.depth}, passes on {stage.keep}"
        choices.append(Choice(stage.name, hint, state.switched(stage.name, not runs, enabled).url(), runs))
    return tuple(choices)


def shown_metadata(metadata: Metadata) -> tuple[tuple[str, str], ...]:
    """Return a document's metadata as names and texts, in order of name."""
    pairs = []
    for name, value in sorted(metadata.items()):
        values = value if isinstance(value, tuple | list) else (value,)
        pairs.append((name, ", ".join(str(one) for one in values)))
    return tuple(pairs)
