"""What a CUDA GPU does: random weights of the true shape of four models, through the product's loader and scheduler.

Speed does not depend on what weights hold; which precision agrees with float32 does, so it is bfloat16. Needs no judged
set: passages are random words, as many in each as natural passages have tokens. What cannot run is named and left out.
A rehearsal runs all of it in tiny shapes on any device, to see that it comes to its end.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.reranking.load import Call, again_for, closed
from benchmarks.reranking.ours import Ours
from benchmarks.reranking.workload import CANDIDATES, Group
from indexer.device import Device
from searchd.rerank.cross_encoder import CrossEncoderModel
from searchd.rerank.graphs import Graphs
from searchd.settings import Settings, Stage

WORDS = 20_000
NATURAL = (6, 46, 96, 125, 155, 172, 187, 196, 201, 223)
"""Tokens of a passage at the middle of each tenth of Perl's FAQ; with query and special tokens a mean of about 155."""
CASCADE_MS = 12
TINY = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


@dataclass(frozen=True, slots=True)
class Length:
    """How long is measured: 32 clients in seconds, after a third as long to warm up, and queries alone after ten."""

    crowd_s: float
    alone: int


MEASURED, REHEARSED = Length(12.0, 50), Length(0.6, 6)
WARMING = 10


@dataclass(frozen=True, slots=True)
class Shape:
    """A model's configuration, and the figures that guide it: pairs/s, and ms of one query of 100 pairs of 128 tokens."""

    kind: str
    config: dict[str, Any]
    pairs_per_s: float
    one_query_ms: float | None


SHAPES = {
    "minilm-l6": Shape("bert", {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12,
                                        "intermediate_size": 1536, "vocab_size": 30_522}, 20_000, 4),
    "bge-base": Shape("xlm-roberta", {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
                                      "intermediate_size": 3072, "vocab_size": 250_002, "type_vocab_size": 1,
                                      "max_position_embeddings": 514, "pad_token_id": 1}, 9_000, 10),
    "v2-m3": Shape("xlm-roberta", {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16,
                                   "intermediate_size": 4096, "vocab_size": 250_002, "type_vocab_size": 1,
                                   "max_position_embeddings": 8194, "pad_token_id": 1}, 3_500, 28),
    "modernbert-base": Shape("modernbert", {"hidden_size": 768, "num_hidden_layers": 22, "num_attention_heads": 12,
                                            "intermediate_size": 1152, "vocab_size": 50_368, "pad_token_id": 1,
                                            "bos_token_id": 2, "cls_token_id": 2, "eos_token_id": 3,
                                            "sep_token_id": 3}, 6_000, None),
}  # fmt: skip


def measure_gpu(say: Callable[[str], None], *, rehearse: bool = False) -> dict[str, Any]:
    """Return every figure; empty, and says so, where there is no CUDA GPU. A rehearsal needs none."""
    import torch

    if not torch.cuda.is_available() and not rehearse:
        say("skipped: torch finds no CUDA GPU here; all figures of --gpu need one")
        return {"skipped": "no CUDA GPU"}
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    weights = "random, of tiny shape: no figure counts" if rehearse else "random, of true shape"
    report: dict[str, Any] = {"gpu": gpu, "weights": weights, "models": {}}
    say(f"{gpu}, torch {torch.__version__}; weights {weights}")
    device, loaded = Device(Settings()), {}
    length = REHEARSED if rehearse else MEASURED
    with tempfile.TemporaryDirectory() as root:
        for name, shape in SHAPES.items():
            try:
                started = time.perf_counter()
                write(shape, Path(root) / name, TINY if rehearse else {})
                loaded[name] = Ours(stage_of(name, Path(root) / name), device)
                say(f"{name}: written and loaded in {time.perf_counter() - started:.0f} s")
                report["models"][name] = measured(name, shape, loaded[name], say, length)
            except Exception as error:  # one model that does not run must not cost the figures of the others
                say(f"{name}: skipped: {type(error).__name__}: {str(error)[:300]}")
                report["models"][name] = {"skipped": f"{type(error).__name__}: {error}"}
        if {"minilm-l6", "v2-m3"} <= loaded.keys():
            ms = report["cascade_ms"] = cascade_ms(loaded["minilm-l6"], loaded["v2-m3"], length)
            say(f"cascade minilm-l6 at 100, v2-m3 at 20: {ms:.1f} ms, guide {CASCADE_MS}")
        else:
            say("cascade: skipped, one of its models did not load")
    return report


def stage_of(name: str, folder: Path) -> Stage:
    """Return a stage of a folder's model."""
    return Stage(
        name=name, model=str(folder), max_length=512, precision="bfloat16", depth=1000, keep=1000, budget_ms=60_000
    )


