"""Models on held-out queries, asked as their stage asks them; what was measured is kept as JSON lines beside the queries.

A figure is used again only for the very same model, the same queries and the same way of asking. Used by `run.py` when a
run ends and by `gate.py` when a version is promoted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from indexer.device import Device
from indexer.weights import sha256_of
from searchd.rerank.cross_encoder import load_cross_encoder
from searchd.rerank.precision import TRIAL
from searchd.rerank.scheduler import Scheduler
from searchd.rerank.types import PassageText, ScoreRequest
from searchd.settings import Settings, Stage
from searchd.train.evaluate import evaluate
from searchd.train.files import add_lines, read_lines, whole_lines
from searchd.train.fit import require_extra
from searchd.train.prepare import HELD_OUT, HeldOut
from searchd.train.registry import Figures
from searchd.train.served import Served

MEASURED = "measured.jsonl"


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """A model's figures: means, and each query's nDCG@10 by the fused order and by the blend that is served."""

    digest: str
    queries: str
    """The sha256 of the file of queries."""
    asked: str
    figures: Figures
    fused: tuple[float, ...]
    blended: tuple[float, ...]


def asked_as(stage: Stage, settings: Settings) -> str:
    """Return in words how a stage asks its model: what its figures depend on beside model and queries."""
    precision = stage.precision if stage.precision != "auto" else settings.dtype
    long = "long passages in parts" if stage.long == "parts" else "beginnings of long passages"
    tried = f" (trial {TRIAL})" if precision in ("auto", "int8") else ""
    return f"{stage.max_length} tokens, {long}, blend {stage.blend:g}, precision {precision}{tried}"


def measure(
    model: Served, folder: Path, settings: Settings, device: Device, progress: Callable[[int, int], None]
) -> Measured:
    """Return a model's figures over the queries in `folder`: those that were kept, else measured now and kept.

    Raises: ConfigError if it has to be measured and cannot be loaded, or the extra is not installed.
    """
    queries, asked = sha256_of(folder / HELD_OUT), asked_as(model.stage, settings)
    kept = folder / MEASURED
    measured: list[Measured] = whole_lines(kept, Measured)
    for known in measured:
        if (known.digest, known.queries, known.asked) == (model.digest, queries, asked):
            return known
    require_extra()
    held_out = list(read_lines(folder / HELD_OUT, HeldOut))
    score = scorer(model.stage, settings, device)
    found = evaluate(score, held_out, progress, model.stage.blend)
    made = Measured(
        digest=model.digest,
        queries=queries,
        asked=asked,
        figures=found.figures,
        fused=found.fused,
        blended=found.blended,
    )
    add_lines(kept, [made])
    return made


def scorer(stage: Stage, settings: Settings, device: Device) -> Callable[[str, Sequence[str]], NDArray[np.float32]]:
    """Load a stage's model, and return what scores texts as that stage does."""
    reranker = load_cross_encoder(stage, settings, Scheduler(device))
    parts = stage.long == "parts"

    def score(query: str, texts: Sequence[str]) -> NDArray[np.float32]:
        request = ScoreRequest(query, stage.max_length, parts=parts)
        return reranker.score(request, [PassageText(text) for text in texts])

    return score
