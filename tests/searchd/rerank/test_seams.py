"""Tokenizers whose merges reach over the seam between a passage and what stands around it: scores are plain transformers'."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as runs
from hypothesis import strategies as st
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, processors
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from indexer.tokens import Grown
from searchd.rerank.local import Frame, LocalReranker, parts_of
from searchd.rerank.pairs import PairFrames
from searchd.rerank.prompted import PromptFrames
from searchd.rerank.prompts import MONO_T5
from searchd.rerank.scheduler import Scheduler
from searchd.rerank.table import RERANKERS
from searchd.rerank.types import PassageText, ScoreRequest
from searchd.settings import Settings, Stage
from tests.searchd.rerank import tokenizers
from tests.searchd.rerank.families import write_decoder, write_encoder, write_t5
from tests.searchd.rerank.models import write_tiny
from tests.searchd.rerank.test_causal import qwen3

QUERY = "where do zebras live?"
PASSAGES = [
    "zebras live in Africa",
    "a zebra",
    "z",
    "",
    "it ends with a buzz",
    "zigzag and buzz",
    "zebras " * 60 + "buzz",
]
"""All begin or end with z, or do not: the merges below take the white space of a prompt into it."""
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<|im_start|>", "<|im_end|>"]


def merging(*words: str) -> Tokenizer:
    """Return a BPE of letters, without splitting, that merges `: z`, `?z`, `z ` and the words that a model answers with."""
    merges = [(":", " "), (": ", "z"), ("?", "z"), ("z", " ")]
    for word in words:
        merges += [(word[:end], word[end]) for end in range(1, len(word))]
    letters = [chr(code) for code in range(32, 127)]
    tokens = dict.fromkeys([*SPECIAL, *letters, "\n", *("".join(pair) for pair in merges)])
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>"))
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer


def exchange_tokenizer(folder: Path, tokenizer: Tokenizer) -> Path:
    """Write a tokenizer in place of a model's own."""
    tokenizer.save(str(folder / "tokenizer.json"))
    named = {**tokenizers.ROBERTA_NAMES, "tokenizer_class": "PreTrainedTokenizerFast"} | {"mask_token": None}
    (folder / "tokenizer_config.json").write_text(json.dumps(named))
    return folder


def loaded(kind: str, folder: Path, settings: Settings, scheduler: Scheduler, prompt: str = "") -> LocalReranker:
    reranker = RERANKERS[kind](Stage(name="a", kind=kind, model=str(folder), prompt=prompt), settings, scheduler)
    assert isinstance(reranker, LocalReranker)
    return reranker


def score(reranker: LocalReranker, max_length: int) -> NDArray[np.float32]:
    """Score the passages by their beginnings."""
    request = ScoreRequest(QUERY, max_length, parts=False)
    return reranker.score(request, [PassageText(text) for text in PASSAGES])


def grown(reranker: LocalReranker) -> list[bool]:
    return [isinstance(one, Grown) for one in reranker.model.tokenizer.within(PASSAGES)]


# -- against plain transformers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("max_length", [48, 100])
def test_a_cross_encoders_scores_are_those_of_the_pair_though_its_merges_would_span_the_texts(
    tmp_path: Path, settings: Settings, scheduler: Scheduler, max_length: int
) -> None:
    tokenizer = merging()
    ends = [(token, tokenizer.token_to_id(token)) for token in ("</s>", "<s>")]
    tokenizer.post_processor = processors.RobertaProcessing(*ends, trim_offsets=True, add_prefix_space=False)
    assert "?z" in tokenizer.encode(QUERY + PASSAGES[0]).tokens
    folder = exchange_tokenizer(write_encoder(tmp_path / "model", "roberta"), tokenizer)
    own, model = AutoTokenizer.from_pretrained(folder), AutoModelForSequenceClassification.from_pretrained(folder)
    expected = []
    for passage in PASSAGES:
        given = own([QUERY], [passage], truncation="only_second", max_length=max_length, return_tensors="pt")
        with torch.inference_mode():
            expected.append(float(model.eval()(**given).logits[0, 0]))
    found = score(loaded("cross_encoder", folder, settings, scheduler), max_length)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert len({round(float(one), 3) for one in found}) > 4


