"""The shapes of judged sets at the API's edge; a judgment is a line of `searchd/judge/jsonl.py`."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from searchd.api.schemas import Answer, Collection, Request


class JudgedListParameters(Request, frozen=True, kw_only=True):
    """Which sets."""

    collection: Annotated[Collection | None, Meta(description="Left out: of all")] = None


class JudgedExportParameters(Request, frozen=True, kw_only=True):
    """How a set is written."""

    format: Annotated[
        Literal["jsonl", "trec", "topics"],
        Meta(description="jsonl: all of it; trec: qrels, documents only; topics: `query-id<tab>text` for the qrels"),
    ] = "jsonl"


class JudgedImportParameters(Request, frozen=True, kw_only=True):
    """How judgments are taken in."""

    judge: Annotated[
        str, Meta(min_length=1, max_length=64, description="Who judged, where an entry does not say so; `clicks`: weak")
    ] = "api"
    complete: Annotated[
        bool | None,
        Meta(
            description="Whether unjudged documents are known not to be relevant; left out: as it is, false in a new set"
        ),
    ] = None
    replace: Annotated[bool, Meta(description="Empty the set first")] = False
    strict: Annotated[bool, Meta(description="Refuse documents that the collection does not have")] = False


class JudgedSetLine(Answer, frozen=True, kw_only=True):
    """A set and how far it has come; `kind`: judged, or clicks (weak grades)."""

    collection: str
    name: str
    kind: str
    complete: bool
    created_at: float
    queries: int
    judged_queries: int
    judgments: int
    relevant: int


class JudgedSetList(Answer, frozen=True, kw_only=True):
    """Sets, by collection and name."""

    sets: tuple[JudgedSetLine, ...]


class JudgedImport(Answer, frozen=True, kw_only=True):
    """What became of an import: the set as it is now, what was given, and what is to know of it."""

    set: JudgedSetLine
    made: bool
    given_queries: int
    new_queries: int
    given_judgments: int
    cut_queries: Annotated[int, Meta(description="Queries that had more than a query may have")]
    unknown_documents: Annotated[int, Meta(description="Documents that the collection does not have now")]
