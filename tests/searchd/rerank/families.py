"""Tiny models with random weights of every family that a reranker may be of, written as ordinary folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as hf

from tests.searchd.rerank.tokenizers import write_tokenizer

ROWS = 1024
"""Embeddings: more than any of the trained vocabularies has."""
SMALL = {"vocab_size": ROWS, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
         "initializer_range": 0.2}  # fmt: skip
GROUPED = {**SMALL, "num_key_value_heads": 1, "head_dim": 16, "max_position_embeddings": 512}

ENCODERS: dict[str, tuple[str, Callable[[], Any]]] = {
    "bert": ("bert", lambda: hf.BertConfig(**SMALL, max_position_embeddings=128)),
    "electra": ("electra", lambda: hf.ElectraConfig(**SMALL, embedding_size=16, max_position_embeddings=128)),
    "roberta": ("roberta", lambda: hf.RobertaConfig(
        **SMALL, max_position_embeddings=130, pad_token_id=1, bos_token_id=0, eos_token_id=2, type_vocab_size=1)),
    "xlm-roberta": ("xlm-roberta", lambda: hf.XLMRobertaConfig(
        **SMALL, max_position_embeddings=130, pad_token_id=1, bos_token_id=0, eos_token_id=2, type_vocab_size=1)),
    "modernbert": ("modernbert", lambda: hf.ModernBertConfig(
        **SMALL, max_position_embeddings=256, local_attention=16, global_attn_every_n_layers=2, pad_token_id=3,
        cls_token_id=1, sep_token_id=2, bos_token_id=1, eos_token_id=2, classifier_pooling="mean")),
    "deberta": ("deberta", lambda: hf.DebertaV2Config(
        **SMALL, max_position_embeddings=128, relative_attention=True, position_buckets=32, pos_att_type=["p2c", "c2p"],
        norm_rel_ebd="layer_norm", share_att_key=True, position_biased_input=False, type_vocab_size=0, pad_token_id=0,
        pooler_hidden_size=32)),
}  # fmt: skip
"""family -> (tokenizer, configuration): of MiniLM, ELECTRA, BGE base/large and v2-m3, gte-reranker-modernbert, mxbai v1."""
DECODERS: dict[str, tuple[str, Callable[[], Any]]] = {
    "qwen3": ("qwen", lambda: hf.Qwen3Config(**GROUPED, pad_token_id=0, tie_word_embeddings=True)),
    "qwen2": ("qwen", lambda: hf.Qwen2Config(
        **{name: value for name, value in GROUPED.items() if name != "head_dim"}, pad_token_id=0)),
    "gemma": ("gemma", lambda: hf.GemmaConfig(**GROUPED, pad_token_id=0, bos_token_id=2, eos_token_id=1)),
    "gemma2": ("gemma", lambda: hf.Gemma2Config(
        **GROUPED, pad_token_id=0, bos_token_id=2, eos_token_id=1, sliding_window=32, final_logit_softcapping=2.0)),
    "llama": ("llama", lambda: hf.LlamaConfig(**GROUPED, bos_token_id=1, eos_token_id=2)),
}  # fmt: skip


def write_encoder(folder: Path, family: str, *, labels: int = 1) -> Path:
    """Write a cross-encoder of a family."""
    tokenizer, config_of = ENCODERS[family]
    config = config_of()
    config.num_labels = labels
    torch.manual_seed(3)
    return _written(hf.AutoModelForSequenceClassification.from_config(config), tokenizer, folder)


def write_decoder(folder: Path, family: str, *, score_head: bool = False) -> Path:
    """Write a causal model of a family, or one with a score head of one label in place of its vocabulary's."""
    tokenizer, config_of = DECODERS[family]
    config = config_of()
    torch.manual_seed(3)
    if score_head:
        config.num_labels = 1
        return _written(hf.AutoModelForSequenceClassification.from_config(config), tokenizer, folder)
    return _written(hf.AutoModelForCausalLM.from_config(config), tokenizer, folder)


def write_t5(folder: Path, *, tied: bool = True) -> Path:
    """Write a T5, with the head of its first version or of its second."""
    torch.manual_seed(3)
    config = hf.T5Config(
        vocab_size=ROWS, d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2, initializer_factor=1.5,
        decoder_start_token_id=0, n_positions=512, tie_word_embeddings=tied,
        feed_forward_proj="relu" if tied else "gated-gelu",
    )  # fmt: skip
    return _written(hf.T5ForConditionalGeneration(config), "t5", folder)


def _written(model: Any, tokenizer: str, folder: Path) -> Path:
    model.save_pretrained(folder)
    write_tokenizer(tokenizer, folder)
    return folder
