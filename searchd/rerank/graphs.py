"""CUDA graphs of a packed forward pass: one for each of a few sizes of batch, replayed where that is faster than running.

A small model's kernels take less time than to launch them one by one; a graph launches all at once, but on tensors of
fixed size. A batch goes into the smallest room that takes it, filled up with sequences of zeros that nobody reads. What
fits none, or is no faster, runs as it does without. How a graph is recorded is `CudaRecorder`'s alone: not run on a GPU yet.
"""

from __future__ import annotations

import itertools
import logging
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from searchd.rerank.encoder import Encoder
from searchd.rerank.local import Pair
from searchd.rerank.sequences import Packed, Room, in_views, numbers_of, packed_of, ready_for

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

Replay = Callable[[], "torch.Tensor"]
Recorder = Callable[[Replay], Replay]
"""Takes a call that works on fixed tensors; gives one that does the same work again, on what these then hold."""
TOKENS = (256, 512, 1024, 1536, 2048, 3072, 4096, 5120, 6144, 7168, 8192, 10240, 12288, 14336, 16384)
"""Of each room."""
LEAST_FILL = 0.5
"""Of a room, which a batch must have: the rest is computed for nothing."""
LONGEST = 512
"""Tokens of a sequence in a graph; longer ones keep a GPU busy without."""
TOKENS_A_SEQUENCE = 32
"""Mean length below which a batch needs a larger room than its tokens do."""
ROUNDS = 5
LEAST_GAIN = 1.05
"""Running must take so many times as long, or its graph is not kept."""
WARM_UPS = 3


@dataclass(frozen=True, slots=True)
class Graph:
    """A forward pass over a room: fill `numbers`, replay, read the logits of its sequences."""

    room: Room
    numbers: torch.Tensor
    replay: Replay


def rooms(longest: int) -> tuple[Room, ...]:
    """Return the rooms for a model that takes so many tokens, the smallest first."""
    return tuple(Room(tokens, tokens // TOKENS_A_SEQUENCE, min(longest, LONGEST)) for tokens in TOKENS)


class Graphs:
    """The graphs of one model that are kept. Called on the device's thread, in inference mode."""

    def __init__(self, encoder: Encoder, clock: Callable[[], float] = time.perf_counter) -> None:
        self._encoder = encoder
        self._clock = clock
        self._graphs: list[Graph] = []

    def __len__(self) -> int:
        return len(self._graphs)

    def logits(self, batch: Sequence[Pair]) -> torch.Tensor | None:
        """Return float32[len(batch), labels] where a graph takes the batch, else None.

        A graph that fails takes all others with it: then nothing is replayed any more.
        """
        lengths = [pair.length for pair in batch]
        graph = next((one for one in self._graphs if one.room.takes(lengths)), None)
        if graph is None or sum(lengths) < LEAST_FILL * graph.room.tokens:
            return None
        try:
            return self._replayed(graph, batch)
        except RuntimeError as error:
            log.warning("CUDA graphs are given up: %s", str(error).partition("\n")[0])
            self._graphs = []
            return None

    def keep(self, wanted: Sequence[Room], make: Callable[[], Recorder], example: Sequence[Pair], most: float) -> None:
        """Record those of the rooms, smallest first, of which replaying is faster, until one is not.

        `make` gives a recorder, whose graphs may share memory: each is tried with one of its own, and then those that are
        kept are recorded again with one for all, the largest first, so that the others fit into its memory. `most` is how
        far a logit may be from the one without a graph.
        """
        kept: list[Room] = []
        self._graphs = []
        try:
            for least, room in zip((0, *(room.tokens for room in wanted)), wanted, strict=False):
                batch = filling(example, room, (least + room.tokens) // 2)
                if not batch or not self._gains(self._recorded(room, make()), batch, most):
                    break
                kept.append(room)
            recorder = make()
            for room in reversed(kept):
                self._graphs.insert(0, self._recorded(room, recorder))
        except (RuntimeError, ValueError) as error:
            # Whatever a device, or an operation that must not be recorded, raises: those before it are good.
            log.warning("no CUDA graph of more: %s", str(error).partition("\n")[0])
        largest = self._graphs[-1].room.tokens if self._graphs else 0
        log.info("CUDA graphs of %d sizes of batch, up to %d tokens", len(self._graphs), largest)

    def _recorded(self, room: Room, recorder: Recorder) -> Graph:
        import torch

        encoder = self._encoder
        size = 3 * room.tokens + 2 * room.sequences + 1
        numbers = torch.zeros(size, dtype=torch.int32, device=encoder.device)
        packed: Packed = in_views(numbers, room.sequences, (), room.longest)
        return Graph(room, numbers, recorder(lambda: encoder.logits(packed)))

    def _replayed(self, graph: Graph, batch: Sequence[Pair]) -> torch.Tensor:
        numbers = numbers_of(batch, self._encoder.first_position, graph.room)
        graph.numbers.copy_(ready_for(graph.numbers.device, numbers), non_blocking=True)
        return graph.replay()[: len(batch)]

    def _gains(self, graph: Graph, batch: Sequence[Pair], most: float) -> bool:
        """Say whether a graph gives what running gives, and faster; from pairs to logits, taking turns."""
        encoder = self._encoder
        ways: list[Replay] = [
            lambda: encoder.logits(packed_of(batch, encoder.first_position, encoder.device)).cpu(),
            lambda: self._replayed(graph, batch).cpu(),
        ]
        plain, replayed = (way() for way in ways)
        moved = float(((plain - replayed).abs() / plain.abs().clamp(min=1.0)).max())
        if not moved <= most:
            log.warning("a CUDA graph's logits differ by %.3g", moved)
            return False
        seconds: tuple[list[float], list[float]] = ([], [])
        for _, (way, taken) in itertools.product(range(ROUNDS), zip(ways, seconds, strict=True)):
            started = self._clock()
            way()
            taken.append(self._clock() - started)
        plain_s, replayed_s = map(statistics.median, seconds)
        log.debug("%d tokens: %.2f ms, as a graph %.2f ms", graph.room.tokens, plain_s * 1000, replayed_s * 1000)
        return replayed_s * LEAST_GAIN <= plain_s


def filling(example: Sequence[Pair], room: Room, tokens: int) -> list[Pair]:
    """Return the example over and over, of about so many tokens; nothing if the room does not take it."""
    found: list[Pair] = []
    for pair in itertools.cycle(example):
        tokens -= pair.length
        if found and tokens < 0:
            break
        found.append(pair)
    return found if room.takes([pair.length for pair in found]) else []


class CudaRecorder:
    """Records CUDA graphs that share memory: one of them is replayed, and its outcome read, before another is."""

    def __init__(self, device: torch.device) -> None:
        import torch

        self._device = device
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, call: Replay) -> Replay:
        """See `Recorder`. Source: "CUDA Graphs" in torch's notes on CUDA semantics."""
        import torch

        with torch.cuda.device(self._device):
            stream: torch.cuda.Stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(WARM_UPS):
                    call()
            torch.cuda.current_stream().wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            # Other threads may use the GPU meanwhile: a process can have two devices' threads, or another library's.
            with torch.cuda.graph(graph, pool=self._pool, stream=stream, capture_error_mode="thread_local"):
                found = call()

        def replay() -> torch.Tensor:
            graph.replay()
            return found

        return replay
