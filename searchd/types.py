"""What flows through a search: Query -> Ranking per system -> Candidate -> Hit, and a StageReport per thing that ran.

Scores grow by name on a candidate and are never overwritten; scores of different names are never compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from indexer.filters import Filter
from indexer.lexical import LexicalQuery
from indexer.store.token_vectors import TokenVectors
from indexer.types import Metadata, RankedPassage
from searchd.settings import Profile

Mode = Literal["hybrid", "lexical", "semantic"]
StageStatus = Literal["full", "partial", "skipped", "failed"]


@dataclass(frozen=True, slots=True)
class Highlighting:
    """How highlights are cut: `fragments` at most, each at most `max_chars` characters."""

    pre: str = "<mark>"
    post: str = "</mark>"
    max_chars: int = 240
    fragments: int = 2


@dataclass(frozen=True, slots=True)
class RerankRequest:
    """What a request asks of the cascade; None leaves the profile's choice."""

    enabled: bool = True
    depth: int | None = None
    stages: tuple[str, ...] | None = None
    budget_ms: int | None = None
    instruction: str | None = None
    whole: bool = False
    """Whether a stage that cannot score all in time is not to begin."""


@dataclass(frozen=True, slots=True)
class Query:
    """A search as asked, validated and parsed; the collection and the principals come with the Scope beside it."""

    text: str
    lexical: LexicalQuery
    limit: int = 10
    offset: int = 0
    filter: Filter | None = None
    facets: tuple[str, ...] = ()
    sort: tuple[tuple[str, Literal["asc", "desc"]], ...] = ()
    fields: tuple[str, ...] | None = None
    highlight: Highlighting = Highlighting()
    mode: Mode = "hybrid"
    profile: str = "default"
    weights: Mapping[str, float] = field(default_factory=dict)
    rerank: RerankRequest = RerankRequest()
    explain: bool = False
    timeout_ms: int | None = None
    strict: bool = False
    min_relevance: float | None = None
    chosen: Profile | None = None
    """The profile that it was read with; where there is none, the pipeline looks `profile` up."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """One system's ordered list for one query, best first; rank counts from 1."""

    system: str
    passages: tuple[RankedPassage, ...]


@dataclass(frozen=True, slots=True)
class Stored:
    """What rerankers use of what is stored of passages: ids by these tokenizers, token vectors by these models."""

    tokenizers: frozenset[str] = frozenset()
    models: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Candidate:
    """A passage between fusion and answer; `scores` and `ranks` by name: systems, the fusion, stages, "<stage>.blend"."""

    passage_id: str
    document_id: str
    scores: Mapping[str, float]
    ranks: Mapping[str, int]
    title: str = ""
    text: str = ""
    uri: str = ""
    heading_path: tuple[str, ...] = ()
    page: int | None = None
    start: int = 0
    end: int = 0
    metadata: Metadata = field(default_factory=dict)
    tokens: Mapping[str, NDArray[np.int32]] = field(default_factory=dict, compare=False, repr=False)
    """Its stored token ids, by the fingerprint of the tokenizer."""
    vectors: Mapping[str, TokenVectors] = field(default_factory=dict, compare=False, repr=False)
    """Its stored token vectors, by the model that made them."""


@dataclass(frozen=True, slots=True)
class StageReport:
    """What became of one part of a search. Systems report like stages.

    `reason` is set unless all was done; a stage that is full with a reason stopped early, its order settled, or read the
    query in part.
    """

    name: str
    status: StageStatus
    scored: int
    of: int
    ms: float
    reason: str | None = None
    saved: int = 0
    """Of those that entered, how many it did not have to score because its order was settled."""


@dataclass(frozen=True, slots=True)
class Highlight:
    """A fragment of a passage as plain text, with [start, end) ranges in characters of that fragment."""

    text: str
    ranges: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Hit:
    """One document shown, with its best passage; `score` is the last score that ordered it, named `scored_by`."""

    candidate: Candidate
    collection: str
    rank: int
    score: float
    scored_by: str
    highlights: tuple[Highlight, ...]
    more_passages: tuple[Candidate, ...]
    metadata: Metadata
    matched_terms: tuple[str, ...] = ()
    relevance: float | None = None
    relevance_label: str | None = None


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What the relevance of an answer's hits rests on; from which number on a hit is called what."""

    set_name: str
    fitted_at: float
    """UTC seconds since the epoch."""
    likely: float
    very_likely: float


@dataclass(frozen=True, slots=True)
class Cut:
    """What `min_relevance` did: how many documents it left out, or why nothing was left out."""

    least: float
    applied: bool
    below: int = 0
    """Documents with a smaller relevance."""
    best_below: float | None = None
    """The largest of theirs."""
    unscored: int = 0
    """Documents that match and have no relevance: no calibrated stage read them."""
    unscored_is_exact: bool = True
    """False: there may be more."""
    reason: str | None = None
    """Why it was not applied."""


@dataclass(frozen=True, slots=True)
class SearchResponse:
    """The whole answer. `degraded` names every part that did not do all of its work for lack of time or health."""

    query_id: str
    hits: tuple[Hit, ...]
    total: int
    total_is_exact: bool
    facets: Mapping[str, Mapping[str, int]]
    systems: tuple[StageReport, ...]
    stages: tuple[StageReport, ...]
    degraded: tuple[str, ...]
    timings_ms: Mapping[str, float]
    took_ms: float
    profile: str
    candidates: tuple[Candidate, ...] = ()
    """All that were fused, in their last order, whether or not they are on the page."""
    calibrated: Calibrated | None = None
    """None: no hit has a relevance."""
    cut: Cut | None = None
    """None: no `min_relevance` was asked for."""
