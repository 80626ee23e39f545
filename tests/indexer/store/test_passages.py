from __future__ import annotations

import numpy as np
from sqlalchemy import event

from indexer.scope import Scope
from indexer.store import documents, generations, matches, passages, sources, vectors
from indexer.store.database import Database
from indexer.types import document_id, source_id
from tests.indexer.store.steps import DOCS, PUBLIC_READER, accept, add, file, hash_of, index, live, new_task, parsed


def texts(database: Database, ids: list[str], *principals: str) -> list[str]:
    """Return the texts that a reader with these principals gets of these passages."""
    with database.read() as session:
        generation = generations.live(session, DOCS)
        assert generation is not None
        loaded = passages.load(session, Scope.of(DOCS, principals), generation.generation_id, ids)
    return [loaded[name].text for name in ids if name in loaded]


def test_a_loaded_passage_carries_what_its_document_says(database: Database) -> None:
    add(database, "f:/a", parsed("words", title="A", metadata={"n": 1}))
    generation = live(database)
    (name,) = index(database, generation, [document_id(DOCS, "f:/a")])
    with database.read() as session:
        loaded = passages.load(session, PUBLIC_READER, generation.generation_id, [name, "missing", name])
        assert passages.of_document(session, PUBLIC_READER, generation.generation_id, document_id(DOCS, "f:/a")) == [
            *loaded.values()
        ]
    assert loaded == {
        name: passages.LoadedPassage(
            passage_id=name,
            document_id=document_id(DOCS, "f:/a"),
            ordinal=0,
            title="A",
            uri="f:/a",
            text="words",
            start=0,
            end=5,
            heading_path=(),
            page=None,
            metadata={"n": 1},
            document_version=1,
        )
    }


def test_passages_are_loaded_for_readers_of_their_document_only(database: Database) -> None:
    add(database, "f:/a", parsed("for staff", document_id="a", access=("staff",)))
    add(database, "f:/b", parsed("for all", document_id="b"))
    ids = index(database, live(database), ["a", "b"])
    assert texts(database, ids) == ["for all"]
    assert texts(database, ids, "guest") == ["for all"]
    assert texts(database, ids, "staff") == ["for staff", "for all"]


def test_a_deleted_document_has_no_passages_before_its_job_has_run(database: Database) -> None:
    add(database, "f:/a", parsed("text", document_id="a"))
    ids = index(database, live(database), ["a"])
    with database.session() as session:
        documents.delete(session, DOCS, ["a"], new_task(session, "delete"), 5.0)
    assert texts(database, ids) == []


def test_a_deleted_source_has_no_passages_before_its_jobs_have_run(database: Database) -> None:
    add(database, "f:/a", parsed("text", document_id="a"))
    ids = index(database, live(database), ["a"])
    with database.session() as session:
        sources.delete(session, DOCS, [source_id(DOCS, "f:/a")], new_task(session, "delete"), 5.0)
    assert texts(database, ids) == []


def test_a_revoked_reader_gets_nothing_from_the_moment_of_acceptance(database: Database) -> None:
    add(database, "f:/a", parsed("text", document_id="a"), access=("public", "staff"))
    ids = index(database, live(database), ["a"])
    accept(database, file("f:/a", "new", access=("staff",)))
    assert texts(database, ids) == []
    assert texts(database, ids, "staff") == ["text"]


def test_the_old_text_is_served_while_the_new_waits_to_be_indexed(database: Database) -> None:
    add(database, "f:/a", parsed("old", document_id="a"))
    ids = index(database, live(database), ["a"])
    add(database, "f:/a", parsed("new", document_id="a"))
    assert texts(database, ids) == ["old"]
    index(database, live(database), ["a"])
    assert texts(database, ids) == ["new"]


def test_readers_who_were_admitted_later_never_get_the_text_from_before(database: Database) -> None:
    add(database, "f:/a", parsed("secret", document_id="a", access=("staff",)))
    ids = index(database, live(database), ["a"])
    add(database, "f:/a", parsed("cleaned", document_id="a", access=("staff", "public")))
    add(database, "f:/a", parsed("cleaned again", document_id="a", access=("public",)))
    assert texts(database, ids) == []
    index(database, live(database), ["a"])
    assert texts(database, ids) == ["cleaned again"]


def test_a_document_made_again_does_not_inherit_the_passages_of_the_deleted_one(database: Database) -> None:
    add(database, "f:/a", parsed("secret", document_id="a", access=("staff",)))
    ids = index(database, live(database), ["a"])
    with database.session() as session:
        documents.delete(session, DOCS, ["a"], new_task(session, "delete"), 5.0)
    add(database, "f:/b", parsed("open", document_id="a"), now=6.0)
    assert texts(database, ids, "staff") == []
    index(database, live(database), ["a"])
    assert texts(database, ids) == ["open"]
    with database.read() as session:
        assert passages.document_versions(session, DOCS) == {"a": (2, True)}


