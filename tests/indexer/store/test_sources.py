from __future__ import annotations

import pytest

from indexer.scope import Scope
from indexer.store import documents, jobs, sources
from indexer.store.database import Database
from indexer.types import source_id
from tests.indexer.store.steps import (
    DOCS,
    PUBLIC_READER,
    accept,
    add,
    claim,
    content_of,
    do_all,
    file,
    new_task,
    parsed,
    save,
)


def states(database: Database) -> dict[str, str]:
    """Return the state of every source by its uri."""
    with database.read() as session:
        return {source.uri: source.state for source in sources.under(session, DOCS, "", None, 1000)}


def fail(database: Database, uri: str) -> None:
    """Fail the parse job of a source, as the worker does."""
    (job,) = [job for job in claim(database, "parse") if job.subject.endswith(source_id(DOCS, uri))]
    with database.session() as session:
        sources.fail(session, source_id(DOCS, uri), "encrypted", "needs a password", 5.0)
        jobs.fail(session, "w", job.job_id, "encrypted", "needs a password", 5.0, None)


def test_accepted_sources_wait_with_their_bytes_and_one_job_each(database: Database) -> None:
    _, outcome = accept(database, file("f:/a", "one"), file("f:/b", "two"))
    assert (outcome.accepted, outcome.unchanged) == (2, 0)
    assert [job.subject for job in claim(database, "parse")] == [
        f"source:{source_id(DOCS, u)}" for u in ("f:/a", "f:/b")
    ]
    source = content_of(database, "f:/b")
    assert source is not None
    assert (source.content, source.name, source.uri) == (b"two", "b", "f:/b")


def test_a_source_that_is_equal_costs_nothing_waiting_or_ready(database: Database) -> None:
    accept(database, file("f:/a", "one"))
    assert accept(database, file("f:/a", "one"))[1] == sources.Outcome(0, 1)
    assert len(claim(database, "parse")) == 1
    save(database, content_of(database, "f:/a"), parsed("one"))
    do_all(database)
    assert accept(database, file("f:/a", "one"))[1] == sources.Outcome(0, 1)
    assert claim(database, "parse", "index") == []


def test_new_content_or_new_overrides_are_accepted_again(database: Database) -> None:
    accept(database, file("f:/a", "one"))
    changes = [
        file("f:/a", "two"),
        file("f:/a", "two", title="A"),
        file("f:/a", "two", title="A", metadata={"n": 1}),
        file("f:/a", "two", title="A", metadata={"n": True}),
        file("f:/a", "two", title="A", metadata={"n": True}, access=("staff",)),
        file("f:/a", "two", document_id="x", title="A", metadata={"n": True}, access=("staff",)),
    ]
    for change in changes:
        assert accept(database, change)[1] == sources.Outcome(1, 0), change


def test_access_lists_that_differ_in_order_are_equal(database: Database) -> None:
    accept(database, file("f:/a", access=("b", "a")))
    assert accept(database, file("f:/a", access=("a", "b", "a")))[1].accepted == 0


def test_of_two_files_with_one_uri_the_last_counts(database: Database) -> None:
    assert accept(database, file("f:/a", "one"), file("f:/a", "two"))[1] == sources.Outcome(1, 1)
    source = content_of(database, "f:/a")
    assert source is not None
    assert source.content == b"two"
    assert len(claim(database, "parse")) == 1


def test_a_parsed_source_gives_up_its_bytes(database: Database) -> None:
    add(database, "f:/a")
    assert content_of(database, "f:/a") is None
    assert states(database) == {"f:/a": "ready"}


def test_a_failed_source_is_listed_keeps_its_bytes_and_is_left_alone_until_a_retry(database: Database) -> None:
    accept(database, file("f:/a", "one"), file("f:/b", "two"))
    fail(database, "f:/a")
    with database.read() as session:
        (failure,) = sources.failures(session)
        assert (sources.count_failed(session), sources.count_failed(session, "other")) == (1, 0)
    assert (failure.uri, failure.error_code, failure.error) == ("f:/a", "encrypted", "needs a password")
    assert accept(database, file("f:/a", "one"))[1] == sources.Outcome(0, 1)
    with database.session() as session:
        assert sources.retry(session, DOCS, None, new_task(session), 6.0) == 1
        assert sources.retry(session, DOCS, None, new_task(session), 6.0) == 0
    assert states(database)["f:/a"] == "queued"
    assert content_of(database, "f:/a") is not None
    assert len(claim(database, "parse")) == 1


def test_a_retry_can_name_its_sources(database: Database) -> None:
    accept(database, file("f:/a"))
    fail(database, "f:/a")
    with database.session() as session:
        assert sources.retry(session, DOCS, [source_id(DOCS, "f:/b")], new_task(session), 6.0) == 0
        assert sources.retry(session, DOCS, [source_id(DOCS, "f:/a")], new_task(session), 6.0) == 1


