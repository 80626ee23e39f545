"""The `indexer` command: add, run, status, retry, rebuild, doctor. A roof: it composes and prints, nothing imports it.

Each verb goes to the running daemon of the data folder when one answers, else to the folder itself.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from indexer.errors import SearchdError
from searchd.program import run_program
from searchd.settings import Settings
from searchd.terminal import console, output, settings_now

if TYPE_CHECKING:
    from indexer.client import RemoteIndexer
    from indexer.engine import Engine
    from indexer.local import LocalIndexer

BATCH_FILES = 200
BATCH_BYTES = 8_000_000
POLL_S = 0.2


@contextlib.contextmanager
def indexer_of(settings: Settings, *, check: bool = True) -> Iterator[LocalIndexer | RemoteIndexer]:
    """Yield the daemon's client if one runs on this data folder, else the folder itself, owned."""
    from indexer.client import RemoteIndexer
    from indexer.local import LocalIndexer
    from indexer.owner import running_daemon

    daemon = running_daemon(settings)
    if daemon is not None:
        writers = [key.secret for key in settings.keys if key.write]
        yield RemoteIndexer(daemon.url, writers[0] if writers else "")
        return
    with LocalIndexer(settings, check=check, prepare=partial(give_encoder, settings)) as local:
        yield local


def give_encoder(settings: Settings, engine: Engine) -> None:
    """Have the engine store what rerankers read of passages: token ids, and the token vectors that the settings want.

    Raises: ConfigError if the vectors' model cannot be loaded.
    """
    from searchd.rerank.scheduler import Scheduler
    from searchd.rerank.stage_tokenizers import StageTokenizers
    from searchd.rerank.table import RerankerCache

    rerankers = RerankerCache(settings, Scheduler(engine.device))
    engine.token_encoder = rerankers.token_encoder()
    engine.reranking = StageTokenizers(settings, rerankers.tokenizers)


def start_work(indexer: LocalIndexer | RemoteIndexer) -> None:
    """Make sure somebody does the jobs: the daemon's worker does, a local one is started here."""
    work = getattr(indexer, "work", None)
    if work is not None:
        work()


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="searchd")
def cli() -> None:
    """Put documents into searchd, and keep its indexes right."""


@cli.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--collection", default="default", show_default=True, help="Where to put them; made if it does not exist."
)
@click.option(
    "--access", multiple=True, help="A principal who may read them; repeatable. Default: as before, new ones public."
)
@click.option("--prune", is_flag=True, help="Also remove documents under PATHS whose files are gone.")
@click.option("--no-wait", is_flag=True, help="Return once they are accepted; a daemon or `indexer run` does the rest.")
def add(paths: Sequence[Path], collection: str, access: Sequence[str], prune: bool, no_wait: bool) -> None:
    """Add files and folders; unchanged ones cost nothing."""
    with indexer_of(settings_now()) as indexer:
        if not no_wait:
            start_work(indexer)
        totals = hand_over(indexer, paths, collection, tuple(access) or None, prune)
        if no_wait:
            console.print(summary(totals))
            return
        errors = wait(indexer, totals["tasks"])
        console.print(summary(totals))
        show_errors([*totals["refused"], *errors])
        sys.exit(1 if errors or totals["refused"] else 0)


def hand_over(
    indexer: LocalIndexer | RemoteIndexer,
    paths: Sequence[Path],
    collection: str,
    access: tuple[str, ...] | None,
    prune: bool,
) -> dict[str, Any]:
    """Walk the paths and hand their files over in batches; return totals, tasks to wait for, files refused."""
    from indexer.sources.folder import UnreadableFile, walk

    totals: dict[str, Any] = {"accepted": 0, "unchanged": 0, "removed": 0, "tasks": [], "refused": []}
    seen: set[str] = set()
    batch: list[Any] = []

    def send() -> None:
        if batch:
            taken = indexer.add(collection, batch)
            totals["accepted"] += taken["accepted"]
            totals["unchanged"] += taken["unchanged"]
            if taken["accepted"]:
                totals["tasks"].append(taken["task_id"])
            batch.clear()

    with console.status("Reading files ...") as status:
        for file in walk(paths, settings_now(), access=access):
            seen.add(file.uri)
            if isinstance(file, UnreadableFile):
                totals["refused"].append({"uri": file.uri, "code": file.code, "message": file.reason})
                continue
            batch.append(file)
            if len(batch) >= BATCH_FILES or sum(len(f.content) for f in batch) >= BATCH_BYTES:
                send()
                status.update(f"Reading files ... {len(seen):,}")
        send()
    if prune:
        totals["removed"] = prune_gone(indexer, paths, collection, seen, totals)
    return totals


