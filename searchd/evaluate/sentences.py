"""What an evaluation says, in sentences: what each stage adds and takes, what failed, what to beware of.

Takes an Evaluation; used by terminal and report alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from searchd.evaluate.evaluation import DifferenceFigures, Evaluation, SystemFigures
from searchd.evaluate.failures import FUSED_LOW, HURT_BY, LEFT_LOW, NOT_RETRIEVED
from searchd.evaluate.learned import SET
from searchd.evaluate.measures import MAIN
from searchd.evaluate.systems import DEFAULT, FUSED, RRF
from searchd.plurals import plural

WEAK = "weak grades from clicks"
CLICKS = "clicks"
FEW_JUDGED = 0.5
CAUSES = {
    NOT_RETRIEVED: "not retrieved",
    FUSED_LOW: "fused too low for any stage to see it",
    LEFT_LOW: "seen by stages, none of which brought it up",
}


def said_difference(found: DifferenceFigures) -> str:
    """Return a difference as reports write it: +0.041 [0.018, 0.066]."""
    return f"{found.mean:+.3f} [{found.low:.3f}, {found.high:.3f}]"


def stage_sentences(evaluation: Evaluation) -> list[str]:
    """Return a sentence for each stage, and one for the whole profile where that is more than plain RRF and one stage."""
    found = [stage_sentence(one, evaluation) for one in evaluation.systems if one.gain is not None]
    whole = more_than_a_stage(evaluation)
    if whole is not None:
        gain, ms = whole.vs_rrf[MAIN], ms_beyond(whole, RRF, evaluation)
        found.append(_sentence("the whole profile, against plain rrf,", gain, ms, len(evaluation.queries)))
    return found


def more_than_a_stage(evaluation: Evaluation) -> SystemFigures | None:
    """Return the whole profile where it is more than plain RRF and one stage, else None."""
    whole = evaluation.system(DEFAULT)
    if whole is None or MAIN not in whole.vs_rrf:
        return None
    return whole if len(whole.stages) > 1 or evaluation.system(FUSED) is not None else None


def stage_sentence(system: SystemFigures, evaluation: Evaluation) -> str:
    """Say what the last stage of a prefix adds, and for how long. Raises: ValueError if it adds none."""
    if system.gain is None:
        raise ValueError(f"{system.name} adds no stage")
    ms = ms_beyond(system, system.after, evaluation)
    return _sentence(system.stages[-1], system.gain, ms, len(evaluation.queries))


def _sentence(who: str, gain: DifferenceFigures, ms: float, queries: int) -> str:
    if not gain.real:
        asked = plural(queries, "query", "queries")
        return f"{who} adds nothing that {asked} can show: {said_difference(gain)} for {ms:.0f} ms"
    if gain.mean > 0:
        return f"{who} adds {said_difference(gain)} for {ms:.0f} ms"
    return f"{who} takes away: {said_difference(gain)}, and takes {ms:.0f} ms; without it is better"


def ms_beyond(system: SystemFigures, before: str, evaluation: Evaluation) -> float:
    """Return how much longer the middle query takes than with another system."""
    other = evaluation.system(before)
    return max(0.0, system.p50_ms - (other.p50_ms if other else 0.0))


def failure_sentences(evaluation: Evaluation) -> list[str]:
    """Return how many queries failed, by cause, the most frequent first; none for none."""
    causes = Counter(one.cause for one in evaluation.failures)
    if not causes:
        return []
    told = "; ".join(f"{count} {cause_words(cause)}" for cause, count in causes.most_common())
    number = sum(causes.values())
    return [f"{number} of {plural(len(evaluation.queries), 'query', 'queries')} miss their best document: {told}"]


def reliability_sentences(evaluation: Evaluation) -> list[str]:
    """Say how far scores can be read as probabilities, and over which pairs that was measured."""
    return [
        f"{one.name}, read as a probability, is wrong by {one.ece:.3f} in the mean (expected calibration error over "
        f"{plural(one.pairs, 'pair')}{', unjudged ones as not relevant' if one.unjudged_as_irrelevant else ''})"
        for one in evaluation.reliability
    ]


def cause_words(cause: str) -> str:
    """Return a cause in words."""
    name, _, stage = cause.partition(":")
    return f"hurt by {stage}" if name == HURT_BY else CAUSES[name]


def caveats(evaluation: Evaluation) -> list[str]:
    """Return what to beware of in an evaluation's figures, and what to know of each system."""
    notes = [f"{one.name}: {one.note}" for one in evaluation.systems if one.note and one.name != DEFAULT]
    weak = [WEAK] if evaluation.kind == CLICKS else []
    return [*weak, *warnings(evaluation), *notes]


def warnings(evaluation: Evaluation) -> list[str]:
    """Return what makes an evaluation's figures worse or less sure than they need be."""
    found = []
    found += learned_sentences(evaluation.learned_from, evaluation.set_name)
    if evaluation.beside_daemon:
        found.append("a daemon was serving meanwhile: times are longer than they need be")
    bare = sum(1 for one in evaluation.queries if not one.relevant)
    if bare:
        asked = plural(len(evaluation.queries), "query", "queries")
        found.append(f"{bare:,} of {asked} {'has' if bare == 1 else 'have'} no relevant document: each counts as 0")
    whole = evaluation.system(DEFAULT)
    judged = whole.metrics.get("judged@10", 1.0) if whole else 1.0
    if not evaluation.complete and judged < FEW_JUDGED:
        found.append(
            f"{judged:.0%} of the first ten are judged, and documents without a judgment count as not relevant: "
            "figures are lower bounds, and what finds unjudged documents looks worse than it is"
        )
    return found


def learned_sentences(learned: Mapping[str, tuple[str, str]], set_name: str) -> list[str]:
    """Say of which stages' models figures are better than they would be on new queries."""
    return [
        f"{stage}'s model {model} learned from "
        + (
            f"judged set {set_name!r}: its figures here are better than on new queries"
            if source == SET
            else "judgments of a file: where those are of these queries, its figures here are better than on new ones"
        )
        for stage, (model, source) in learned.items()
    ]
