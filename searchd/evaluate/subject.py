"""What is measured: judged queries, and the workbench of the documents that they are asked of.

A stored set is asked of its collection; a BEIR folder is indexed apart, meanwhile. `searchd eval` and `searchd tune` open it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from searchd.evaluate.asked import Asked
from searchd.evaluate.dataset import opened_dataset, read_dataset
from searchd.evaluate.judged_data import judged_data, only_set, set_named
from searchd.evaluate.types import JudgedData, first_queries
from searchd.evaluate.workbench import Workbench, open_workbench
from searchd.settings import Settings
from searchd.terminal import console


@contextmanager
def opened(settings: Settings, asked: Asked) -> Iterator[tuple[JudgedData, Workbench]]:
    """Yield the judged queries that are asked for and the workbench that they are measured on."""
    folder = asked.dataset
    if folder is None:
        with opened_set(settings, asked.collection, asked.name or None, asked.principals) as (data, bench):
            yield first_queries(data, asked.queries), bench
        return
    data = read_dataset(folder, asked.split, complete=asked.complete, limit=asked.queries)
    with console.status("Indexing ...") as status, ExitStack() as stack:

        def say(done: int) -> None:
            status.update(f"Indexing ... {done:,} documents")

        bench = stack.enter_context(opened_dataset(settings, folder, say))
        status.stop()
        yield data, bench


@contextmanager
def opened_set(
    settings: Settings, collection: str, name: str | None, principals: Sequence[str]
) -> Iterator[tuple[JudgedData, Workbench]]:
    """Yield a judged set (None: the collection's only one) and the workbench of its collection.

    Raises: NotFound; InputError naming the sets there are, or for one without judgments; what `open_workbench` raises.
    """
    with open_workbench(settings, collection, principals) as bench:
        with bench.database.read() as session:
            chosen = only_set(session, collection) if name is None else name
            data = judged_data(session, set_named(session, collection, chosen))
        yield data, bench
