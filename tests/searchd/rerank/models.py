"""Tiny cross-encoders with random weights, written as ordinary folders: what a user's own model looks like."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import BertConfig, BertForSequenceClassification

from indexer.weights import house_folder
from searchd.rerank.types import PassageText, Reranker, ScoreRequest

TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json")


def scored(
    reranker: Reranker, query: str, texts: Sequence[str], max_length: int, *, parts: bool = False, **asked: Any
) -> NDArray[np.float32]:
    """Score texts, of which only the beginning is read unless `parts`."""
    request = ScoreRequest(query, max_length, parts=parts, **asked)
    return reranker.score(request, [PassageText(text) for text in texts])


def write_tiny(folder: Path, *, labels: int = 1, seed: int = 3, positions: int = 128) -> Path:
    """Write a two-layer BERT with a head of so many labels; its scores differ clearly between texts."""
    torch.manual_seed(seed)
    config = BertConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=positions,
        initializer_range=0.2,
        num_labels=labels,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    for file in TOKENIZER:
        shutil.copyfile(house_folder() / file, folder / file)
    return folder