@pytest.mark.parametrize("max_length", [430, 512])
def test_a_causal_models_scores_are_those_of_the_whole_prompt(
    tmp_path: Path, settings: Settings, scheduler: Scheduler, max_length: int
) -> None:
    folder = exchange_tokenizer(write_decoder(tmp_path / "model", "qwen3"), merging("yes", "no"))
    own, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    yes, no = (own.convert_tokens_to_ids(word) for word in ("yes", "no"))
    expected = []
    for passage in PASSAGES:
        with torch.inference_mode():
            logits = model.eval()(torch.tensor([qwen3(own, QUERY, passage, "", max_length)])).logits[0, -1]
        expected.append(float(logits[yes] - logits[no]))
    reranker = loaded("causal", folder, settings, scheduler, "qwen3")
    assert grown(reranker) == [text.startswith("z") for text in PASSAGES]
    np.testing.assert_allclose(score(reranker, max_length), expected, atol=1e-4)
    assert len({round(one, 3) for one in expected}) > 4


@pytest.mark.parametrize("max_length", [100, 512])
def test_a_sequence_to_sequence_models_scores_are_those_of_the_whole_prompt(
    tmp_path: Path, settings: Settings, scheduler: Scheduler, max_length: int
) -> None:
    folder = exchange_tokenizer(write_t5(tmp_path / "model"), merging("true", "false"))
    own, model = AutoTokenizer.from_pretrained(folder), AutoModelForSeq2SeqLM.from_pretrained(folder)
    true, false = (own.convert_tokens_to_ids(word) for word in ("true", "false"))

    def ids_of(text: str) -> list[int]:
        return [int(one) for one in own(text, add_special_tokens=False)["input_ids"]]

    expected = []
    for passage in PASSAGES:
        ids, end = ids_of(f"Query: {QUERY} Document: {passage} Relevant:"), ids_of(" Relevant:")
        ids = ids if len(ids) < max_length else [*ids[: max_length - len(end) - 1], *end]
        with torch.inference_mode():
            given = {"input_ids": torch.tensor([[*ids, own.eos_token_id]]), "decoder_input_ids": torch.tensor([[0]])}
            logits = model.eval()(**given).logits[0, -1]
        expected.append(float(logits[true] - logits[false]))
    reranker = loaded("seq2seq", folder, settings, scheduler)
    assert grown(reranker) == [text.startswith("z") or text.endswith("z") for text in PASSAGES]
    np.testing.assert_allclose(score(reranker, max_length), expected, atol=1e-4, rtol=1e-5)
    assert len({round(one, 3) for one in expected}) > 4


# -- tokens -----------------------------------------------------------------------------------------------------------

TEXTS = st.text("zZaé :?\n▁.e\u0301🙂", max_size=12) | st.sampled_from(["  led in", "\n\nlines\n", "zz: z", "buzz "])
PROMPTED = {
    "merging": PromptFrames(merging(), MONO_T5, None, 2),
    **{build.__name__: PromptFrames(build(), MONO_T5, None, 2)
       for build in (tokenizers.qwen, tokenizers.gemma, tokenizers.llama, tokenizers.t5)},
}  # fmt: skip


@pytest.mark.parametrize("name", PROMPTED)
@runs(max_examples=300, deadline=None)
@given(query=TEXTS, text=TEXTS)
def test_a_passage_cut_from_one_querys_prompt_fits_into_every_others(name: str, query: str, text: str) -> None:
    frames = PROMPTED[name]
    (pair,), _ = parts_of(frames.frame(query, "", 100_000), frames.passages.within([text]), 100_000, whole=True)
    joined = [*pair.frame.head.tolist(), *pair.passage.tolist(), *pair.frame.tail.tolist()]
    assert [joined] == frames.wholes(query, "", [text])


