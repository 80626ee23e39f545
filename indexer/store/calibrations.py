"""Calibrations: how the scores of a collection's profile become probabilities, the newest fit of each profile.

A body is plain JSON here; `searchd/calibration.py` says what is in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete as sql_delete
from sqlalchemy import select
from sqlalchemy.orm import Session

from indexer.store.database import insert_into
from indexer.store.judged_tables import CalibrationRow


@dataclass(frozen=True, slots=True)
class StoredCalibration:
    """A fit as it is kept; `fitted_at` in UTC seconds since the epoch."""

    collection: str
    profile: str
    fitted_at: float
    body: dict[str, Any]


_COLUMNS = (CalibrationRow.collection, CalibrationRow.profile, CalibrationRow.fitted_at, CalibrationRow.body)


def put(session: Session, one: StoredCalibration) -> None:
    """Write a fit in place of what its profile had. Its collection has to be there."""
    values = {"collection": one.collection, "profile": one.profile, "fitted_at": one.fitted_at, "body": one.body}
    insert = insert_into(session, CalibrationRow).values(values)
    said = {name: insert.excluded[name] for name in ("fitted_at", "body")}
    session.execute(insert.on_conflict_do_update(index_elements=["collection", "profile"], set_=said))


def get(session: Session, collection: str, profile: str) -> StoredCalibration | None:
    """Return the fit of a profile, None if there is none."""
    query = select(*_COLUMNS).where(CalibrationRow.collection == collection, CalibrationRow.profile == profile)
    row = session.execute(query).first()
    return None if row is None else StoredCalibration(*row)


def list_all(session: Session, collection: str | None = None) -> list[StoredCalibration]:
    """Return all fits (of one collection), by collection and profile."""
    query = select(*_COLUMNS).order_by(CalibrationRow.collection, CalibrationRow.profile)
    if collection is not None:
        query = query.where(CalibrationRow.collection == collection)
    return [StoredCalibration(*row) for row in session.execute(query)]


def delete(session: Session, collection: str, profile: str) -> bool:
    """Forget the fit of a profile; say whether there was one."""
    where = (CalibrationRow.collection == collection, CalibrationRow.profile == profile)
    found = session.scalar(select(CalibrationRow.profile).where(*where))
    session.execute(sql_delete(CalibrationRow).where(*where))
    return found is not None
