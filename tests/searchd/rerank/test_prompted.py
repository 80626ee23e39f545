"""Prompts cut around a passage, with tokenizers that treat white space in every way; and those that cannot be cut."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, models, normalizers

from indexer.errors import ConfigError
from searchd.rerank.prompted import PROBES, PromptFrames, filled
from searchd.rerank.prompts import PROMPTS, Prompt
from searchd.rerank.types import LongInstruction
from tests.searchd.rerank import tokenizers

ONE_TEXT = Prompt(segments=("Query: {query} Document: {document} Relevant:",), yes="yes")


@pytest.mark.parametrize(
    "build", [tokenizers.qwen, tokenizers.gemma, tokenizers.llama, tokenizers.t5], ids=lambda b: b.__name__
)
def test_a_prompt_of_one_text_is_cut_where_the_tokenizer_lets_it(build: object) -> None:
    tokenizer: Tokenizer = build()  # type: ignore[operator]
    frames = PromptFrames(tokenizer, ONE_TEXT, None, None)
    frame = frames.frame("how does it work", "", 400)
    for probe, ids in zip(PROBES, frames.passages.encode(PROBES), strict=True):
        whole = tokenizer.encode(f"Query: how does it work Document: {probe} Relevant:", add_special_tokens=False).ids
        assert [*frame.head, *ids, *frame.tail] == whole


def test_a_tokenizer_that_joins_words_of_prompt_and_passage_is_refused() -> None:
    letters = sorted({letter for probe in (*PROBES, *ONE_TEXT.segments, "how does it work") for letter in probe})
    vocabulary = {letter: number for number, letter in enumerate([*letters, ": ", ": w"])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[(":", " "), (": ", "w")]))
    with pytest.raises(ValueError, match="joins a passage with the prompt"):
        PromptFrames(tokenizer, ONE_TEXT, None, None)


def test_a_passages_ids_are_not_those_that_another_tokenizer_stored() -> None:
    tokenizer = tokenizers.qwen()
    found = {PromptFrames(tokenizer, PROMPTS[name], None, None).passages.fingerprint for name in ("qwen3", "zerank")}
    assert len(found) == 2
    assert PromptFrames(tokenizer, PROMPTS["qwen3"], None, None).passages.fingerprint in found
    tokenizer.normalizer = normalizers.NFKC()
    assert PromptFrames(tokenizer, PROMPTS["qwen3"], None, None).passages.fingerprint not in found


def test_an_instruction_that_leaves_no_room_is_its_writers_mistake_and_a_prompt_that_leaves_none_the_settings() -> None:
    frames = PromptFrames(tokenizers.qwen(), PROMPTS["qwen3"], None, None)
    frames.frame("q", "find laws", 400)
    with pytest.raises(LongInstruction, match="instruction: too long; max_length 400 is too small"):
        frames.frame("q", "find laws " * 200, 400)
    for instruction in ("", "find laws " * 200):
        with pytest.raises(ConfigError, match=r"^max_length 16 is too small"):
            frames.frame("q", instruction, 16)


def test_what_stands_in_a_query_is_not_filled_in_again() -> None:
    assert filled("{query} {other}", {"query": "{document}", "document": "x"}) == "{document} {other}"


@pytest.mark.parametrize("name", list(PROMPTS))
def test_every_prompt_has_one_place_for_the_passage_and_the_instruction_it_takes(name: str) -> None:
    prompt = PROMPTS[name]
    for segments in (prompt.segments, prompt.instructed or prompt.segments):
        assert sum(segment.count("{document}") for segment in segments) == 1
        assert sum(segment.count("{query}") for segment in segments) == 1
    told, instruction = prompt.asked("Prefer what is short")
    assert any("{instruction}" in segment for segment in told) == prompt.takes_instruction
    assert instruction == "Prefer what is short"
