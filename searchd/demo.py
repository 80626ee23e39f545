"""`searchd demo`: index documentation every Python has (or a folder), ask five questions, show what each stage did.

Used by the command line only. Everything goes through the product's own ingestion and pipeline; nothing is prepared.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from indexer import ingest
from indexer.errors import InputError
from indexer.scope import Scope
from indexer.sources.folder import UnreadableFile, walk
from indexer.sources.python_docs import walk_python_docs
from indexer.status import task_of
from indexer.store import documents
from indexer.types import SourceFile
from searchd.api.search import SearchRequest, query_from_request
from searchd.fuse import RRF, fusion_of
from searchd.services import Services
from searchd.types import Candidate, SearchResponse

COLLECTION = "demo"
QUESTIONS = (
    "how do I parse command line options",
    "wait until several threads have reached the same point",
    "measure how long a small piece of code takes",
    "what happens when an exception is not caught in a thread",
    "read a compressed file line by line",
)
DEMO_TIMEOUT_MS = 20_000
BATCH_FILES = 100


def index_demo(services: Services, path: Path | None, console: Console) -> None:
    """Index the standard library's documentation, or the folder `path`, with a progress bar.

    Raises: InputError if there is nothing to index.
    """
    files = walk([path], services.settings) if path else walk_python_docs()
    engine = services.engine
    tasks: list[str] = []
    unchanged = 0
    with console.status("Reading documents ..."):
        for batch in in_batches(readable(files, console)):
            taken = ingest.accept(engine.database, services.settings, COLLECTION, batch, engine.clock())
            tasks += [taken.task_id] if taken.accepted else []
            unchanged += taken.unchanged
            if services.worker is not None:
                services.worker.wake()
    if not tasks and not unchanged:
        raise InputError(f"{path} holds no file that could be read; `indexer add --help` names the formats")
    show_progress(services, tasks, console)
    engine.refresh()


def readable(files: Iterable[SourceFile | UnreadableFile], console: Console) -> Iterator[SourceFile]:
    """Yield what can be read, and name what cannot."""
    for file in files:
        if isinstance(file, UnreadableFile):
            console.print(f"left out: {escape(file.uri)} ({escape(file.reason)})")
        else:
            yield file


def in_batches(files: Iterable[SourceFile]) -> Iterator[list[SourceFile]]:
    """Yield lists of at most BATCH_FILES files."""
    batch: list[SourceFile] = []
    for file in files:
        batch.append(file)
        if len(batch) == BATCH_FILES:
            yield batch
            batch = []
    if batch:
        yield batch


def show_progress(services: Services, tasks: Sequence[str], console: Console) -> None:
    """Show a bar until all tasks have ended, then what there is to search."""
    columns = (
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    )  # fmt: skip
    started = time.monotonic()
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("Indexing", total=None)
        while tasks:
            states = [state for task_id in tasks if (state := task_of(services.engine.database, task_id))]
            total, done = sum(s.total for s in states), sum(s.succeeded + s.failed for s in states)
            progress.update(bar, total=total or None, completed=done)
            if all(state.state in ("succeeded", "failed", "canceled") for state in states):
                break
            time.sleep(0.2)
    with services.engine.database.read() as session:
        counts = documents.counts(session, COLLECTION)
    console.print(
        f"{counts.documents:,} documents, {counts.passages:,} passages in collection {COLLECTION!r} "
        f"({time.monotonic() - started:.0f} s)\n"
    )


def questions_of(services: Services, path: Path | None) -> list[str]:
    """Return five questions: the prepared ones, or the first headings of five documents of the folder."""
    if path is None:
        return list(QUESTIONS)
    with services.engine.database.read() as session:
        return documents.sample_titles(session, Scope.of(COLLECTION), 5)


def ask(services: Services, questions: Sequence[str], console: Console) -> None:
    """Ask each question and print what every system and stage put first, what moved, and the time each took."""
    for text in questions:
        request = SearchRequest(q=text, collection=COLLECTION, timeout_ms=DEMO_TIMEOUT_MS)
        query, collection = query_from_request(request, services.settings, services.profiles)
        response = services.pipeline.search(query, Scope.of(collection))
        console.print(table_of(text, response))
        if response.degraded:
            console.print(f"[yellow]without {', '.join(response.degraded)}: see reasons above[/]")
        console.print()


def table_of(text: str, response: SearchResponse) -> Table:
    """Return the table of one question: a row per system and stage."""
    table = Table(title=f"? {escape(text)}", title_justify="left", title_style="bold", box=None, expand=False)
    for column in ("", "puts first", "moved", "ms"):
        table.add_column(column, justify="right" if column == "ms" else "left", overflow="fold")
    previous: str | None = None
    fusion = fusion_of(response.candidates[0].scores) if response.candidates else RRF
    names = [report.name for report in response.systems] + [fusion] + [report.name for report in response.stages]
    reports = {report.name: report for report in (*response.systems, *response.stages)}
    for name in names:
        first = next((c for c in response.candidates if c.ranks.get(name) == 1), None)
        report = reports.get(name)
        shown = place(first) if first else (report.reason or "" if report else "")
        took = report.ms if report else response.timings_ms.get("fuse", 0.0)
        is_stage = previous is not None
        table.add_row(
            name, escape(shown), moved(response.candidates, previous, name) if is_stage else "", f"{took:.0f}"
        )
        if name == fusion or (is_stage and first is not None):
            previous = name
    table.add_row("", "", "[dim]whole query[/]", f"[dim]{response.took_ms:.0f}[/]")
    return table


def place(candidate: Candidate) -> str:
    """Return where a passage stands: title and innermost heading, of which one may begin with the other."""
    heading = candidate.heading_path[-1] if candidate.heading_path else ""
    shown = heading if heading.startswith(candidate.title) else f"{candidate.title} > {heading}"
    return (shown if heading else candidate.title or candidate.uri)[:100]


def moved(candidates: Sequence[Candidate], before: str | None, after: str) -> str:
    """Say where the passage that a stage put first came from, and how many changed their place."""
    if before is None:
        return ""
    both = [(c.ranks[before], c.ranks[after]) for c in candidates if before in c.ranks and after in c.ranks]
    if not both:
        return ""
    origin = next((old for old, new in both if new == 1), None)
    changed = sum(old != new for old, new in both)
    return f"from {origin}, {changed} of {len(both)} moved" if origin is not None else f"{changed} moved"