def test_ids_that_add_up_are_those_that_are_stored_and_control_tokens_stay_words() -> None:
    passages = PROMPTED["merging"].passages
    texts = ["a zebra", "Africa", "z<|im_end|>", "zebra"]
    stored, within = passages.encode(texts), passages.within(texts)
    assert passages.adding_up(texts, stored) == [True, True, True, False]
    for ids, found in zip(stored[:3], within, strict=False):
        assert not isinstance(found, Grown)
        assert found.tolist() == ids.tolist()
    assert isinstance(within[3], Grown)


def tokens(*numbers: int) -> NDArray[np.int32]:
    return np.asarray(numbers, dtype=np.int32)


FRAME = Frame(head=tokens(1, 2, 3), tail=tokens(8, 9), state="kept")


def joined(frame: Frame, ids: NDArray[np.int32]) -> list[int]:
    return [*frame.head.tolist(), *ids.tolist(), *frame.tail.tolist()]


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    ("limit", "parts", "beginning"),
    [
        (15, [[1, 2, *range(50, 62), 9]], [1, 2, *range(50, 62), 9]),
        (
            11,
            [[1, 2, *range(50, 57), 8, 9], [1, 2, 3, *range(55, 61), 8, 9], [1, 2, 3, *range(56, 62), 9]],
            [1, 2, *range(50, 57), 8, 9],
        ),
    ],
)
def test_a_passage_that_swallows_tokens_swallows_them_where_it_begins_and_ends(
    limit: int, parts: list[list[int]], beginning: list[int], whole: bool
) -> None:
    passage = Grown(np.arange(50, 62, dtype=np.int32), 1, 1)
    found, firsts = parts_of(FRAME, [tokens(7), passage, tokens(6)], limit, whole=whole)
    expected = parts if whole else [beginning]
    assert [joined(pair.frame, pair.passage) for pair in found[1:-1]] == expected
    assert all(pair.length <= limit and pair.frame.state == "kept" for pair in found)
    assert firsts.tolist() == [0, 1, 1 + len(expected)]
    assert found[0].frame is found[-1].frame is FRAME


def test_a_template_that_repeats_a_text_is_refused() -> None:
    tokenizer = merging()
    ends = [(token, tokenizer.token_to_id(token)) for token in ("<s>", "</s>")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A", pair="<s> $B </s> $A </s> $B", special_tokens=ends
    )
    with pytest.raises(ValueError, match="template of a pair has a text more than once"):
        PairFrames(tokenizer)


# -- work -------------------------------------------------------------------------------------------------------------


class Counted:
    """A tokenizer of the library that counts what it encodes."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.texts: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def encode_batch_fast(self, texts: Sequence[Any], **options: Any) -> Any:
        self.texts += texts
        return self._tokenizer.encode_batch_fast(texts, **options)


@pytest.mark.parametrize("family", ["WordPiece", "BPE"])
def test_a_text_without_stored_ids_is_encoded_once_for_a_pair_and_one_with_them_never(
    tmp_path: Path, settings: Settings, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    folder = write_tiny(tmp_path / "m") if family == "WordPiece" else write_encoder(tmp_path / "m", "roberta")
    reranker = loaded("cross_encoder", folder, settings, scheduler)
    passages = reranker.model.tokenizer
    (ids,) = passages.encode(["a zebra"])
    counted = Counted(passages._tokenizer)
    monkeypatch.setattr(passages, "_tokenizer", counted)
    read = [PassageText("zebras live here"), PassageText("not read", {passages.fingerprint: ids}), PassageText("z")]
    request = ScoreRequest(QUERY, 64)
    reranker.fits(request, read, 1.0)
    reranker.at_once(request, read)
    found = reranker.score(request, read)
    assert counted.texts == ["zebras live here", "z"]
    assert found[1] == pytest.approx(reranker.score(request, [PassageText("a zebra")])[0], abs=1e-5)


def test_a_text_without_stored_ids_is_encoded_once_within_its_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = PromptFrames(merging(), MONO_T5, None, 2)
    alone, whole = Counted(frames.passages._tokenizer), Counted(frames._tokenizer)
    monkeypatch.setattr(frames.passages, "_tokenizer", alone)
    monkeypatch.setattr(frames, "_tokenizer", whole)
    frames.passages.within(["a zebra", "zebra", "</s>"])
    assert [len(one.texts) for one in (alone, whole)] == [1, 2]
