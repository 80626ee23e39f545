"""Measures profiles on a judged set: asks every query once, reranks it for real, and gives an Evaluation with its runs.

Takes JudgedData and a Workbench; the steps are `trace.py`, `systems.py`, `figures.py`, `failures.py`, `flows.py`.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from indexer.errors import TransientError
from indexer.store import documents
from indexer.types import PUBLIC
from searchd.evaluate.evaluation import Evaluation, Reliability
from searchd.evaluate.failures import failures_of
from searchd.evaluate.figures import measured, query_figures, system_figures
from searchd.evaluate.flows import flows_of
from searchd.evaluate.fusion_choice import cross_validate, linear_grid, rrf_grid
from searchd.evaluate.learned import learned_from
from searchd.evaluate.reliability import reliability
from searchd.evaluate.systems import (
    FUSED,
    RRF,
    SystemRun,
    cascade_systems,
    fuses_plainly,
    plain_fusion,
    single_systems,
    tuned_fusion,
)
from searchd.evaluate.trace import Trace, follow, running_stages
from searchd.evaluate.types import JudgedData, Run
from searchd.evaluate.workbench import Workbench
from searchd.rerank.scales import scale_of
from searchd.settings import Profile, Stage

Progress = Callable[[str, int, int], None]
"""Told of a step's name, how many are done, and of how many."""
ASKING = "asking and reranking"
PROBABLE = {"logit": "sigmoid of", "probability": "score of"}
"""Scales that can be read as probabilities, and what the readings are called."""


@dataclass(frozen=True, slots=True)
class Measured:
    """An evaluation and the runs that its figures are of, by system."""

    evaluation: Evaluation
    runs: Mapping[str, Run]


def measure(
    data: JudgedData,
    bench: Workbench,
    profiles: Mapping[str, Profile],
    progress: Progress,
    now: Callable[[], float] = time.time,
) -> list[Measured]:
    """Measure these profiles, by name, on the same retrieval.

    Raises: TransientError naming the query that was not answered; ConfigError for a model that does not run.
    """
    bench.load_models([stage for profile in profiles.values() for stage in running_stages(profile)])
    bench.ask(data.topics[0], 1)  # the first query of a process waits for more than itself
    traces = traced(data, bench, list(profiles.values()), progress)
    return [
        evaluated(data, bench, name, profile, [of_query[place] for of_query in traces], progress, now())
        for place, (name, profile) in enumerate(profiles.items())
    ]


def traced(
    data: JudgedData, bench: Workbench, profiles: Sequence[Profile], progress: Progress
) -> list[tuple[Trace, ...]]:
    """Return the traces of every query, one for each profile."""
    depth = max(profile.depth for profile in profiles)
    stages = [stage for profile in profiles for stage in running_stages(profile)]
    found = []
    for done, topic in enumerate(data.topics, start=1):
        try:
            question = bench.ask(topic, depth, stages)
        except TransientError as error:
            raise TransientError(f"query {topic.query_id!r}: {error}", code=error.code) from error
        found.append(tuple(follow(bench, question, profile) for profile in profiles))
        progress(ASKING, done, len(data.topics))
    return found


def systems_of(data: JudgedData, traces: Sequence[Trace], profile: Profile, progress: Progress) -> list[SystemRun]:
    """Return all systems that an evaluation measures, in the order of its table."""
    questions = [trace.question for trace in traces]
    tuned = [
        tuned_fusion(name, traces, cross_validate(questions, data.qrels, grid, _named(progress, f"tuning {name}")))
        for name, grid in (("rrf_tuned", rrf_grid(profile.depth)), ("linear", linear_grid(profile.depth)))
    ]
    return [
        *single_systems(traces, profile.depth),
        plain_fusion(traces, profile),
        *tuned,
        *cascade_systems(traces, profile),
    ]


def _named(progress: Progress, name: str) -> Callable[[int, int], None]:
    return lambda done, whole: progress(name, done, whole)


def evaluated(
    data: JudgedData,
    bench: Workbench,
    name: str,
    profile: Profile,
    traces: Sequence[Trace],
    progress: Progress,
    now: float,
) -> Measured:
    """Return the evaluation of one profile, from its traces."""
    systems = systems_of(data, traces, profile, progress)
    values = measured(systems, data)
    queries = query_figures(systems, values, data)
    fusion = RRF if fuses_plainly(profile) else FUSED
    stages = running_stages(profile)
    with bench.database.read() as session:
        counted = documents.counts(session, bench.scope.collection, bench.scope)
    evaluation = Evaluation(
        evaluation_id=str(uuid.uuid4()),
        evaluated_at=now,
        collection=data.collection,
        set_name=data.name,
        kind=data.kind,
        complete=data.complete,
        profile=name,
        profile_body=profile,
        generation_id=bench.generation_id,
        embedder=bench.settings.embedder,
        models={stage.name: bench.rerankers.of(stage).fingerprint for stage in stages},
        documents=counted.documents,
        judged_pairs=data.pairs,
        beside_daemon=bench.beside_daemon,
        principals=tuple(sorted(bench.scope.principals - {PUBLIC})),
        first_queries=data.first,
        learned_from=learned_from(bench.rerankers.settings, stages, data),
        systems=system_figures(systems, values),
        queries=queries,
        failures=failures_of(traces, data.qrels, fusion),
        flows=flows_of(traces, data.qrels, queries, fusion),
        reliability=raw_reliability(traces, data, stages[-1]) if stages else (),
    )
    return Measured(evaluation, {one.name: one.run for one in systems})


def raw_reliability(traces: Sequence[Trace], data: JudgedData, stage: Stage) -> tuple[Reliability, ...]:
    """Return how far the last stage's own score is a probability, over the documents that it scored.

    Documents without a judgment are left out, or count as not relevant where the set is complete. Nothing for scores that
    are no probabilities, or where no document counts.
    """
    scale = scale_of(stage)
    if scale.name not in PROBABLE:
        return ()
    pairs = [
        (raw, data.qrels[trace.query_id].get(document_id, 0) > 0)
        for trace in traces
        for document_id, raw in trace.scores.items()
        if data.complete or document_id in data.qrels[trace.query_id]
    ]
    if not pairs:
        return ()
    said = scale.relevance(np.array([raw for raw, _ in pairs], dtype=np.float32))
    bins, ece = reliability(said, [so for _, so in pairs])
    name = f"{PROBABLE[scale.name]} {stage.name}"
    return (Reliability(name=name, pairs=len(pairs), ece=ece, bins=bins, unjudged_as_irrelevant=data.complete),)
