"""The shapes of requests and answers, as msgspec structs; unknown names are refused by name."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

Count = Annotated[int, Meta(ge=0)]


class HighlightOptions(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How highlights are cut and marked."""

    pre: Annotated[str, Meta(max_length=64)] = "<mark>"
    post: Annotated[str, Meta(max_length=64)] = "</mark>"
    max_chars: Annotated[int, Meta(ge=20, le=2000)] = 240
    fragments: Annotated[int, Meta(ge=0, le=10)] = 2


class RerankOptions(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What to ask of the cascade; what is left out is the profile's choice."""

    enabled: bool = True
    depth: Annotated[int, Meta(ge=1, le=1000)] | None = None
    stages: Annotated[list[str], Meta(max_length=8)] | None = None
    instruction: Annotated[str, Meta(max_length=2000)] | None = None
    budget_ms: Annotated[int, Meta(ge=1, le=60000)] | None = None


class SearchRequest(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A search. `q` is words, "phrases", -not, +must, title:word; `filter` narrows by metadata."""

    q: str = ""
    collection: Annotated[str, Meta(min_length=1, max_length=64)] = "default"
    limit: Annotated[int, Meta(ge=1, le=100)] = 10
    offset: Annotated[int, Meta(ge=0, le=10000)] = 0
    cursor: Annotated[str, Meta(max_length=64)] | None = None
    filter: str | None = None
    facets: Annotated[list[str], Meta(max_length=20)] = []
    sort: Annotated[list[str], Meta(max_length=5)] = []
    fields: Annotated[list[str], Meta(max_length=100)] | None = None
    highlight: HighlightOptions = HighlightOptions()
    mode: Literal["hybrid", "lexical", "semantic"] = "hybrid"
    profile: Annotated[str, Meta(min_length=1, max_length=64)] = "default"
    weights: dict[Literal["bm25", "dense"], Annotated[float, Meta(ge=0, le=100)]] = {}
    rerank: RerankOptions = RerankOptions()
    min_relevance: Annotated[float, Meta(ge=0, le=1)] | None = None
    explain: bool = False
    timeout_ms: Annotated[int, Meta(ge=1, le=600000)] | None = None
    strict: bool = False


class PostedDocument(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """One document as JSON: exactly one of text, html, markdown."""

    id: str | None = None
    title: str | None = None
    text: str | None = None
    html: str | None = None
    markdown: str | None = None
    uri: str | None = None
    metadata: dict[str, Any] = {}
    access: list[str] | None = None


class PostedDocuments(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Documents to add or replace."""

    documents: Annotated[list[PostedDocument], Meta(min_length=1, max_length=10000)]
    collection: Annotated[str, Meta(min_length=1, max_length=64)] = "default"


class PostedSource(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What goes with one uploaded file."""

    uri: str | None = None
    id: str | None = None
    title: str | None = None
    metadata: dict[str, Any] = {}
    access: list[str] | None = None


class SourceIds(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Sources of a collection; None: all that failed (for a retry)."""

    collection: Annotated[str, Meta(min_length=1, max_length=64)] = "default"
    source_ids: Annotated[list[str], Meta(max_length=10000)] | None = None


class CollectionChoices(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What can be chosen when a collection is made."""

    language: Annotated[str, Meta(pattern="^[a-z]{2}$")] = "en"


class RebuildChoices(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Settings a rebuild takes up; left out: those in force."""

    embedder: str | None = None
    embedder_revision: str | None = None
    query_prompt: str | None = None
    passage_prompt: str | None = None
    passage_tokens: int | None = None
    passage_overlap_tokens: int | None = None
