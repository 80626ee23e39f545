"""A judge's pages from what is known: a desk (who, which set, how far), a query, its cards. No reads, no markup."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from indexer.scope import Scope
from indexer.store.judged import JudgedQuery, JudgedSet
from searchd.api.principals import Caller
from searchd.judge.pool import Pooled
from searchd.judge.progress import Progress
from searchd.judge.proposals import HEADINGS, MOST, USUAL
from web.answer import crumbs_of
from web.judge_contexts import Card, JudgedSetPage, JudgePage, Proposing, QueryView, SetView
from web.links import document_path, link_of
from web.state import SearchState


@dataclass(frozen=True, slots=True)
class Desk:
    """A judge before a set: who, which set, how far it has come."""

    caller: Caller
    one: JudgedSet
    progress: Progress
    judgments: int

    @property
    def scope(self) -> Scope:
        """What this judge may read of the set's collection."""
        return Scope.of(self.one.collection, self.caller.principals)

    def address(self, query_id: str = "", **more: str) -> str:
        """Return the address of a query of this set; without an id that of the one to judge next."""
        return address_of(self.one.collection, self.one.name, query_id, **more)


def address_of(collection: str, name: str, query_id: str = "", **more: str) -> str:
    """Return the address of a set's page, or of one of its queries."""
    pairs = {"collection": collection, "set": name, "query": query_id} | more
    return f"/judge?{urlencode({key: value for key, value in pairs.items() if value})}"


def query_page(
    desk: Desk,
    query: JudgedQuery,
    cards: Sequence[Card],
    *,
    missing: tuple[str, ...] = (),
    error: str = "",
    notice: str = "",
) -> JudgePage:
    """Return the page of one query."""
    following = desk.progress.after(query.query_id)
    return JudgePage(
        section="judge",
        state=SearchState(collection=desk.one.collection),
        shown=view_of(desk.one, desk.progress, desk.judgments),
        query=query,
        place=desk.progress.place_of(query.query_id),
        cards=tuple(cards),
        here=desk.address(query.query_id),
        next=desk.address(following.query_id) if following else desk.address(list="1"),
        all_queries=desk.address(list="1"),
        missing=missing,
        error=error,
        notice=notice,
    )


LISTED = 1000
"""Queries on a set's page: a set of files can have many more than people judge."""


def set_page(desk: Desk, notice: str = "") -> JudgedSetPage:
    """Return the page of a set's queries."""
    following = desk.progress.after()
    return JudgedSetPage(
        section="judge",
        state=SearchState(collection=desk.one.collection),
        shown=view_of(desk.one, desk.progress, desk.judgments),
        enough=desk.progress.enough,
        queries=tuple(
            QueryView(
                one.text,
                desk.address(one.query_id),
                one.origin,
                desk.progress.judgments.get(one.query_id, 0),
                one.skipped_at is not None,
            )
            for one in desk.progress.queries[:LISTED]
        ),
        next=desk.address(following.query_id) if following else None,
        proposing=proposing((desk.one.collection,), desk.one.collection, desk.one.name),
        notice=notice,
    )


def view_of(one: JudgedSet, progress: Progress, judgments: int) -> SetView:
    """Return a set as lists show it."""
    return SetView(
        collection=one.collection,
        name=one.name,
        href=address_of(one.collection, one.name),
        queries=len(progress.queries),
        judged=progress.judged,
        waiting=len(progress.waiting),
        judgments=judgments,
    )


def card_of(number: int, one: Pooled, collection: str, grade: int | None) -> Card:
    """Return a document of the pool as the page shows it."""
    title = one.title.strip() or one.document_id
    return Card(
        number=number,
        document_id=one.document_id,
        title=title,
        href=f"{document_path(collection, one.document_id)}?{urlencode({'passage': one.passage_id})}#passage",
        source=link_of(one.uri),
        crumbs=crumbs_of(one.heading_path, title),
        page=one.page,
        text=one.text,
        grade=grade,
    )


def proposing(collections: tuple[str, ...], collection: str, name: str) -> Proposing:
    """Return the form for more queries, empty."""
    return Proposing(collections, collection, name, HEADINGS, "", USUAL, MOST)
