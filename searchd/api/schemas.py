"""The shapes of search at the API's edge: what a request may say, with its bounds, and what an answer says.

Unknown names are refused everywhere. `search.py` turns a request into a Query and a SearchResponse into an answer.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from indexer.lexical.query import MAX_QUERY_CHARS
from indexer.types import Metadata
from searchd.types import Mode, StageStatus

MAX_REACH = 10_000
"""`offset` and `limit` together: how deep paging goes."""

Name = Annotated[str, Meta(min_length=1, max_length=256)]
Collection = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$", description="Which set of documents")]
Limit = Annotated[int, Meta(ge=1, le=100, description="Hits on a page")]
Offset = Annotated[int, Meta(ge=0, description=f"Hits left out before; at most {MAX_REACH:,} less `limit`")]
Timeout = Annotated[int, Meta(ge=50, le=600_000, description="Budget of the whole search, ms; capped by the settings")]
Cursor = Annotated[str, Meta(max_length=200, description="From an answer, instead of `offset`: the page after it")]
FilterText = Annotated[str, Meta(description='Metadata condition: `product = "router" AND version >= 2`')]
Text = Annotated[
    str,
    Meta(description=f'What is asked: words, "phrases", +must, -not, title:word; at most {MAX_QUERY_CHARS} characters'),
]
Names = Annotated[tuple[Name, ...], Meta(max_length=32)]
MinRelevance = Annotated[
    float,
    Meta(
        ge=0,
        le=1,
        description="Hits with a smaller `relevance`, and those without one, are left out; refused where the profile is not "
        "calibrated",
    ),
]


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all that comes in."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all that goes out."""


class NoParameters(Request, frozen=True, kw_only=True):
    """An endpoint that takes no query parameters."""


class HighlightOptions(Request, frozen=True, kw_only=True):
    """How highlights are cut. With `pre` or `post` each also comes `marked`: escaped for HTML, matches wrapped."""

    pre: Annotated[str | None, Meta(description="Put before a match in `marked`")] = None
    post: Annotated[str | None, Meta(description="Put after a match in `marked`")] = None
    max_chars: Annotated[int, Meta(ge=20, le=2000)] = 240
    fragments: Annotated[int, Meta(ge=0, le=10)] = 2


class Weights(Request, frozen=True, kw_only=True):
    """Weight of each system in the fusion, in place of the profile's."""

    bm25: Annotated[float, Meta(ge=0, le=100)] | None = None
    dense: Annotated[float, Meta(ge=0, le=100)] | None = None


class RerankOptions(Request, frozen=True, kw_only=True):
    """What the cascade does for this request; what is left out stays as the profile has it."""

    enabled: bool = True
    depth: Annotated[int, Meta(ge=1, le=1000, description="Passages that enter the first stage")] | None = None
    stages: Annotated[tuple[Name, ...], Meta(max_length=8, description="Names, in order")] | None = None
    instruction: Annotated[str, Meta(max_length=2000)] | None = None
    budget_ms: Annotated[int, Meta(ge=1, le=60_000, description="Time of each stage at most")] | None = None


class SearchRequest(Request, frozen=True, kw_only=True):
    """A search as it is posted."""

    q: Text
    collection: Collection = "default"
    limit: Limit = 10
    offset: Offset = 0
    cursor: Cursor | None = None
    filter: FilterText | None = None
    facets: Names = ()
    sort: Annotated[Names, Meta(description="`field:asc` or `field:desc`; documents without the field come last")] = ()
    fields: Annotated[Names, Meta(description="Metadata fields to return; left out: all")] | None = None
    highlight: HighlightOptions = HighlightOptions()
    mode: Mode = "hybrid"
    profile: Name = "default"
    weights: Weights = Weights()
    rerank: RerankOptions = RerankOptions()
    min_relevance: MinRelevance | None = None
    explain: Annotated[bool, Meta(description="With scores, ranks and moves of every hit")] = False
    timeout_ms: Timeout | None = None
    strict: Annotated[bool, Meta(description="A degraded answer becomes 503")] = False


class SearchParameters(Request, frozen=True, kw_only=True):
    """A search as a URL asks it: the simple parameters. Lists are separated by commas or given repeatedly."""

    q: Text
    collection: Collection = "default"
    limit: Limit = 10
    offset: Offset = 0
    cursor: Cursor | None = None
    filter: FilterText | None = None
    facets: Names = ()
    sort: Names = ()
    fields: Names | None = None
    mode: Mode = "hybrid"
    profile: Name = "default"
    rerank: Annotated[bool, Meta(description="false: the cascade is left out")] = True
    stages: Annotated[Names, Meta(description="Stages to run, in order")] | None = None
    min_relevance: MinRelevance | None = None
    explain: bool = False
    timeout_ms: Timeout | None = None
    strict: bool = False

    def request(self) -> SearchRequest:
        """Return the same as a posted request."""
        given = {name: getattr(self, name) for name in self.__struct_fields__ if name not in ("rerank", "stages")}
        return SearchRequest(**given, rerank=RerankOptions(enabled=self.rerank, stages=self.stages))


