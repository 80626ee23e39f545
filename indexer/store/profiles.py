"""Applied profiles: query-time choices that were put in force for a collection, by version, in place of the settings'.

What a profile holds is searchd's matter; here it is JSON with a reason. At most one version of a name is active.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from indexer.errors import InputError, NotFound
from indexer.store import collections
from indexer.store.judged_tables import ProfileVersionRow
from indexer.store.values import storable

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""What `searchd.toml` takes as `[profiles.NAME]` without quotes."""


@dataclass(frozen=True, slots=True)
class ProfileVersion:
    """A version of a collection's profile, as it was applied."""

    collection: str
    name: str
    version: int
    active: bool
    applied_at: float
    author: str
    body: Mapping[str, Any]
    why: str


_COLUMNS = (
    ProfileVersionRow.collection,
    ProfileVersionRow.name,
    ProfileVersionRow.version,
    ProfileVersionRow.active,
    ProfileVersionRow.applied_at,
    ProfileVersionRow.author,
    ProfileVersionRow.body,
    ProfileVersionRow.why,
)


def apply(
    session: Session, collection: str, name: str, body: Mapping[str, Any], *, author: str, why: str, now: float
) -> int:
    """Store a profile as the next version of its name and make it the active one; return the version, from 1.

    Raises: NotFound for a collection that does not exist; InputError for a name that cannot be one.
    """
    if not NAME.fullmatch(name):
        raise InputError(
            f"profile {name[:80]!r}: a name has 1 to 64 characters: letters, digits and, not at its beginning, `-_`"
        )
    if not collections.lock(session, collection):
        raise NotFound(f"there is no collection {collection!r}")
    last = session.scalar(
        select(func.max(ProfileVersionRow.version)).where(
            ProfileVersionRow.collection == collection, ProfileVersionRow.name == name
        )
    )
    _rest(session, collection, name)
    row = {
        "collection": collection,
        "name": name,
        "version": (last or 0) + 1,
        "active": True,
        "applied_at": now,
        "author": storable(author),
        "body": dict(body),
        "why": storable(why),
    }
    session.execute(insert(ProfileVersionRow), row)
    return (last or 0) + 1


def activate(session: Session, collection: str, name: str, version: int | None) -> None:
    """Put a version in force; None: none of this name, so that the settings' profile is. Raises: NotFound."""
    if not collections.lock(session, collection):
        raise NotFound(f"there is no collection {collection!r}")
    _rest(session, collection, name)
    if version is None:
        return
    wanted = (
        ProfileVersionRow.collection == collection,
        ProfileVersionRow.name == name,
        ProfileVersionRow.version == version,
    )
    if session.scalar(select(func.count()).select_from(ProfileVersionRow).where(*wanted)) == 0:
        raise NotFound(
            f"collection {collection!r} has no version {version} of profile {name!r}", code="unknown_profile"
        )
    session.execute(update(ProfileVersionRow).where(*wanted).values(active=True))


def _rest(session: Session, collection: str, name: str) -> None:
    session.execute(
        update(ProfileVersionRow)
        .where(ProfileVersionRow.collection == collection, ProfileVersionRow.name == name, ProfileVersionRow.active)
        .values(active=False)
    )


def active(session: Session) -> list[ProfileVersion]:
    """Return the versions in force, of all collections."""
    query = select(*_COLUMNS).where(ProfileVersionRow.active)
    return [ProfileVersion(*row) for row in session.execute(query.order_by(*_COLUMNS[:3]))]


def versions(session: Session, collection: str | None = None, name: str | None = None) -> list[ProfileVersion]:
    """Return all versions, of one collection and one name where they are given, oldest first."""
    query = select(*_COLUMNS)
    if collection is not None:
        query = query.where(ProfileVersionRow.collection == collection)
    if name is not None:
        query = query.where(ProfileVersionRow.name == name)
    return [ProfileVersion(*row) for row in session.execute(query.order_by(*_COLUMNS[:3]))]
