"""Hand-made judge's pages, with a text from outside wherever one can be."""

from __future__ import annotations

from dataclasses import replace

from indexer.store.judged import JudgedQuery
from web.contexts import Page
from web.judge_contexts import (
    Card,
    Grading,
    JudgedSetPage,
    JudgedSetsPage,
    JudgePage,
    Proposing,
    QueryView,
    SetView,
    SignInPage,
)
from web.links import link_of
from web.state import SearchState

STATE = SearchState(collection="demo")


def grading(text: str) -> Grading:
    """Return what a judge is offered beside the hits of a search."""
    return Grading((text, "other"), text, {text: 3}, "/?q=a")


def cards(text: str) -> tuple[Card, ...]:
    """Return a document that waits, and one that has a grade."""
    first = Card(1, text, text, "/documents/demo/a?passage=p#passage", link_of(text), (text, "b"), 4, text, None)
    return first, replace(first, number=2, document_id=f"{text} 2", grade=2)


def judges_pages(text: str) -> list[Page]:
    """Return every page of a judge, and those on which one signs in."""
    view = SetView(text, text, "/judge?set=a", 60, 12, 48, 120)
    form = Proposing((text, "demo"), text, text, "lines", text, 60, 1000, text)
    queries = (QueryView(text, "/judge?query=a", "page", 3, True), QueryView(text, "/judge?query=b", "log", 0, False))
    query = JudgedQuery(text, text, "file", 12, 1.0)
    return [
        SignInPage("sign-in", SearchState(), f"/{text}", 30, True, text),
        JudgedSetsPage("judge", SearchState(), (view,), form, text),
        JudgedSetsPage("judge", SearchState(), (), form, text),
        JudgedSetPage("judge", STATE, view, 10, queries, "/judge?query=b", form, text),
        JudgedSetPage("judge", STATE, view, 10, queries, None, form),
        JudgedSetPage("judge", STATE, replace(view, queries=0), 10, (), None, form),
        JudgePage(
            "judge", STATE, view, query, 12, cards(text), "/judge?a", "/judge?b", "/judge?c", (text,), text, text
        ),
        JudgePage("judge", STATE, view, replace(query, skipped_at=None), 12, (), "/judge?a", "/judge?b", "/judge?c"),
    ]
