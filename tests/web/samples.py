"""Hand-made values of the pipeline's own types, as the pages get them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from indexer.status import CollectionStatus
from indexer.types import Block, Document
from searchd.rerank.scales import Scale
from searchd.rerank.texts import RankedText, TextRanking
from searchd.settings import Profile, Settings, Stage
from searchd.types import Candidate, Highlight, Hit, SearchResponse, StageReport
from tests.web.judge_samples import grading, judges_pages
from web.answer import answer_of
from web.choices import Choice, mode_choices, stage_choices
from web.contexts import (
    CollectionView,
    DocumentPage,
    ErrorPage,
    Failure,
    FieldErrors,
    Health,
    Page,
    PlaygroundPage,
    Progress,
    SearchPage,
    StatusPage,
)
from web.explain import Fusion
from web.links import link_of
from web.moves import moves_of
from web.playground import Pasted, page_of
from web.reading import reading_of, shown_metadata
from web.state import SearchState

FUSION = Fusion(60, {}, {"small": 0.3, "large": 0.3})
STATE = SearchState(q="parse command line options", collection="demo")
COLLECTIONS = (CollectionView("default", 0, 0), CollectionView("demo", 1234, 5678))


def candidate(number: int = 1, **changes: Any) -> Candidate:
    """Return a passage that both systems found and both stages scored."""
    scores = {
        "bm25": 14.2,
        "dense": 0.61,
        "rrf": 0.0321,
        "small": 2.5,
        "small.blend": 0.91,
        "large": 5.25,
        "large.blend": 1.5,
    }
    ranks = {"bm25": 3, "dense": 1, "rrf": 2, "small": 4, "small.blend": 3, "large": 1, "large.blend": 1}
    made = Candidate(
        passage_id=f"passage-{number}",
        document_id=f"library/argparse-{number}",
        scores=scores,
        ranks=ranks,
        title="argparse — Parser for command-line options, arguments and subcommands",
        text="The argparse module makes it easy to write user-friendly command-line interfaces.",
        uri="https://docs.python.org/3/library/argparse.html",
        heading_path=(
            "argparse — Parser for command-line options, arguments and subcommands",
            "Core Functionality",
            "The add_argument() method",
        ),
        page=None,
        start=0,
        end=80,
        metadata={"date": "2025-03-01T10:00:00Z"},
    )
    return replace(made, **changes)


def hit(number: int = 1, **changes: Any) -> Hit:
    """Return a hit around `candidate(number)`; `candidate=` replaces it."""
    fragment = (
        "The argparse module makes it easy to write user-friendly command-line interfaces. The program defines what "
        "arguments it requires, and argparse will figure out how to parse those out of sys.argv."
    )
    words = ("argparse", "command-line", "parse", "arguments")
    ranges = tuple((fragment.index(word), fragment.index(word) + len(word)) for word in words)
    made = Hit(
        candidate=candidate(number),
        collection="demo",
        rank=number,
        score=1.5,
        scored_by="large.blend",
        highlights=(Highlight(fragment, ranges),),
        more_passages=(candidate(number + 100, heading_path=("Tutorial", "Short options"), page=4),),
        metadata={"date": "2025-03-01T10:00:00Z", "lang": "en"},
        matched_terms=("parse", "command", "options"),
    )
    return replace(made, **changes)


def response(*hits: Hit, **changes: Any) -> SearchResponse:
    """Return a complete answer with these hits."""
    made = SearchResponse(
        query_id="q-1",
        hits=hits,
        total=len(hits),
        total_is_exact=True,
        facets={},
        systems=(StageReport("bm25", "full", 100, 100, 3.2), StageReport("dense", "full", 100, 100, 8.4)),
        stages=(StageReport("small", "full", 50, 50, 210.4), StageReport("large", "full", 20, 20, 180.0)),
        degraded=(),
        timings_ms={"retrieve": 9.0, "fuse": 0.2, "load": 4.0, "rerank": 391.0, "present": 3.0},
        took_ms=408.2,
        profile="default",
    )
    return replace(made, **changes)


def search_page(answer: SearchResponse | None, state: SearchState = STATE, **changes: Any) -> SearchPage:
    """Return the search page over an answer, or without one."""
    made = SearchPage(
        section="search",
        state=state,
        modes=mode_choices(state),
        stages=stage_choices(state, Profile().stages),
        profiles=("default",),
        thresholds=(),
        collections=COLLECTIONS,
        chosen=next((view for view in COLLECTIONS if view.name == state.collection), None),
        examples=(Choice("argparse tutorial", "", "/?q=argparse+tutorial", False),),
        errors=FieldErrors(),
        answer=None if answer is None else answer_of(answer, state, FUSION),
    )
    return replace(made, **changes)


def document(text: str = "", blocks: tuple[Block, ...] | None = None, **changes: Any) -> Document:
    """Return a document; without blocks its text is one paragraph."""
    made = Document(
        collection="demo",
        document_id="library/argparse",
        title="argparse",
        uri="https://docs.python.org/3/library/argparse.html",
        text=text,
        blocks=(Block("paragraph", 0, len(text)),) if blocks is None else blocks,
        metadata={"lang": "en"},
        access=("public",),
        version=1,
        source_id="source-1",
    )
    return replace(made, **changes)


def pages(text: str) -> list[Page]:
    """Return every page, with `text` wherever text from outside can be."""
    passage = candidate(1, title=text, uri=text, text=text, heading_path=(text, "b"), document_id=text)
    best = hit(
        1,
        candidate=passage,
        highlights=(Highlight(text, ((0, 3), (5, 8))),),
        matched_terms=(text,),
        more_passages=(passage,),
        metadata={"date": text},
    )
    reports = (StageReport("dense", "failed", 0, 100, 0.0, text),)
    answer = response(best, systems=reports, degraded=("dense",))
    state = SearchState(q=text, filter=text, collection=text, off=(text,), profile=text)
    read = document(text * 3, title=text, uri=text, metadata={text: text})
    return [
        search_page(answer, state),
        search_page(response(), state),
        search_page(None, state, errors=FieldErrors(text, text, text)),
        search_page(None, replace(state, q="")),
        DocumentPage(
            "document",
            state,
            text,
            link_of(text),
            shown_metadata(read.metadata),
            reading_of(read, (2, 9)),
            True,
            "/documents/x?",
            state.url(),
        ),
        ErrorPage("error", SearchState(), 404, text, text, text),
        status_page(text),
        playground_page(text),
        search_page(answer, replace(state, judge=text), grading=grading(text)),
        *judges_pages(text),
    ]


def status_page(text: str) -> StatusPage:
    """Return the status page with `text` wherever text from outside can be."""
    return StatusPage(
        "status",
        SearchState(),
        Progress(1, 1, 1, 1, 1, 2),
        (Failure(text, text, text, text, text, text),),
        (CollectionStatus(text, "en", 1, 1, 1, text, 1),),
        ((text, text),),
        (Health(text, False, text),),
        True,
        text,
        1.0,
        2.0,
    )


SCALES = {"small": Scale("logit"), "large": Scale("cosine", 8)}


def text_ranking() -> TextRanking:
    """Return three texts through two stages, of which the second one read two."""
    texts = (
        RankedText(2, "large", {"small": 1.5, "large": 4.0}, {"small": 2, "large": 1}),
        RankedText(1, "large", {"small": 2.5, "large": -1.0}, {"small": 1, "large": 2}),
        RankedText(0, "small", {"small": -0.5}, {"small": 3, "large": 3}),
    )
    return TextRanking(texts, (StageReport("small", "full", 3, 3, 11.0), StageReport("large", "full", 2, 2, 7.0)))


def playground_page(text: str) -> PlaygroundPage:
    """Return the playground with `text` wherever text from outside can be."""
    moves = moves_of(text_ranking(), SCALES, (text, text, text), 20.0, (text,), 2)
    pasted = Pasted(text, text, "default", text)
    stages = (Stage(name="big", kind="causal", model="m"),)
    settings = Settings(profiles={"default": Profile(stages=stages), "other": Profile()})
    return page_of(settings, pasted, moves=moves, error=text, passages_error=text)
