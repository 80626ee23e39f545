"""Ids of query and passage, tokenised apart and joined, against what encoding them as a pair gives."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as runs
from hypothesis import strategies as st
from tokenizers import Tokenizer, models

from indexer.device import Device
from indexer.embedder import load_embedder
from indexer.tokens import PassageTokenizer
from indexer.weights import house_folder
from searchd.rerank.local import LocalReranker
from searchd.rerank.pairs import PairFrames
from searchd.rerank.prompted import PromptFrames
from searchd.rerank.prompts import Prompt
from searchd.rerank.scheduler import Scheduler
from searchd.rerank.table import RERANKERS
from searchd.settings import Settings, Stage
from tests.searchd.rerank import tokenizers

TEXTS = st.text(max_size=80) | st.text("aAé ß.,-'\"\n\t #[]_1漢🙂\u0301\u200b", max_size=40) | st.sampled_from(
    ["[SEP] [CLS] [MASK]", "un##able", "a" * 300, "\ufeffx", "don't e-mail me@x.org", "</s><s>", "Zürich\r\n\r\n"]
)  # fmt: skip


def plain_house() -> Tokenizer:
    """Return the WordPiece of the packaged models."""
    tokenizer = Tokenizer.from_file(str(house_folder() / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


HOUSE = plain_house()
OTHERS = {
    build.__name__: build() for build in (
        tokenizers.bert, tokenizers.roberta, tokenizers.xlm_roberta, tokenizers.modernbert, tokenizers.deberta
    )
}  # fmt: skip


def joined(tokenizer: Tokenizer, query: str, text: str) -> list[int]:
    frame = PairFrames(tokenizer).frame(query, 100_000)
    (ids,) = PassageTokenizer(tokenizer).encode([text])
    return [*frame.head.tolist(), *ids.tolist(), *frame.tail.tolist()]


@runs(max_examples=500, deadline=None)
@given(TEXTS, TEXTS)
def test_wordpiece_joined_is_the_pair(query: str, text: str) -> None:
    assert joined(HOUSE, query, text) == HOUSE.encode(query, text).ids


@pytest.mark.parametrize("name", list(OTHERS))
@runs(max_examples=100, deadline=None)
@given(query=TEXTS, texts=st.lists(TEXTS, max_size=3))
def test_others_joined_are_the_pair_and_say_so(name: str, query: str, texts: list[str]) -> None:
    tokenizer = OTHERS[name]
    passages = PassageTokenizer(tokenizer)
    assert passages.adding_up(texts, passages.encode(texts)) == [True] * len(texts)
    for text in texts:
        assert joined(tokenizer, query, text) == tokenizer.encode(query, text).ids


@pytest.mark.parametrize("name", [name for name in OTHERS if name != "bert"])
def test_ids_that_are_not_the_pairs_are_found(name: str) -> None:
    passages = PassageTokenizer(OTHERS[name])
    texts = ["the turbine", "oil"]
    other = [np.append(ids, np.int32(5)) for ids in passages.encode(texts)]
    assert passages.adding_up(texts, [other[0], passages.encode(texts)[1]]) == [False, True]


def test_a_passage_that_grows_into_its_prompt_is_found() -> None:
    prompt = Prompt(segments=("Query: {query} Document: {document} Relevant:",), yes="yes")
    letters = sorted({chr(code) for code in range(32, 127)} | set("äöü漢字🙂…\n\u0301"))
    vocabulary = {letter: number for number, letter in enumerate([*letters, ": ", ": z"])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[(":", " "), (": ", "z")]))
    passages = PromptFrames(tokenizer, prompt, None, None).passages
    texts = ["horse", "zebra", "a zebra"]
    assert passages.adding_up(texts, passages.encode(texts)) == [True, False, True]


@pytest.mark.parametrize("build", [tokenizers.qwen, tokenizers.gemma, tokenizers.llama, tokenizers.t5])
def test_passages_within_a_prompt_add_up_and_control_tokens_in_them_are_no_fault(
    build: Callable[[], Tokenizer],
) -> None:
    prompt = Prompt(segments=("Query: {query} Document: {document} Relevant:",), yes="yes")
    passages = PromptFrames(build(), prompt, None, None).passages
    texts = ["Manual 7\nThe turbine is lubricated.", "a <|im_end|><s></s> b"]
    assert passages.adding_up(texts, passages.encode(texts)) == [True, True]


@pytest.fixture(scope="module")
def packaged(scheduler: Scheduler) -> LocalReranker:
    reranker = RERANKERS["cross_encoder"](Stage(name="small"), Settings(dtype="float32"), scheduler)
    assert isinstance(reranker, LocalReranker)
    return reranker


def test_the_packaged_reranker_reads_what_is_stored_for_the_embedder(
    packaged: LocalReranker, settings: Settings
) -> None:
    device = Device(settings)
    try:
        embedder = load_embedder(settings, device)
    finally:
        device.close()
    assert embedder.passages.fingerprint == packaged.model.tokenizer.fingerprint == PassageTokenizer(HOUSE).fingerprint
