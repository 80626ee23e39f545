"""`searchd tune`: which configuration the engine should run, by the owner's judged queries. A roof: it composes and prints.

`searchd/__main__.py` registers it. What needs torch or the engine is imported when the command runs.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
from rich.table import Table
from rich.text import Text

from indexer.errors import InputError
from indexer.store import profiles as store
from searchd.database import opened_database
from searchd.judge.beir import folder_named
from searchd.profiles import Profiles, body_of, toml_of
from searchd.settings import Profile, Settings
from searchd.terminal import bars, check_places, console, line, output, settings_now, whole_line

if TYPE_CHECKING:
    from searchd.evaluate.tuned import Tuning
    from searchd.evaluate.tuning import TuneOptions
    from searchd.evaluate.types import JudgedData
    from searchd.evaluate.workbench import Workbench
    from searchd.terminal import Steps


@click.command()
@click.argument("set_name", metavar="SET")
@click.option("--collection", default="default", show_default=True, help="Whose judged set it is.")
@click.option("--profile", "profile_name", default="default", show_default=True, help="What is to be beaten.")
@click.option("--budget-ms", type=click.FloatRange(1), help="Most that 95 of 100 queries may take, estimated.")
@click.option("--configurations", default=200, show_default=True, type=click.IntRange(10, 5000), help="Tried at most.")
@click.option("--apply", "applying", is_flag=True, help="Put what wins to use, as a new version of the profile.")
@click.option("--json", "as_json", type=click.Path(path_type=Path), help="Write all figures into this file.")
@click.option("--as", "principals", multiple=True, help="Read as this principal too; public documents alone otherwise.")
@click.option("--seed", default=7, show_default=True, help="Of the folds.")
def tune(
    set_name: str,
    collection: str,
    profile_name: str,
    budget_ms: float | None,
    configurations: int,
    applying: bool,
    as_json: Path | None,
    principals: tuple[str, ...],
    seed: int,
) -> None:
    """Find what to run for the judged set SET, or for a folder in the BEIR layout: fusion, models, depths, or rerank off.

    The present profile stays unless held-out queries are answered better, by more than noise. Nothing is changed without
    --apply.
    """
    check_places(as_json)
    settings = msgspec.structs.replace(settings_now(), score_cache=0)  # what a pair takes is measured
    logging.disable(logging.WARNING)
    with console.status("Loading ..."):
        from searchd.evaluate.subject import opened_set
        from searchd.evaluate.tuning import TuneOptions

    folder = folder_named(set_name)
    if folder is not None and applying:
        raise InputError(
            f"{set_name} is a folder, indexed for this run alone; --apply needs a judged set of a collection"
        )
    options = TuneOptions(profile_name, configurations, budget_ms or math.inf, seed)
    with bars() as progress, contextlib.ExitStack() as opened:
        if folder is not None:
            data, bench = opened.enter_context(opened_folder(settings, folder, progress))
        else:
            data, bench = opened.enter_context(opened_set(settings, collection, set_name, principals))
        found = tuned(bench, data, options, progress)
    show(found)
    if as_json is not None:
        as_json.write_bytes(msgspec.json.format(msgspec.json.encode(found)))
    if applying:
        apply(settings, found)


@contextlib.contextmanager
def opened_folder(settings: Settings, folder: Path, progress: Steps) -> Iterator[tuple[JudgedData, Workbench]]:
    """Yield a folder's documents, indexed for this run alone, and what was judged of them."""
    from searchd.evaluate.dataset import opened_dataset, read_dataset

    data = read_dataset(folder)
    with opened_dataset(settings, folder, lambda done: progress.report("Indexing", done, done)) as bench:
        yield data, bench


def tuned(bench: Workbench, data: JudgedData, options: TuneOptions, progress: Steps) -> Tuning:
    """Retrieve once for each query, then tune."""
    from searchd.evaluate.learned import learned_from
    from searchd.evaluate.scores import ScoreTable
    from searchd.evaluate.space import RETRIEVED, models_of, running
    from searchd.evaluate.tuning import tune as run

    started = time.monotonic()
    profile = present_profile(bench, data, options)
    models = models_of(bench.settings, profile)
    bench.load_models(models)
    depth = max(*RETRIEVED, profile.depth)
    bench.ask(data.topics[0], 1)  # the first query of a process waits for more than itself
    questions = []
    for number, topic in enumerate(data.topics):
        progress.report("Retrieving", number, len(data.topics))
        questions.append(bench.ask(topic, depth, models))
    progress.report("Retrieving", len(data.topics), len(data.topics))
    table = ScoreTable(bench.rerankers.of)
    found = run(questions, data, running(profile), models, table, options, progress.report)
    took_s = time.monotonic() - started
    learned = learned_from(bench.rerankers.settings, models, data)
    return msgspec.structs.replace(found, took_s=took_s, beside_daemon=bench.beside_daemon, learned_from=learned)


def present_profile(bench: Workbench, data: JudgedData, options: TuneOptions) -> Profile:
    """Return the profile that is to be beaten: the one applied to the collection, else that of the settings."""
    profiles = Profiles(bench.settings, bench.database)
    profile = profiles.get(data.collection, options.profile_name)
    if profile is None:
        known = ", ".join(profiles.names(data.collection))
        raise InputError(f"there is no profile {options.profile_name!r}; there are: {known}", code="unknown_profile")
    return profile


def show(found: Tuning) -> None:
    """Print what each cascade gives, what is recommended, and the profile for searchd.toml."""
    from searchd.evaluate.advice import notes, took
    from searchd.evaluate.sentences import said_difference as said
    from searchd.evaluate.verdict import CHANGE, OFF

    table = Table(box=None, pad_edge=False)
    for column in ("cascade at its best", "nDCG@10", "over rerank off, * real", "p95 about", "pairs"):
        table.add_column(column, overflow="fold")
    for one in found.cascades:
        over = f"{said(one.over_off)}{'*' if one.over_off.real else ''}" if one.over_off else ""
        name = " > ".join(one.models) or "rerank off"
        table.add_row(Text(name), f"{one.ndcg:.3f}", Text(over), took(one.p95_ms), f"{one.pairs:.0f}")
    output.print(table)
    line(
        f"present profile {found.profile_name!r}: nDCG@10 {found.present.ndcg:.3f}, p95 about {took(found.present.p95_ms)}, "
        f"{found.present.pairs:.0f} pairs"
    )
    for note in notes(found):
        line(note)
    output.print()
    line(found.sentence[0].upper() + found.sentence[1:] + ".")
    if found.verdict in (CHANGE, OFF):
        output.print()
        whole_line(toml_of(found.profile_name, found.recommended.profile))


def apply(settings: Settings, found: Tuning) -> None:
    """Put what won in force for its collection, as the next version of the profile; say why nothing was, otherwise."""
    from searchd.evaluate.verdict import CHANGE, OFF

    if found.verdict not in (CHANGE, OFF):
        line(f"Nothing was applied: profile {found.profile_name!r} stays as it is.")
        return
    with opened_database(settings) as database, database.session() as session:
        version = store.apply(
            session,
            found.collection,
            found.profile_name,
            body_of(found.recommended.profile),
            author="tune",
            why=found.sentence,
            now=time.time(),
        )
    line(
        f"Profile {found.profile_name!r} of {found.collection!r}: version {version} is in force. "
        f"`searchd profiles rollback {found.profile_name} --collection {found.collection}` takes it back."
    )
