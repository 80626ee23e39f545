"""CUDA graphs without a GPU: which batches take one, that filling moves no score, which are kept, what a failure leaves.

In a CUDA graph's place stands the trace of torch's own tracer: operations on fixed tensors, done again without the code
that asked for them. What code asks of a GPU is seen on tensors without contents, of which nothing can be read.
"""

from __future__ import annotations

import copy
import itertools
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from hypothesis import given
from hypothesis import strategies as st
from torch.fx.experimental.proxy_tensor import make_fx

from searchd.rerank.attention import attend_varlen
from searchd.rerank.encoder import Encoder
from searchd.rerank.graphs import CudaRecorder, Graphs, Replay, filling, rooms
from searchd.rerank.linears import PlainLinear
from searchd.rerank.local import Frame, Pair
from searchd.rerank.packed import ENCODERS, PackedForward, encoder_of
from searchd.rerank.sequences import Packed, Room, in_views, numbers_of, packed_of

SMALL: dict[str, Any] = {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
                         "intermediate_size": 64, "initializer_range": 0.2, "num_labels": 2, "pad_token_id": 1}  # fmt: skip
ROOMS = (Room(64, 12, 40), Room(128, 12, 40), Room(256, 12, 40))
LENGTHS = (20, 3, 31, 40, 17)
ARCHITECTURES = {
    "bert": hf.BertConfig(**SMALL),
    "xlm-roberta": hf.XLMRobertaConfig(**SMALL, type_vocab_size=1),
    "modernbert, cls": hf.ModernBertConfig(**SMALL, local_attention=16, classifier_pooling="cls"),
    "modernbert, mean": hf.ModernBertConfig(**SMALL, local_attention=16, classifier_pooling="mean"),
}


def attend_by_tensors(
    qkv: torch.Tensor, packed: Packed, heads: int, window: int | None, first_only: bool = False
) -> torch.Tensor:
    """Attend as a GPU's kernel does: by what `starts` holds when it runs."""
    tokens, width = len(qkv), qkv.shape[1] // 3
    query, key, value = qkv.view(tokens, 3, heads, width // heads).permute(1, 2, 0, 3)
    places = torch.arange(tokens)
    own = torch.searchsorted(packed.starts, places, right=True)
    seen = own[:, None] == own[None]
    if window is not None:
        seen &= (places[:, None] - places[None]).abs() <= window
    mixed = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=seen)
    mixed = mixed.transpose(0, 1).reshape(tokens, width)
    return mixed.index_select(0, packed.firsts) if first_only else mixed


@pytest.fixture
def encoder() -> Iterator[Encoder]:
    with torch.inference_mode():
        yield encoder_named("bert")


def encoder_named(name: str) -> Encoder:
    torch.manual_seed(2)
    auto: Any = hf.AutoModelForSequenceClassification
    model = auto.from_config(copy.deepcopy(ARCHITECTURES[name])).eval()
    return encoder_of(model, PlainLinear, attend_by_tensors)


def pairs_of(*lengths: int, seed: int = 1) -> list[Pair]:
    chance = np.random.default_rng(seed)
    numbers = [chance.integers(3, 300, length).astype(np.int32) for length in lengths]
    return [Pair(Frame(one[:1], one[-1:]), one[1:-1]) for one in numbers]


def traced(call: Replay) -> Replay:
    """Record operations as a CUDA graph does: on the very tensors that there are, sizes and Python's numbers fixed."""
    found: Replay = make_fx(call)()
    return found


def again(call: Replay) -> Replay:
    """Do it again with the code: quicker than a trace, and enough where what is kept and taken is asked."""
    return call


def slow(call: Replay) -> Replay:
    def run() -> torch.Tensor:
        for _ in range(3):
            call()
        return call()

    return run


def plain(encoder: Encoder, batch: Sequence[Pair]) -> torch.Tensor:
    return encoder.logits(packed_of(batch, encoder.first_position, encoder.device))


class Turns:
    """A clock by which running takes as long as it is told, and replaying 1 s."""

    def __init__(self, *plain_s: float) -> None:
        self._steps = iter([step for taken in plain_s for _ in range(5) for step in (0.0, taken, 0.0, 1.0)])
        self._now = 0.0

    def __call__(self) -> float:
        self._now += next(self._steps)
        return self._now


# -- rooms ----------------------------------------------------------------------------------------------------------


