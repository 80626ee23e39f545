"""What the judge's pages show: one frozen dataclass per page, and what stands beside a hit of a judge's search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from indexer.store.judged import JudgedQuery
from web.links import Link
from web.state import SearchState

GRADES = ((0, "not relevant"), (1, "a little"), (2, "relevant"), (3, "answers it"))
"""What the grades mean, on every page."""


@dataclass(frozen=True, slots=True)
class SignInPage:
    """`/sign-in`: a form for a key; `back` is where one goes from there."""

    template: ClassVar[str] = "sign_in.html"
    section: str
    state: SearchState
    back: str
    days: int
    has_keys: bool
    error: str = ""


@dataclass(frozen=True, slots=True)
class SetView:
    """A judged set to choose, and how far it has come."""

    collection: str
    name: str
    href: str
    queries: int
    judged: int
    waiting: int
    judgments: int


@dataclass(frozen=True, slots=True)
class Proposing:
    """The form that makes a set or adds queries to one, as it was filled."""

    collections: tuple[str, ...]
    collection: str
    name: str
    origin: str
    lines: str
    count: int
    most: int
    error: str = ""


@dataclass(frozen=True, slots=True)
class JudgedSetsPage:
    """`/judge`: the sets there are, and a form for a new one."""

    template: ClassVar[str] = "judged_sets.html"
    section: str
    state: SearchState
    sets: tuple[SetView, ...]
    proposing: Proposing
    judge: str


@dataclass(frozen=True, slots=True)
class QueryView:
    """A query in the list of its set."""

    text: str
    href: str
    origin: str
    judgments: int
    aside: bool


@dataclass(frozen=True, slots=True)
class JudgedSetPage:
    """`/judge?set=`: the queries of a set where none is to be judged next, or where all were asked for."""

    template: ClassVar[str] = "judged_set.html"
    section: str
    state: SearchState
    shown: SetView
    enough: int
    queries: tuple[QueryView, ...]
    next: str | None
    proposing: Proposing
    notice: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """A document to judge; who found it is not said."""

    number: int
    document_id: str
    title: str
    href: str
    source: Link
    crumbs: tuple[str, ...]
    page: int | None
    text: str
    grade: int | None


@dataclass(frozen=True, slots=True)
class JudgePage:
    """`/judge?set=&query=`: one query, and the documents to grade for it."""

    template: ClassVar[str] = "judge.html"
    section: str
    state: SearchState
    shown: SetView
    query: JudgedQuery
    place: int
    cards: tuple[Card, ...]
    here: str
    next: str
    all_queries: str
    missing: tuple[str, ...] = ()
    """What did not do all of its work: the pool lacks what it would have put there."""
    error: str = ""
    notice: str = ""


@dataclass(frozen=True, slots=True)
class Grading:
    """Beside the hits of a judge: the sets to choose, the chosen one, and the grades its documents have."""

    sets: tuple[str, ...]
    chosen: str
    """Empty: none; then hits carry no buttons."""
    grades: Mapping[str, int]
    back: str
    """The address of this page, to come back to."""
