from __future__ import annotations

import pytest

from indexer import status
from indexer.errors import InputError
from indexer.filters import Compare
from indexer.scope import Scope
from indexer.store import collections, documents, jobs
from indexer.store.database import Database
from indexer.types import Block, Document, ParsedText, document_id
from tests.indexer.store.steps import (
    DOCS,
    PUBLIC_READER,
    accept,
    add,
    claim,
    content_of,
    do_all,
    file,
    index,
    live,
    new_task,
    parsed,
    save,
)


def get(database: Database, name: str, *principals: str) -> Document | None:
    """Read a document as a reader with these principals."""
    with database.read() as session:
        return documents.get(session, Scope.of(DOCS, principals), name)


def delete(database: Database, *names: str) -> list[str]:
    """Delete documents under a task of its own."""
    with database.session() as session:
        return documents.delete(session, DOCS, names, new_task(session, "delete"), 5.0)


def listed(database: Database, *principals: str) -> list[str]:
    """Return the ids of all documents that a reader can list."""
    with database.read() as session:
        page = documents.page(session, Scope.of(DOCS, principals), None, 1000)
    return [one.document_id for one in page.documents]


def test_a_document_comes_back_as_it_was_parsed(database: Database) -> None:
    text = ParsedText(
        "Title",
        "Head\nbody \U0001f600",
        (Block("heading", 0, 4), Block("paragraph", 5, 11, ("Head",), 3)),
        {"n": 1, "x": 1.5, "b": True, "tags": ("a", "b"), "empty": ()},
    )
    add(database, "f:/a", text)
    found = get(database, document_id(DOCS, "f:/a"))
    assert found == Document(
        collection=DOCS,
        document_id=document_id(DOCS, "f:/a"),
        title="Title",
        uri="f:/a",
        text=text.text,
        blocks=text.blocks,
        metadata=text.metadata,
        access=("public",),
        version=1,
        source_id=found.source_id if found else "",
    )


def test_overrides_go_before_what_the_parser_found(database: Database) -> None:
    add(
        database,
        "f:/a",
        parsed("text", metadata={"kind": "parsed", "n": 1}, access=("public",)),
        document_id="mine",
        title="Given",
        link="https://example.org/a",
        metadata={"kind": "given"},
        access=("staff",),
    )
    found = get(database, "mine", "staff")
    assert found is not None
    assert (found.title, found.uri, found.access) == ("Given", "https://example.org/a", ("staff",))
    assert found.metadata == {"kind": "given", "n": 1}


def test_documents_without_ids_are_numbered_within_their_source(database: Database) -> None:
    base = document_id(DOCS, "f:/a")
    saved = add(database, "f:/a", parsed("1"), parsed("2", document_id="own"), parsed("3"))
    assert saved.changed == (base, "own", f"{base}#2")


def test_of_two_equal_ids_in_one_source_the_last_counts(database: Database) -> None:
    assert add(database, "f:/a", parsed("old", document_id="1"), parsed("new", document_id="1")).changed == ("1",)
    found = get(database, "1")
    assert found is not None
    assert found.text == "new"


def test_only_what_changed_gets_a_version_and_a_job(database: Database) -> None:
    add(database, "f:/a", parsed("1", document_id="a"), parsed("2", document_id="b"), parsed("3", document_id="c"))
    do_all(database)
    saved = add(
        database, "f:/a", parsed("1", document_id="a"), parsed("two", document_id="b"), parsed("4", document_id="d")
    )
    assert (saved.changed, saved.removed) == (("b", "d"), ("c",))
    waiting = [(job.kind, job.subject) for job in claim(database, "index", "delete")]
    assert waiting == [("index", "document:b"), ("index", "document:d"), ("delete", "document:c")]
    with database.read() as session:
        found = documents.load_for_index(session, DOCS, ["d", "c", "b", "a", "b"])
    assert [(one.document_id, one.version) for one in found] == [("d", 1), ("b", 2), ("a", 1)]


@pytest.mark.parametrize(
    "changed",
    [
        parsed("text", title="New"),
        parsed("text", metadata={"n": True}),
        parsed("text", metadata={"n": 1.0}),
        parsed("text", access=("staff", "public")),
        ParsedText("Title", "text", (Block("code", 0, 4),), {"n": 1}),
    ],
)
def test_every_change_makes_a_version(database: Database, changed: ParsedText) -> None:
    add(database, "f:/a", parsed("text", metadata={"n": 1}))
    assert len(add(database, "f:/a", changed).changed) == 1
    found = get(database, document_id(DOCS, "f:/a"))
    assert found is not None
    assert found.version == 2