@given(
    st.lists(st.integers(1, 12), min_size=1, max_size=12), st.integers(1, 64), st.integers(1, 20), st.integers(1, 14)
)
def test_a_room_takes_a_batch_if_all_and_what_fills_it_fit(
    lengths: list[int], tokens: int, sequences: int, longest: int
) -> None:
    room, batch = Room(tokens, sequences, longest), [Pair(Frame(np.ones(1, np.int32), np.ones(0, np.int32)),
                                                          np.ones(length - 1, np.int32)) for length in lengths]  # fmt: skip
    if not room.takes(lengths):
        fill = tokens - sum(lengths)
        assert fill < 0 or max(lengths) > longest or len(lengths) + fill / longest > sequences
        return
    numbers = torch.from_numpy(numbers_of(batch, 5, room))
    packed = in_views(numbers, sequences, (), longest)
    assert len(packed.ids) == tokens
    assert packed.starts[: len(lengths) + 1].tolist() == [sum(lengths[:n]) for n in range(len(lengths) + 1)]
    assert int(packed.starts[-1]) == tokens
    assert 0 <= int(packed.starts.diff().min()) <= int(packed.starts.diff().max()) <= longest
    assert int(packed.firsts.max()) < tokens
    assert 5 <= int(packed.positions.min()) <= int(packed.positions.max()) < 5 + longest


def test_rooms_grow_by_no_more_than_half_a_batch_may_be_empty() -> None:
    found = rooms(8192)
    assert all(one.tokens < more.tokens <= 2 * one.tokens for one, more in itertools.pairwise(found))
    assert all(room.longest == 512 for room in found)
    assert all(room.longest == 128 for room in rooms(128))


def test_an_example_fills_a_room_to_a_mark_or_says_that_it_cannot() -> None:
    example = pairs_of(*LENGTHS)
    assert sum(pair.length for pair in filling(example, ROOMS[2], 200)) in range(160, 201)
    assert filling(pairs_of(41), ROOMS[2], 200) == []


# -- replayed -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_replay_gives_every_batch_the_logits_that_running_gives(name: str) -> None:
    with torch.inference_mode():
        encoder = encoder_named(name)
        graphs = Graphs(encoder, Turns(2.0))
        graphs.keep(ROOMS[1:2], lambda: traced, pairs_of(*LENGTHS), 1e-4)
        assert len(graphs) == 1
        for seed, lengths in enumerate([LENGTHS, (40, 40), (9,) * 11, (32,) * 4, (9, 40, 2, 30), (33, 31)]):
            batch = pairs_of(*lengths, seed=seed)
            found = graphs.logits(batch)
            assert found is not None
            np.testing.assert_allclose(found, plain(encoder, batch), atol=1e-5)


def test_what_no_graph_takes_or_leaves_it_half_empty_runs_without(encoder: Encoder) -> None:
    graphs = Graphs(encoder, Turns(2.0, 2.0, 2.0))
    graphs.keep(ROOMS, lambda: again, pairs_of(*LENGTHS), 1e-4)
    for lengths in ((41,), (40,) * 7, (2,) * 13, (31,)):
        assert graphs.logits(pairs_of(*lengths)) is None


def test_scores_are_the_same_with_graphs_as_without_in_the_order_asked_for(encoder: Encoder) -> None:
    packed, batch = PackedForward(encoder), pairs_of(*LENGTHS)
    without = packed.forward(batch)
    assert packed.path == "packed sequences"
    packed.graphs = Graphs(encoder, Turns(2.0, 2.0, 2.0))
    packed.graphs.keep(ROOMS, lambda: again, batch, 1e-4)
    assert packed.path == "packed sequences, CUDA graphs"
    np.testing.assert_allclose(packed.forward(batch), without, atol=1e-5)
    np.testing.assert_allclose(packed.forward(batch[::-1]), without.flip(0), atol=1e-5)


# -- kept -----------------------------------------------------------------------------------------------------------


def test_graphs_are_kept_up_to_the_first_that_is_no_faster(encoder: Encoder) -> None:
    for plain_s, kept in (((2.0, 2.0, 1.0), 2), ((1.0, 2.0, 2.0), 0), ((2.0, 1.04, 2.0), 1)):
        graphs = Graphs(encoder, Turns(*plain_s))
        graphs.keep(ROOMS, lambda: again, pairs_of(*LENGTHS), 1e-4)
        assert len(graphs) == kept
        assert (graphs.logits(pairs_of(40, 20)) is not None) is (kept > 0)


def test_a_graph_that_is_slower_by_the_clock_on_the_wall_is_not_kept(encoder: Encoder) -> None:
    graphs = Graphs(encoder)
    graphs.keep(ROOMS, lambda: slow, pairs_of(*LENGTHS), 1e-4)
    assert len(graphs) == 0


def test_those_kept_are_recorded_by_one_recorder_the_largest_first(encoder: Encoder) -> None:
    recorded: list[list[int]] = []

    def make() -> Any:
        own: list[int] = []
        recorded.append(own)

        def record(call: Replay) -> Replay:
            own.append(len(call.__closure__[1].cell_contents.ids))  # type: ignore[index]
            return call

        return record

    Graphs(encoder, Turns(2.0, 2.0, 1.0)).keep(ROOMS, make, pairs_of(*LENGTHS), 1e-4)
    assert recorded == [[64], [128], [256], [128, 64]]