def measured(name: str, shape: Shape, ours: Ours, say: Callable[[str], None], length: Length) -> dict[str, Any]:
    """Return throughput of 32 clients at natural lengths, and the latency of one query alone, with graphs and without."""
    natural = [group_of(number, NATURAL) for number in range(64)]
    even = [group_of(number, (128 - 3 - 12,)) for number in range(16)]
    ours.store([*natural, *even])
    calls = [Call(group.query, group.passages) for group in natural]
    closed(ours, again_for(calls, length.crowd_s / 3), 32)
    found = closed(ours, again_for(calls, length.crowd_s), 32)
    found.pop("top10")

    def alone_ms() -> float:
        return one_query_ms(lambda group: ours.score(group.query, group.passages), even, length)

    path, ms, plain_ms, graphs = ours.path, alone_ms(), without_graphs(ours, alone_ms), graphs_of(ours)
    note = f" ({plain_ms:.1f} without its {graphs} graphs)" if graphs else ""
    say(
        f"{name}: {path}; {found['pairs_per_s']:.0f} pairs/s, guide {shape.pairs_per_s:.0f}; one query of "
        f"{CANDIDATES} x 128 tokens {ms:.1f} ms{note}, guide {shape.one_query_ms or 'none'}"
    )
    alone = {"one_query_ms": ms, "one_query_without_graphs_ms": plain_ms}
    return {"path": path, "graphs": graphs, "natural": found, **alone}


def graphs_of(ours: Ours) -> int:
    """Return how many CUDA graphs a model has."""
    model = ours.reranker.model
    return len(model.packed.graphs) if isinstance(model, CrossEncoderModel) and model.packed else 0


def without_graphs(ours: Ours, measure: Callable[[], float]) -> float | None:
    """Measure while CUDA graphs are laid aside; None where the model has none."""
    model = ours.reranker.model
    packed = model.packed if isinstance(model, CrossEncoderModel) else None
    if packed is None or not graphs_of(ours):
        return None
    kept, packed.graphs = packed.graphs, Graphs(packed.encoder)
    found = measure()
    packed.graphs = kept
    return found


def one_query_ms(score: Callable[[Group], object], groups: Sequence[Group], length: Length) -> float:
    """Return the median time of a query that has the GPU to itself."""
    times = []
    for number in range(WARMING + length.alone):
        started = time.perf_counter()
        score(groups[number % len(groups)])
        times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times[WARMING:])


def cascade_ms(small: Ours, large: Ours, length: Length) -> float:
    """Return the median time of 100 passages through the small model, and its 20 best through the large one."""
    groups = [group_of(number, (128 - 3 - 12,)) for number in range(16)]
    for ours in (small, large):
        ours.store(groups)

    def score(group: Group) -> object:
        order = (-small.score(group.query, group.passages)).argsort()[:20]
        return large.score(group.query, [group.passages[place] for place in order])

    return one_query_ms(score, groups, length)


def group_of(number: int, lengths: Sequence[int]) -> Group:
    """Return a query of 12 tokens and 100 passages of these lengths, words drawn with the number as seed."""
    chance = random.Random(number)

    def text(count: int) -> str:
        return " ".join(f"w{chance.randrange(WORDS)}" for _ in range(count))

    passages = tuple(text(lengths[place % len(lengths)]) for place in range(CANDIDATES))
    return Group(str(number), text(12), passages, tuple(map(str, range(CANDIDATES))))


def write(shape: Shape, folder: Path, changed: dict[str, int]) -> None:
    """Write a model of this shape with random weights, and a tokenizer that makes one token of each word."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    auto: Any = AutoModelForSequenceClassification

    config = AutoConfig.for_model(shape.kind, num_labels=1, **(shape.config | changed))
    torch.manual_seed(0)
    model = auto.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    write_tokenizer(folder, int(config.pad_token_id or 0), config.max_position_embeddings - 2)


def write_tokenizer(folder: Path, pad_id: int, longest: int) -> None:
    """Write a tokenizer of whole words; special tokens stand where models have them, padding at `pad_id`."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    fast: Any = PreTrainedTokenizerFast

    special = ["[CLS]", "[SEP]", "[UNK]", "[MASK]"]
    special.insert(pad_id, "[PAD]")
    names = [*special, *(f"w{number}" for number in range(WORDS))]
    tokenizer = Tokenizer(WordLevel({name: place for place, name in enumerate(names)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:0 [SEP]:0",
        special_tokens=[(name, names.index(name)) for name in ("[CLS]", "[SEP]")],
    )
    wrapped = fast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        unk_token="[UNK]",
        mask_token="[MASK]",
        model_max_length=longest,
        model_input_names=["input_ids", "attention_mask"],
    )
    wrapped.save_pretrained(folder)
