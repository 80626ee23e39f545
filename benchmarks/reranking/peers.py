"""The others: each scores a query's passages with the same weights, as its documentation shows.

Takes the folder that `searchd models export` writes. A peer whose package is missing is named, with how to install it. Needs
nothing of ours, so that it also runs in another interpreter: PYTHON peers.py NAME FOLDER speaks JSON lines (`Apart`).
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MOST_TOKENS = 512
Scorer = Callable[[str, Sequence[str]], list[float]]
"""(query, passages) -> scores in the same order."""


@dataclass(frozen=True, slots=True)
class Peer:
    """How a peer is built, the packages it needs, and how they are installed."""

    build: Callable[[Path], Scorer]
    packages: tuple[str, ...]
    install: str

    def missing(self) -> str:
        """Return the first package that is not installed, empty if none."""
        return next((name for name in self.packages if importlib.util.find_spec(name) is None), "")


def documented(folder: Path) -> Scorer:
    """sentence-transformers with its defaults: float32, batches of 32, sorted by length."""
    from sentence_transformers import CrossEncoder

    all_threads()
    model = CrossEncoder(str(folder), device=device())
    return lambda query, passages: list(map(float, model.predict([(query, text) for text in passages])))


def all_threads() -> None:
    """Give this thread's torch every core: ours has told torch that a worker has one, and later threads inherit that."""
    import torch

    torch.set_num_threads(os.cpu_count() or 1)


def tuned(folder: Path) -> Scorer:
    """sentence-transformers at the precision and batch size that are fastest here; tried when it is built."""
    import torch
    from sentence_transformers import CrossEncoder

    all_threads()
    texts = ["It works as it was built to, and not otherwise. " * (1 + number % 24) for number in range(64)]
    pairs = [("how does it work", text) for text in texts]
    best: tuple[float, Any, int] | None = None
    for dtype in (torch.float32, torch.bfloat16):
        model = CrossEncoder(str(folder), device=device(), model_kwargs={"dtype": dtype})
        for size in (4, 8, 16, 32):
            seconds = min(seconds_of(lambda m=model, s=size: m.predict(pairs, batch_size=s)) for _ in range(3))  # type: ignore[misc]
            if best is None or seconds < best[0]:
                best = (seconds, model, size)
    assert best is not None
    _, chosen, batch = best
    note(f"tuned: {str(chosen.model.dtype).removeprefix('torch.')}, batches of {batch}")
    return lambda query, passages: list(
        map(float, chosen.predict([(query, text) for text in passages], batch_size=batch))
    )


def rerankers(folder: Path) -> Scorer:
    """`rerankers` with its defaults: batches of 16 in the order given."""
    from rerankers import Reranker

    with contextlib.redirect_stdout(sys.stderr):
        model = Reranker(str(folder), model_type="cross-encoder", verbose=0, dtype="float32", device=device())
    assert model is not None

    def score(query: str, passages: Sequence[str]) -> list[float]:
        ranked = model.rank(query=query, docs=list(passages), doc_ids=list(range(len(passages))))
        found = {one.document.doc_id: float(one.score) for one in ranked.results}
        return [found[number] for number in range(len(passages))]

    return score


def flashrank(folder: Path) -> Scorer:
    """FlashRank's own code on int8 weights as its models have them: all pairs in one batch, padded to the longest."""
    import flashrank.Config as known
    from flashrank import Ranker, RerankRequest

    onnx_int8(folder)
    known.model_file_map[folder.name] = "model_int8.onnx"
    model = Ranker(folder.name, cache_dir=str(folder.parent), max_length=MOST_TOKENS, log_level="WARNING")

    def score(query: str, passages: Sequence[str]) -> list[float]:
        rows = [{"id": number, "text": text} for number, text in enumerate(passages)]
        found = {row["id"]: float(row["score"]) for row in model.rerank(RerankRequest(query=query, passages=rows))}
        return [found[number] for number in range(len(passages))]

    return score


