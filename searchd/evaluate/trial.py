"""What a configuration gives on judged questions: nDCG@10 and estimated ms of each, from scores that are computed once.

A configuration is a Profile. `Trials` tries each once, whoever asks; `space.py` says which there are, `select.py` chooses.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from searchd.evaluate.replay import Fused, Places, Sheet, Values, fused_of, ndcg, replayed, sheet_of
from searchd.evaluate.scores import Asking, ScoreTable, asking
from searchd.evaluate.types import Qrels, Question
from searchd.settings import Profile, Stage

Family = tuple[Asking, ...]
"""The models of a cascade in their order, as they are asked; none: rerank off."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A configuration on every question, in their order."""

    profile: Profile
    ndcg: Values
    ms: Values
    """Estimated: retrieval as measured, and for each stage its pairs times what one took in the mean."""
    stage_ms: tuple[float, ...]
    """Of each stage, the 95th percentile."""
    pairs: Values

    @property
    def family(self) -> Family:
        """See `Family`."""
        return family_of(self.profile)

    @property
    def cost_ms(self) -> float:
        """What a query takes in the mean."""
        return float(self.ms.mean())

    @property
    def p95_ms(self) -> float:
        """What all but one query in twenty take at most."""
        return float(np.quantile(self.ms, 0.95))


def family_of(profile: Profile) -> Family:
    """Return the models of a profile's cascade."""
    return tuple(asking(stage) for stage in profile.stages)


def fusion_of(profile: Profile) -> Profile:
    """Return a profile without its stages: rerank off."""
    return msgspec.structs.replace(profile, stages=())


def key_of(profile: Profile) -> bytes:
    """Return what makes two configurations the same."""
    return msgspec.json.encode(profile, order="deterministic")


@dataclass(slots=True)
class Trials:
    """Tries configurations, each once. Not thread-safe."""

    questions: Sequence[Question]
    qrels: Qrels
    table: ScoreTable
    at_once: Mapping[Asking, int] = field(default_factory=dict)
    """How many pairs a model runs side by side: where a stage stops early, it has scored whole batches."""
    clock: Callable[[], float] = time.monotonic
    _sheets: list[Sheet] = field(default_factory=list)
    _fused: dict[bytes, list[Fused]] = field(default_factory=dict)
    _scores: dict[tuple[Asking, int], Values] = field(default_factory=dict)
    _tried: dict[bytes, Trial] = field(default_factory=dict)
    _fuse_ms: float | None = None

    def __post_init__(self) -> None:
        self._sheets = [sheet_of(one, self.qrels[one.topic.query_id]) for one in self.questions]

    @property
    def tried(self) -> int:
        """How many configurations were tried."""
        return len(self._tried)

    def of(self, profile: Profile) -> Trial:
        """Return what a configuration gives; scores that are not known yet are computed."""
        key = key_of(profile)
        if key not in self._tried:
            self._tried[key] = self._try(profile)
        return self._tried[key]

    def fused(self, profile: Profile) -> list[Fused]:
        """Return the fused order of every question."""
        key = key_of(fusion_of(profile))
        if key not in self._fused:
            started = self.clock()
            self._fused[key] = [
                fused_of(one, sheet, profile) for one, sheet in zip(self.questions, self._sheets, strict=True)
            ]
            if self._fuse_ms is None:
                self._fuse_ms = 1000 * (self.clock() - started) / max(1, len(self.questions))
        return self._fused[key]

    def first(self, profile: Profile, number: int, depth: int) -> list[str]:
        """Return the passages that come first in a profile's fusion, of one question."""
        return [self._sheets[number].names[place] for place in self.fused(profile)[number].order[:depth]]

    def _try(self, profile: Profile) -> Trial:
        fused = self.fused(profile)
        found = np.zeros(len(self.questions))
        counts = np.zeros((len(self.questions), len(profile.stages)))
        for number, one in enumerate(fused):
            order, own = replayed(one, profile.stages, self._reader(number))
            found[number] = ndcg(self._sheets[number], order)
            counts[number] = own
        scored = self._scored(profile.stages, counts)
        per_pair = np.array([self.table.ms_per_pair(stage) for stage in profile.stages])
        ms = self._before_ms(fused) + scored @ per_pair
        stage_ms = tuple(float(np.quantile(column, 0.95)) for column in (scored * per_pair).T)
        return Trial(profile, found, ms, stage_ms, scored.sum(axis=1))

    def _reader(self, number: int) -> Callable[[Stage, Places], Values]:
        """Return what gives one question's scores by place."""
        question, names = self.questions[number], self._sheets[number].names

        def read(stage: Stage, places: Places) -> Values:
            known = self._scores.setdefault((asking(stage), number), np.full(len(names), np.nan))
            missing = places[np.isnan(known[places])]
            if len(missing):
                wanted = [names[place] for place in missing]
                scores = self.table.scores(question, stage, wanted)
                known[missing] = [scores[name] for name in wanted]
            return known[places]

        return read

    def _scored(self, stages: Sequence[Stage], counts: Values) -> Values:
        """Return the pairs that were scored: a stage that stops early scores whole batches."""
        scored = counts.copy()
        for column, stage in enumerate(stages):
            if stage.early_stop_margin is not None:
                batch = max(1, self.at_once.get(asking(stage), 1))
                whole = np.maximum(np.ceil(counts[:, column] / batch) * batch, stage.keep)
                scored[:, column] = np.minimum(whole, stage.depth)
        return scored

    def _before_ms(self, fused: Sequence[Fused]) -> Values:
        """Return what comes before reranking: passages are loaded for those alone that are fused; a fusion is a fusion."""
        shares = [len(one.order) / max(1, len(sheet.names)) for one, sheet in zip(fused, self._sheets, strict=True)]
        found = [
            one.retrieve_ms + share * one.ms.get("load", 0.0) + (self._fuse_ms or 0.0)
            for one, share in zip(self.questions, shares, strict=True)
        ]
        return np.array(found)
