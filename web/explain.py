"""`Why this result`: a hit's ranks and scores by name -> one sentence and a short table.

Shows what the pipeline recorded on the candidate and computes nothing anew, except each system's share of an RRF sum.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from searchd.fuse import LINEAR, RRF, fusion_of
from searchd.types import Calibrated, Candidate, Hit, SearchResponse
from web import words

BLEND = ".blend"


@dataclass(frozen=True, slots=True)
class Fusion:
    """What systems were fused with. RRF: score = sum over systems of weight / (k + rank); linear: see `searchd/fuse.py`."""

    k: float
    weights: Mapping[str, float] = field(default_factory=dict)
    blends: Mapping[str, float] = field(default_factory=dict)
    """w of each stage: order = w * z(stage) + (1 - w) * z(fused score)."""
    name: str = RRF

    def share(self, candidate: Candidate, system: str) -> tuple[float, str]:
        """Return a system's share of the sum, and how it came about: `1 / (60 + 3)`, `0.7 x 0.42`."""
        weight = self.weights.get(system, 1.0)
        if self.name == LINEAR:
            share = candidate.scores.get(f"{LINEAR}.{system}", 0.0)
            return share, f"{weight:g} x {words.in_score(share / weight if weight else 0.0)}"
        rank = candidate.ranks[system]
        return weight / (self.k + rank), f"{weight:g} / ({self.k:g} + {rank})"

    def blend_words(self, stage: str) -> str:
        """Return how a stage was blended: `0.3 z(small) + 0.7 z(rrf)`."""
        w = self.blends.get(stage)
        return f"{stage} with {self.name}" if w is None else f"{w:g} z({stage}) + {1 - w:.2g} z({self.name})"


@dataclass(frozen=True, slots=True)
class WhyRow:
    """A line of the table. `moved` is places gained (+) or lost (-) against the order before."""

    name: str
    rank: int | None
    score: float | None
    moved: int | None
    note: str


@dataclass(frozen=True, slots=True)
class Why:
    """The explanation of one hit."""

    sentence: str
    terms: tuple[str, ...]
    rows: tuple[WhyRow, ...]


def why_of(hit: Hit, response: SearchResponse, fusion: Fusion) -> Why:
    """Explain one hit from its candidate's scores and ranks, in the order things ran."""
    candidate = hit.candidate
    rows = [_system_row(candidate, report.name, fusion) for report in response.systems]
    before: str | None = None
    if fusion.name in candidate.scores:
        rows.append(_row(candidate, fusion.name, None, _sum_of(candidate, response, fusion)))
        before = fusion.name
    for report in response.stages:
        stage_rows, before = _stage_rows(candidate, report.name, before, fusion)
        rows += stage_rows
    if hit.relevance is not None and response.calibrated is not None:
        rows.append(_relevance_row(hit, hit.relevance, response.calibrated, response))
    return Why(_sentence(hit, response), hit.matched_terms, tuple(rows))


def _relevance_row(hit: Hit, relevance: float, by: Calibrated, response: SearchResponse) -> WhyRow:
    """Say which score a number was made of, on what it was fitted, and where the labels begin."""
    scored = [report.name for report in response.stages if report.name in hit.candidate.scores]
    note = (
        f"{words.in_relevance(relevance, hit.relevance_label)}: {scored[-1] if scored else 'its score'} calibrated on "
        f"{by.set_name}; likely from {by.likely:.0%}, very likely from {by.very_likely:.0%}"
    )
    return WhyRow("relevance", None, relevance, None, note)


def _system_row(candidate: Candidate, system: str, fusion: Fusion) -> WhyRow:
    rank = candidate.ranks.get(system)
    if rank is None:
        return WhyRow(system, None, None, None, "did not find this passage")
    share, _ = fusion.share(candidate, system)
    note = f"adds {words.in_score(share)}" if fusion.name in candidate.ranks else ""
    return WhyRow(system, rank, candidate.scores.get(system), None, note)


def _sum_of(candidate: Candidate, response: SearchResponse, fusion: Fusion) -> str:
    if fusion.name not in candidate.ranks:
        return "below the depth that is fused"
    found = [report.name for report in response.systems if report.name in candidate.ranks]
    return " + ".join(fusion.share(candidate, name)[1] for name in found)


def _stage_rows(
    candidate: Candidate, stage: str, before: str | None, fusion: Fusion
) -> tuple[list[WhyRow], str | None]:
    """Return the lines of one stage, and the name that orders after it; a stage that did not score it adds none."""
    if stage not in candidate.scores:
        return [], before
    blend = stage + BLEND
    if blend not in candidate.scores:
        return [_row(candidate, stage, before, "orders alone")], stage
    rows = [
        WhyRow(
            stage, candidate.ranks.get(stage) if blend in candidate.ranks else None, candidate.scores[stage], None, ""
        )
    ]
    last = blend if blend in candidate.ranks else stage
    moved = _moved(candidate, before, last)
    rows.append(
        WhyRow(f"{stage} blend", candidate.ranks.get(last), candidate.scores[blend], moved, fusion.blend_words(stage))
    )
    return rows, last


def _row(candidate: Candidate, name: str, before: str | None, note: str) -> WhyRow:
    return WhyRow(name, candidate.ranks.get(name), candidate.scores.get(name), _moved(candidate, before, name), note)


def _moved(candidate: Candidate, before: str | None, after: str) -> int | None:
    if before is None or before not in candidate.ranks or after not in candidate.ranks:
        return None
    return candidate.ranks[before] - candidate.ranks[after]


def _sentence(hit: Hit, response: SearchResponse) -> str:
    """Say in words what found the passage and what ordered it."""
    ranks = hit.candidate.ranks
    found = [f"{report.name} (rank {ranks[report.name]})" for report in response.systems if report.name in ranks]
    said = f"Found by {' and '.join(found)}" if found else "Found"
    name = hit.scored_by.removesuffix(BLEND)
    if name == RRF:
        return f"{said}; ordered by reciprocal rank fusion."
    if name == LINEAR:
        return f"{said}; ordered by the sum of both scores."
    if name in ranks and any(report.name == name for report in response.systems):
        return f"{said}; ordered by its score."
    fused = fusion_of(ranks)
    start = f", rank {ranks[fused]} after fusion" if fused in ranks else ""
    return f"{said}{start}; ordered last by stage {name}."