def prune_gone(
    indexer: LocalIndexer | RemoteIndexer,
    paths: Sequence[Path],
    collection: str,
    seen: set[str],
    totals: dict[str, Any],
) -> int:
    """Remove the sources under `paths` that the walk did not meet; return how many.

    What lies in a folder that could not be read is not gone, as far as anybody knows: it stays.
    """
    unread = tuple(refused["uri"].rstrip("/") + "/" for refused in totals["refused"])
    gone = [
        source_id
        for path in paths
        if path.is_dir()
        for uri, source_id in indexer.sources(collection, folder_uri(path)).items()
        if uri not in seen and not uri.startswith(unread)
    ]
    if not gone:
        return 0
    taken = indexer.remove_sources(collection, gone)
    totals["tasks"].append(taken["task_id"])
    return len(gone)


def folder_uri(path: Path) -> str:
    """Return what the uris of a folder's files begin with; `..` is resolved as the walk does it."""
    return Path(os.path.abspath(path.expanduser())).as_uri().rstrip("/") + "/"


def wait(indexer: LocalIndexer | RemoteIndexer, tasks: Sequence[str]) -> list[dict[str, Any]]:
    """Show a progress bar until these tasks have ended; return their errors."""
    errors: list[dict[str, Any]] = []
    open_tasks = list(tasks)
    ended: dict[str, dict[str, Any]] = {}
    columns = (
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    )  # fmt: skip
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("Indexing", total=None)
        while open_tasks:
            states = ended | {task_id: indexer.task(task_id) for task_id in open_tasks}
            ended = {k: v for k, v in states.items() if v["state"] in ("succeeded", "failed", "canceled")}
            open_tasks = [task_id for task_id in tasks if task_id not in ended]
            total = sum(state["total"] for state in states.values())
            done = sum(state["succeeded"] + state["failed"] for state in states.values())
            progress.update(bar, total=total or None, completed=done)
            if open_tasks:
                time.sleep(POLL_S)
    for state in ended.values():
        errors.extend(state["errors"])
    return errors


def summary(totals: dict[str, Any]) -> str:
    """Return the closing line of an `add`."""
    parts = [f"{totals['accepted']:,} accepted", f"{totals['unchanged']:,} unchanged"]
    if totals["removed"]:
        parts.append(f"{totals['removed']:,} removed")
    if totals["refused"]:
        parts.append(f"{len(totals['refused']):,} not readable")
    if not totals["accepted"] and not totals["removed"]:
        return f"Nothing to do: {', '.join(parts)}."
    return f"{', '.join(parts)}."


def show_errors(errors: Sequence[dict[str, Any]]) -> None:
    """Print failures, one line each, as a table."""
    if not errors:
        return
    table = Table(title=f"{len(errors):,} failed", title_justify="left", box=None)
    table.add_column("why")
    table.add_column("file", overflow="fold")
    table.add_column("reason", overflow="fold")
    for error in errors[:50]:
        table.add_row(escape(str(error["code"])), escape(str(error["uri"])), escape(str(error["message"])))
    console.print(table)
    if len(errors) > 50:
        console.print(f"... and {len(errors) - 50:,} more: `indexer status`")
    console.print("They stay listed in `indexer status`; `indexer retry` tries them again.")


