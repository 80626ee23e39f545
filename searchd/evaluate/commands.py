"""`searchd eval`: measures a judged set or a BEIR folder, keeps and lists evaluations, compares two, and gates a build. A roof.

`searchd/__main__.py` registers it. What needs torch or the engine is imported when the command runs.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from indexer.errors import InputError, NotFound
from searchd.database import opened_database
from searchd.judge.beir import folder_named
from searchd.settings import Profile, Settings
from searchd.terminal import bars, check_places, console, line, output, settings_now

if TYPE_CHECKING:
    from indexer.store.database import Database
    from searchd.evaluate.comparison import Comparison
    from searchd.evaluate.evaluation import Evaluation
    from searchd.evaluate.gates import Gate
    from searchd.evaluate.measuring import Measured
    from searchd.evaluate.types import JudgedData
    from searchd.evaluate.workbench import Workbench
    from searchd.profiles import Profiles

OF_ONE = ("runs", "profile", "html_file")
OF_COLLECTIONS = ("collection", "principals")


@dataclass(frozen=True, slots=True)
class Asked:
    """The options."""

    name: str | None
    collection: str
    profile: str
    principals: tuple[str, ...]
    queries: int
    split: str
    complete: bool
    json_file: Path | None
    html_file: Path | None
    runs: Path | None
    compared: tuple[str, str] | None
    min_ndcg: float | None
    max_drop: float | None

    @property
    def dataset(self) -> Path | None:
        """The BEIR folder that is asked for, None if it is a stored set. Raises: InputError for one without queries."""
        return folder_named(self.name)


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
        show_list(settings, asked)
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
    from searchd.evaluate import gates, stored
    from searchd.evaluate.comparison import compare
    from searchd.evaluate.trec import write_runs

    passed: list[Gate] = []
    with opened(settings, asked) as (data, bench):
        (found,) = measured(asked, data, bench, [asked.profile])
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
    from searchd.evaluate import gates
    from searchd.evaluate.comparison import compare

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


def pair(settings: Settings, asked: Asked) -> tuple[Evaluation, Evaluation]:
    """Return the two evaluations that are to be compared; profiles are measured, both on the same retrieval."""
    from searchd.evaluate import stored

    names = asked.compared or ("", "")
    found = {name: stored.read_file(Path(name)) for name in names if name.endswith(".json")}
    others = [name for name in names if name not in found]
    known = known_profiles(settings, asked) if others else ()
    now, kept = [name for name in others if name in known], [name for name in others if name not in known]
    if now:
        with opened(settings, asked) as (data, bench):
            made = [one.evaluation for one in measured(asked, data, bench, now)]
            found |= {one.profile: one for one in made}
            for one in made if not asked.dataset else ():
                stored.keep(bench.database, one)
            found |= {name: stored.find(bench.database, data.collection, data.name, name) for name in kept}
    elif kept:
        with opened_database(settings) as database:
            set_name = asked.name or only_set(database, asked.collection)
            found |= {name: stored.find(database, asked.collection, set_name, name) for name in kept}
    return found[names[0]], found[names[1]]


def known_profiles(settings: Settings, asked: Asked) -> tuple[str, ...]:
    """Return the names of profiles that may be measured."""
    from searchd.profiles import Profiles

    if asked.dataset:
        return Profiles(settings).names(asked.collection)
    with opened_database(settings) as database:
        return Profiles(settings, database).names(asked.collection)


@contextlib.contextmanager
def opened(settings: Settings, asked: Asked) -> Iterator[tuple[JudgedData, Workbench]]:
    """Yield the judged queries that are asked for and the workbench that they are measured on."""
    with console.status("Loading ..."):
        from searchd.evaluate.dataset import opened_dataset, read_dataset
        from searchd.evaluate.types import first_queries
        from searchd.evaluate.workbench import open_workbench
    folder = asked.dataset
    if folder is not None:
        data = read_dataset(folder, asked.split, complete=asked.complete, limit=asked.queries)
        with console.status("Indexing ...") as status, contextlib.ExitStack() as stack:

            def say(done: int) -> None:
                status.update(f"Indexing ... {done:,} documents")

            bench = stack.enter_context(opened_dataset(settings, folder, say))
            status.stop()
            yield data, bench
        return
    with open_workbench(settings, asked.collection, asked.principals) as bench:
        yield first_queries(stored_set(bench, asked), asked.queries), bench


def stored_set(bench: Workbench, asked: Asked) -> JudgedData:
    """Return the judged set that is asked for. Raises: NotFound; InputError naming those there are."""
    from searchd.evaluate.judged_data import judged_data, set_named

    name = asked.name or only_set(bench.database, asked.collection)
    with bench.database.read() as session:
        return judged_data(session, set_named(session, asked.collection, name))


def only_set(database: Database, collection: str) -> str:
    """Return the only judged set of a collection. Raises: NotFound; InputError naming those there are."""
    from indexer.store import judged

    with database.read() as session:
        names = [one.name for one in judged.of_collection(session, collection)]
    if not names:
        raise NotFound(
            f"collection {collection!r} has no judged set; `searchd judge` and `searchd judged import` make one"
        )
    if len(names) > 1:
        raise InputError(f"collection {collection!r} has several judged sets: searchd eval {' | '.join(names)}")
    return names[0]


def measured(asked: Asked, data: JudgedData, bench: Workbench, names: list[str]) -> list[Measured]:
    """Measure profiles. Raises: NotFound, naming the profiles there are."""
    from searchd.evaluate.measuring import measure
    from searchd.profiles import Profiles

    profiles = Profiles(bench.settings, bench.database)
    chosen: dict[str, Profile] = {}
    for name in names:
        profile = profiles.get(bench.scope.collection, name)
        if profile is None:
            there = ", ".join(profiles.names(bench.scope.collection))
            raise NotFound(f"there is no profile {name[:80]!r}; there are: {there}", code="unknown_profile")
        chosen[name] = profile
    with bars() as progress:
        return [with_version(one, profiles) for one in measure(data, bench, chosen, progress.report)]


def with_version(one: Measured, profiles: Profiles) -> Measured:
    """Return an evaluation that says which applied version of its profile was measured."""
    version = profiles.version(one.evaluation.collection, one.evaluation.profile)
    return replace(one, evaluation=msgspec.structs.replace(one.evaluation, profile_version=version))


def show(evaluation: Evaluation) -> None:
    """Print an evaluation: tables, then what they say."""
    from searchd.evaluate import sentences, tables
    from searchd.evaluate.bootstrap import LEAST_DIFFERING

    line(tables.heading(evaluation))
    output.print(tables.quality_table(evaluation))
    line(
        "* a real difference: its 95 % interval, by paired bootstrap over queries, leaves out zero, and "
        f"{LEAST_DIFFERING} queries or more differ"
    )
    output.print(tables.cost_table(evaluation))
    for said in (
        *sentences.stage_sentences(evaluation),
        *sentences.failure_sentences(evaluation),
        *sentences.reliability_sentences(evaluation),
        *sentences.caveats(evaluation),
    ):
        line(said)


def show_comparison(comparison: Comparison) -> None:
    """Print a comparison."""
    from searchd.evaluate import tables

    first, *others = tables.comparison_lines(comparison)
    line(first)
    output.print(tables.comparison_table(comparison))
    for said in others:
        line(said)


def show_list(settings: Settings, asked: Asked) -> None:
    """Print the evaluations that were kept."""
    from searchd.evaluate import stored, tables

    with opened_database(settings) as database:
        found = stored.newest_first(database, asked.collection, asked.name)
    if not found:
        line(f"No evaluation of collection {asked.collection!r} was kept yet; `searchd eval SET` makes one.")
        return
    output.print(tables.list_table(found))


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
