"""What counts as a match: every document with a lexical match, plus every document of the vector hits within depth.

Totals, facets and sorting by metadata are over exactly that set, counted in documents, as SQL lets the asker read it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from sqlalchemy.orm import Session

from indexer.filters import values_of
from indexer.scope import Scope
from indexer.store import matches
from indexer.types import Metadata, Scalar

MAX_FACET_VALUES = 100
"""Of one field, the most frequent ones."""


@dataclass(frozen=True, slots=True)
class Matches:
    """The set of matching documents: its size (`is_exact` is False where it was capped), facets, and order if asked."""

    total: int
    is_exact: bool
    facets: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    ordered: tuple[str, ...] | None = None


def read_matches(
    session: Session,
    scope: Scope,
    found: Sequence[str],
    lexical: frozenset[str],
    is_exact: bool,
    *,
    facets: Sequence[str],
    sort: Sequence[tuple[str, Literal["asc", "desc"]]],
) -> Matches:
    """Read the set: `found` are the documents of the fused order, best first, `lexical` of all lexical matches."""
    ids = lexical.union(found)
    if not facets and not sort:
        return Matches(matches.count_readable(session, scope, ids), is_exact)
    metadata = matches.read_metadata(session, scope, ids)
    return Matches(
        total=len(metadata),
        is_exact=is_exact,
        facets={name: counted(metadata.values(), name) for name in facets},
        ordered=tuple(sorted_by(metadata, sort, found)) if sort else None,
    )


def counted(metadata: Iterable[Metadata], name: str) -> dict[str, int]:
    """Return how many documents have each value of a field, the most frequent first, then by value."""
    counts: Counter[str] = Counter()
    for one in metadata:
        counts.update({shown(value) for value in values_of(one, name)})
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return dict(ordered[:MAX_FACET_VALUES])


def shown(value: Scalar) -> str:
    """Return a value as a facet names it, which is also how a filter takes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def sorted_by(
    metadata: Mapping[str, Metadata], sort: Sequence[tuple[str, Literal["asc", "desc"]]], found: Sequence[str]
) -> list[str]:
    """Return the ids in the order asked for; without the field last; ties in fused order, then by id.

    Of several values the least counts ascending and the greatest descending; numbers come before text.
    """
    place = {name: number for number, name in enumerate(found)}
    ordered = sorted(metadata, key=lambda name: (place.get(name, len(place)), name))
    for name, direction in reversed(sort):
        descending = direction == "desc"
        pick = max if descending else min
        keys = {
            one: pick(_key(value) for value in values) for one in ordered if (values := values_of(metadata[one], name))
        }
        having = sorted((one for one in ordered if one in keys), key=keys.__getitem__, reverse=descending)
        ordered = having + [one for one in ordered if one not in keys]
    return ordered


def _key(value: Scalar) -> tuple[int, float, str]:
    if isinstance(value, str):
        return (1, 0.0, value)
    return (0, float(value), "")