def test_a_source_that_was_replaced_meanwhile_saves_nothing(database: Database) -> None:
    accept(database, file("f:/a", "old"))
    old = content_of(database, "f:/a")
    accept(database, file("f:/a", "new"))
    assert save(database, old, parsed("old")) == documents.Saved((), ())
    assert content_of(database, "f:/a") is not None, "the new bytes still wait"
    assert listed(database) == []


def test_a_source_that_was_deleted_meanwhile_saves_nothing(database: Database) -> None:
    accept(database, file("f:/a", "text", document_id="mine"))
    loaded = content_of(database, "f:/a")
    assert delete(database, "mine") == ["mine"]
    assert save(database, loaded, parsed("text")) == documents.Saved((), ())
    assert listed(database) == []
    assert claim(database, "parse", "index", "delete") == []


def test_the_source_that_was_accepted_later_takes_a_document_over(database: Database) -> None:
    add(database, "f:/a", parsed("from a", document_id="x"), parsed("only a", document_id="y"), now=1.0)
    assert add(database, "f:/b", parsed("from b", document_id="x"), now=2.0).changed == ("x",)
    found = get(database, "x")
    assert found is not None
    assert (found.text, found.version) == ("from b", 2)
    again = add(database, "f:/a", parsed("from a", document_id="x"), parsed("only a", document_id="y"), now=3.0)
    assert again.changed == ("x",), "the first source is accepted anew although its bytes are the same"


def test_a_source_accepted_earlier_and_parsed_later_leaves_the_document_alone(database: Database) -> None:
    accept(database, file("f:/a", "a"), now=1.0)
    early = content_of(database, "f:/a")
    add(database, "f:/b", parsed("from b", document_id="x"), now=2.0)
    assert save(database, early, parsed("from a", document_id="x"), now=3.0).changed == ()
    found = get(database, "x")
    assert found is not None
    assert found.text == "from b"


def test_an_equal_document_moves_to_its_new_source_without_a_job(database: Database) -> None:
    add(database, "f:/a", parsed("same", document_id="x"), link="https://example.org/x", now=1.0)
    do_all(database)
    saved = add(database, "f:/b", parsed("same", document_id="x"), link="https://example.org/x", now=2.0)
    assert saved == documents.Saved((), ())
    assert claim(database, "index") == []
    assert add(database, "f:/b", parsed("other", document_id="z"), now=3.0).removed == ("x",)


@pytest.mark.parametrize("bad", ["", "a\nb", "x" * 513])
def test_a_document_id_that_cannot_be_stored_is_refused(database: Database, bad: str) -> None:
    with pytest.raises(InputError, match="512 printable"):
        add(database, "f:/a", parsed("text", document_id=bad))


def test_a_principal_that_cannot_be_stored_is_refused(database: Database) -> None:
    with pytest.raises(InputError, match="128 printable"):
        add(database, "f:/a", parsed("text", access=("x" * 129,)))


def test_the_longest_ids_and_principals_are_stored(database: Database) -> None:
    name, principal = "\U0001f600" * 512, "\U0001f600" * 128
    add(database, "f:/a", parsed("text", document_id=name, access=(principal,)))
    assert get(database, name, principal) is not None


def test_nul_in_a_text_is_replaced_and_offsets_stay(database: Database) -> None:
    add(database, "f:/a", parsed("a\x00b\ud800c"))
    found = get(database, document_id(DOCS, "f:/a"))
    assert found is not None
    assert found.text == "a\ufffdb\ufffdc"


def test_a_reader_needs_one_principal_of_the_document(database: Database) -> None:
    add(database, "f:/a", parsed("text", document_id="x", access=("staff", "board")))
    assert get(database, "x") is None
    assert get(database, "x", "guest") is None
    assert get(database, "x", "guest", "board") is not None
    with database.read() as session:
        assert documents.get(session, Scope.of("other", ["staff"]), "x") is None


def test_a_deleted_document_is_gone_with_its_source_and_a_job_follows(database: Database) -> None:
    add(database, "f:/a", parsed("text", document_id="x"))
    do_all(database)
    assert delete(database, "missing", "x", "x") == ["x"]
    assert get(database, "x") is None
    assert [(job.kind, job.subject) for job in claim(database, "delete")] == [("delete", "document:x")]
    assert accept(database, file("f:/a", repr((parsed("text", document_id="x"),))))[1].accepted == 1


def test_a_source_with_other_documents_outlives_one_of_them(database: Database) -> None:
    add(database, "f:/a", parsed("1", document_id="x"), parsed("2", document_id="y"))
    assert delete(database, "x") == ["x"]
    assert listed(database) == ["y"]


