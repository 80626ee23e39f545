"""One invocation of `searchd judge` on SQL: queries from where they were asked for, into a set that may be new.

Takes an opened database, beside a daemon or without one; gives what was done, for `page_commands.py` to print.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from indexer.errors import InputError
from indexer.scope import Scope
from indexer.store import collections, judged
from indexer.store.database import Database
from indexer.store.judged import JudgedQuery
from searchd.judge import judging, proposals
from searchd.judge.progress import Progress
from searchd.judge.proposals import HEADINGS, LOG, USUAL


@dataclass(frozen=True, slots=True)
class Extended:
    """What became of a set; `origin` is empty where no queries were asked for."""

    added: int
    origin: str
    note: str
    progress: Progress


def extend_set(
    database: Database, scope: Scope, name: str, origin: str, count: int | None, clock: Callable[[], float]
) -> Extended:
    """Add up to `count` queries of an origin (log, headings, a file) to a set, and make it if there is none.

    Without an origin a set that has queries stays as it is, and another gets the log's, or headings. Without a count a file
    gives all it has. Raises: InputError for a collection, source or name that cannot be used.
    """
    with database.read() as session:
        if collections.get(session, scope.collection) is None:
            names = ", ".join(one.name for one in collections.list_all(session)) or "none"
            raise InputError(f"there is no collection {scope.collection!r}; there are: {names}")
        one = judged.find(session, scope.collection, name)
        known = judged.queries(session, one.set_id) if one else []
    proposed: Sequence[JudgedQuery] = ()
    note = ""
    if origin or not known:
        proposed, origin, note = _proposed(database, scope, origin, count or USUAL, known)
    most = count or (USUAL if origin in (LOG, HEADINGS) else len(proposed))
    with database.session() as session:
        one, added = judging.extend(session, scope.collection, name, proposed, most, clock())
        return Extended(added, origin, note, judging.progress_of(session, one, scope))


def _proposed(
    database: Database, scope: Scope, origin: str, count: int, known: Sequence[JudgedQuery]
) -> tuple[Sequence[JudgedQuery], str, str]:
    """Return queries, where they come from, and what is to be said of it."""
    if origin not in ("", LOG, HEADINGS):
        return proposals.of_file(Path(origin)), origin, ""
    note = ""
    with database.read() as session:
        try:
            if origin != HEADINGS:
                return proposals.of_log(session, scope.collection), LOG, ""
        except InputError as nothing:
            if origin:
                raise
            note = f"{nothing}; headings are used"
        return proposals.of_headings(session, scope, count, known=known), HEADINGS, note
