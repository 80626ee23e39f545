"""`searchd judge`: makes or extends a set of queries to judge, and says where its page is. A roof: it composes and prints.

SQL is opened beside a daemon that may be running; where none is, this command serves the page itself, as `searchd serve`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

import click
from rich.markup import escape

from indexer.errors import InputError
from searchd.terminal import console, log_to_stderr, settings_now, whole_line

if TYPE_CHECKING:
    from searchd.settings import Settings

MOST, USUAL = 1000, 60
"""Of `proposals.py`, which takes a second to import."""


@click.command()
@click.argument("name", metavar="[SET]", default="default")
@click.option("--collection", default="default", show_default=True)
@click.option(
    "--from",
    "origin",
    default="",
    metavar="[log|headings|FILE]",
    help="Where queries come from: the log of searches, headings, or a file with one a line. A set without any gets the "
    "log's, or headings.",
)
@click.option(
    "--queries", "count", type=click.IntRange(1, MOST), help=f"Queries to add at most ({USUAL}; of a file all)."
)
@click.option(
    "--as",
    "principals",
    multiple=True,
    help="Headings of what this principal may read too: every judge of the set will see them.",
)
@click.option("--host", help="Address to bind where no daemon runs; 127.0.0.1 unless told otherwise.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to bind then (8000); 0 takes any free one.")
def judge(
    name: str,
    collection: str,
    origin: str,
    count: int | None,
    principals: tuple[str, ...],
    host: str | None,
    port: int | None,
) -> None:
    """Make or extend a set of queries, and open the page where people grade what they find.

    Serves the page if no daemon runs; stop with Ctrl-C.
    """
    settings = settings_now(host=host, port=port)
    if not settings.database_url and not settings.data_path.is_dir():
        raise InputError(f"data_dir {settings.data_path} has nothing indexed; add documents first: indexer add FOLDER")
    with console.status("Reading ..."):
        import time

        from indexer.scope import Scope
        from indexer.store.database import open_database
        from searchd.judge.extending import extend_set

        database = open_database(settings.resolved_database_url)
        try:
            done = extend_set(database, Scope.of(collection, principals), name, origin, count, time.time)
        finally:
            database.close()
    if done.note:
        console.print(escape(done.note), highlight=False, soft_wrap=True)
    if done.origin:
        whole_line(f"{done.added:,} queries added from {done.origin}.")
    counts = f"{len(done.progress.queries):,} queries, {done.progress.judged:,} judged, {len(done.progress.waiting):,} waiting"
    whole_line(f"Set {name} of collection {collection}: {counts}.")
    show_page(settings, f"/judge?{urlencode({'collection': collection, 'set': name})}")


def show_page(settings: Settings, path: str) -> None:
    """Print where the page is: of the daemon that runs, else of this process, which then serves until it is stopped."""
    from indexer.owner import running_daemon

    daemon = running_daemon(settings)
    who = f"; sign in with a key that may judge: {', '.join(judges(settings)) or 'none may'}" if settings.keys else ""
    if daemon is not None:
        whole_line(f"Judge at {daemon.url}{path}{who}")
        return
    log_to_stderr()
    with console.status("Loading models ..."):
        from searchd.app import serve
        from searchd.services import build_services

    def say(url: str) -> None:
        whole_line(f"Judge at {url}{path}{who}  (stop with Ctrl-C)")

    serve(settings, lambda: build_services(settings, worker=settings.run_worker), say)


def judges(settings: Settings) -> list[str]:
    """Return the names of the keys that may judge."""
    return [key.name for key in settings.keys if key.judge or key.write]
