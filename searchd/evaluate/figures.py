"""Runs of systems -> the figures of an evaluation: means with intervals, differences to plain RRF, gains, times;
and those of each query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from searchd.evaluate.bootstrap import difference, interval
from searchd.evaluate.evaluation import DifferenceFigures, QueryFigures, SystemFigures
from searchd.evaluate.measures import MAIN, ByQuery, by_query, means
from searchd.evaluate.systems import DEFAULT, RRF, SystemRun
from searchd.evaluate.types import JudgedData


def measured(systems: Sequence[SystemRun], data: JudgedData) -> dict[str, ByQuery]:
    """Return every measure of every query by system; equal runs are measured once."""
    found: dict[str, ByQuery] = {}
    known: list[SystemRun] = []
    for one in systems:
        same = next((other for other in known if other.run == one.run), None)
        found[one.name] = found[same.name] if same else by_query(data.qrels, one.run)
        known.append(one)
    return found


def system_figures(systems: Sequence[SystemRun], values: Mapping[str, ByQuery]) -> tuple[SystemFigures, ...]:
    """Return the figures of each system."""
    return tuple(_figures(one, values) for one in systems)


def _figures(system: SystemRun, values: Mapping[str, ByQuery]) -> SystemFigures:
    own, plain = values[system.name], values[RRF]
    ms = np.array(system.ms or (0.0,))
    return SystemFigures(
        name=system.name,
        stages=system.stages,
        metrics=means(own),
        ci={name: interval(list(of.values())) for name, of in own.items()},
        vs_rrf={name: apart(plain, own, name) for name in own} if system.name != RRF else {},
        after=system.after,
        gain=apart(values[system.after], own, MAIN) if system.after else None,
        p50_ms=float(np.percentile(ms, 50)),
        p95_ms=float(np.percentile(ms, 95)),
        pairs=system.pairs,
        note=system.note,
    )


def apart(before: ByQuery, after: ByQuery, measure: str) -> DifferenceFigures:
    """Return how much better `after` is by a measure over the queries of `before`."""
    asked = list(before[measure])
    found = difference([before[measure][one] for one in asked], [after[measure][one] for one in asked])
    return DifferenceFigures(mean=found.mean, low=found.low, high=found.high, real=found.is_real)


def query_figures(
    systems: Sequence[SystemRun], values: Mapping[str, ByQuery], data: JudgedData
) -> tuple[QueryFigures, ...]:
    """Return each query by system."""
    return tuple(
        QueryFigures(
            query_id=topic.query_id,
            text=topic.text,
            relevant=sum(grade > 0 for grade in data.qrels[topic.query_id].values()),
            ndcg={name: of[MAIN][topic.query_id] for name, of in values.items()},
            first={one.name: first_relevant(one, topic.query_id, data) for one in systems},
            default={name: of[topic.query_id] for name, of in values[DEFAULT].items()},
        )
        for topic in data.topics
    )


def first_relevant(system: SystemRun, query_id: str, data: JudgedData) -> int | None:
    """Return the rank of the first document with a grade above 0, None if there is none."""
    grades = data.qrels[query_id]
    ranked = enumerate(system.run.get(query_id, ()), start=1)
    return next((rank for rank, document_id in ranked if grades.get(document_id, 0) > 0), None)
