"""An Evaluation as one HTML file that stands alone: no address outside, no script, drawings in the markup itself.

`searchd eval --html` writes it; the parts are `report_*.py`, the markup is `templates/report.html`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from searchd.evaluate import sentences
from searchd.evaluate.evaluation import Evaluation
from searchd.evaluate.systems import DEFAULT
from web.render import markup
from web.report_failures import Cause, causes_of
from web.report_flows import FlowDrawing, flow_drawing
from web.report_queries import Changes, changes_of
from web.report_reliability import ReliabilityDrawing, reliability_drawing
from web.report_systems import GainBar, SystemRow, gains_of, rows_of, verdicts_of
from web.report_tradeoff import Tradeoff, better_in_less, tradeoff_of

WIDE, NARROW = (900, 420), (360, 380)
"""Sizes of the drawing that cannot be stretched: for a page, and for a phone."""


@dataclass(frozen=True, slots=True)
class ReportPage:
    """All that the report shows."""

    template: ClassVar[str] = "report.html"
    evaluation: Evaluation
    is_weak: bool
    """Whether its grades come from clicks."""
    default: SystemRow | None
    verdicts: tuple[tuple[str, str], ...]
    """(kind, sentence)."""
    warnings: tuple[str, ...]
    better: SystemRow | None
    """What is as good as the default profile in less time, or better in no more."""
    tradeoffs: tuple[tuple[str, Tradeoff], ...]
    """(wide or narrow, drawing)."""
    systems: tuple[SystemRow, ...]
    gains: tuple[GainBar, ...]
    changes: Changes | None
    flows: tuple[FlowDrawing, ...]
    reliability: tuple[ReliabilityDrawing, ...]
    causes: tuple[Cause, ...]


def page_of(evaluation: Evaluation) -> ReportPage:
    """Return an evaluation ready to be shown."""
    systems = rows_of(evaluation.systems)
    above = better_in_less(evaluation.systems)
    drawings = (
        ("wide", tradeoff_of(evaluation.systems, *WIDE)),
        ("narrow", tradeoff_of(evaluation.systems, *NARROW)),
    )
    return ReportPage(
        evaluation=evaluation,
        is_weak=evaluation.kind == sentences.CLICKS,
        default=next((row for row in systems if row.name == DEFAULT), None),
        verdicts=verdicts_of(evaluation),
        warnings=tuple(sentences.warnings(evaluation)),
        better=next((row for row in systems if above is not None and row.name == above.name), None),
        tradeoffs=tuple((name, drawing) for name, drawing in drawings if drawing is not None),
        systems=systems,
        gains=gains_of(evaluation),
        changes=changes_of(evaluation.queries),
        flows=tuple(drawing for flow in evaluation.flows if (drawing := flow_drawing(flow)) is not None),
        reliability=tuple(map(reliability_drawing, evaluation.reliability)),
        causes=causes_of(evaluation),
    )


def render(evaluation: Evaluation) -> str:
    """Return the report: one HTML file that needs nothing else."""
    return markup(page_of(evaluation))
