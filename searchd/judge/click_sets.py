"""The clicks of a collection that are kept -> a set of kind clicks: its weak grades, made anew every time.

Answers of which nothing was opened are left out: nobody says that anyone looked at them (a program, a monitor, a preview).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy.orm import Session

from indexer.errors import Conflict
from indexer.store import judged, searches
from indexer.store.judged import CLICKS, JudgedQuery, Judgment
from indexer.store.searches import Click, Search
from searchd.judge.clicks import Pair, weak_grades
from searchd.judge.given import query_id_of
from searchd.judge.impressions import Impression
from searchd.judge.wording import folded


@dataclass(frozen=True, slots=True)
class ClickSet:
    """What a set was made of, and what came of it."""

    answers: int
    """First pages that were shown."""
    opened: int
    """Those of which something was opened: the others say nothing."""
    impressions: int
    clicks: int
    queries: int
    """Those with a grade: what the set has."""
    grades: Mapping[int, int]


def refresh(session: Session, collection: str, name: str, since: float, now: float) -> ClickSet:
    """Write a collection's weak grades as this set, in place of what it had; without a click nothing is written.

    Raises: Conflict if the set holds judgments; InputError for a name that is not accepted.
    """
    before = judged.find(session, collection, name)
    if before is not None and before.kind != CLICKS:
        raise Conflict(f"the set {name!r} holds judgments, which clicks are never mixed with; give another name")
    pages = searches.first_pages(session, collection, since)
    impressions = impressions_of(pages)
    grades = weak_grades(impressions)
    made = ClickSet(
        answers=len(pages),
        opened=sum(1 for _, opened in pages if opened),
        impressions=len(impressions),
        clicks=sum(one.clicked for one in impressions),
        queries=len({query for query, _ in grades}),
        grades=Counter(grades.values()),
    )
    if made.clicks:
        _write(session, collection, name, grades, impressions, now)
    return made


def impressions_of(pages: Iterable[tuple[Search, Mapping[str, Click]]]) -> list[Impression]:
    """Return the impressions of those first pages of which something was opened.

    Case and spaces make no other query; it is called what it was asked as most often.
    """
    known = [(search, opened) for search, opened in pages if opened]
    spellings: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for search, _ in known:
        spellings[folded(search.text)][search.text] += 1
    names = {one: min(texts, key=lambda text: (-texts[text], text)) for one, texts in spellings.items()}
    return [
        _impression(names[folded(search.text)], name, place, opened.get(name))
        for search, opened in known
        for place, name in enumerate(search.documents, start=search.first_rank)
        if name
    ]


def _impression(query: str, document_id: str, position: int, click: Click | None) -> Impression:
    return Impression(query, document_id, position, click is not None, click.dwell_ms if click else None)


def _write(
    session: Session, collection: str, name: str, grades: Mapping[Pair, int], impressions: list[Impression], now: float
) -> None:
    before = judged.find(session, collection, name)
    if before is not None:
        judged.delete(session, before.set_id)
    made = judged.create(session, collection, name, before.created_at if before else now, kind=CLICKS)
    often = Counter(one.query for one in impressions)
    texts = sorted({query for query, _ in grades}, key=lambda text: (-often[text], text))
    judged.add_queries(session, made.set_id, [JudgedQuery(query_id_of(text), text, "log") for text in texts])
    judged.put_judgments(
        session,
        made.set_id,
        (Judgment(query_id_of(query), name, grade, CLICKS, now) for (query, name), grade in grades.items()),
    )
