"""Texts -> unit vectors, by a sentence-transformers model. Used by `apply.py` for passages and by retrieval for queries.

The default model is the installed package's all-MiniLM-L6-v2, checked by hash; any Hugging Face name or folder works.
Safetensors only; a model's own Python code runs only if the setting `trust_remote_code` names it.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict, deque
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from indexer.device import Device, Priority, importing
from indexer.errors import ConfigError
from indexer.packing import pack_linears
from indexer.settings import HOUSE_EMBEDDER, Settings
from indexer.tokens import PassageTokenizer, uncut
from indexer.weights import HOUSE_SHA256, digest_of, first_line, house_folder, model_folder, no_progress_bars

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

BATCH_TOKENS = 512
"""Tokens of one device job while indexing: about 50 ms of a core, so that a query never waits longer."""
MAX_BATCH_TEXTS = 64
QUERIES_KEPT = 1024


class Embedder:
    """A loaded model. Thread-safe; every forward runs on a thread of the device's."""

    def __init__(self, model: SentenceTransformer, settings: Settings, device: Device, fingerprint: str) -> None:
        self._model = model
        self._device = device
        self._query_prompt = settings.query_prompt
        self._passage_prompt = settings.passage_prompt
        self.fingerprint = fingerprint
        dimension = model.get_embedding_dimension()
        if dimension is None:
            raise ConfigError(f"embedder {settings.embedder!r} gives no vectors of fixed size; name another")
        self.dimension: int = dimension
        self.max_tokens: int = int(model.max_seq_length or 512)
        self.tokenizer: Tokenizer = plain_tokenizer(model.tokenizer)
        self.passages = PassageTokenizer(self.tokenizer)
        self._queries: OrderedDict[str, NDArray[np.float32]] = OrderedDict()
        self._lock = Lock()
        self._is_plain = is_plain(model)

    def encode_query(self, text: str, deadline_s: float | None = None) -> NDArray[np.float32]:
        """Return float32[dim] of unit length, read-only. Raises: TimeoutError at `deadline_s` (monotonic)."""
        with self._lock:
            if text in self._queries:
                self._queries.move_to_end(text)
                return self._queries[text]
        prompted = self._query_prompt + text
        rows = self._device.run(partial(self._forward, [prompted]), priority=Priority.QUERY, deadline=deadline_s)
        vector: NDArray[np.float32] = rows[0]
        vector.flags.writeable = False  # shared by all who ask the same
        with self._lock:
            self._queries[text] = vector
            while len(self._queries) > QUERIES_KEPT:
                self._queries.popitem(last=False)
        return vector

    def encode_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32[len(texts), dim], rows of unit length in the order given; empty input gives no rows.

        Runs as many small device jobs, longest texts first, so that queries come in between.
        """
        prompted = [self._passage_prompt + text for text in texts]
        lengths = [min(self.max_tokens, len(e.ids)) for e in self.tokenizer.encode_batch_fast(prompted)]
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        running: deque[tuple[list[int], Future[NDArray[np.float32]]]] = deque()
        for rows in batches_by_length(lengths):
            batch = [prompted[row] for row in rows]
            running.append((rows, self._device.submit(partial(self._forward, batch), priority=Priority.INGEST)))
            if len(running) > self._device.workers:
                first, found = running.popleft()
                vectors[first] = self._device.wait_for(found)
        for rows, found in running:
            vectors[rows] = self._device.wait_for(found)
        return vectors

    def _forward(self, texts: list[str]) -> NDArray[np.float32]:
        vectors = sentence_vectors(self._model, texts) if self._is_plain else self._encoded(texts)
        found: NDArray[np.float32] = vectors.float().cpu().numpy()
        norms = np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
        unit: NDArray[np.float32] = np.ascontiguousarray(found / norms, dtype=np.float32)
        return unit

    def _encoded(self, texts: list[str]) -> torch.Tensor:
        return self._model.encode(
            texts, batch_size=len(texts), convert_to_numpy=False, convert_to_tensor=True, show_progress_bar=False
        )


def sentence_vectors(model: Any, texts: list[str]) -> torch.Tensor:
    """Run the modules themselves: `encode` takes 2.5 ms more for one query, a third of the whole."""
    import torch

    prepare = model.preprocess if hasattr(model, "preprocess") else model.tokenize  # its name before version 6
    with torch.inference_mode():
        inputs = {
            name: value.to(model.device) if isinstance(value, torch.Tensor) else value
            for name, value in prepare(texts).items()
        }
        vectors: torch.Tensor = model(inputs)["sentence_embedding"]
    return vectors


def is_plain(model: SentenceTransformer) -> bool:
    """Say whether a model is a transformer, a pooling and perhaps a normalisation: no prompts or routes of its own."""
    return [type(module).__name__ for module in model] in (
        ["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]
    ) and not any((getattr(model, "prompts", None) or {}).values())  # fmt: skip


def batches_by_length(lengths: Sequence[int]) -> list[list[int]]:
    """Group row numbers by length so that each batch stays within BATCH_TOKENS after padding; longest first."""
    order = sorted(range(len(lengths)), key=lambda row: (-lengths[row], row))
    grouped: list[list[int]] = []
    for row in order:
        if grouped:
            batch = grouped[-1]
            if len(batch) < MAX_BATCH_TEXTS and (len(batch) + 1) * lengths[batch[0]] <= BATCH_TOKENS:
                batch.append(row)
                continue
        grouped.append([row])
    return grouped


def plain_tokenizer(wrapped: Any) -> Tokenizer:
    """Return a copy of a model's fast tokenizer that neither truncates nor pads."""
    return uncut(Tokenizer.from_str(wrapped.backend_tokenizer.to_str()))


