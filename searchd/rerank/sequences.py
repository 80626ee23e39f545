"""The tokens of a batch in one row, sequences one after another, without padding.

Takes pairs; gives what a forward pass over a row reads: ids, positions, where each sequence begins. All of it is one
array, so that it goes to the device in one copy, and can be filled up to a room of fixed size (`graphs.py`), or on a CPU
to one of few lengths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from searchd.rerank.local import Pair

if TYPE_CHECKING:
    import torch

Runs = tuple[tuple[int, int, int], ...]
"""(start, sequences, length) of neighbours that are equally long."""
FILL_BITS = 5
"""Leading bits of a row's length on a CPU: 16 lengths from a power of two to the next, 6 % of a row filled up at most.

For each length that it has not met oneDNN makes every product's code anew, 1 ms and 1 MB, which is never given back.
"""


@dataclass(frozen=True, slots=True)
class Room:
    """How many tokens and sequences a row has, and how long a sequence may be."""

    tokens: int
    sequences: int
    longest: int

    def takes(self, lengths: Sequence[int]) -> bool:
        """Say whether sequences fit, with those that fill the rest of the row."""
        fill = self.tokens - sum(lengths)
        fits = fill >= 0 and max(lengths) <= self.longest
        return fits and len(lengths) + -(-fill // self.longest) <= self.sequences


@dataclass(frozen=True, slots=True)
class Packed:
    """A batch in one row; all tensors int32 on the model's device."""

    ids: torch.Tensor
    """Of all sequences; after the last one there may be tokens that are of none, which nobody reads."""
    types: torch.Tensor
    positions: torch.Tensor
    starts: torch.Tensor
    """int32[sequences + 1]: where each begins; the last is where all end."""
    firsts: torch.Tensor
    """int32[sequences]: each one's first token; of empty ones any."""
    runs: Runs
    """Empty where the row is filled up to a room: then attention may look at tensors alone."""
    longest: int


def packed_of(batch: Sequence[Pair], first_position: int, device: torch.device, *, filled: bool = True) -> Packed:
    """Return pairs in a row, in their order; positions count from `first_position`. `filled`: up to `row_tokens`."""
    lengths = np.array([pair.length for pair in batch])
    tokens = int(lengths.sum())
    fill = row_tokens(tokens, device.type) - tokens if filled else 0
    numbers = ready_for(device, numbers_of(batch, first_position, fill=fill))
    numbers = numbers.to(device, non_blocking=device.type == "cuda")
    runs = runs_of(lengths, np.cumsum(lengths) - lengths)
    return in_views(numbers, len(batch), runs, longest=int(lengths.max()))


def row_tokens(tokens: int, device_type: str) -> int:
    """Return how many tokens a row of so many is filled up to."""
    step = 1 << max(0, tokens.bit_length() - FILL_BITS) if device_type == "cpu" else 1
    return -(-tokens // step) * step


def in_views(numbers: torch.Tensor, sequences: int, runs: Runs, longest: int) -> Packed:
    """Return a row whose tensors are parts of `numbers`, as `numbers_of` lays them out."""
    import torch

    tokens = (len(numbers) - 2 * sequences - 1) // 3
    parts = torch.split(numbers, [tokens, tokens, tokens, sequences + 1, sequences])
    ids, types, positions, starts, firsts = parts
    return Packed(ids, types, positions, starts, firsts, runs, longest)


def numbers_of(
    batch: Sequence[Pair], first_position: int, room: Room | None = None, fill: int = 0
) -> NDArray[np.int32]:
    """Return ids, segment ids and positions of all tokens, where sequences begin, and first tokens, in one array.

    Up to `room`, the row is filled with sequences of zeros, as long as they may be, and then with empty ones; or with
    `fill` tokens that are of no sequence.
    """
    ids, types, starts = joined(batch)
    if room is not None:
        fill = room.tokens - len(ids)
        more = np.arange(1, room.sequences - len(batch) + 1) * room.longest
        starts = np.concatenate([starts, np.minimum(starts[-1] + more, room.tokens)])
    ids, types = np.pad(ids, (0, fill)), np.pad(types, (0, fill))
    positions = np.arange(starts[-1]) - np.repeat(starts[:-1], np.diff(starts)) + first_position
    positions = np.pad(positions, (0, len(ids) - len(positions)))
    firsts = np.minimum(starts[:-1], len(ids) - 1)
    return np.concatenate([ids, types, positions, starts, firsts], dtype=np.int32, casting="same_kind")


def ready_for(device: torch.device, numbers: NDArray[np.int32]) -> torch.Tensor:
    """Return an array as a tensor of the CPU; for a GPU in pinned memory, from where nobody waits for its copy."""
    import torch

    tensor = torch.from_numpy(numbers)
    return tensor.pin_memory() if device.type == "cuda" else tensor


def joined(batch: Sequence[Pair]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the token ids of all pairs one after another, their segment ids, and int64[pairs + 1] of their starts."""
    pieces = [piece for pair in batch for piece in (pair.frame.head, pair.passage, pair.frame.tail)]
    lengths = np.array([len(piece) for piece in pieces], dtype=np.int64)
    types = np.array([kind for pair in batch for kind in (0, pair.frame.passage_type, pair.frame.passage_type)])
    starts = np.concatenate([[0], np.cumsum(lengths)[2::3]])
    return np.concatenate(pieces).astype(np.int64), np.repeat(types, lengths), starts


def runs_of(lengths: NDArray[np.int64], starts: NDArray[np.int64]) -> Runs:
    """Return (start, sequences, length) of every run of equal lengths."""
    firsts = np.flatnonzero(np.diff(lengths, prepend=-1))
    counts = np.diff(firsts, append=len(lengths))
    return tuple((int(starts[f]), int(n), int(lengths[f])) for f, n in zip(firsts, counts, strict=True))
