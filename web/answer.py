"""An answer as the page shows it: hits with pieces to mark, what ran and when, where to go on.

Takes a SearchResponse and the state of the page; gives what `answer.html` shows. Text stays text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from indexer.types import Metadata
from searchd.plurals import plural
from searchd.types import Candidate, Cut, Highlight, Hit, SearchResponse, StageReport
from web import words
from web.choices import Choice, suggestions
from web.explain import Fusion, Why, why_of
from web.links import Link, document_path, link_of
from web.state import HITS_PER_PAGE, SearchState

DATE_FIELDS = ("date", "published", "modified", "updated", "last_modified", "created")
SNIPPET_CHARS = 240


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
    document_id: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """What one system or stage did in words, and its bar on a line of 1,000 units that stands for the whole search."""

    name: str
    status: str
    words: str
    reason: str
    start: float = 0.0
    width: float = 0.0


@dataclass(frozen=True, slots=True)
class CutView:
    """What a threshold of relevance did, in words, and the same search without it."""

    applied: bool
    nothing_fits: bool
    """Whether there are documents, and it left out all of them."""
    words: str
    every: str


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
    cut: CutView | None


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


def fragment_of(highlight: Highlight, passage: str) -> tuple[Piece, ...]:
    """Return a fragment's pieces, with an ellipsis where the passage goes on before or after it."""
    before = () if passage.startswith(highlight.text) else (Piece("… ", False),)
    after = () if passage.endswith(highlight.text) else (Piece(" …", False),)
    return (*before, *pieces_of(highlight), *after)


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
    fragments = tuple(fragment_of(highlight, candidate.text) for highlight in hit.highlights if highlight.text.strip())
    relevance = ""
    if hit.relevance is not None:
        relevance = words.in_relevance(hit.relevance, hit.relevance_label)
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
        document_id=candidate.document_id,
    )


def step_of(report: StageReport, *, counts: bool) -> Step:
    """Say what a system or stage did in a few words: `12 ms`, `50/50 in 210 ms`, `skipped`."""
    if report.status in ("skipped", "failed"):
        return Step(report.name, report.status, report.status, report.reason or "")
    took = words.in_ms(report.ms)
    if counts and report.of == 0:
        return Step(report.name, report.status, "nothing to score", report.reason or "")
    said = f"{report.scored:,}/{report.of:,} in {took}" if counts else took
    return Step(report.name, report.status, said, report.reason or "")


def steps_of(response: SearchResponse) -> tuple[Step, ...]:
    """Return what ran in order: the systems side by side from the start, then fusion and loading, then each stage."""
    unit = 1000 / max(response.took_ms, 0.001)
    at = waited = response.timings_ms.get("wait", 0.0)
    steps: list[Step] = []
    for report in response.systems:
        steps.append(
            replace(
                step_of(report, counts=False), start=min(1000.0, waited * unit), width=min(1000.0, report.ms * unit)
            )
        )
        at = max(at, waited + report.ms)
    at += response.timings_ms.get("fuse", 0.0) + response.timings_ms.get("load", 0.0)
    for report in response.stages:
        start = min(1000.0, at * unit)
        steps.append(replace(step_of(report, counts=True), start=start, width=min(1000 - start, report.ms * unit)))
        at += report.ms
    return tuple(steps)


def cut_view(cut: Cut, state: SearchState, hits: int) -> CutView:
    """Say what a threshold left out, or why it was not applied."""
    least, every = f"{cut.least:.0%}", state.url(min_relevance=None)
    if not cut.applied:
        return CutView(False, False, f"Relevance of {least} or more could not be asked for: {cut.reason}.", every)
    said = []
    if cut.below:
        best = f", the best of them {cut.best_below:.0%}" if cut.best_below is not None else ""
        said.append(f"{plural(cut.below, 'document')} below {least}{best}")
    if cut.unscored:
        more = "" if cut.unscored_is_exact else "at least "
        said.append(f"{more}{plural(cut.unscored, 'document')} that no reranker read, so without a number")
    text = f"Left out: {'; '.join(said)}." if said else f"Nothing was left out: all are {least} or more."
    return CutView(True, not hits and bool(said), text, every)


def answer_of(response: SearchResponse, state: SearchState, fusion: Fusion) -> Answer:
    """Return a response as the page shows it."""
    steps = steps_of(response)
    further = response.total > state.offset + HITS_PER_PAGE and len(response.hits) == HITS_PER_PAGE
    return Answer(
        hits=tuple(hit_view(hit, response, state, fusion) for hit in response.hits),
        count=("" if response.total_is_exact else "At least ") + plural(response.total, "document"),
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
        cut=None if response.cut is None else cut_view(response.cut, state, response.total),
    )
