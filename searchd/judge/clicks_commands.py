"""`searchd clicks`: makes or refreshes a set of weak grades from the clicks that are kept. A roof: it composes and prints.

SQL alone is read and written, so that a daemon may serve meanwhile.
"""

from __future__ import annotations

import time

import click

from indexer.errors import NotFound
from indexer.store import collections, searches
from searchd.database import opened_database
from searchd.judge.click_sets import ClickSet, refresh
from searchd.plurals import plural
from searchd.settings import Settings
from searchd.terminal import settings_now, whole_line

DAY_S = 86_400.0
OFF = "log_queries is off: clicks are still kept, but without the text of their query they make no grades."
HOW = "Set log_queries to true and restart the daemon; what is opened from then on is counted."


@click.command()
@click.argument("name", metavar="SET")
@click.option("--collection", default="default", show_default=True)
@click.option(
    "--since", "since_days", type=click.IntRange(1, 36_500), help="Of the last so many days; else of all that is kept."
)
def clicks(name: str, collection: str, since_days: int | None) -> None:
    """Make weak grades of what readers opened: SET is of kind clicks, and never mixed with judgments."""
    settings, now = settings_now(), time.time()
    since = now - since_days * DAY_S if since_days else 0.0
    with opened_database(settings) as database, database.session() as session:
        if collections.get(session, collection) is None:
            raise NotFound(f"there is no collection {collection!r}")
        made = refresh(session, collection, name, since, now)
        kept = searches.kept(session, collection)
    for line in (*lines_of(made, name), *lines_of_log(settings, made, kept.clicks)):
        whole_line(line)


def lines_of(made: ClickSet, name: str) -> list[str]:
    """Return what was made, in words."""
    answers = plural(made.answers, "answer")
    if not made.clicks:
        return [f"No clicks to make grades of: {answers} with their text, none of which was opened from."]
    graded = ", ".join(f"{made.grades.get(grade, 0):,} of grade {grade}" for grade in (3, 2, 1, 0))
    return [
        f"Opened from {made.opened:,} of {answers}: {plural(made.impressions, 'impression')}, "
        f"{plural(made.clicks, 'click')}.",
        f"Set {name}, of kind clicks: {plural(made.queries, 'query', 'queries')}; weak grades: {graded}.",
    ]


def lines_of_log(settings: Settings, made: ClickSet, kept: int) -> list[str]:
    """Return what should be known of the log: that it is off, and what would help."""
    if settings.log_queries:
        return []
    without = [f"{plural(kept, 'click')} kept of answers whose text is not."] if kept and not made.clicks else []
    return [*without, OFF, HOW]