def openvino(folder: Path) -> Scorer:
    """OpenVINO, int8 weights and activations by NNCF on 64 pairs, in batches of 32 sorted by length."""
    import nncf
    import openvino as ov
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(MOST_TOKENS)
    tokenizer.enable_padding()

    def arrays(pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
        import numpy as np

        found = tokenizer.encode_batch(list(pairs))
        names = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
        return {name: np.array([getattr(one, field) for one in found], np.int64) for name, field in names.items()}

    onnx_float(folder)
    texts = (Path(__file__).parent / "peers.py").read_text(encoding="utf-8").split("\n\n")
    samples = [arrays([(texts[number % len(texts)][:60], texts[-number % len(texts)])]) for number in range(64)]
    whole = nncf.quantize(
        ov.Core().read_model(folder / "model.onnx"), nncf.Dataset(samples), model_type=nncf.ModelType.TRANSFORMER
    )
    compiled = ov.compile_model(whole, "CPU", {"PERFORMANCE_HINT": "LATENCY"})

    def score(query: str, passages: Sequence[str]) -> list[float]:
        order = sorted(range(len(passages)), key=lambda number: -len(passages[number]))
        scores = [0.0] * len(passages)
        for start in range(0, len(order), 32):
            places = order[start : start + 32]
            logits = compiled(arrays([(query, passages[number]) for number in places]))[0]
            for number, row in zip(places, logits, strict=True):
                scores[number] = float(row[0])
        return scores

    return score


def infinity(folder: Path) -> Scorer:
    """infinity-emb's engine with its defaults for torch, asked from outside its event loop."""
    import asyncio
    import threading

    from infinity_emb import AsyncEngineArray, EngineArgs

    arguments = EngineArgs(model_name_or_path=str(folder), engine="torch", device=device(), model_warmup=False)
    engine = AsyncEngineArray.from_args([arguments])[0]
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    asyncio.run_coroutine_threadsafe(engine.astart(), loop).result()

    def score(query: str, passages: Sequence[str]) -> list[float]:
        wanted = engine.rerank(query=query, docs=list(passages), raw_scores=True)
        ranked, _ = asyncio.run_coroutine_threadsafe(wanted, loop).result()
        found = {one.index: float(one.relevance_score) for one in ranked}
        return [found[number] for number in range(len(passages))]

    return score


def onnx_float(folder: Path) -> None:
    """Write model.onnx of the folder's weights, if it is not there."""
    if (folder / "model.onnx").is_file():
        return
    import torch
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    names = ["input_ids", "attention_mask", "token_type_ids"]
    # Each its own tensor: torch.export takes one object given thrice for one input.
    example = {name: torch.ones(2, 16, dtype=torch.int64) for name in names}
    torch.onnx.export(
        model.eval(),
        (),
        str(folder / "model.onnx"),
        kwargs=example,
        input_names=names,
        output_names=["logits"],
        dynamic_shapes={name: {0: torch.export.Dim("pairs"), 1: torch.export.Dim("tokens")} for name in names},
        dynamo=True,
        external_data=False,
        verbose=False,
    )


def onnx_int8(folder: Path) -> None:
    """Write model_int8.onnx, quantised dynamically, if it is not there."""
    if (folder / "model_int8.onnx").is_file():
        return
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    onnx_float(folder)
    model = onnx.load(folder / "model.onnx")
    del model.graph.value_info[:]  # the quantiser trips over the exporter's own shapes of what it transposes
    quantize_dynamic(model, folder / "model_int8.onnx", weight_type=QuantType.QInt8)


PEERS = {
    "st": Peer(documented, ("sentence_transformers",), "pip install sentence-transformers"),
    "st-tuned": Peer(tuned, ("sentence_transformers",), "pip install sentence-transformers"),
    "rerankers": Peer(rerankers, ("rerankers",), "pip install rerankers"),
    "flashrank-int8": Peer(
        flashrank, ("flashrank", "onnx", "onnxscript"), "pip install flashrank onnxruntime onnx onnxscript"
    ),
    "openvino-int8": Peer(
        openvino, ("openvino", "nncf", "onnx", "onnxscript"), "pip install openvino nncf onnx onnxscript"
    ),
    "infinity": Peer(infinity, ("infinity_emb", "torch"), "pip install 'infinity-emb[torch]'"),
}


class Apart:
    """A peer in an interpreter of its own, for packages that want other versions than ours."""

    def __init__(self, python: str, name: str, folder: Path) -> None:
        command = [python, str(Path(__file__).resolve()), name, str(folder)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answer()

    def __call__(self, query: str, passages: Sequence[str]) -> list[float]:
        """Score there."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([query, list(passages)]) + "\n")
        self._process.stdin.flush()
        return list(self._answer())

    def _answer(self) -> list[float]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"it ended with status {self._process.wait()}")
        scores: list[float] = json.loads(line)
        return scores

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=20)


def device() -> str:
    """Return cuda where there is one, else cpu."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def seconds_of(call: Callable[[], object]) -> float:
    """Return how long a call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Build the peer named, say so with an empty list, then answer each line `[query, passages]` with scores."""
    answers, sys.stdout = sys.stdout, sys.stderr
    score = PEERS[sys.argv[1]].build(Path(sys.argv[2]))
    print("[]", file=answers, flush=True)
    for line in sys.stdin:
        query, passages = json.loads(line)
        print(json.dumps(score(query, passages)), file=answers, flush=True)
    os._exit(0)  # threads of peers do not end by themselves


if __name__ == "__main__":
    main()