@cli.command()
def run() -> None:
    """Do queued work until stopped: a worker beside stateless `searchd serve` replicas."""
    from indexer.engine import Engine
    from indexer.owner import Owner
    from indexer.worker import Worker

    settings = settings_now()
    with Owner.acquire(settings):
        engine = Engine.open(settings)
        give_encoder(settings, engine)
        worker = Worker(engine)
        stop = threading.Event()
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, lambda *_: stop.set())
        engine.start_refresher()
        worker.start()
        console.print("indexer: working; stop with Ctrl-C")
        while not stop.wait(1.0) and worker.alive:
            pass
        worker.stop()
        engine.close()
    if not stop.is_set():
        raise SearchdError("the worker ended by itself; see the log above")


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(as_json: bool) -> None:
    """Show collections, queued work and failures."""
    with indexer_of(settings_now(), check=False) as indexer:
        found = indexer.status()
    if as_json:
        output.print_json(data=found)
        return
    table = Table(box=None)
    for name in ("collection", "documents", "passages", "failed"):
        table.add_column(name, justify="left" if name == "collection" else "right")
    for one in found["collections"]:
        table.add_row(one["name"], f"{one['documents']:,}", f"{one['passages']:,}", f"{one['failed']:,}")
    output.print(table)
    jobs = found["jobs"]
    output.print(
        f"jobs: {jobs.get('queued', 0):,} queued, {jobs.get('running', 0):,} running, {jobs.get('failed', 0):,} failed"
    )
    show_errors(found["failures"])


@cli.command()
@click.option("--collection", default="default", show_default=True)
@click.option("--no-wait", is_flag=True)
def retry(collection: str, no_wait: bool) -> None:
    """Try failed files again."""
    with indexer_of(settings_now()) as indexer:
        if not no_wait:
            start_work(indexer)
        taken = indexer.retry(collection)
        errors = [] if no_wait or not taken["accepted"] else wait(indexer, [taken["task_id"]])
    console.print(f"{taken['accepted']:,} tried again.")
    show_errors(errors)
    sys.exit(1 if errors else 0)


RECIPE_SETTINGS = (
    "embedder", "embedder_revision", "query_prompt", "passage_prompt", "passage_tokens", "passage_overlap_tokens"
)  # fmt: skip


def recipe_settings(settings: Settings) -> dict[str, Any]:
    """Return the settings that generations are made of: those of this invocation count, not those a daemon began with."""
    return {name: getattr(settings, name) for name in RECIPE_SETTINGS}


@cli.command()
@click.option("--collection", default="default", show_default=True)
@click.option("--no-wait", is_flag=True)
def rebuild(collection: str, no_wait: bool) -> None:
    """Build a collection's indexes anew under the present settings, while the old ones serve; then switch."""
    settings = settings_now()
    with indexer_of(settings, check=False) as indexer:
        start_work(indexer)
        started = indexer.rebuild(collection, recipe_settings(settings))
        if no_wait:
            console.print(f"task {started['task_id']} started")
            return
        errors = wait(indexer, [started["task_id"]])
    show_errors(errors)
    if errors:
        sys.exit(1)
    console.print(f"Collection {collection!r} was rebuilt and switched over.")


@cli.command()
@click.option("--repair", is_flag=True, help="Mend what is found.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(repair: bool, as_json: bool) -> None:
    """Compare SQL, Tantivy and Qdrant; exit 1 if anything is wrong."""
    settings = settings_now()
    with indexer_of(settings, check=False) as indexer:
        found = indexer.doctor(repair, recipe_settings(settings))
        if repair and found["task_ids"]:
            start_work(indexer)
            wait(indexer, found["task_ids"])
            found = indexer.doctor(False, recipe_settings(settings))
    if as_json:
        output.print_json(data=found)
    for finding in [] if as_json else found["findings"]:
        output.print(f"[red]x[/] {escape(finding['collection'] or 'all')}: {escape(finding['message'])}")
    if not found["findings"]:
        console.print("Sound: SQL, Tantivy and Qdrant agree.")
        return
    console.print("To mend it: indexer doctor --repair")
    sys.exit(1)


def main() -> None:
    """Run the command line."""
    run_program(cli, "indexer")


if __name__ == "__main__":
    main()