def test_a_graph_that_gives_other_logits_is_not_kept(encoder: Encoder, caplog: pytest.LogCaptureFixture) -> None:
    def once(call: Replay) -> Replay:
        found = call()
        return lambda: found

    graphs = Graphs(encoder, Turns(2.0, 2.0, 2.0))
    graphs.keep(ROOMS, lambda: once, pairs_of(*LENGTHS), 1e-4)
    assert len(graphs) == 0
    assert "logits differ" in caplog.text


# -- what fails -----------------------------------------------------------------------------------------------------


def test_where_nothing_can_be_recorded_all_runs_without(encoder: Encoder, caplog: pytest.LogCaptureFixture) -> None:
    def record(call: Replay) -> Replay:
        raise RuntimeError("operation not permitted when stream is capturing")

    graphs = Graphs(encoder)
    graphs.keep(ROOMS, lambda: record, pairs_of(*LENGTHS), 1e-4)
    assert len(graphs) == 0
    assert graphs.logits(pairs_of(*LENGTHS)) is None
    assert "not permitted" in caplog.text


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for a GPU that is not there")
def test_where_there_is_no_gpu_nothing_is_recorded(encoder: Encoder, caplog: pytest.LogCaptureFixture) -> None:
    graphs = Graphs(encoder)
    graphs.keep(ROOMS, lambda: CudaRecorder(encoder.device), pairs_of(*LENGTHS), 1e-4)
    assert len(graphs) == 0
    assert "no CUDA graph" in caplog.text


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_on_a_gpu_a_recorded_graph_gives_the_logits_of_running(name: str) -> None:
    torch.manual_seed(2)
    auto: Any = hf.AutoModelForSequenceClassification
    model = auto.from_config(copy.deepcopy(ARCHITECTURES[name])).eval().to("cuda", torch.bfloat16)
    with torch.inference_mode():
        encoder = encoder_of(model, PlainLinear, attend_varlen)
        graphs = Graphs(encoder, Turns(*[2.0] * len(ROOMS)))
        graphs.keep(ROOMS, lambda: CudaRecorder(encoder.device), pairs_of(*LENGTHS), 0.1)
        assert len(graphs) == len(ROOMS)
        for seed, lengths in enumerate([LENGTHS, (40, 40), (9,) * 11, (32,) * 4]):
            batch = pairs_of(*lengths, seed=seed)
            found = graphs.logits(batch)
            assert found is not None
            np.testing.assert_allclose(found.cpu(), plain(encoder, batch).cpu(), atol=0.1)


def test_a_replay_that_fails_costs_no_score_and_is_not_tried_again(
    encoder: Encoder, caplog: pytest.LogCaptureFixture
) -> None:
    failing = [False]

    def record(call: Replay) -> Replay:
        replay = call

        def run() -> torch.Tensor:
            if failing[0]:
                raise RuntimeError("CUDA error: unknown")
            return replay()

        return run

    packed, batch = PackedForward(encoder), pairs_of(*LENGTHS)
    without = packed.forward(batch)
    packed.graphs = Graphs(encoder, Turns(2.0, 2.0, 2.0))
    packed.graphs.keep(ROOMS, lambda: record, batch, 1e-4)
    failing[0] = True
    with caplog.at_level(logging.WARNING):
        np.testing.assert_allclose(packed.forward(batch), without, atol=1e-5)
    assert packed.path == "packed sequences"
    assert "given up" in caplog.text


# -- what is asked of a GPU ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_on_a_gpu_the_forward_pass_waits_for_nothing_and_attends_by_one_kernel(name: str) -> None:
    kernels: list[Any] = []

    class Noting(torch.utils._python_dispatch.TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if "varlen" in str(func):
                kernels.append(args)
            return func(*args, **(kwargs or {}))

    room = ROOMS[2]
    config = copy.deepcopy(ARCHITECTURES[name])
    auto: Any = hf.AutoModelForSequenceClassification
    model = auto.from_config(config, dtype=torch.bfloat16).eval().to("meta")
    encoder = ENCODERS[config.model_type](model, PlainLinear, attend_varlen)
    with torch.inference_mode():
        size = 3 * room.tokens + 2 * room.sequences + 1
        packed = in_views(torch.zeros(size, dtype=torch.int32, device="meta"), room.sequences, (), room.longest)
        with Noting():  # type: ignore[no-untyped-call]
            logits = encoder.logits(packed)
    assert (logits.device.type, logits.dtype, logits.shape) == ("meta", torch.float32, (room.sequences, 2))
    assert len(kernels) == config.num_hidden_layers
    for query, key, value, starts, others, *longest in (args[:7] for args in kernels):
        assert {one.dtype for one in (query, key, value)} == {torch.bfloat16}
        assert query.shape == key.shape == value.shape == (room.tokens, 2, 16)
        assert query.stride(-1) == key.stride(-1) == value.stride(-1) == 1
        assert starts is others
        assert starts.dtype == torch.int32
        assert starts.is_contiguous()
        assert longest == [room.longest, room.longest]
    windows = [args[9] for args in kernels]
    assert windows == ([[-1, -1], [8, 8]] if "modernbert" in name else [[-1, -1]] * 2)
