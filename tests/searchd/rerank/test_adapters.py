"""LoRA adapters, written here by peft: merged they give peft's own scores; and every way in which one is refused."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import peft
import pytest
import torch
from numpy.typing import NDArray
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertModel,
)

from indexer.device import Device
from indexer.errors import ConfigError
from searchd.rerank import house
from searchd.rerank.causal import load_causal
from searchd.rerank.cross_encoder import load_cross_encoder
from searchd.rerank.late_interaction import load_late_interaction
from searchd.rerank.scheduler import Scheduler
from searchd.rerank.seq2seq import load_seq2seq
from searchd.rerank.types import PassageText, Reranker, ScoreRequest
from searchd.settings import Settings, Stage
from tests.searchd.rerank.families import write_decoder, write_encoder, write_t5
from tests.searchd.rerank.late_models import write_pylate
from tests.searchd.rerank.test_causal import PUBLISHED

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
"""peft asks transformers for what it calls by another name now; nobody here can change that."""

QUERY = "how are command line options parsed?"
PASSAGES = ["The argparse module parses command line options.", "Oil", "Ünïcödé 漢字 🙂", "A cat sat on a mat. " * 8]


def write_adapter(folder: Path, model: Any, task: str, targets: list[str]) -> Path:
    """Write a LoRA over a model with random weights of its own, its head with it where it has one."""
    config = peft.LoraConfig(task_type=task, r=4, lora_alpha=16, target_modules=targets)
    torch.manual_seed(5)
    joined = peft.get_peft_model(model, config)
    for name, weight in joined.named_parameters():
        if "lora_B" in name or "modules_to_save" in name:
            torch.nn.init.normal_(weight, std=0.3)
    joined.save_pretrained(folder)
    return folder


def score(reranker: Reranker) -> NDArray[np.float32]:
    return reranker.score(ScoreRequest(QUERY, 300), [PassageText(text) for text in PASSAGES])


def with_peft(base: Any, adapter: Path) -> Any:
    """Return a model with its adapter beside it, unmerged."""
    return peft.PeftModel.from_pretrained(base, adapter).eval()


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_decoder(tmp_path_factory.mktemp("llama") / "base", "llama")


@pytest.fixture(scope="module")
def rankllama(llama: Path) -> Path:
    """Write what RankLLaMA is: a LoRA with a score head over a Llama that has none."""
    base = AutoModelForSequenceClassification.from_pretrained(llama, num_labels=1)
    targets = ["q_proj", "v_proj", "o_proj", "down_proj", "up_proj", "gate_proj"]
    return write_adapter(llama.parent / "adapter", base, "SEQ_CLS", targets)


def rankllama_stage(model: Path | str, adapter: Path | str) -> Stage:
    return Stage(name="large", kind="causal", model=str(model), adapter=str(adapter), prompt="rankllama")


def test_rankllama_is_a_llama_with_its_adapter(
    llama: Path, rankllama: Path, settings: Settings, scheduler: Scheduler
) -> None:
    found = score(load_causal(rankllama_stage(llama, rankllama), settings, scheduler))
    tokenizer = AutoTokenizer.from_pretrained(llama)
    base = AutoModelForSequenceClassification.from_pretrained(llama, num_labels=1, dtype=torch.float32)
    model = with_peft(base, rankllama)
    for passage, one in zip(PASSAGES, found, strict=True):
        ids = PUBLISHED["rankllama"](tokenizer, QUERY, passage, "", 300)
        with torch.inference_mode():
            assert one == pytest.approx(float(model(torch.tensor([ids])).logits[0, 0]), abs=1e-4)


def test_an_adapter_over_a_causal_model_moves_its_answers(
    tmp_path: Path, settings: Settings, scheduler: Scheduler
) -> None:
    folder = write_decoder(tmp_path / "base", "qwen3")
    base = AutoModelForCausalLM.from_pretrained(folder)
    adapter = write_adapter(tmp_path / "adapter", base, "CAUSAL_LM", ["q_proj", "down_proj"])
    stage = Stage(name="large", kind="causal", model=str(folder), adapter=str(adapter), prompt="qwen3")
    joined, plain = (
        load_causal(one, settings, scheduler)
        for one in (stage, Stage(name="large", kind="causal", model=str(folder), prompt="qwen3"))
    )
    assert joined.fingerprint != plain.fingerprint
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = with_peft(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), adapter)
    answers = [tokenizer.convert_tokens_to_ids(word) for word in ("yes", "no")]
    expected = []
    for passage in PASSAGES:
        ids = PUBLISHED["qwen3"](tokenizer, QUERY, passage, "", 300)
        with torch.inference_mode():
            yes, no = model(torch.tensor([ids])).logits[0, -1, answers].tolist()
        expected.append(yes - no)
    np.testing.assert_allclose(score(joined), expected, atol=1e-4)
    assert np.abs(score(joined) - score(plain)).max() > 1e-2


def test_an_adapter_over_a_sequence_to_sequence_model(tmp_path: Path, settings: Settings, scheduler: Scheduler) -> None:
    folder = write_t5(tmp_path / "base", tied=True)
    adapter = write_adapter(
        tmp_path / "adapter", AutoModelForSeq2SeqLM.from_pretrained(folder), "SEQ_2_SEQ_LM", ["q", "v"]
    )
    plain = Stage(name="large", kind="seq2seq", model=str(folder))
    joined = load_seq2seq(msgspec.structs.replace(plain, adapter=str(adapter)), settings, scheduler)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = with_peft(AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32), adapter)
    true, false = (tokenizer.convert_tokens_to_ids(word) for word in ("▁true", "▁false"))
    expected = []
    for passage in PASSAGES:
        ids = tokenizer(f"Query: {QUERY} Document: {passage} Relevant:")["input_ids"]
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([ids]), decoder_input_ids=torch.tensor([[0]])).logits[0, -1]
        expected.append(float(logits[true] - logits[false]))
    np.testing.assert_allclose(score(joined), expected, atol=1e-4)
    assert np.abs(score(joined) - score(load_seq2seq(plain, settings, scheduler))).max() > 1e-2


def test_an_adapter_over_a_late_interaction_model(tmp_path: Path, settings: Settings, scheduler: Scheduler) -> None:
    folder = write_pylate(tmp_path / "base")
    adapter = write_adapter(
        tmp_path / "adapter", BertModel.from_pretrained(folder), "FEATURE_EXTRACTION", ["query", "value"]
    )
    merged = shutil.copytree(folder, tmp_path / "merged")
    with_peft(BertModel.from_pretrained(folder), adapter).merge_and_unload().save_pretrained(merged)
    plain = Stage(name="large", kind="late_interaction", model=str(folder))
    joined, expected, without = (
        load_late_interaction(stage, settings, scheduler)
        for stage in (
            msgspec.structs.replace(plain, adapter=str(adapter)),
            msgspec.structs.replace(plain, model=str(merged)),
            plain,
        )
    )
    assert len({one.fingerprint for one in (joined, expected, without)}) == 3
    np.testing.assert_allclose(score(joined), score(expected), atol=1e-4)
    assert np.abs(score(joined) - score(without)).max() > 1e-2


@pytest.mark.parametrize("packaged", [False, True])
def test_an_adapter_over_a_cross_encoder(
    tmp_path: Path, settings: Settings, scheduler: Scheduler, packaged: bool
) -> None:
    if packaged:
        house.export("rerank-base", tmp_path / "base")
    folder = tmp_path / "base" if packaged else write_encoder(tmp_path / "base", "bert")
    base = AutoModelForSequenceClassification.from_pretrained(folder)
    adapter = write_adapter(tmp_path / "adapter", base, "SEQ_CLS", ["query", "value"])
    name = "rerank-base" if packaged else str(folder)
    joined = load_cross_encoder(Stage(name="small", model=name, adapter=str(adapter)), settings, scheduler)
    plain = load_cross_encoder(Stage(name="small", model=name), settings, scheduler)
    assert joined.fingerprint != plain.fingerprint
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = with_peft(AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32), adapter)
    with torch.inference_mode():
        expected = [float(model(**tokenizer(QUERY, text, return_tensors="pt")).logits[0, 0]) for text in PASSAGES]
    np.testing.assert_allclose(score(joined), expected, atol=1e-4)
    assert np.abs(score(joined) - score(plain)).max() > 1e-2


def test_an_adapter_takes_the_precision_of_its_model(
    tmp_path: Path, llama: Path, rankllama: Path, settings: Settings, scheduler: Scheduler
) -> None:
    exact = load_causal(rankllama_stage(llama, rankllama), settings, scheduler)
    half = msgspec.structs.replace(rankllama_stage(llama, rankllama), precision="bfloat16")
    np.testing.assert_allclose(score(load_causal(half, settings, scheduler)), score(exact), atol=0.2)
    folder = write_encoder(tmp_path / "base", "bert")
    base = AutoModelForSequenceClassification.from_pretrained(folder)
    stage = Stage(
        name="small", model=str(folder), adapter=str(write_adapter(tmp_path / "lora", base, "SEQ_CLS", ["query"]))
    )
    exact = load_cross_encoder(stage, settings, scheduler)
    device = Device(Settings(dtype="bfloat16", threads=1))
    np.testing.assert_allclose(score(load_cross_encoder(stage, settings, Scheduler(device))), score(exact), atol=0.2)
    device.close()


# -- what is refused ----------------------------------------------------------------------------------------------------


def refused(stage: Stage, match: str, settings: Settings, scheduler: Scheduler) -> None:
    with pytest.raises(ConfigError, match=match):
        (load_causal if stage.kind == "causal" else load_cross_encoder)(stage, settings, scheduler)


def test_an_adapter_without_its_head_is_refused(
    tmp_path: Path, llama: Path, settings: Settings, scheduler: Scheduler
) -> None:
    base = AutoModelForCausalLM.from_pretrained(llama)
    adapter = write_adapter(tmp_path / "adapter", base, "CAUSAL_LM", ["q_proj"])
    refused(rankllama_stage(llama, adapter), "its files lack score.weight", settings, scheduler)


def test_an_adapter_that_does_not_fit_its_model_is_refused(
    tmp_path: Path, rankllama: Path, settings: Settings, scheduler: Scheduler
) -> None:
    other = write_encoder(tmp_path / "bert", "bert")
    refused(Stage(name="small", model=str(other), adapter=str(rankllama)), "cannot be loaded", settings, scheduler)


def test_pickled_adapters_are_never_read(
    tmp_path: Path, llama: Path, rankllama: Path, settings: Settings, scheduler: Scheduler
) -> None:
    folder = tmp_path / "pickled"
    shutil.copytree(rankllama, folder)
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    refused(rankllama_stage(llama, folder), "no adapter_model.safetensors; pickled weights", settings, scheduler)


def test_adapters_of_another_type_are_refused(
    tmp_path: Path, llama: Path, rankllama: Path, settings: Settings, scheduler: Scheduler
) -> None:
    folder = tmp_path / "prefix"
    shutil.copytree(rankllama, folder)
    config = json.loads((folder / "adapter_config.json").read_text()) | {"peft_type": "PREFIX_TUNING"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    refused(rankllama_stage(llama, folder), "of type PREFIX_TUNING; only LORA", settings, scheduler)


def test_a_folder_that_is_no_adapter_or_not_there_is_refused(
    tmp_path: Path, llama: Path, settings: Settings, scheduler: Scheduler
) -> None:
    refused(rankllama_stage(llama, llama), "has no adapter_config.json", settings, scheduler)
    refused(rankllama_stage(llama, tmp_path / "nothing"), "there is no folder", settings, scheduler)


def test_an_adapter_is_no_model(rankllama: Path, settings: Settings, scheduler: Scheduler) -> None:
    said = "it is an adapter .adapter_config.json.: name its base in `model`"
    refused(rankllama_stage(rankllama, ""), said, settings, scheduler)
    refused(Stage(name="small", model=str(rankllama)), said, settings, scheduler)


def test_without_peft_the_extra_is_named(
    llama: Path, rankllama: Path, settings: Settings, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "peft" else found(name, *rest))
    refused(
        rankllama_stage(llama, rankllama),
        r"needs the package peft; run: pip install 'searchd\[lora\]'",
        settings,
        scheduler,
    )
