"""Evaluations as they were found: put, read back, listed, and the newest before a moment. What is in a body is
`searchd/evaluate/evaluation.py`'s matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from indexer.errors import InputError, NotFound
from indexer.store.judged_tables import EvaluationRow

SHORTEST_ID = 4
"""Characters that name an evaluation at least."""


@dataclass(frozen=True, slots=True)
class StoredEvaluation:
    """One evaluation; `evaluated_at` in UTC seconds since the epoch."""

    evaluation_id: str
    collection: str
    set_name: str
    profile: str
    evaluated_at: float
    body: Mapping[str, Any]


_COLUMNS = (
    EvaluationRow.evaluation_id,
    EvaluationRow.collection,
    EvaluationRow.set_name,
    EvaluationRow.profile,
    EvaluationRow.evaluated_at,
    EvaluationRow.body,
)


def put(session: Session, one: StoredEvaluation) -> None:
    """Keep an evaluation."""
    session.add(
        EvaluationRow(
            evaluation_id=one.evaluation_id,
            collection=one.collection,
            set_name=one.set_name,
            profile=one.profile,
            evaluated_at=one.evaluated_at,
            body=dict(one.body),
        )
    )
    session.flush()


def get(session: Session, collection: str, name: str) -> StoredEvaluation:
    """Return the evaluation whose id begins like this. Raises: NotFound; InputError if several do."""
    query = select(*_COLUMNS).where(
        EvaluationRow.collection == collection, EvaluationRow.evaluation_id.startswith(name, autoescape=True)
    )
    found = [StoredEvaluation(*row) for row in session.execute(query.limit(2))] if len(name) >= SHORTEST_ID else []
    if not found:
        raise NotFound(f"collection {collection!r} has no evaluation {name[:80]!r}; `searchd eval --list` names them")
    if len(found) > 1:
        raise InputError(f"several evaluations begin with {name!r}: give more of the id")
    return found[0]


def of_collection(
    session: Session, collection: str, set_name: str | None = None, limit: int = 50
) -> list[StoredEvaluation]:
    """Return the newest evaluations of a collection, or of one of its sets, the newest first."""
    query = select(*_COLUMNS).where(EvaluationRow.collection == collection)
    if set_name is not None:
        query = query.where(EvaluationRow.set_name == set_name)
    ordered = query.order_by(EvaluationRow.evaluated_at.desc(), EvaluationRow.evaluation_id).limit(limit)
    return [StoredEvaluation(*row) for row in session.execute(ordered)]


def newest(
    session: Session, collection: str, set_name: str, before: float, since: float = 0.0, *, profile: str | None = None
) -> StoredEvaluation | None:
    """Return the newest evaluation of a set (and of a profile) that was made before a moment, and not before `since`.

    None if there is none.
    """
    query = select(*_COLUMNS).where(
        EvaluationRow.collection == collection,
        EvaluationRow.set_name == set_name,
        EvaluationRow.evaluated_at < before,
        EvaluationRow.evaluated_at >= since,
    )
    if profile is not None:
        query = query.where(EvaluationRow.profile == profile)
    row = session.execute(query.order_by(EvaluationRow.evaluated_at.desc()).limit(1)).first()
    return None if row is None else StoredEvaluation(*row)