def test_deleting_a_document_whose_update_waits_keeps_it_deleted(database: Database) -> None:
    add(database, "f:/a", parsed("old"), document_id="x")
    accept(database, file("f:/a", "newer", document_id="x"), now=2.0)
    assert delete(database, "x") == ["x"]
    assert content_of(database, "f:/a") is None
    do_all(database)
    assert listed(database) == []


def test_a_page_lists_what_its_reader_may_see_in_the_order_of_ids(database: Database) -> None:
    for number in range(7):
        access = ("public",) if number % 2 else ("staff",)
        add(database, f"f:/{number}", parsed("some text", document_id=f"d{number}", access=access))
    assert listed(database) == ["d1", "d3", "d5"]
    scope = Scope.of(DOCS, ["staff"])
    seen: list[str] = []
    cursor: str | None = None
    with database.read() as session:
        while True:
            page = documents.page(session, scope, cursor, 3)
            seen += [one.document_id for one in page.documents]
            cursor = page.cursor
            if cursor is None:
                break
    assert seen == [f"d{number}" for number in range(7)]
    assert page.documents[0].text_chars == len("some text")


def test_a_page_can_be_filtered_by_metadata(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("indexer.store.documents.FILTERED_AT_ONCE", 2)
    texts = [parsed("text", document_id=f"d{n}", metadata={"even": n % 2 == 0}) for n in range(9)]
    add(database, "f:/a", *texts)
    with database.read() as session:
        first = documents.page(session, PUBLIC_READER, None, 3, Compare("even", "=", True))
        second = documents.page(session, PUBLIC_READER, first.cursor, 3, Compare("even", "=", True))
    assert [one.document_id for one in first.documents] == ["d0", "d2", "d4"]
    assert [one.document_id for one in second.documents] == ["d6", "d8"]
    assert second.cursor is None


def test_documents_that_match_a_filter_are_found_whoever_may_read_them(database: Database) -> None:
    add(database, "f:/a", parsed("1", document_id="x", metadata={"n": 1}))
    add(database, "f:/b", parsed("2", document_id="y", metadata={"n": 2}, access=("staff",)))
    with database.read() as session:
        assert documents.matching(session, DOCS, Compare("n", ">=", 2)) == ["y"]


def test_counts_and_sample_titles_are_of_the_collection(database: Database) -> None:
    texts = [parsed("text", title=f"Title {n}", document_id=f"d{n}") for n in range(10)]
    add(database, "f:/a", *texts, parsed(" ", title="Blank", document_id="e"))
    index(database, live(database), ["d1", "d2"])
    with database.read() as session:
        assert documents.counts(session, DOCS) == documents.Counts(documents=11, passages=2)
        assert documents.counts(session, "other") == documents.Counts(0, 0)
        assert documents.sample_titles(session, PUBLIC_READER, 3) == ["Title 0", "Title 1", "Title 2"]
        assert documents.sample_titles(session, PUBLIC_READER, 99) == [f"Title {n}" for n in range(10)]
        assert documents.sample_titles(session, Scope.of("other"), 3) == []


def test_sample_titles_are_spread_over_the_ids_and_differ(database: Database) -> None:
    names = [f"{first}{n}" for first in "0123456789abcdef" for n in range(3)]
    add(database, "f:/a", *(parsed("text", title=f"Title {n[0]}", document_id=n) for n in names))
    with database.read() as session:
        assert documents.sample_titles(session, PUBLIC_READER, 4) == ["Title 0", "Title 4", "Title 8", "Title c"]
        assert len(set(documents.sample_titles(session, PUBLIC_READER, 16))) == 16


def test_two_thousand_documents_of_one_source_are_saved_together(database: Database) -> None:
    texts = [parsed(f"text {n}", document_id=f"d{n}") for n in range(2000)]
    assert len(add(database, "f:/a", *texts).changed) == 2000
    assert len(claim(database, "index", limit=3000)) == 2000
    saved = add(database, "f:/a", *texts[:1000])
    assert (len(saved.changed), len(saved.removed)) == (0, 1000)
    with database.read() as session:
        assert jobs.counts(session)["queued"] == 1002  # two parse jobs that nobody claimed


def test_a_reader_knows_of_default_and_of_collections_that_hold_something_for_it(database: Database) -> None:
    with database.session() as session:
        for name in ("default", "empty"):
            collections.ensure(session, name, "en", 1.0)
    add(database, "f:/pay", parsed("salaries", access=("hr",)))

    def known(*readers: str) -> list[str]:
        with database.read() as session:
            return [collection.name for collection, _ in status.visible(session, readers or None)]

    assert known("public") == ["default"]
    assert known("public", "hr") == ["default", DOCS]
    assert known() == ["default", DOCS, "empty"]
