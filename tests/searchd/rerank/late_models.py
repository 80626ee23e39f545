"""Tiny late-interaction models with random weights, in the folders that Stanford's ColBERT and PyLate write."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaModel

from indexer.weights import house_folder
from tests.searchd.rerank.models import TOKENIZER

DIMENSION = 16
SIZES = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "initializer_range": 0.2,
}  # fmt: skip


def backbone_and_linear(kind: str, vocabulary: int) -> tuple[Any, torch.nn.Linear]:
    torch.manual_seed(11)
    model: Any
    if kind == "bert":
        model = BertModel(BertConfig(**SIZES, max_position_embeddings=128, vocab_size=vocabulary))
    else:
        config = XLMRobertaConfig(
            **SIZES, max_position_embeddings=130, vocab_size=vocabulary, type_vocab_size=1, pad_token_id=1
        )
        model = XLMRobertaModel(config)
    return model.eval(), torch.nn.Linear(32, DIMENSION, bias=False)


def write_stanford(
    folder: Path, *, metadata: dict[str, Any] | None = None, kind: str = "bert", texts: Sequence[str] = ()
) -> Path:
    """Write one file of weights with `linear.weight` in it, and `artifact.metadata`, as colbert-ir/colbertv2.0 has."""
    folder.mkdir(parents=True)
    vocabulary = copy_words(folder) if kind == "bert" else write_pieces(folder, texts)
    model, linear = backbone_and_linear(kind, vocabulary)
    prefix = "bert" if kind == "bert" else "roberta"
    tensors = {f"{prefix}.{name}": tensor for name, tensor in model.state_dict().items()}
    save_file(tensors | {"linear.weight": linear.weight.data}, folder / "model.safetensors", {"format": "pt"})
    config = model.config.to_dict() | {"architectures": ["HF_ColBERT"]}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "artifact.metadata").write_text(json.dumps(metadata))
    return folder


def write_pylate(folder: Path, **said: Any) -> Path:
    """Write modules apart, the projection in `1_Dense`, as PyLate does."""
    folder.mkdir(parents=True)
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(house_folder() / "tokenizer.json"), **WORD_TOKENS)
    tokenizer.add_tokens(["[Q] ", "[D] "])
    tokenizer.save_pretrained(folder)
    model, linear = backbone_and_linear("bert", len(tokenizer))
    model.save_pretrained(folder)
    (folder / "1_Dense").mkdir()
    save_file({"linear.weight": linear.weight.data}, folder / "1_Dense" / "model.safetensors")
    dense = {"in_features": 32, "out_features": DIMENSION, "bias": False, "activation_function": IDENTITY}
    (folder / "1_Dense" / "config.json").write_text(json.dumps(dense))
    parts = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Dense", "type": "pylate.models.Dense.Dense"},
    ]
    (folder / "modules.json").write_text(json.dumps(parts))
    config = {"model_type": "ColBERT", "query_prefix": "[Q] ", "document_prefix": "[D] ", "query_length": 24} | said
    (folder / "config_sentence_transformers.json").write_text(json.dumps(config))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 127, "do_lower_case": False}))
    return folder


IDENTITY = "torch.nn.modules.linear.Identity"
WORD_TOKENS = {
    "cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]", "mask_token": "[MASK]",
}  # fmt: skip


def copy_words(folder: Path) -> int:
    """Give a folder BERT's WordPiece tokenizer; return how many words it knows."""
    for file in TOKENIZER:
        shutil.copyfile(house_folder() / file, folder / file)
    return 30522


def write_pieces(folder: Path, texts: Sequence[str]) -> int:
    """Give a folder a tokenizer like XLM-R's, made of these texts; return how many pieces it knows."""
    pieces = Tokenizer(models.Unigram())
    pieces.normalizer = normalizers.NFKC()
    pieces.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "[QueryMarker]", "[DocumentMarker]"]
    pieces.train_from_iterator(
        texts, trainers.UnigramTrainer(vocab_size=200, special_tokens=special, unk_token="<unk>")
    )
    pieces.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=pieces, bos_token="<s>", cls_token="<s>", eos_token="</s>", sep_token="</s>", pad_token="<pad>",
        unk_token="<unk>", mask_token="<mask>", model_input_names=["input_ids", "attention_mask"], model_max_length=128,
    )  # fmt: skip
    wrapped.save_pretrained(folder)
    return len(wrapped)
