"""Collections: named sets of documents, each with the language of its stemming."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sqlalchemy import delete as sql_delete
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from indexer.errors import InputError, NotFound
from indexer.store.database import insert_into
from indexer.store.tables import CollectionRow, GenerationRow, JobRow
from indexer.store.values import storable

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True)
class Collection:
    """A collection as it was made."""

    name: str
    language: str
    created_at: float


_COLUMNS = (CollectionRow.name, CollectionRow.language, CollectionRow.created_at)


def ensure(session: Session, name: str, language: str, now: float) -> Collection:
    """Return the collection, made with `language` if there is none; an existing one keeps its own language.

    Raises: InputError for a name that is not accepted.
    """
    found = get(session, name)
    if found is not None:
        return found
    if not NAME.fullmatch(name):
        raise InputError(
            f"collection {name[:80]!r}: a name has 1 to 64 characters: letters, digits and, not at its beginning, `-_.`"
        )
    row = {"name": name, "language": language, "created_at": now}
    session.execute(insert_into(session, CollectionRow).values(row).on_conflict_do_nothing())
    made = get(session, name)
    if made is None:
        raise NotFound(f"collection {name!r} was deleted at this moment")
    return made


def get(session: Session, name: str) -> Collection | None:
    """Return the collection of this name, None if there is none."""
    row = session.execute(select(*_COLUMNS).where(CollectionRow.name == storable(name))).first()
    return None if row is None else Collection(*row)


def list_all(session: Session) -> list[Collection]:
    """Return every collection, by name."""
    return [Collection(*row) for row in session.execute(select(*_COLUMNS).order_by(CollectionRow.name))]


def lock(session: Session, name: str) -> bool:
    """Hold the collection against other writers until this transaction ends; False if there is none."""
    return (
        session.execute(select(CollectionRow.name).where(CollectionRow.name == name).with_for_update()).first()
        is not None
    )


def delete(session: Session, name: str, now: float) -> list[str]:
    """Delete a collection with its sources and documents; return the ids of its generations, now retired.

    The generations' rows stay until their indexes are dropped. Its queued jobs are canceled.
    """
    lock(session, name)
    ids = select(GenerationRow.generation_id).where(GenerationRow.collection == name)
    retired = list(session.scalars(ids.order_by(GenerationRow.generation_id)))
    session.execute(
        update(GenerationRow)
        .where(GenerationRow.collection == name, GenerationRow.state != "retired")
        .values(state="retired", retired_at=now)
    )
    session.execute(
        update(JobRow)
        .where(JobRow.collection == name, JobRow.state == "queued")
        .values(state="canceled", finished_at=now)
    )
    session.execute(sql_delete(CollectionRow).where(CollectionRow.name == name))
    return retired
