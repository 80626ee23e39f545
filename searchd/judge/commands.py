"""`searchd judged`: judged sets in and out of files, listed, shown, deleted. A roof: it composes and prints.

The database is opened directly, whether or not a daemon runs: it admits several processes, and nothing here needs an index.
`searchd/__main__.py` registers it. What needs numpy is imported when a command runs.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.markup import escape
from rich.table import Table

from indexer.lexical.query import MAX_QUERY_CHARS, MAX_QUERY_TERMS
from indexer.store import judged as store
from indexer.store.judged import CLICKS, JudgedSet
from searchd.database import opened_database
from searchd.judge.content import content_of, told_of
from searchd.judge.intake import FILE, Intake, TakenIn, take_in
from searchd.plurals import plural
from searchd.terminal import output, settings_now, whole_line

COLLECTION = click.option("--collection", default="default", show_default=True, help="Whose set it is.")


@click.group()
def judged() -> None:
    """Judged sets: queries with graded documents, to measure and tune with."""


@judged.command("import")
@click.argument("name", metavar="SET")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@COLLECTION
@click.option(
    "--format",
    "form",
    metavar="beir|trec|jsonl|clicks",
    help="What PATH is. By its shape: a folder beir, .jsonl jsonl, .csv clicks, .qrels .txt .tsv trec.",
)
@click.option(
    "--topics",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="For trec, the queries: .jsonl; .tsv or .txt with a tab; .topics, .sgml or .xml of <top> blocks.",
)
@click.option("--split", default="test", show_default=True, help="For beir: which qrels/SPLIT.tsv.")
@click.option("--judge", default=FILE, show_default=True, help="Who judged, where lines do not say so.")
@click.option(
    "--complete/--incomplete",
    "complete",
    default=None,
    help="Whether documents without a judgment are known not to be relevant. A new set is incomplete.",
)
@click.option(
    "--replace", is_flag=True, help="Empty the set first; else lines add to it, and replace what they repeat."
)
@click.option("--strict", is_flag=True, help="Refuse documents that the collection does not have.")
def import_set(
    name: str, path: Path, collection: str, form: str | None, topics: Path | None, split: str, judge: str,
    complete: bool | None, replace: bool, strict: bool,
) -> None:  # fmt: skip
    """Read queries and grades of PATH into SET, which is made if there is none: all lines or, if one is wrong, none."""
    from searchd.judge.formats import ReadOptions, read_set

    given = read_set(path, form, ReadOptions(topics, split))
    how = Intake(judge=judge, complete=complete, replace=replace, strict=strict)
    with opened_database(settings_now()) as database, database.session() as session:
        taken = take_in(session, collection, name, given, how, time.time())
    say_taken(taken)


@judged.command("export")
@click.argument("name", metavar="SET")
@click.argument("path", type=click.Path(path_type=Path))
@COLLECTION
@click.option(
    "--format",
    "form",
    metavar="beir|trec|jsonl",
    help="By PATH's shape: a folder beir, .jsonl jsonl, .qrels .txt .tsv trec, with the queries beside it.",
)
@click.option("--overwrite", is_flag=True, help="Write over files that are there.")
def export_set(name: str, path: Path, collection: str, form: str | None, overwrite: bool) -> None:
    """Write SET to PATH."""
    from searchd.judge.formats import format_of, write_set

    with opened_database(settings_now()) as database, database.read() as session:
        content = content_of(session, store.get(session, collection, name).set_id)
    form = form or format_of(path)
    for written in write_set(content, path, form, overwrite=overwrite):
        whole_line(f"{written} is written")
    if form != "jsonl" and content.of_passages:
        whole_line(
            f"of passages: {plural(content.of_passages, 'grade')}, counted there for their documents; jsonl keeps them"
        )


@judged.command("list")
@click.option("--collection", help="Of this collection; else of all.")
def list_sets(collection: str | None) -> None:
    """List the judged sets."""
    table = Table(box=None, pad_edge=False)
    for column in ("collection", "set", "kind", "queries", "judged", "judgments", "relevant"):
        table.add_column(
            column, justify="right" if column in ("queries", "judged", "judgments", "relevant") else "left"
        )
    with opened_database(settings_now()) as database, database.read() as session:
        for one in store.of_collection(session, collection):
            found = store.counts(session, one.set_id)
            numbers = (found.queries, found.judged_queries, found.judgments, found.relevant)
            table.add_row(one.collection, one.name, kind_of(one), *(f"{number:,}" for number in numbers))
    if table.row_count:
        output.print(table)
    else:
        whole_line("There is no judged set; `searchd judged import SET PATH` makes one.")


@judged.command()
@click.argument("name", metavar="SET")
@COLLECTION
def show(name: str, collection: str) -> None:
    """Show what SET holds: counts, who judged, and when."""
    with opened_database(settings_now()) as database, database.read() as session:
        one = store.get(session, collection, name)
        found, told = store.counts(session, one.set_id), told_of(session, one)
    rows = {
        "set": f"{one.name} of collection {one.collection}: {kind_of(one)}",
        "made": day(one.created_at),
        "queries": f"{found.queries:,}, {found.judged_queries:,} of them judged, {told.skipped:,} skipped",
        "judgments": f"{found.judgments:,}, {found.relevant:,} of them relevant",
        "grades": ", ".join(f"{grade}: {count:,}" for grade, count in told.grades.items()) or "none",
        "judges": ", ".join(f"{judge} {count:,}" for judge, count in told.judges.items()) or "none",
        "judged": f"{day(told.first_at)} to {day(told.last_at)}" if told.first_at is not None else "never",
        "not in the collection": plural(told.unknown_documents, "document"),
    }
    table = Table(box=None, pad_edge=False, show_header=False)
    for label, text in rows.items():
        table.add_row(label, escape(text))
    output.print(table)


@judged.command()
@click.argument("name", metavar="SET")
@COLLECTION
def delete(name: str, collection: str) -> None:
    """Delete SET with its queries and judgments."""
    with opened_database(settings_now()) as database, database.session() as session:
        one = store.get(session, collection, name)
        found = store.counts(session, one.set_id)
        store.delete(session, one.set_id)
    whole_line(f"{name} is deleted: {plural(found.queries, 'query', 'queries')}, {plural(found.judgments, 'judgment')}")


def say_taken(taken: TakenIn) -> None:
    """Print what an import did."""
    queries = plural(taken.queries, "query", "queries")
    grades = (
        plural(taken.judgments, "weak grade of clicks", "weak grades of clicks")
        if taken.of.kind == CLICKS
        else plural(taken.judgments, "judgment")
    )
    new = "" if taken.made else f" ({taken.new_queries:,} new)"
    whole_line(f"{taken.of.name}{' is made' if taken.made else ''}: {queries}{new}, {grades}")
    if taken.cut_queries:
        cut = plural(taken.cut_queries, "query was", "queries were")
        whole_line(
            f"{cut} cut to {MAX_QUERY_CHARS} characters and {MAX_QUERY_TERMS} words, which is what a query may have"
        )
    if taken.of.kind == CLICKS:
        whole_line("Documents that were looked at too seldom have no grade.")
    if taken.unknown_documents:
        unknown = plural(taken.unknown_documents, "judged document is", "judged documents are")
        whole_line(f"{unknown} not in collection {taken.of.collection} now; --strict refuses that")


def kind_of(one: JudgedSet) -> str:
    """Return in words what a set's grades are."""
    kind = "weak grades of clicks" if one.kind == CLICKS else "judged"
    return f"{kind}, complete" if one.complete else kind


def day(when: float | None) -> str:
    """Return a time as people read it."""
    return "" if when is None else datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%d %H:%M UTC")