def load_embedder(settings: Settings, device: Device) -> Embedder:
    """Load the model that the settings name. Raises: ConfigError naming the setting, what it accepts, and why it failed."""
    from safetensors import SafetensorError

    name = settings.embedder
    trusted = name in settings.trust_remote_code
    try:
        folder = (
            house_folder()
            if name == HOUSE_EMBEDDER
            else model_folder(name, settings.embedder_revision, trusted=trusted)
        )
        if not trusted:
            refuse_own_code(folder)
        model = device.run(lambda: _load(folder, trusted, device), priority=Priority.QUERY)
    except (OSError, ValueError, RuntimeError, ImportError, KeyError, SafetensorError) as error:
        raise ConfigError(
            f"embedder {name!r} cannot be loaded: {first_line(error)}. The setting takes {HOUSE_EMBEDDER!r}, the Hugging Face "
            "name of a sentence-transformers model with safetensors weights (the hub must be reachable the first time), or a "
            "folder"
        ) from error
    return Embedder(model, settings, device, fingerprint_of(model, settings, folder))


def refuse_own_code(folder: Path) -> None:
    """Refuse a model whose parts are classes of its own. Raises: ValueError naming one.

    Hub models come without their code unless trusted; this is for folders, which some versions of the library trust.
    """
    modules = folder / "modules.json"
    for part in json.loads(modules.read_text(encoding="utf-8")) if modules.is_file() else ():
        if not str(part.get("type", "")).startswith("sentence_transformers."):
            raise ValueError(
                f"its part {part.get('type')!r} is code of its own; the setting trust_remote_code must name it"
            )


def _load(folder: Path, trusted: bool, device: Device) -> SentenceTransformer:
    with importing():
        from sentence_transformers import SentenceTransformer

    no_progress_bars()
    device.prepare()
    model = SentenceTransformer(
        str(folder),
        device=device.name,
        trust_remote_code=trusted,
        local_files_only=not trusted,  # trusted code may lie in another repository
        model_kwargs={"use_safetensors": True, "dtype": device.dtype},
    )
    model.eval()
    if device.name == "cpu" and is_plain(model):
        pack_linears(model, lambda: sentence_vectors(model, ["how does it work"]))
    return model


def fingerprint_of(model: SentenceTransformer, settings: Settings, folder: Path) -> str:
    """Return the hex sha256 of what vectors depend on: the model's files, prompts, length.

    Precision is left out on purpose: bfloat16 moves a vector by less than a cosine of 1e-3 (a test holds it), less than
    any ranking depends on, and an index must stay valid when it moves to a machine with another processor.
    """
    weights = HOUSE_SHA256 if settings.embedder == HOUSE_EMBEDDER else digest_of(folder)
    parts = [weights, settings.query_prompt, settings.passage_prompt, int(model.max_seq_length or 0)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
