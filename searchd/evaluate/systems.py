"""Traces of all queries -> the systems that are measured: each with its run, what it took, and what it adds a stage to.

bm25, dense, plain RRF, tuned fusions, the profile's own fusion where it is not plain, every prefix of its cascade, `default`.
`measuring.py` asks for them; `figures.py` measures them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from searchd.evaluate.fusion_choice import CrossValidated
from searchd.evaluate.trace import Step, Trace, document_order, fusion_step, running_stages
from searchd.evaluate.types import Run
from searchd.settings import Profile

RRF, FUSED, DEFAULT = "rrf", "fused", "default"
PLAIN_K = 60.0


@dataclass(frozen=True, slots=True)
class SystemRun:
    """A system over all queries; `ms` in their order."""

    name: str
    run: Run
    ms: tuple[float, ...]
    stages: tuple[str, ...] = ()
    pairs: float = 0.0
    """The mean of a query."""
    after: str = ""
    """The system that it adds one stage to."""
    note: str = ""


def plain_rrf(profile: Profile) -> Profile:
    """Return plain reciprocal rank fusion at a profile's depth, without stages."""
    return Profile(depth=profile.depth, stages=())


def fuses_plainly(profile: Profile) -> bool:
    """Say whether a profile's fusion gives the order of plain RRF."""
    weights = {profile.weights.get(system, 1.0) for system in ("bm25", "dense")}
    return profile.fusion == RRF and profile.rrf_k == PLAIN_K and len(weights) == 1


def single_systems(traces: Sequence[Trace], depth: int) -> list[SystemRun]:
    """Return each system alone; what it took counts the loading of texts."""
    names = list(dict.fromkeys(ranking.system for trace in traces for ranking in trace.question.rankings))
    return [_single(name, traces, depth) for name in names]


def _single(name: str, traces: Sequence[Trace], depth: int) -> SystemRun:
    run = {trace.query_id: _ranked(trace, name, depth) for trace in traces}
    ms = tuple(trace.question.ms.get(name, 0.0) + loading_ms(trace) for trace in traces)
    return SystemRun(name, run, ms)


def _ranked(trace: Trace, system: str, depth: int) -> tuple[str, ...]:
    known = trace.question.passages
    for ranking in trace.question.rankings:
        if ranking.system == system:
            found = [known[one.passage_id] for one in ranking.passages[:depth] if one.passage_id in known]
            return document_order(found)
    return ()


def plain_fusion(traces: Sequence[Trace], profile: Profile) -> SystemRun:
    """Return plain RRF: the traces' own fusion where it is that."""
    if fuses_plainly(profile):
        steps = [trace.steps[0] for trace in traces]
    else:
        steps = [fusion_step(trace.question, plain_rrf(profile)) for trace in traces]
    return of_steps(RRF, traces, [[step] for step in steps])


def tuned_fusion(name: str, traces: Sequence[Trace], chosen: CrossValidated) -> SystemRun:
    """Return a fusion whose figures are those of queries that its choice did not see."""
    steps = [[Step(name, tuple(chosen.run[trace.query_id]), chosen.ms[trace.query_id])] for trace in traces]
    return of_steps(name, traces, steps, note=chosen.note)


def cascade_systems(traces: Sequence[Trace], profile: Profile) -> list[SystemRun]:
    """Return the profile's own fusion where it is not plain RRF, each prefix of its cascade, and the whole as `default`."""
    base = RRF if fuses_plainly(profile) else FUSED
    names = tuple(stage.name for stage in running_stages(profile))
    found: list[SystemRun] = []
    if base == FUSED:
        steps = [trace.steps[:1] for trace in traces]
        found.append(of_steps(FUSED, traces, steps, note=fusion_words(profile)))
    for count in range(1, len(names) + 1):
        steps = [trace.steps[: count + 1] for trace in traces]
        name = " + ".join((base, *names[:count]))
        before = " + ".join((base, *names[: count - 1]))
        found.append(of_steps(name, traces, steps, names[:count], before, said_of_stage(traces, count)))
    whole = [trace.steps for trace in traces]
    last = found[-1].name if found else base
    note = "; ".join(filter(None, (f"the same as {last}", found[-1].note if found else "")))
    return [*found, of_steps(DEFAULT, traces, whole, names, note=note)]


def of_steps(
    name: str,
    traces: Sequence[Trace],
    steps: Sequence[Sequence[Step]],
    stages: tuple[str, ...] = (),
    after: str = "",
    note: str = "",
) -> SystemRun:
    """Return the system whose order is that of each query's last step, and which takes them all."""
    run = {trace.query_id: taken[-1].documents for trace, taken in zip(traces, steps, strict=True)}
    ms = tuple(
        trace.question.retrieve_ms + loading_ms(trace) + sum(step.ms for step in taken)
        for trace, taken in zip(traces, steps, strict=True)
    )
    pairs = sum(step.pairs for taken in steps for step in taken) / max(1, len(traces))
    return SystemRun(name, run, ms, stages, pairs, after, note)


def said_of_short(traces: Sequence[Trace], count: int) -> str:
    """Say in how many queries the stage at this place did not do all of its work, and why once; empty: in none."""
    short = [trace.steps[count] for trace in traces if trace.steps[count].short]
    if not short:
        return ""
    return f"{short[0].name} did not do all of its work in {len(short)} of {len(traces)} queries ({short[0].short})"


def said_of_late(traces: Sequence[Trace], count: int) -> str:
    """Say in how many queries the stage at this place took longer than a search lets it; empty: in none."""
    late = sum(trace.steps[count].late for trace in traces)
    if not late:
        return ""
    name = traces[0].steps[count].name
    return (
        f"{name} took longer than its budget in {late} of {len(traces)} queries: a search would have stopped it there"
    )


def said_of_stage(traces: Sequence[Trace], count: int) -> str:
    """Return all that is to be known of the stage at this place."""
    return "; ".join(filter(None, (said_of_short(traces, count), said_of_late(traces, count))))


def fusion_words(profile: Profile) -> str:
    """Return a profile's fusion in words."""
    k = f", k {profile.rrf_k:g}" if profile.fusion == RRF else ""
    weights = "".join(f", {system} {weight:g}" for system, weight in sorted(profile.weights.items()))
    return f"as the profile fuses: {profile.fusion}{k}{weights}"


def loading_ms(trace: Trace) -> float:
    """Return what the reading of texts took."""
    return trace.question.ms.get("load", 0.0)
