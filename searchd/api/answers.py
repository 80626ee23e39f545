"""A SearchResponse -> the API's answer, with the explanation of each hit where it was asked for."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

from msgspec import UNSET

from searchd.api.schemas import (
    CalibrationAnswer,
    CutAnswer,
    HighlightAnswer,
    HitAnswer,
    MoveAnswer,
    PassageAnswer,
    ReportAnswer,
    ScoreAnswer,
    SearchAnswer,
    SearchRequest,
    TotalAnswer,
)
from searchd.fuse import LINEAR, fusion_of
from searchd.retrieve import BM25
from searchd.settings import Profile
from searchd.types import Calibrated, Candidate, Cut, Highlight, Highlighting, Hit, Query, SearchResponse, StageReport


def answer_of(
    response: SearchResponse, asked: SearchRequest, query: Query, profile: Profile, cursor: str | None
) -> SearchAnswer:
    """Return the answer to a request; `cursor` asks for its next page."""
    return SearchAnswer(
        hits=tuple(_hit(hit, response, asked, query, profile) for hit in response.hits),
        total=_total(response.total, response.total_is_exact),
        facets={name: dict(counts) for name, counts in response.facets.items()},
        systems=tuple(report_answer(report) for report in response.systems),
        stages=tuple(report_answer(report) for report in response.stages),
        degraded=response.degraded,
        calibration=_calibration(response.calibrated),
        cut=_cut(response.cut),
        cursor=cursor,
        timings_ms={name: _ms(ms) for name, ms in response.timings_ms.items()},
        took_ms=_ms(response.took_ms),
        query_id=response.query_id,
        profile=response.profile,
    )


def _total(value: int, exact: bool) -> TotalAnswer:
    return TotalAnswer(value=value, relation="eq" if exact else "gte")


def _calibration(found: Calibrated | None) -> CalibrationAnswer | None:
    if found is None:
        return None
    return CalibrationAnswer(
        judged_set=found.set_name, fitted_at=found.fitted_at, likely=found.likely, very_likely=found.very_likely
    )


def _cut(cut: Cut | None) -> CutAnswer | None:
    if cut is None:
        return None
    return CutAnswer(
        min_relevance=cut.least,
        applied=cut.applied,
        below=cut.below,
        best_below=cut.best_below,
        unscored=_total(cut.unscored, cut.unscored_is_exact),
        reason=cut.reason,
    )


def _ms(value: float) -> float:
    return round(value, 3)


def report_answer(report: StageReport) -> ReportAnswer:
    """Return what became of a system or stage."""
    return ReportAnswer(
        name=report.name,
        status=report.status,
        scored=report.scored,
        of=report.of,
        ms=_ms(report.ms),
        reason=report.reason,
    )


def _hit(hit: Hit, response: SearchResponse, asked: SearchRequest, query: Query, profile: Profile) -> HitAnswer:
    candidate = hit.candidate
    marking = asked.highlight.pre is not None or asked.highlight.post is not None
    return HitAnswer(
        document_id=candidate.document_id,
        collection=hit.collection,
        title=candidate.title,
        uri=candidate.uri,
        rank=hit.rank,
        score=hit.score,
        scored_by=hit.scored_by,
        relevance=hit.relevance,
        relevance_label=hit.relevance_label,
        metadata=hit.metadata,
        passage=_passage(candidate),
        highlights=tuple(_highlight(one, query.highlight, marking) for one in hit.highlights),
        more_passages=tuple(_passage(other) for other in hit.more_passages),
        scores=_scores(hit, response, query, profile) if asked.explain else UNSET,
        moved=_moves(candidate, response) if asked.explain else UNSET,
    )


def _passage(candidate: Candidate) -> PassageAnswer:
    return PassageAnswer(
        passage_id=candidate.passage_id,
        text=candidate.text,
        heading_path=candidate.heading_path,
        page=candidate.page,
        start=candidate.start,
        end=candidate.end,
    )


def _highlight(highlight: Highlight, wanted: Highlighting, marking: bool) -> HighlightAnswer:
    return HighlightAnswer(
        text=highlight.text, ranges=highlight.ranges, marked=marked(highlight, wanted) if marking else UNSET
    )


def marked(highlight: Highlight, wanted: Highlighting) -> str:
    """Return a fragment escaped for HTML, each match between `pre` and `post`."""
    pieces: list[str] = []
    at = 0
    for start, end in highlight.ranges:
        pieces += [
            html.escape(highlight.text[at:start]),
            wanted.pre,
            html.escape(highlight.text[start:end]),
            wanted.post,
        ]
        at = end
    return "".join([*pieces, html.escape(highlight.text[at:])])


def _scores(hit: Hit, response: SearchResponse, query: Query, profile: Profile) -> dict[str, ScoreAnswer]:
    """Return what every system, the fusion and every stage said of a hit's passage, in the order they ran."""
    candidate = hit.candidate
    names = [report.name for report in response.systems]
    found = {
        name: ScoreAnswer(
            rank=candidate.ranks.get(name),
            score=candidate.scores[name],
            terms=hit.matched_terms if name == BM25 else (),
        )
        for name in names
        if name in candidate.scores
    }
    fusion = fusion_of(candidate.scores)
    if fusion in candidate.scores:
        parts = _shares(candidate, names, profile, {**profile.weights, **query.weights})
        found[fusion] = ScoreAnswer(rank=candidate.ranks.get(fusion), score=candidate.scores[fusion], parts=parts)
    for report in response.stages:
        if report.name in candidate.scores:
            found[report.name] = ScoreAnswer(
                rank=candidate.ranks.get(report.name),
                score=candidate.scores[report.name],
                blend=candidate.scores.get(f"{report.name}.blend"),
            )
    return found


def _shares(
    candidate: Candidate, names: Sequence[str], profile: Profile, weights: Mapping[str, float]
) -> dict[str, float]:
    """Return what each system added to the fused score."""
    if LINEAR in candidate.scores:
        shares = {name: candidate.scores.get(f"{LINEAR}.{name}") for name in names}
        return {name: share for name, share in shares.items() if share is not None}
    return {
        name: weights.get(name, 1.0) / (profile.rrf_k + candidate.ranks[name])
        for name in names
        if name in candidate.ranks
    }


def _moves(candidate: Candidate, response: SearchResponse) -> dict[str, MoveAnswer]:
    """Return where each stage that scored the passage took it from, and where to."""
    moves: dict[str, MoveAnswer] = {}
    before = candidate.ranks.get(fusion_of(candidate.ranks))
    for report in response.stages:
        after = candidate.ranks.get(report.name)
        if before is not None and after is not None:
            moves[report.name] = MoveAnswer(from_=before, to=after)
            before = after
    return moves
