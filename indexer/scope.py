"""Who asks, and where: the collection and the principals a reader has. No retriever and no SQL read works without one.

It is applied before top-k in both engines and checked again against SQL when passages are loaded.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from indexer.types import PUBLIC


@dataclass(frozen=True, slots=True)
class Scope:
    """A collection, and the principals (users, groups) whose documents may be read there."""

    collection: str
    principals: frozenset[str] = frozenset({PUBLIC})

    @classmethod
    def of(cls, collection: str, principals: Iterable[str] = ()) -> Scope:
        """Return the scope of a reader with these principals; everyone has `public` as well."""
        return cls(collection, frozenset(principals) | {PUBLIC})

    def allows(self, access: Iterable[str]) -> bool:
        """Say whether a document with this access list may be read: one common principal suffices."""
        return not self.principals.isdisjoint(access)
