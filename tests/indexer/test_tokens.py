"""Token ids that are stored while indexing: whose, of which texts, and what is left out."""

from __future__ import annotations

import logging

import pytest
from sqlalchemy import select
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from indexer import ingest
from indexer.engine import Engine
from indexer.housekeeping import keep_house
from indexer.store import tokens
from indexer.store.tables import PassageRow, TokensRow
from indexer.tokens import PassageTokenizer
from indexer.types import SourceFile
from indexer.worker import Worker

WORDS = ["how", "does", "it", "work", "a", "the", "gearbox", "needs", "oil", "pump"]


def by_words(*, longest: int | None = None) -> Tokenizer:
    """Return a tokenizer of whole words, which cuts what is longer."""
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(["[SEP]", "?", *WORDS])}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A [SEP]", pair="$A [SEP] $B:1 [SEP]:1", special_tokens=[("[SEP]", 0)]
    )
    if longest is not None:
        tokenizer.enable_truncation(longest)
    return tokenizer


def take(engine: Engine, **texts: str) -> None:
    """Index documents whose name is their title."""
    files = [SourceFile(f"api:{name}", f"{name}.txt", text.encode(), name) for name, text in texts.items()]
    ingest.accept(engine.database, engine.settings, "default", files, engine.clock())
    worker = Worker(engine)
    worker.run_until_idle()
    worker.stop()


def stored(engine: Engine) -> dict[str, int]:
    """Return how many texts have ids, by tokenizer."""
    with engine.database.read() as session:
        names = list(session.scalars(select(TokensRow.tokenizer)))
    return {name: names.count(name) for name in names}


def test_every_passage_has_the_ids_of_the_embedders_tokenizer(engine: Engine) -> None:
    take(engine, a="The gearbox needs oil.", b="A pump.", c="Another pump.")
    tokenizer = engine.embedder.passages
    assert stored(engine) == {tokenizer.fingerprint: 3}
    with engine.database.read() as session:
        hashes = list(session.scalars(select(PassageRow.text_hash).where(PassageRow.document_id == "a")))
        found = tokens.read(session, [tokenizer.fingerprint], hashes)
    ids = [by_name[tokenizer.fingerprint].tolist() for by_name in found.values()]
    assert ids == [one.tolist() for one in tokenizer.encode(["a.txt\nThe gearbox needs oil."])]


def test_rerankers_tokenizers_are_stored_beside_it_and_a_later_one_with_the_next_indexing(engine: Engine) -> None:
    take(engine, a="The gearbox needs oil.")
    other = PassageTokenizer(by_words())
    engine.reranking = lambda: [other, engine.embedder.passages]
    take(engine, b="A pump.")
    assert stored(engine) == {engine.embedder.passages.fingerprint: 2, other.fingerprint: 1}


def test_ids_that_differ_within_a_pair_are_not_stored_and_reported_once(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    cutting = PassageTokenizer(by_words(longest=12))
    engine.reranking = lambda: [cutting]
    with caplog.at_level(logging.WARNING, "indexer.apply"):
        take(engine, a="oil", b="the gearbox needs oil " * 3)
        take(engine, c="the pump needs oil " * 4, d="pump")
    assert stored(engine) == {engine.embedder.passages.fingerprint: 4, cutting.fingerprint: 2}
    assert [record.message for record in caplog.records] == [
        f"tokenizer {cutting.fingerprint[:12]}: ids of some passages differ within a pair or prompt, and are not stored"
    ]


def test_ids_of_texts_that_are_gone_are_forgotten(engine: Engine) -> None:
    take(engine, a="The gearbox needs oil.", b="A pump.")
    ingest.remove(engine.database, "default", ["a"], engine.clock())
    take(engine, c="Another pump.")
    assert sum(stored(engine).values()) == 3
    assert keep_house(engine) == (0, 1)
    assert sum(stored(engine).values()) == 2


def test_a_tokenizer_without_a_place_for_the_second_text_does_not_add_up() -> None:
    assert PassageTokenizer(by_words()).adding_up(["oil"], PassageTokenizer(by_words()).encode(["oil"])) == [True]
    assert PassageTokenizer(by_words(longest=3)).adding_up(["oil"], PassageTokenizer(by_words()).encode(["oil"])) == [
        False
    ]
