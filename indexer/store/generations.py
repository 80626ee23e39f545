"""Generations: the pairs of indexes of a collection. One is live; a rebuild makes the next beside it, then flips.

Retired ones keep their row, and their files, until nobody can be searching them.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from sqlalchemy import ColumnElement, select, text, update
from sqlalchemy import delete as sql_delete
from sqlalchemy.orm import Session

from indexer.errors import NotFound
from indexer.store import collections
from indexer.store.database import insert_into, is_postgresql
from indexer.store.tables import GenerationRow, PassageRow

State = Literal["building", "live", "retired"]


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation. `parts` is what `fingerprint` is made of."""

    generation_id: str
    collection: str
    fingerprint: str
    state: State
    parts: dict[str, Any]
    dimension: int
    created_at: float
    live_at: float | None
    retired_at: float | None


_COLUMNS = (
    GenerationRow.generation_id,
    GenerationRow.collection,
    GenerationRow.fingerprint,
    GenerationRow.state,
    GenerationRow.parts,
    GenerationRow.dimension,
    GenerationRow.created_at,
    GenerationRow.live_at,
    GenerationRow.retired_at,
)


def live(session: Session, collection: str) -> Generation | None:
    """Return the generation that is searched, None before the first."""
    found = _select(session, GenerationRow.collection == collection, GenerationRow.state == "live")
    return found[0] if found else None


def building(session: Session, collection: str) -> list[Generation]:
    """Return the unfinished generations of a collection, oldest first."""
    return _select(session, GenerationRow.collection == collection, GenerationRow.state == "building")


def all_building(session: Session) -> list[Generation]:
    """Return the unfinished generations of every collection, oldest first."""
    return _select(session, GenerationRow.state == "building")


def all_ids(session: Session) -> set[str]:
    """Return the ids of all generations that there are, retired ones included."""
    return set(session.scalars(select(GenerationRow.generation_id)))


def to_write(session: Session, collection: str) -> list[Generation]:
    """Return every generation that a change must reach: the live one and those being built."""
    wanted = GenerationRow.state.in_(("live", "building"))
    return _select(session, GenerationRow.collection == collection, wanted)


def create(
    session: Session,
    generation_id: str,
    collection: str,
    *,
    fingerprint: str,
    parts: Mapping[str, Any],
    dimension: int,
    now: float,
) -> Generation:
    """Make a building generation. Raises: NotFound for a collection that does not exist."""
    if not collections.lock(session, collection):
        raise NotFound(f"there is no collection {collection!r}")
    made = Generation(generation_id, collection, fingerprint, "building", dict(parts), dimension, now, None, None)
    _insert(session, made)
    return made


def ensure_live(
    session: Session, collection: str, *, fingerprint: str, parts: Mapping[str, Any], dimension: int, now: float
) -> Generation:
    """Return the live generation, an empty one made now if there is none; two callers at once get the same.

    Raises: NotFound for a collection that does not exist.
    """
    if not collections.lock(session, collection):
        raise NotFound(f"there is no collection {collection!r}")
    found = live(session, collection)
    if found is None:
        name = uuid.uuid4().hex
        found = Generation(name, collection, fingerprint, "live", dict(parts), dimension, now, now, None)
        _insert(session, found)
    return found


def flip(session: Session, generation_id: str, now: float) -> bool:
    """Make a building generation live and retire the one that was.

    False, with nothing changed, if it is no longer building: another rebuild took its place, or another worker
    flipped it already.
    """
    collection = session.scalar(select(GenerationRow.collection).where(GenerationRow.generation_id == generation_id))
    if collection is None or not collections.lock(session, collection):
        return False
    state = session.scalar(select(GenerationRow.state).where(GenerationRow.generation_id == generation_id))
    if state != "building":
        return False
    session.execute(
        update(GenerationRow)
        .where(GenerationRow.collection == collection, GenerationRow.state == "live")
        .values(state="retired", retired_at=now)
    )
    session.execute(
        update(GenerationRow).where(GenerationRow.generation_id == generation_id).values(state="live", live_at=now)
    )
    if is_postgresql(session):
        # Its planner takes a generation that its statistics do not know for a handful of rows, and reads all of it.
        session.execute(text("ANALYZE passages"))
    return True


def retire(session: Session, generation_id: str, now: float) -> None:
    """Take a generation out of use; `drop` follows once its files are deleted."""
    session.execute(
        update(GenerationRow)
        .where(GenerationRow.generation_id == generation_id, GenerationRow.state != "retired")
        .values(state="retired", retired_at=now)
    )


def retired(session: Session, before: float) -> list[Generation]:
    """Return the generations that were retired at or before this time, of collections that are gone as well."""
    return _select(session, GenerationRow.state == "retired", GenerationRow.retired_at <= before)


def drop(session: Session, generation_id: str) -> None:
    """Delete a generation's row and its passages."""
    session.execute(sql_delete(PassageRow).where(PassageRow.generation_id == generation_id))
    session.execute(sql_delete(GenerationRow).where(GenerationRow.generation_id == generation_id))


def _select(session: Session, *conditions: ColumnElement[bool]) -> list[Generation]:
    query = select(*_COLUMNS).where(*conditions).order_by(GenerationRow.created_at, GenerationRow.generation_id)
    return list(_generations(session.execute(query)))


def _generations(rows: Iterable[Any]) -> Iterable[Generation]:
    for row in rows:
        generation_id, collection, fingerprint, state, *rest = row
        yield Generation(generation_id, collection, fingerprint, cast(State, state), *rest)


def _insert(session: Session, made: Generation) -> None:
    values = {name: getattr(made, name) for name in Generation.__slots__}
    session.execute(insert_into(session, GenerationRow).values(values))
