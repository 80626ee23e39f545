"""Systems as the report's tables and bars show them: figures with intervals, and whether a difference is more than noise.

Takes an Evaluation; real and noise are words, never colours alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from searchd.evaluate import sentences
from searchd.evaluate.evaluation import DifferenceFigures, Evaluation, SystemFigures
from searchd.evaluate.measures import MAIN, MEASURES
from searchd.evaluate.systems import DEFAULT, RRF

WIDE = 100.0
"""Of a bar's drawing, which is stretched to its column."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference with its interval. `kind`: better, worse or noise, which `word` says."""

    mean: float
    low: float
    high: float
    kind: str
    word: str


@dataclass(frozen=True, slots=True)
class Figure:
    """A measure's mean and interval, and the difference to plain RRF."""

    measure: str
    mean: float
    low: float | None
    high: float | None
    against: Difference | None


@dataclass(frozen=True, slots=True)
class SystemRow:
    """A system in the table; `figures` in the order of its columns, the main one first."""

    name: str
    is_default: bool
    figures: tuple[Figure, ...]
    p50_ms: float
    p95_ms: float
    pairs: float
    note: str

    @property
    def main(self) -> Figure:
        """Its nDCG@10."""
        return self.figures[0]


@dataclass(frozen=True, slots=True)
class GainBar:
    """What a stage adds: a bar from `zero`, and a line over its interval; places from 0 to 100."""

    name: str
    against: str
    difference: Difference
    ms: float
    zero: float
    start: float
    width: float
    low: float
    high: float


def difference_of(found: DifferenceFigures) -> Difference:
    """Return a difference with its word."""
    kind = "noise" if not found.real else "better" if found.mean > 0 else "worse"
    word = {"better": "real gain", "worse": "real loss", "noise": "within noise"}[kind]
    return Difference(found.mean, found.low, found.high, kind, word)


def measures_of(systems: Sequence[SystemFigures]) -> tuple[str, ...]:
    """Return the measures that all systems have: the known ones in their order, then others."""
    shared = set.intersection(*(set(one.metrics) for one in systems)) if systems else set()
    known = [name for name in MEASURES if name in shared]
    return (*known, *sorted(shared.difference(known)))


def rows_of(systems: Sequence[SystemFigures]) -> tuple[SystemRow, ...]:
    """Return the rows of the table of systems."""
    names = measures_of(systems)
    return tuple(
        SystemRow(
            one.name,
            one.name == DEFAULT,
            tuple(_figure(name, one) for name in names),
            one.p50_ms,
            one.p95_ms,
            one.pairs,
            one.note,
        )
        for one in systems
    )


def _figure(measure: str, system: SystemFigures) -> Figure:
    low, high = system.ci.get(measure, (None, None))
    against = system.vs_rrf.get(measure)
    return Figure(measure, system.metrics[measure], low, high, None if against is None else difference_of(against))


def gains_of(evaluation: Evaluation) -> tuple[GainBar, ...]:
    """Return what each stage adds to what is before it, then what the whole profile adds to plain RRF, on one scale."""
    found = [(one.stages[-1], one.after, one.gain, one) for one in evaluation.systems if one.gain is not None]
    whole = sentences.more_than_a_stage(evaluation)
    if whole is not None:
        found.append(("the whole profile", RRF, whole.vs_rrf[MAIN], whole))
    if not found:
        return ()
    ends = [end for _, _, gain, _ in found for end in (gain.low, gain.high, gain.mean, 0.0)]
    least, span = min(ends), (max(ends) - min(ends)) or 1.0
    return tuple(
        _bar(name, against, gain, sentences.ms_beyond(one, against, evaluation), least, span)
        for name, against, gain, one in found
    )


def _bar(name: str, against: str, gain: DifferenceFigures, ms: float, least: float, span: float) -> GainBar:
    def at(value: float) -> float:
        return round(2 + (value - least) / span * (WIDE - 4), 2)

    zero, mean = at(0.0), at(gain.mean)
    start, width = min(zero, mean), round(abs(mean - zero), 2)
    return GainBar(name, against, difference_of(gain), ms, zero, start, width, at(gain.low), at(gain.high))


def verdicts_of(evaluation: Evaluation) -> tuple[tuple[str, str], ...]:
    """Return what is said of each stage and of the whole profile, each with its kind: better, worse or noise."""
    said = sentences.stage_sentences(evaluation)
    return tuple((bar.difference.kind, text) for bar, text in zip(gains_of(evaluation), said, strict=True))