def test_a_generation_is_read_in_its_own_collection_only(database: Database) -> None:
    add(database, "f:/a", parsed("text", document_id="a"))
    generation = live(database)
    ids = index(database, generation, ["a"])
    with database.read() as session:
        assert passages.load(session, Scope.of("other"), generation.generation_id, ids) == {}
        assert passages.load(session, PUBLIC_READER, "other", ids) == {}


def test_forty_thousand_ids_are_loaded_in_portions(database: Database) -> None:
    add(database, "f:/a", parsed("text", document_id="a"))
    ids = index(database, live(database), ["a"])
    assert texts(database, [*(f"none-{n}" for n in range(40_000)), *ids]) == ["text"]


def test_replacing_forgets_what_was_there_and_scan_tells_what_is(database: Database) -> None:
    add(database, "f:/a", parsed("old", document_id="a"), parsed("two", document_id="b"), parsed(" ", document_id="c"))
    generation = live(database)
    index(database, generation, ["a", "b"])
    add(database, "f:/a", parsed("new", document_id="a"), parsed("two", document_id="b"), parsed(" ", document_id="c"))
    index(database, generation, ["a"])
    with database.session() as session:
        found = {p.document_id: p for p in passages.scan(session, generation.generation_id)}
        assert {name: p.document_version for name, p in found.items()} == {"a": 2, "b": 1}
        assert [found[name].text_hash for name in "ab"] == [hash_of("new"), hash_of("two")]
        assert passages.document_versions(session, DOCS) == {"a": (2, True), "b": (1, True), "c": (1, False)}
        documents.forget_passages(session, generation.generation_id, ["a"])
        assert [p.document_id for p in passages.scan(session, generation.generation_id)] == ["b"]


def test_two_hundred_passages_are_loaded_by_one_statement(database: Database) -> None:
    add(database, "f:/a", *(parsed("words", document_id=f"d{n}", metadata={"n": n}) for n in range(200)))
    generation = live(database)
    ids = index(database, generation, [f"d{n}" for n in range(200)])
    statements: list[str] = []
    with database.read() as session:
        event.listen(session.connection(), "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
        assert len(passages.load(session, PUBLIC_READER, generation.generation_id, ids)) == 200
    assert len(statements) == 1


def test_vectors_come_back_bit_for_bit_and_the_first_stays(database: Database) -> None:
    rows = np.random.default_rng(7).standard_normal((3, 5)).astype(np.float32)
    with database.session() as session:
        vectors.put(session, "e", {"a": rows[0], "b": rows[1]})
        vectors.put(session, "e", {"b": rows[2], "c": rows[2]})
        vectors.put(session, "e", {})
        vectors.put(session, "other", {"a": rows[2]})
    with database.read() as session:
        found = vectors.cached(session, "e", ["a", "b", "c", "d", "a"])
        assert vectors.cached(session, "e", []) == {}
    assert sorted(found) == ["a", "b", "c"]
    for name, row in zip("abc", rows, strict=True):
        np.testing.assert_array_equal(found[name], row)
        assert found[name].dtype == np.float32


def test_what_is_loaded_is_what_was_stored_to_the_letter(database: Database) -> None:
    text = 'Tab\t "quoted" \\ back, \u2028, \x1f, \U0001f600 and {"json": [1]}'
    metadata: dict[str, str | int | float | bool] = {
        "whole": 2**60, "near": 0.1 + 0.2, "small": 5e-324, "yes": True, "none": "", "quoted": '"a"', "accented": "é"
    }  # fmt: skip
    add(database, "f:/a", parsed(text, title='A "title"\n', document_id="a", metadata=metadata))
    add(database, "f:/b", parsed("plain", document_id="b"))
    generation = live(database)
    names = index(database, generation, ["a", "b"])
    with database.read() as session:
        loaded = passages.load(session, PUBLIC_READER, generation.generation_id, names)
        assert matches.read_metadata(session, PUBLIC_READER, ["a", "b", "c"]) == {"a": metadata, "b": {}}
        assert passages.load(session, PUBLIC_READER, generation.generation_id, []) == {}
    assert loaded[names[0]].text == text
    assert loaded[names[0]].title == 'A "title"\n'
    assert loaded[names[0]].metadata == metadata
    assert loaded[names[1]].page is None
