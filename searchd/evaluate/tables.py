"""Evaluations and comparisons as the terminal shows them: tables that fit 80 columns, and lines. Nothing is printed here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.markup import escape
from rich.table import Table

from searchd.evaluate.comparison import Comparison, QueryComparison, name_of, when
from searchd.evaluate.evaluation import DifferenceFigures, Evaluation, SystemFigures
from searchd.evaluate.measures import MAIN
from searchd.evaluate.sentences import CLICKS, WEAK
from searchd.evaluate.stored import Listed
from searchd.evaluate.systems import DEFAULT
from searchd.plurals import plural

OTHERS = {"MRR@10": "MRR", "Recall@10": "R@10", "Recall@50": "R@50"}
"""Measures beside the main one, and what their columns are called."""
JUDGED_AT = "judged@10"
SHOWN_QUERIES = 5
TEXT_CHARS = 60


def heading(evaluation: Evaluation) -> str:
    """Return what an evaluation is of, in a line."""
    kind = f", {WEAK}" if evaluation.kind == CLICKS else ""
    return (
        f"{evaluation.collection}/{evaluation.set_name}: {plural(len(evaluation.queries), 'query', 'queries')}, "
        f"{evaluation.judged_pairs:,} judged pairs, {evaluation.documents:,} documents{kind}"
        f"{'; the first queries of the set alone' if evaluation.first_queries else ''}"
        f"{f'; read as {readers(evaluation.principals)}' if evaluation.principals else ''}; "
        f"profile {name_of(evaluation)} UTC, evaluation {evaluation.evaluation_id[:8]}"
    )


def quality_table(evaluation: Evaluation) -> Table:
    """Return how good every system is."""
    table = _table("system", f"{MAIN} [95 %]", "against rrf", *OTHERS.values())
    for one in evaluation.systems:
        against = one.vs_rrf.get(MAIN)
        others = (figure(one.metrics[name]) for name in OTHERS)
        table.add_row(one.name, with_interval(one), "" if against is None else apart(against), *others)
    return table


def cost_table(evaluation: Evaluation) -> Table:
    """Return what every system costs, and how far its answers were judged."""
    table = _table("system", "p50 ms", "p95 ms", "pairs a query", "judged of the first 10")
    for one in evaluation.systems:
        judged = f"{one.metrics[JUDGED_AT]:.0%}"
        table.add_row(one.name, f"{one.p50_ms:.0f}", f"{one.p95_ms:.0f}", f"{one.pairs:.1f}", judged)
    return table


def comparison_table(comparison: Comparison) -> Table:
    """Return both means of every measure, and the difference."""
    table = _table("measure", "before", "after", "difference")
    for one in comparison.measures:
        table.add_row(one.measure, figure(one.before), figure(one.after), apart(one.difference))
    return table


def comparison_lines(comparison: Comparison) -> Iterator[str]:
    """Yield what is compared, and the queries that won and lost most."""
    kind = f" ({WEAK})" if comparison.kind == CLICKS else ""
    yield f"{comparison.collection}/{comparison.set_name}{kind}: before is {comparison.before}; after is {comparison.after}"
    same = comparison.queries - len(comparison.wins) - len(comparison.losses)
    left = f"; {plural(comparison.left_out, 'query', 'queries')} of one alone left out" if comparison.left_out else ""
    yield (
        f"{MAIN} of {plural(comparison.queries, 'query', 'queries')}: {len(comparison.wins)} better, "
        f"{len(comparison.losses)} worse, {same} the same{left}"
    )
    was, now = comparison.judged_pairs
    if was != now:
        yield (
            f"Not of the same judgments: {was:,} judged pairs before, {now:,} after; what was judged in between moves "
            "figures too"
        )
    if comparison.principals[0] != comparison.principals[1]:
        was_as, now_as = map(readers, comparison.principals)
        yield f"Not of the same documents: read as {was_as} before, as {now_as} after; what cannot be read is not found"
    if comparison.first_queries[0] != comparison.first_queries[1]:
        were, are = ("all" if one == 0 else f"the first {one:,}" for one in comparison.first_queries)
        yield f"Not of the same queries: {were} of the set before, {are} after; compared are those of both"
    yield from _queries("better", comparison.wins)
    yield from _queries("worse", comparison.losses)


def readers(principals: Sequence[str]) -> str:
    """Return whose documents were read, besides public ones."""
    return ", ".join(principals) or "anyone"


def _queries(which: str, some: Sequence[QueryComparison]) -> Iterator[str]:
    for one in some[:SHOWN_QUERIES]:
        text = one.text if len(one.text) <= TEXT_CHARS else f"{one.text[:TEXT_CHARS]}..."
        yield f"  {which} {figure(one.before)} -> {figure(one.after)}  {one.query_id}: {text}"


def list_table(listed: Sequence[Listed]) -> Table:
    """Return stored evaluations, the newest first; figures are of what served."""
    table = _table("evaluation", "measured, UTC", "set", "profile", "queries", f"{MAIN} [95 %]", "kind")
    for one in listed:
        summary = one.summary
        served = next((system for system in summary.systems if system.name == DEFAULT), None)
        stored = one.stored
        table.add_row(
            stored.evaluation_id[:8],
            when(stored.evaluated_at),
            escape(stored.set_name),
            escape(stored.profile),
            f"{len(summary.queries):,}",
            "" if served is None else with_interval(served),
            WEAK if summary.kind == CLICKS else "judged",
        )
    return table


def with_interval(system: SystemFigures) -> str:
    """Return a system's nDCG@10 with its interval."""
    low, high = system.ci[MAIN]
    return f"{figure(system.metrics[MAIN])} [{figure(low)}, {figure(high)}]"


def apart(found: DifferenceFigures) -> str:
    """Return a difference in a cell; * marks a real one."""
    return f"{signed(found.mean)} [{figure(found.low)}, {figure(found.high)}]{'*' if found.real else ' '}"


def figure(value: float) -> str:
    """Return a figure of 0 to 1 without its leading zero."""
    written = f"{value:.3f}"
    return written.replace("0.", ".", 1) if written.startswith(("0.", "-0.")) else written


def signed(value: float) -> str:
    """Return a difference with its sign."""
    return figure(value) if value < 0 else f"+{figure(value)}"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for number, name in enumerate(columns):
        table.add_column(name, justify="right" if number and "[" not in name and name != "against rrf" else "left")
    return table
