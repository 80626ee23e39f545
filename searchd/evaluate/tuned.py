"""What tuning found, as it is printed and written as JSON. Structs only; `tuning.py` makes them, `advice.py` words them."""

from __future__ import annotations

import msgspec

from searchd.evaluate.bootstrap import Difference
from searchd.evaluate.evaluation import DifferenceFigures
from searchd.settings import Profile


class ConfigurationFigures(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration on all queries of the set that have a relevant document: no held-out figures, those are in `gains`."""

    profile: Profile
    ndcg: float
    p95_ms: float
    """Estimated: measured retrieval, and for each stage its pairs times the measured ms of one."""
    mean_ms: float
    pairs: float
    """The mean of a query."""


class CascadeFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What the best configuration of these models gives on held-out queries; no models: rerank off."""

    models: tuple[str, ...]
    ndcg: float
    over_off: DifferenceFigures | None
    """None: it is rerank off, or the cascade was in no fold's choice."""
    step: DifferenceFigures | None
    """What its last model adds to the cascade without it."""
    step_ms: float
    """What that takes, estimated, at the 95th percentile."""
    p95_ms: float
    pairs: float
    profile: Profile
    """The choice by all queries."""


class Gains(msgspec.Struct, frozen=True, kw_only=True):
    """nDCG@10 on held-out queries, as differences, and what is held against what."""

    tuned_over_present: DifferenceFigures
    tuned_over_off: DifferenceFigures
    """Over rerank off with the present fusion."""
    tuned_over_rrf: DifferenceFigures
    """Over reciprocal rank fusion as it is by default."""
    off_over_present: DifferenceFigures
    """Rerank off, its fusion tuned, over the present profile."""


class ModelFigures(msgspec.Struct, frozen=True, kw_only=True):
    """A model as it was asked, and what that took."""

    name: str
    max_length: int
    pairs: int
    ms_per_pair: float


class Tuning(msgspec.Struct, frozen=True, kw_only=True):
    """All that one tuning found."""

    tuned_at: float
    """UTC seconds since the epoch."""
    collection: str
    set_name: str
    kind: str
    """judged, or clicks: weak grades."""
    queries: int
    """Those with a relevant document, which all figures are of."""
    without_relevant: int
    judged_pairs: int
    profile_name: str
    budget_ms: float | None
    seed: int
    folds: int
    configurations: int
    """Tried in the search over all queries."""
    configurations_in_all: int
    """Those of the folds' searches included."""
    models: tuple[ModelFigures, ...]
    took_s: float
    beside_daemon: bool
    learned_from: dict[str, tuple[str, str]] = {}
    """By name of a model that learned from this set, as in an Evaluation."""
    verdict: str
    """keep | change | off | too_few: see `searchd/evaluate/verdict.py`."""
    sentence: str
    more_judgments: int | None
    """Judged queries that would settle what is open."""
    present: ConfigurationFigures
    recommended: ConfigurationFigures
    gains: Gains
    cascades: tuple[CascadeFigures, ...]


def figures(one: Difference) -> DifferenceFigures:
    """Return a difference as it is written."""
    return DifferenceFigures(mean=one.mean, low=one.low, high=one.high, real=one.is_real)
