"""Cross-encoders that were exported to ONNX, run on the CPU by ONNX Runtime: float32 or int8, without torch.

Takes pairs, gives the logits that torch gives. Its files are found by `onnx_files.py` and written by `onnx_export.py`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from indexer.errors import ConfigError
from indexer.settings import Settings
from indexer.tokens import PassageTokenizer, uncut
from indexer.weights import first_line
from searchd.rerank.house import HOUSE_MODELS
from searchd.rerank.local import Frame, LocalReranker, Pair, padded
from searchd.rerank.onnx_files import OnnxFiles, find_onnx
from searchd.rerank.pair_texts import ROBERTA_LIKE
from searchd.rerank.pairs import PairFrames
from searchd.rerank.scheduler import Scheduler
from searchd.rerank.types import Reranker
from searchd.settings import Stage

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
INTEGERS: dict[str, type[np.signedinteger[Any]]] = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}
EXTRA = "pip install 'searchd[onnx]'"


class OnnxModel:
    """A loaded graph. See `LocalModel`."""

    packs = None

    def __init__(self, files: OnnxFiles, threads: int) -> None:
        config, told = read_json(files.folder / "config.json"), read_json(files.folder / "tokenizer_config.json")
        plain = files.tokenizer()
        self._pad_id = pad_id_of(plain, told, config)
        self._frames = PairFrames(uncut(plain))
        self._session = open_session(files.graph, threads)
        self._types, self._output = inputs_of(self._session), logits_name(self._session)
        self._segments = "token_type_ids" in told.get("model_input_names", INPUTS)
        self.tokenizer = PassageTokenizer(plain)
        self.fingerprint = files.digest()
        self.longest = longest_of(config, told)
        self.path = f"onnx, {files.graph.name}, {threads} threads, padded batches"
        # A graph that does not run, or gives something else than a score a pair, is found now.
        self.forward([Pair(self.frame("a", "", 16), ids) for ids in self.tokenizer.encode(["b", "c d"])])

    def frame(self, query: str, instruction: str, limit: int) -> Frame:
        """See `LocalModel.frame`; there is no instruction."""
        return self._frames.frame(query, limit)

    def forward(self, batch: Sequence[Pair]) -> NDArray[np.float32]:
        """Return float32[len(batch)] raw logits; of two labels their difference."""
        logits = np.asarray(self._session.run([self._output], self.inputs(batch))[0], dtype=np.float32)
        return scores_of(logits)

    def inputs(self, batch: Sequence[Pair]) -> dict[str, NDArray[np.signedinteger[Any]]]:
        """Return what the graph is given, by name."""
        ids, mask, types = padded(batch, self._pad_id)
        given = dict(zip(INPUTS, (ids, mask, types if self._segments else np.zeros_like(types)), strict=True))
        return {name: given[name].astype(kind, copy=False) for name, kind in self._types.items()}


def scores_of(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return float32[pairs] of float32[pairs, labels]; of two labels their difference. Raises: ValueError if they are more."""
    if logits.ndim != 2 or logits.shape[1] not in (1, 2):
        raise ValueError(f"it gives {logits.shape} for some pairs; a cross-encoder gives 1 or 2 labels for each")
    return logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]


def open_session(graph: Path, threads: int) -> InferenceSession:
    """Open a graph on the CPU. Raises: ValueError if the runtime refuses it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    # Threads that spin after a batch take the cores from what runs beside: retrieval, and models of torch.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's own classes, which have no common base
        raise ValueError(f"{graph.name} cannot be run: {first_line(error)}") from error


def inputs_of(session: InferenceSession) -> dict[str, type[np.signedinteger[Any]]]:
    """Return what a graph takes, with the integers it takes it in. Raises: ValueError for what we cannot give."""
    found: dict[str, type[np.signedinteger[Any]]] = {}
    for wanted in session.get_inputs():
        if wanted.name not in INPUTS or wanted.type not in INTEGERS:
            raise ValueError(f"it wants {wanted.name!r} ({wanted.type}); there are {', '.join(INPUTS)}, integers")
        if any(isinstance(size, int) for size in wanted.shape):
            raise ValueError(f"it was exported for {wanted.name} of shape {wanted.shape}; both sizes must be dynamic")
        found[wanted.name] = INTEGERS[wanted.type]
    return found


def logits_name(session: InferenceSession) -> str:
    """Return the output to read: `logits`, or the only one."""
    names = [str(output.name) for output in session.get_outputs()]
    if "logits" not in names and len(names) > 1:
        raise ValueError(f"none of its outputs ({', '.join(names)}) is called logits")
    return "logits" if "logits" in names else names[0]


def pad_id_of(tokenizer: Tokenizer, told: Mapping[str, Any], config: Mapping[str, Any]) -> int:
    """Return the padding id: some models number positions by it. Raises: ValueError if there is none."""
    token = told.get("pad_token")
    token = token.get("content") if isinstance(token, dict) else token
    known = None if token is None else tokenizer.token_to_id(token)
    if known is not None:
        return int(known)
    if tokenizer.padding is not None:
        return int(tokenizer.padding["pad_id"])
    if config.get("pad_token_id") is not None:
        return int(config["pad_token_id"])
    raise ValueError("its tokenizer has no padding token")


def longest_of(config: Mapping[str, Any], told: Mapping[str, Any]) -> int:
    """Return how many tokens a model takes: what its tokenizer says, and its table of positions."""
    positions = int(config.get("max_position_embeddings") or 1 << 20)
    offset = int(config.get("pad_token_id") or 0) + 1 if config.get("model_type") in ROBERTA_LIKE else 0
    return min(int(told.get("model_max_length") or 1 << 20), positions - offset)


def read_json(path: Path) -> dict[str, Any]:
    """Return what a JSON file holds, nothing if there is none."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found


def load_onnx(stage: Stage, settings: Settings, scheduler: Scheduler) -> Reranker:
    """Load a graph from a folder, a file or a hub name. See `onnx_files.find_onnx`.

    Raises: ConfigError naming the setting, what it accepts and why it failed; or the extra that is not installed.
    """
    name = stage.model
    refuse_without_runtime()
    if name in HOUSE_MODELS:
        raise ConfigError(
            f"stage model {name!r} has no ONNX form in the package; run: searchd models export {name} FOLDER --onnx --int8, "
            "and name what it writes"
        )
    try:
        model = OnnxModel(
            find_onnx(name), max(1, (settings.threads or os.cpu_count() or 1) // scheduler.device.workers)
        )
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            f"stage model {name!r} cannot be loaded: {first_line(error)}. For kind onnx `model` takes a folder with "
            "tokenizer.json, config.json and one .onnx file (in it or in its folder `onnx`), such a file, or a Hugging Face "
            "name, with the file if there are several: org/name/onnx/model.onnx"
        ) from error
    return LocalReranker(model, scheduler)


def refuse_without_runtime() -> None:
    """Refuse to go on without ONNX Runtime. Raises: ConfigError naming the extra."""
    try:
        import onnxruntime  # noqa: F401  # only whether it is there
    except ImportError as error:
        raise ConfigError(f"stages of kind onnx need ONNX Runtime, which is not installed; run: {EXTRA}") from error
