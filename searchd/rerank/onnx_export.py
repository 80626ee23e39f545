"""A packaged cross-encoder, or a folder's, written as ONNX for stages of kind `onnx`: float32, and int8 if asked.

Takes a model's name and a new folder; gives what was written, each graph compared with torch on real texts before it
stays. Needs torch, onnx and onnxscript; what runs the graph (`onnx.py`) needs none of them.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from indexer.errors import ConfigError, InputError
from indexer.weights import first_line, house_folder
from searchd.rerank import house
from searchd.rerank.examples import questions
from searchd.rerank.local import parts_of
from searchd.rerank.onnx import INPUTS, OnnxModel, scores_of
from searchd.rerank.onnx_files import of_graph
from searchd.rerank.precision import spearman

if TYPE_CHECKING:
    import torch

FLOAT32, INT8 = "onnx/model.onnx", "onnx/model_int8.onnx"
TOLERANCE = 1e-4
"""How far a float32 logit may be from torch's."""
OPSET = 18
MOST_TOKENS = 128
BATCH = 8
TOP = 10
QUERIES, PASSAGES = 4, 40
EXTRA = "pip install 'searchd[onnx-export]'"


@dataclass(frozen=True, slots=True)
class OnnxCheck:
    """How one graph's scores compare with torch's in float32, over the example texts."""

    graph: Path
    worst: float
    """Largest difference of two logits."""
    spearman: float
    """Rank correlation, mean over the queries."""
    top: float
    """Share of torch's first TOP that are among its own first TOP, mean over the queries."""


def export_onnx(name: str, folder: Path, *, int8: bool) -> list[OnnxCheck]:
    """Write graph, tokenizer and configuration into a new folder; return how each graph compares with torch.

    Raises: InputError for a folder that is not new, or a model that is none; ConfigError if a package is missing, or if
    the float32 graph does not give torch's scores.
    """
    refuse_without_packages()
    model, tokenizer = _opened(name)
    house.make_folder(folder)
    (folder / FLOAT32).parent.mkdir()
    tokenizer.save_pretrained(folder)
    model.config.save_pretrained(folder)
    _write_graph(model, folder)
    exact = compare(folder / FLOAT32, model)
    if not exact.worst <= TOLERANCE:  # NaN is not
        (folder / FLOAT32).unlink()
        raise ConfigError(
            f"{name!r}: its ONNX graph gives logits that differ from torch's by {exact.worst:.2g}; it was deleted"
        )
    checks = [exact]
    if int8:
        quantise(folder / FLOAT32, folder / INT8)
        checks.append(compare(folder / INT8, model))
    return checks


def refuse_without_packages() -> None:
    """Refuse to go on without what writes graphs. Raises: ConfigError naming the extra."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"writing ONNX needs a package that is not installed ({error.name}); run: {EXTRA}") from error


def _opened(name: str) -> tuple[Any, Any]:
    """Return a cross-encoder in float32, and its tokenizer."""
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    if name in house.HOUSE_MODELS:
        return house.load(name, torch.float32), AutoTokenizer.from_pretrained(house_folder(), **options)
    folder = Path(name).expanduser()
    if not folder.is_dir():
        raise InputError(f"{name!r} is neither a packaged model ({', '.join(house.HOUSE_MODELS)}) nor a folder")
    try:
        model = AutoModelForSequenceClassification.from_pretrained(
            folder, use_safetensors=True, dtype=torch.float32, **options
        )
        return model.eval(), AutoTokenizer.from_pretrained(folder, **options)
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise InputError(f"{name!r} is no cross-encoder that can be exported: {first_line(error)}") from error


def _write_graph(model: Any, folder: Path) -> None:
    """Trace the model and write its graph, sizes left open.

    By torch.export: the older tracer takes the length of its example for all (logits were off by 1.6).
    """
    import torch

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.inner(**dict(zip(names, inputs, strict=True))).logits
            return logits

    names = INPUTS if getattr(model.config, "type_vocab_size", 0) > 1 else INPUTS[:2]
    example = tuple(torch.ones((2, 16), dtype=torch.int64) for _ in names)
    sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence")}
    model.set_attn_implementation("eager")
    with quietly():
        torch.onnx.export(
            Logits().eval(),
            example,
            str(folder / FLOAT32),
            input_names=list(names),
            output_names=["logits"],
            dynamic_shapes=(tuple(sizes for _ in names),),
            opset_version=OPSET,
            external_data=model.num_parameters() * 4 > 1 << 30,
            dynamo=True,
            verbose=False,
        )


def quantise(graph: Path, into: Path) -> None:
    """Write a graph with int8 weights, a scale per channel, activations quantised as they come."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    loaded = onnx.load(graph)
    # What the exporter noted of shapes in between contradicts what the quantiser infers, and it gives up.
    del loaded.graph.value_info[:]
    with quietly():
        quantize_dynamic(
            loaded,
            into,
            per_channel=True,
            reduce_range=False,
            weight_type=QuantType.QInt8,
            use_external_data_format=any(tensor.external_data for tensor in loaded.graph.initializer),
        )


@contextmanager
def quietly() -> Iterator[None]:
    """Keep exporter and quantiser from writing pages of notes on the terminal."""
    was = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(was)


def compare(graph: Path, model: Any) -> OnnxCheck:
    """Score every query's passages with a graph and with torch."""
    ours = OnnxModel(of_graph(graph), threads=0)
    limit = min(MOST_TOKENS, ours.longest)
    rows = []
    for query, texts in questions(QUERIES, PASSAGES, seed=4):
        passages = sorted(ours.tokenizer.encode(texts), key=len)
        pairs = parts_of(ours.frame(query, "", limit), passages, limit, whole=False)[0]
        batches = [pairs[start : start + BATCH] for start in range(0, len(pairs), BATCH)]
        found = np.concatenate([ours.forward(batch) for batch in batches])
        rows.append((found, np.concatenate([torch_scores(model, ours.inputs(batch)) for batch in batches])))
    return OnnxCheck(
        graph,
        worst=max(float(np.abs(row - true).max()) for row, true in rows),
        spearman=float(np.mean([spearman(row, true) for row, true in rows])),
        top=float(np.mean([len(first(row) & first(true)) / TOP for row, true in rows])),
    )


def torch_scores(model: Any, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
    """Return float32[pairs] of torch for the same inputs."""
    import torch

    with torch.inference_mode():
        logits = model(**{name: torch.from_numpy(array) for name, array in inputs.items()}).logits.float().numpy()
    return scores_of(logits)


def first(scores: NDArray[np.float32]) -> set[int]:
    """Return the places of the TOP highest."""
    return set(scores.argsort()[-TOP:].tolist())
