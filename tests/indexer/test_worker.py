"""Ingestion from acceptance to both indexes: what is found, replaced, deleted, quarantined, retried."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from indexer import ingest
from indexer.compare import compare_generation
from indexer.doctor import examine, repair
from indexer.engine import Engine
from indexer.errors import InputError, LimitError
from indexer.lexical.query import parse_query
from indexer.scope import Scope
from indexer.status import status_of, task_of
from indexer.store import documents
from indexer.types import SourceFile
from indexer.worker import Worker


@pytest.fixture
def worker(engine: Engine) -> Iterator[Worker]:
    made = Worker(engine)
    yield made
    made.stop()


def text_file(name: str, text: str, access: tuple[str, ...] | None = None) -> SourceFile:
    return SourceFile(uri=f"file:///docs/{name}", name=name, content=text.encode(), access=access)


def add(engine: Engine, worker: Worker, files: Sequence[SourceFile], collection: str = "default") -> ingest.Acceptance:
    taken = ingest.accept(engine.database, engine.settings, collection, files, engine.clock())
    worker.run_until_idle()
    engine.refresh()
    return taken


def found(engine: Engine, word: str, *principals: str, collection: str = "default") -> set[str]:
    """Return the uris found by BM25 and then allowed by SQL, as the pipeline does."""
    from indexer.store import passages

    live = engine.live(collection)
    scope = Scope.of(collection, principals)
    ranking = live.lexical.search(parse_query(word), scope, None, 100)
    with engine.database.read() as session:
        loaded = passages.load(session, scope, live.generation_id, [p.passage_id for p in ranking.passages])
    return {passage.uri for passage in loaded.values()}


def test_an_accepted_file_is_found_in_both_indexes(engine: Engine, worker: Worker) -> None:
    taken = add(engine, worker, [text_file("a.txt", "The gearbox needs oil."), text_file("b.md", "# Title\n\nA pump.")])
    assert (taken.accepted, taken.unchanged) == (2, 0)
    assert found(engine, "gearbox") == {"file:///docs/a.txt"}
    live = engine.live("default")
    vector = live.embedder.encode_query("lubricating a transmission")
    assert live.vectors.search(vector, Scope.of("default"), None, 5)
    assert compare_generation(engine, live) == {}


def test_adding_the_same_again_does_no_work_and_says_so(engine: Engine, worker: Worker) -> None:
    files = [text_file("a.txt", "The gearbox needs oil.")]
    add(engine, worker, files)
    assert add(engine, worker, files).unchanged == 1
    assert add(engine, worker, [text_file("a.txt", "The turbine needs oil.")]).accepted == 1
    assert found(engine, "gearbox") == set()
    assert found(engine, "turbine") == {"file:///docs/a.txt"}


def test_a_deleted_document_is_gone_at_once_and_from_both_indexes_soon(engine: Engine, worker: Worker) -> None:
    posted = SourceFile(uri="api:x", name="x.txt", content=b"A rare zeppelin.", document_id="x")
    add(engine, worker, [posted])
    assert found(engine, "zeppelin") == {"api:x"}
    ingest.remove(engine.database, "default", ["x"], engine.clock())
    assert found(engine, "zeppelin") == set()
    worker.run_until_idle()
    assert list(engine.live("default").lexical.scan()) == []
    assert list(engine.live("default").vectors.scan()) == []


def test_revoked_access_holds_from_the_acknowledgement_on(engine: Engine, worker: Worker) -> None:
    add(engine, worker, [text_file("a.txt", "The salary table.")])
    assert found(engine, "salary") == {"file:///docs/a.txt"}
    revoked = text_file("a.txt", "The salary table.", access=("hr",))
    ingest.accept(engine.database, engine.settings, "default", [revoked], engine.clock())
    assert found(engine, "salary") == set()
    worker.run_until_idle()
    engine.refresh()
    assert found(engine, "salary") == set()
    assert found(engine, "salary", "hr") == {"file:///docs/a.txt"}


def test_a_bad_file_is_a_named_failure_beside_good_ones_and_can_be_retried(engine: Engine, worker: Worker) -> None:
    bad = SourceFile(uri="file:///docs/bad.pdf", name="bad.pdf", content=b"%PDF-1.7 nothing more")
    taken = add(engine, worker, [bad, text_file("good.txt", "A healthy file.")])
    task = task_of(engine.database, taken.task_id)
    assert task is not None
    assert (task.state, task.failed) == ("failed", 1)
    assert [error.uri for error in task.errors] == ["file:///docs/bad.pdf"]
    assert [failure.uri for failure in status_of(engine.database).failures] == ["file:///docs/bad.pdf"]
    assert found(engine, "healthy") == {"file:///docs/good.txt"}
    assert ingest.retry(engine.database, "default", None, engine.clock()).accepted == 1
    worker.run_until_idle()
    assert len(status_of(engine.database).failures) == 1


def test_a_file_with_several_documents_loses_those_that_left_it(engine: Engine, worker: Worker) -> None:
    first = b'{"id": "one", "text": "alpha wolf"}\n{"id": "two", "text": "beta wolf"}\n'
    add(engine, worker, [SourceFile(uri="file:///w.jsonl", name="w.jsonl", content=first)])
    assert len(list(engine.live("default").lexical.scan())) == 2
    second = b'{"id": "two", "text": "beta wolf"}\n'
    add(engine, worker, [SourceFile(uri="file:///w.jsonl", name="w.jsonl", content=second)])
    assert {held.document_id for held in engine.live("default").lexical.scan()} == {"two"}
    assert {point.document_id for point, _ in engine.live("default").vectors.scan()} == {"two"}


def test_a_document_over_the_limit_is_refused_and_the_limit_is_said(engine: Engine) -> None:
    large = SourceFile(uri="api:l", name="l.txt", content=b"x" * (engine.settings.max_document_mb * 1_000_000 + 1))
    with pytest.raises(LimitError, match="at most 25 MB"):
        ingest.accept(engine.database, engine.settings, "default", [large], engine.clock())


def test_doctor_finds_what_an_index_lost_and_repairs_it(engine: Engine, worker: Worker) -> None:
    add(engine, worker, [text_file(f"{i}.txt", f"Number {i} of the series.") for i in range(5)])
    assert examine(engine) == []
    live = engine.live("default")
    lost = next(iter(live.lexical.scan())).document_id
    live.lexical.delete([lost])
    live.lexical.flush()
    findings = examine(engine)
    assert [finding.document_ids for finding in findings] == [(lost,)]
    assert repair(engine, findings)
    worker.run_until_idle()
    assert examine(engine) == []


def test_a_file_added_again_without_an_access_list_keeps_the_one_it_had(engine: Engine, worker: Worker) -> None:
    add(engine, worker, [text_file("pay.txt", "Salaries of all.", ("hr",)), text_file("a.txt", "Open to all.")])
    again = add(engine, worker, [text_file("pay.txt", "Salaries of all."), text_file("a.txt", "Open to all.")])
    assert (again.accepted, again.unchanged) == (0, 2)
    add(engine, worker, [text_file("pay.txt", "Salaries of everybody.")])
    assert found(engine, "everybody") == set()
    assert found(engine, "everybody", "hr") == {"file:///docs/pay.txt"}
    add(engine, worker, [text_file("pay.txt", "Salaries of everybody.", ("public",))])
    assert found(engine, "everybody") == {"file:///docs/pay.txt"}


def test_an_access_list_in_one_word_is_refused(engine: Engine) -> None:
    for access in ('["hr"]', "hr,board"):
        with pytest.raises(InputError, match="looks like a list"):
            ingest.accept(engine.database, engine.settings, "default", [text_file("a.txt", "x", (access,))], 1.0)


def test_an_address_that_a_browser_would_run_is_not_shown(engine: Engine, worker: Worker) -> None:
    links = ["javascript:alert(1)", "java\tscript:alert(1)", " DATA:text/html,x", "https://example.com/a"]
    files = [replace(text_file(f"{n}.txt", "A rare zeppelin."), link=link) for n, link in enumerate(links)]
    add(engine, worker, files)
    own = {f"file:///docs/{n}.txt" for n in range(3)}
    assert found(engine, "zeppelin") == own | {"https://example.com/a"}


def test_readers_are_told_only_of_collections_that_hold_something_for_them(engine: Engine, worker: Worker) -> None:
    add(engine, worker, [text_file("a.txt", "Open."), text_file("b.txt", "Closed.", ("hr",))])
    add(engine, worker, [text_file("c.txt", "Closed.", ("board",))], "titan")
    counted = {
        who: [(one.name, one.documents, one.passages) for one in status_of(engine.database, who).collections]
        for who in (None, ("public",), ("hr", "public"), ("board",))
    }
    assert counted == {
        None: [("default", 2, 2), ("titan", 1, 1)],
        ("public",): [("default", 1, 1)],
        ("hr", "public"): [("default", 2, 2)],
        ("board",): [("default", 1, 1), ("titan", 1, 1)],
    }


def rows(name: str, *ids: str) -> SourceFile:
    lines = [f'{{"id": "{one}", "text": "The {one} zeppelin of {name}."}}' for one in ids]
    return SourceFile(uri="file:///docs/c.jsonl", name="c.jsonl", content="\n".join(lines).encode())


def ids_of(engine: Engine) -> set[str]:
    with engine.database.read() as session:
        return {one.document_id for one in documents.page(session, Scope.of("default"), None, 100).documents}


def test_deleting_documents_keeps_the_newer_content_of_their_source_that_waits(engine: Engine, worker: Worker) -> None:
    add(engine, worker, [rows("first", "x", "y")])
    ingest.accept(engine.database, engine.settings, "default", [rows("second", "v", "w")], engine.clock())
    ingest.remove(engine.database, "default", ["x", "y"], engine.clock())
    worker.run_until_idle()
    assert ids_of(engine) == {"v", "w"}


def test_what_is_deleted_does_not_come_back_with_content_accepted_before(engine: Engine, worker: Worker) -> None:
    add(engine, worker, [rows("first", "x", "y")])
    ingest.accept(engine.database, engine.settings, "default", [rows("second", "x", "y")], engine.clock())
    ingest.remove(engine.database, "default", ["y"], engine.clock())
    worker.run_until_idle()
    assert ids_of(engine) == {"x"}
    add(engine, worker, [rows("third", "x", "y")])
    assert ids_of(engine) == {"x", "y"}


def test_a_stricter_access_list_counts_at_once_for_a_document_of_another_source(engine: Engine, worker: Worker) -> None:
    add(engine, worker, [rows("first", "x", "y")])
    stricter = SourceFile(uri="document:x", name="x.txt", content=b"New.", document_id="x", access=("board",))
    ingest.accept(engine.database, engine.settings, "default", [stricter], engine.clock())
    assert ids_of(engine) == {"y"}
    worker.run_until_idle()
    assert ids_of(engine) == {"y"}
