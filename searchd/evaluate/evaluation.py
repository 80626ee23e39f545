"""What an evaluation found, as it is stored, printed, written as JSON and drawn as a report. Structs only; `measuring.py` makes
them, `web/report.py` draws them.
"""

from __future__ import annotations

import msgspec

from searchd.settings import Profile


class DifferenceFigures(msgspec.Struct, frozen=True, kw_only=True):
    """How much better than another system over the same queries; 95 % interval by paired bootstrap."""

    mean: float
    low: float
    high: float
    real: bool
    """Whether the interval leaves out zero, and enough queries differ for it to say so (`bootstrap.py`)."""


class SystemFigures(msgspec.Struct, frozen=True, kw_only=True):
    """A system, a fusion or a prefix of the cascade: how good, how sure, how fast."""

    name: str
    """bm25, dense, rrf, rrf_tuned, linear, `rrf + small`, ...; `default` is the profile as it serves."""
    stages: tuple[str, ...] = ()
    """Rerankers that ran."""
    metrics: dict[str, float]
    """Means over the queries, by measure."""
    ci: dict[str, tuple[float, float]]
    """95 % interval of each mean, by bootstrap over queries."""
    vs_rrf: dict[str, DifferenceFigures] = {}
    """Each measure against plain RRF; empty for RRF itself."""
    after: str = ""
    """The system that it adds one stage to; empty: it adds none."""
    gain: DifferenceFigures | None = None
    """nDCG@10 against `after`; None if it adds none."""
    p50_ms: float
    p95_ms: float
    pairs: float
    """Pairs scored by rerankers, the mean of a query."""
    note: str = ""
    """In words, what to know of it: how it was tuned, in how many queries a stage fell short, ..."""


class QueryFigures(msgspec.Struct, frozen=True, kw_only=True):
    """A judged query: its nDCG@10 and the rank of its first relevant document, by system."""

    query_id: str
    text: str
    relevant: int
    """Documents with a grade above 0."""
    ndcg: dict[str, float]
    first: dict[str, int | None]
    """None: none among the ranked."""
    default: dict[str, float] = {}
    """Every measure of `default`: what another evaluation is compared with."""


class FailureFigures(msgspec.Struct, frozen=True, kw_only=True):
    """A query whose best judged document is not among the first ten of `default`, and why."""

    query_id: str
    document_id: str
    title: str
    grade: int
    cause: str
    """not_retrieved | fused_low (no stage saw it) | left_low (stages saw it, none brought it up) | hurt_by:STAGE."""
    ranks: dict[str, int | None]
    """Its rank by bm25, dense, the fusion (`rrf`, `fused`) and after each stage."""


class FlowPlace(msgspec.Struct, frozen=True, kw_only=True):
    """A document on its way through the stages; grade None: not judged."""

    document_id: str
    title: str
    grade: int | None
    ranks: tuple[int | None, ...]
    """By column of its flow."""


class Flow(msgspec.Struct, frozen=True, kw_only=True):
    """How one query's documents moved: columns are the fusion (`rrf`, `fused`) and each stage in turn."""

    query_id: str
    text: str
    columns: tuple[str, ...]
    places: tuple[FlowPlace, ...]


class ReliabilityBin(msgspec.Struct, frozen=True, kw_only=True):
    """Scored pairs whose probability lies in [low, high): what was said, and what was so."""

    low: float
    high: float
    pairs: int
    said: float
    """Mean probability."""
    so: float
    """Share of relevant ones."""


class Reliability(msgspec.Struct, frozen=True, kw_only=True):
    """How far a score can be read as a probability. `name`: `sigmoid of large`, or `calibrated`."""

    name: str
    pairs: int
    ece: float
    """Expected calibration error."""
    bins: tuple[ReliabilityBin, ...]
    unjudged_as_irrelevant: bool


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """All that one evaluation found."""

    evaluation_id: str
    evaluated_at: float
    """UTC seconds since the epoch."""
    collection: str
    set_name: str
    kind: str
    """judged, or clicks: weak grades."""
    complete: bool
    profile: str
    profile_version: int | None = None
    """Which version, applied to the collection; None: the settings' profile."""
    profile_body: Profile
    generation_id: str
    embedder: str
    models: dict[str, str]
    """Fingerprint of each stage's reranker."""
    documents: int
    judged_pairs: int
    failed_gates: tuple[str, ...] = ()
    """Gates that it did not pass: no later evaluation is held against it."""
    beside_daemon: bool
    """Whether a daemon was serving meanwhile, which makes times longer."""
    principals: tuple[str, ...] = ()
    """Whose documents were read besides public ones."""
    first_queries: int = 0
    """Only so many of the set's queries, the first; 0: all."""
    learned_from: dict[str, tuple[str, str]] = {}
    """By stage whose trained model learned from what it is measured on: the model, and `set` or `file` (`learned.py`)."""
    systems: tuple[SystemFigures, ...]
    queries: tuple[QueryFigures, ...]
    failures: tuple[FailureFigures, ...]
    flows: tuple[Flow, ...]
    reliability: tuple[Reliability, ...]

    def system(self, name: str) -> SystemFigures | None:
        """Return a system's figures, None if it was not measured."""
        return next((one for one in self.systems if one.name == name), None)
