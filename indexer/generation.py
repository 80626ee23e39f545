"""What makes an index stale, as a value: the recipe of a generation, its fingerprint, and what changed between two.

A generation is searched and written with its own recipe (its embedder, its sizes), so that the next one can be
built under other settings while it serves.
"""

from __future__ import annotations

import hashlib

import msgspec

from indexer.lexical.analysis import analyzer_fingerprint
from indexer.settings import Settings
from indexer.splitter import SPLITTER_VERSION
from indexer.store.tables import SCHEMA_VERSION


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """All that a generation's passages and indexes depend on besides the documents."""

    embedder: str
    embedder_revision: str
    query_prompt: str
    passage_prompt: str
    embedder_fingerprint: str
    dimension: int
    passage_tokens: int
    passage_overlap_tokens: int
    language: str
    analyzer: str
    vector_backend: str
    splitter_version: int = SPLITTER_VERSION
    schema_version: int = SCHEMA_VERSION

    @property
    def fingerprint(self) -> str:
        """The hex sha256 of every part, by which a stale generation is noticed."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()

    def settings(self, settings: Settings) -> Settings:
        """Return `settings` with this recipe's choices put in place, to load the embedder it was built with."""
        return msgspec.structs.replace(
            settings,
            embedder=self.embedder,
            embedder_revision=self.embedder_revision,
            query_prompt=self.query_prompt,
            passage_prompt=self.passage_prompt,
            passage_tokens=self.passage_tokens,
            passage_overlap_tokens=self.passage_overlap_tokens,
            vector_backend=self.vector_backend,
        )


def recipe_of(settings: Settings, language: str, *, embedder_fingerprint: str, dimension: int) -> Recipe:
    """Return the recipe that these settings ask for, given what their embedder turned out to be."""
    return Recipe(
        embedder=settings.embedder,
        embedder_revision=settings.embedder_revision,
        query_prompt=settings.query_prompt,
        passage_prompt=settings.passage_prompt,
        embedder_fingerprint=embedder_fingerprint,
        dimension=dimension,
        passage_tokens=settings.passage_tokens,
        passage_overlap_tokens=settings.passage_overlap_tokens,
        language=language,
        analyzer=analyzer_fingerprint(language),
        vector_backend=settings.vector_backend,
    )


def differences(live: Recipe, wanted: Recipe) -> list[str]:
    """Return one phrase per part in which two recipes differ: `passage_tokens 200 -> 100`."""
    return [
        f"{name} {getattr(live, name)} -> {getattr(wanted, name)}"
        for name in Recipe.__struct_fields__
        if getattr(live, name) != getattr(wanted, name)
    ]
