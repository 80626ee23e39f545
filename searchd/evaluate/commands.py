"""`searchd eval`: measures a judged set or a BEIR folder, keeps and lists evaluations, compares two, and gates a build. A roof.

`searchd/__main__.py` registers it. What needs torch or the engine is imported when the command runs.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from indexer.errors import InputError
from searchd.database import opened_database
from searchd.evaluate.asked import Asked
from searchd.settings import Settings
from searchd.terminal import check_places, console, line, settings_now

if TYPE_CHECKING:
    from searchd.evaluate.comparison import Comparison
    from searchd.evaluate.evaluation import Evaluation
    from searchd.evaluate.gates import Gate

OF_ONE = ("runs", "profile", "html_file")
OF_COLLECTIONS = ("collection", "principals")


@click.command("eval")
@click.argument("name", metavar="[SET]", required=False)
@click.option("--collection", default="default", show_default=True, help="Whose judged set it is.")
@click.option("--profile", default="default", show_default=True, help="What serves, and is measured as `default`.")
@click.option("--as", "principals", multiple=True, help="Read as this principal too. Without a daemon only.")
@click.option("--queries", default=0, type=click.IntRange(0), help="Only the first N judged queries; 0: all.")
@click.option("--split", default="test", show_default=True, help="Of a folder: which qrels/SPLIT.tsv.")
@click.option(
    "--complete", is_flag=True, help="Of a folder: documents without a judgment are known not to be relevant."
)
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write all of it to FILE.")
@click.option(
    "--html",
    "html_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a report to FILE: one page that stands alone, with drawings.",
)
@click.option("--runs", type=click.Path(file_okay=False, path_type=Path), help="Write TREC runs and qrels to a folder.")
@click.option("--list", "listing", is_flag=True, help="List the evaluations that were kept, the newest first.")
@click.option(
    "--compare",
    "compared",
    nargs=2,
    metavar="A B",
    help="Two profiles, measured now; or evaluations kept: a day (2026-11-29, its newest), an id, a file of --json.",
)
@click.option("--min-ndcg", type=click.FloatRange(0, 1), help="Gate: nDCG@10 of what serves (of B) must reach this.")
@click.option(
    "--max-drop",
    type=click.FloatRange(0, 1),
    help="Gate: nDCG@10 may have dropped by this from A to B, or since the profile's newest evaluation kept before.",
)
@click.pass_context
def evaluate(context: click.Context, /, listing: bool, **given: Any) -> None:
    """Measure every stage on judged queries: SET of a collection, or a BEIR folder, indexed in a throw-away folder.

    SET may be left out where the collection has one alone. Evaluations of stored sets are kept.

    \b
    Exit status, for CI:
      0  done, and every gate was passed
      1  a gate failed (it says why), or something was away
      2  options, set or settings cannot work
    """
    asked = Asked(**given)
    check(context, asked, listing)
    check_places(asked.json_file, asked.html_file)
    logging.disable(logging.WARNING)
    settings = msgspec.structs.replace(settings_now(), score_cache=0)  # what is timed is computed
    if listing:
        list_kept(settings, asked)
        return
    gates = compare_two(settings, asked) if asked.compared else measure_one(settings, asked)
    for gate in gates:
        line(f"gate --{gate.name}: {'passed' if gate.passed else 'FAILED'}: {gate.why}")
    if not all(gate.passed for gate in gates):
        context.exit(1)


def check(context: click.Context, asked: Asked, listing: bool) -> None:
    """Refuse options that would do nothing. Raises: UsageError."""

    def given(*names: str) -> list[str]:
        default = click.core.ParameterSource.DEFAULT
        options = {one.name: one.opts[0] for one in context.command.params}
        return [options[name] for name in names if context.get_parameter_source(name) != default]

    if listing:
        refuse(given(*(set(context.params) - {"listing", "name", "collection"})), "--list shows what was kept")
    if asked.compared:
        refuse(given(*OF_ONE), "--compare names what is measured")
    if asked.dataset:
        refuse(given(*OF_COLLECTIONS), "a folder is indexed apart, as public documents")
        if asked.max_drop is not None and not asked.compared:
            raise click.UsageError("--max-drop needs something to compare with; evaluations of folders are not kept")
    elif not listing:
        refuse(given("split", "complete"), "a stored set says it itself; they are for folders")


def refuse(options: list[str], why: str) -> None:
    """Raise UsageError if any of these options was given."""
    if options:
        raise click.UsageError(f"{', '.join(sorted(options))}: {why}")


def measure_one(settings: Settings, asked: Asked) -> list[Gate]:
    """Measure a profile, show and write what was found; return the gates."""
    with console.status("Loading ..."):
        from searchd.evaluate import gates, stored
        from searchd.evaluate.comparison import compare
        from searchd.evaluate.printout import show
        from searchd.evaluate.subject import opened
        from searchd.evaluate.trec import write_runs
        from searchd.evaluate.wanted import measured

    passed: list[Gate] = []
    with opened(settings, asked) as (data, bench):
        (found,) = measured(data, bench, [asked.profile])
        evaluation = found.evaluation
        if asked.min_ndcg is not None:
            passed.append(gates.least_ndcg(evaluation, asked.min_ndcg))
        if asked.max_drop is not None:
            before = stored.before(bench.database, evaluation)
            passed.append(gates.most_drop(None if before is None else compare(before, evaluation), asked.max_drop))
        failed = tuple(gate.name for gate in passed if not gate.passed)
        evaluation = msgspec.structs.replace(evaluation, failed_gates=failed)
        if not asked.dataset:
            stored.keep(bench.database, evaluation)
    show(evaluation)
    write_html(asked.html_file, evaluation)
    write_json(asked.json_file, evaluation, passed)
    if asked.runs is not None:  # last: an id with white space, which TREC's files cannot hold, costs nothing else
        write_runs(asked.runs, found.runs, data)
    return passed


def compare_two(settings: Settings, asked: Asked) -> list[Gate]:
    """Compare two profiles or stored evaluations, show and write what was found; return the gates."""
    with console.status("Loading ..."):
        from searchd.evaluate import gates
        from searchd.evaluate.comparison import compare
        from searchd.evaluate.printout import show_comparison
        from searchd.evaluate.wanted import pair

    before, after = pair(settings, asked)
    comparison = compare(before, after)
    passed: list[Gate] = []
    if asked.min_ndcg is not None:
        passed.append(gates.least_ndcg(after, asked.min_ndcg))
    if asked.max_drop is not None:
        passed.append(gates.most_drop(comparison, asked.max_drop))
    show_comparison(comparison)
    write_json(asked.json_file, comparison, passed)
    return passed


def list_kept(settings: Settings, asked: Asked) -> None:
    """Print the evaluations that were kept."""
    from searchd.evaluate import stored
    from searchd.evaluate.printout import show_list

    with opened_database(settings) as database:
        found = stored.newest_first(database, asked.collection, asked.name)
    show_list(found, asked.collection)


def write_html(path: Path | None, evaluation: Evaluation) -> None:
    """Write the report of an evaluation, if a file is asked for. Raises: InputError if it cannot be written."""
    if path is None:
        return
    from searchd.train.files import write_whole
    from web.report import render

    try:
        write_whole(path, render(evaluation).encode())
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from error


def write_json(path: Path | None, found: Evaluation | Comparison, gates: list[Gate]) -> None:
    """Write what was found, with the gates, if a file is asked for. Raises: InputError if it cannot be written."""
    from searchd.evaluate.sentences import CLICKS, WEAK
    from searchd.train.files import write_whole

    if path is None:
        return
    weak = {"grades": WEAK} if found.kind == CLICKS else {}
    body = {**msgspec.to_builtins(found), **weak, "gates": msgspec.to_builtins(gates)}
    try:
        write_whole(path, msgspec.json.format(msgspec.json.encode(body), indent=1))
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from error
