"""Stored token ids, on both databases."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from indexer.store import tokens
from indexer.store.database import Database
from indexer.store.tables import PassageRow, TokensRow
from indexer.tokens import TokenIds
from tests.indexer.store.steps import add, index, live, parsed


def ids(*values: int) -> TokenIds:
    return np.array(values, dtype=np.int32)


def put(database: Database, tokenizer: str, **stored: TokenIds) -> None:
    with database.session() as session:
        tokens.put(session, tokenizer, stored)


def found(database: Database, tokenizers: set[str], *hashes: str) -> dict[tuple[str, str], list[int]]:
    """Return what is read, as lists, by text hash and tokenizer."""
    with database.read() as session:
        read = tokens.read(session, tokenizers, hashes)
    return {(text, name): one.tolist() for text, by_name in read.items() for name, one in by_name.items()}


def test_ids_are_read_as_they_were_stored_by_text_and_tokenizer(database: Database) -> None:
    put(database, "one", a=ids(1, 2, 65_535), b=ids(3, 65_536), empty=ids())
    put(database, "two", a=ids(7))
    assert found(database, {"one"}, "a", "b", "empty", "c", "a") == {
        ("a", "one"): [1, 2, 65_535],
        ("b", "one"): [3, 65_536],
        ("empty", "one"): [],
    }
    assert found(database, {"one", "two", "three"}, "a") == {("a", "one"): [1, 2, 65_535], ("a", "two"): [7]}
    assert found(database, set(), "a") == found(database, {"one"}) == {}
    with database.read() as session:
        assert tokens.stored(session, "one", ["a", "c"]) == {"a"}
        sizes = {name: len(data) for name, data in session.execute(select(TokensRow.text_hash, TokensRow.ids))
                 if name != "a"}  # fmt: skip
    assert sizes == {"b": 1 + 2 * 4, "empty": 1}


def test_what_is_stored_stays_and_what_no_passage_has_is_unused(database: Database) -> None:
    add(database, "f:/a", parsed("words", document_id="a"))
    index(database, live(database), ["a"])
    with database.read() as session:
        used = session.scalars(select(PassageRow.text_hash)).one()
    put(database, "one", a=ids(1), **{used: ids(2)})
    put(database, "one", a=ids(9))
    put(database, "two", a=ids(3), b=ids(3))
    assert found(database, {"one"}, "a") == {("a", "one"): [1]}
    with database.read() as session:
        assert sorted(tokens.unused(session)) == ["a", "b"]
    with database.session() as session:
        tokens.forget(session, ["a", "b"])
    assert found(database, {"one", "two"}, "a", "b", used) == {(used, "one"): [2]}


@given(st.lists(st.integers(0, 2**31 - 1)) | st.lists(st.integers(0, 70_000)))
def test_packing_loses_nothing_and_takes_two_bytes_where_it_can(values: list[int]) -> None:
    data = tokens.packed(ids(*values))
    assert tokens.unpacked(data).tolist() == values
    assert len(data) == 1 + len(values) * (2 if max(values, default=0) < 65_536 else 4)


def test_stored_bytes_do_not_depend_on_the_machine() -> None:
    assert tokens.packed(ids(1, 258)) == b"\x02\x01\x00\x02\x01"
    assert tokens.packed(ids(65_536)) == b"\x04\x00\x00\x01\x00"
    assert tokens.unpacked(tokens.packed(ids(5))).dtype == np.int32