def test_a_failure_of_old_content_does_not_mark_the_new(database: Database) -> None:
    accept(database, file("f:/a", "old"))
    claim(database, "parse")
    accept(database, file("f:/a", "new"))
    with database.session() as session:
        sources.fail(session, source_id(DOCS, "f:/a"), "crashed", "", 5.0)
    assert states(database) == {"f:/a": "queued"}


def test_readers_lose_a_document_when_the_new_access_is_accepted(database: Database) -> None:
    (name,) = add(database, "f:/a", parsed("secret"), access=("staff", "public")).changed
    do_all(database)
    accept(database, file("f:/a", "changed", access=("staff", "board")), now=3.0)
    with database.read() as session:
        assert documents.get(session, PUBLIC_READER, name) is None
        kept = documents.get(session, Scope.of(DOCS, ["staff"]), name)
        assert documents.get(session, Scope.of(DOCS, ["board"]), name) is None, "not before the new text is there"
    assert kept is not None
    assert (kept.access, kept.version) == (("staff",), 2)
    assert [job.subject for job in claim(database, "index")] == [f"document:{name}"]


def test_content_that_fails_to_parse_leaves_the_documents_and_the_narrower_access(database: Database) -> None:
    (name,) = add(database, "f:/a", parsed("secret"), access=("staff", "public")).changed
    do_all(database)
    accept(database, file("f:/a", "broken", access=("staff",)))
    fail(database, "f:/a")
    with database.read() as session:
        assert documents.get(session, PUBLIC_READER, name) is None
        assert documents.get(session, Scope.of(DOCS, ["staff"]), name) is not None


def test_deleting_sources_deletes_their_documents_and_their_waiting_jobs(database: Database) -> None:
    saved = add(database, "f:/a", parsed("one", document_id="1"), parsed("two", document_id="2"))
    assert saved.changed == ("1", "2")
    do_all(database)
    accept(database, file("f:/a", "newer"), file("f:/b", "waits"), file("f:/c", "stays"))
    gone = [source_id(DOCS, uri) for uri in ("f:/a", "f:/b", "f:/missing")]
    with database.session() as session:
        assert sources.delete(session, DOCS, gone, new_task(session, "delete"), 5.0) == 2
    assert states(database) == {"f:/c": "queued"}
    with database.read() as session:
        assert documents.page(session, PUBLIC_READER, None, 10).documents == ()
    assert [job.subject for job in claim(database, "delete")] == ["document:1", "document:2"]
    assert [job.subject for job in claim(database, "parse")] == [f"source:{source_id(DOCS, 'f:/c')}"]


def test_sources_of_another_collection_cannot_be_deleted(database: Database) -> None:
    add(database, "f:/a")
    with database.session() as session:
        assert sources.delete(session, "other", [source_id(DOCS, "f:/a")], new_task(session, "delete"), 5.0) == 0
    assert states(database) == {"f:/a": "ready"}


@pytest.mark.parametrize("prefix", ["f:/dir/", "f:/50%_off/"])
def test_sources_under_a_prefix_come_in_pages_and_match_exactly(database: Database, prefix: str) -> None:
    mine = [f"{prefix}{n}" for n in range(5)]
    others = ["f:/dirt", "f:/DIR/1", "f:/50xy_off/1", "f:/"]
    accept(database, *(file(uri) for uri in mine + others))
    with database.read() as session:
        first = sources.under(session, DOCS, prefix, None, 3)
        second = sources.under(session, DOCS, prefix, first[-1].uri, 3)
    assert [source.uri for source in first + second] == mine


def test_uris_longer_than_an_index_page_are_taken(database: Database) -> None:
    uri = "f:/" + "\U0001f600" * 2000
    assert accept(database, file(uri, "one"))[1].accepted == 1
    assert accept(database, file(uri, "one"))[1].accepted == 0


def test_nul_and_lone_surrogates_are_replaced_not_refused(database: Database) -> None:
    accept(database, file("f:/a\x00", "x", title="\ud800", metadata={"k\x00": "v\udfff", "n": float("nan")}))
    source = content_of(database, "f:/a\ufffd")
    assert source is not None
    assert (source.overrides.title, source.overrides.metadata) == ("\ufffd", {"k\ufffd": "v\ufffd"})


def test_six_thousand_unchanged_files_are_known_in_a_moment(database: Database) -> None:
    files = [file(f"f:/{n}", "same") for n in range(6_000)]
    assert accept(database, *files)[1] == sources.Outcome(6_000, 0)
    assert accept(database, *files)[1] == sources.Outcome(0, 6_000)