class PassageAnswer(Answer, frozen=True, kw_only=True):
    """A passage: `text` is characters [start, end) of its document's text."""

    passage_id: str
    text: str
    heading_path: tuple[str, ...]
    page: int | None
    start: int
    end: int


class HighlightAnswer(Answer, frozen=True, kw_only=True):
    """A fragment as plain text; `ranges` are [start, end) in characters of it."""

    text: str
    ranges: tuple[tuple[int, int], ...]
    marked: str | UnsetType = UNSET


class ScoreAnswer(Answer, frozen=True, kw_only=True, omit_defaults=True):
    """What one system, the fusion or one stage said of a passage; ranks count from 1."""

    rank: int | None = None
    score: float | None = None
    blend: float | None = None
    """Of a stage: its score interpolated with the fused one, which is what orders."""
    terms: tuple[str, ...] = ()
    parts: dict[str, float] = {}
    """Of rrf or linear: each system's share of the sum."""


class MoveAnswer(Answer, frozen=True, kw_only=True, rename={"from_": "from"}):
    """Where a stage took a passage from, and where to; ranks among all passages."""

    from_: int
    to: int


class HitAnswer(Answer, frozen=True, kw_only=True):
    """One document with its best passage. `score` is comparable within this answer only, and only under `scored_by`.

    `relevance` is the probability that the document is relevant, in whole percent, by the calibration of the raw score of
    the last stage that read its passage; null where nothing calibrated decided. `relevance_label`: unlikely, likely or very
    likely. Hits are ordered by `score`, not by relevance.
    """

    document_id: str
    collection: str
    title: str
    uri: str
    rank: int
    score: float
    scored_by: str
    relevance: float | None
    relevance_label: str | None
    metadata: Metadata
    passage: PassageAnswer
    highlights: tuple[HighlightAnswer, ...]
    more_passages: tuple[PassageAnswer, ...]
    scores: dict[str, ScoreAnswer] | UnsetType = UNSET
    moved: dict[str, MoveAnswer] | UnsetType = UNSET


class TotalAnswer(Answer, frozen=True, kw_only=True):
    """How many documents match: `eq` exactly, `gte` at least."""

    value: int
    relation: Annotated[str, Meta(pattern="^(eq|gte)$")]


class ReportAnswer(Answer, frozen=True, kw_only=True):
    """What became of one system or stage; `reason` is set unless all was done.

    A stage that is full with a reason stopped early, its order settled by the `scored` first of the `of` that entered, or
    its model reads only so many tokens of a query.
    """

    name: str
    status: StageStatus
    scored: int
    of: int
    ms: float
    reason: str | None


class CalibrationAnswer(Answer, frozen=True, kw_only=True):
    """What `relevance` rests on: a judged set, when it was fitted (UTC seconds), and from which number on labels begin."""

    judged_set: str
    fitted_at: float
    likely: float
    very_likely: float


class CutAnswer(Answer, frozen=True, kw_only=True):
    """What `min_relevance` did: total, facets and pages are over what it left.

    `below` documents have a smaller relevance, the best of them `best_below`; `unscored` match and have none, for no
    calibrated stage read them (`gte`: or more). Not `applied`, nothing was left out, for the `reason` given: a stage or a
    system fell short.
    """

    min_relevance: float
    applied: bool
    below: int
    best_below: float | None
    unscored: TotalAnswer
    reason: str | None


class SearchAnswer(Answer, frozen=True, kw_only=True):
    """The whole answer. `cursor` asks for the next page and is null on the last one.

    `calibration` is null where no hit can have a relevance, `cut` unless `min_relevance` was asked for.
    """

    hits: tuple[HitAnswer, ...]
    total: TotalAnswer
    facets: dict[str, dict[str, int]]
    systems: tuple[ReportAnswer, ...]
    stages: tuple[ReportAnswer, ...]
    degraded: tuple[str, ...]
    calibration: CalibrationAnswer | None
    cut: CutAnswer | None
    cursor: str | None
    timings_ms: dict[str, float]
    took_ms: float
    query_id: str
    profile: str
