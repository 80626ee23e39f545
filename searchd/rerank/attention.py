"""Attention within the sequences of a row: by runs of equal length on any device, by one kernel over all on a GPU.

Takes queries, keys and values of all tokens; a window says how far a token looks to either side. Used by the packed
forward passes; `packed.py` says which runs where.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from searchd.rerank.sequences import Packed

if TYPE_CHECKING:
    import torch

Attention = Callable[["torch.Tensor", "Packed", int, "int | None", bool], "torch.Tensor"]
"""(queries, keys and values [tokens, 3 * width], the row, heads, window or None, first tokens alone) -> [tokens, width].

Of first tokens alone, what the last layer is asked for, it gives [sequences, width].
"""
BLOCK = 256
"""Queries that attend together within a window: more compute what lies outside, fewer are many small products."""


def attend_by_runs(
    qkv: torch.Tensor, packed: Packed, heads: int, window: int | None = None, first_only: bool = False
) -> torch.Tensor:
    """Attend within each sequence; those of equal length together."""
    import torch

    width = qkv.shape[1] // 3
    size = width // heads
    mixed = torch.empty((len(packed.firsts) if first_only else len(qkv), width), dtype=qkv.dtype, device=qkv.device)
    done = 0
    for start, count, length in packed.runs:
        part = slice(start, start + count * length)
        query, key, value = qkv[part].view(count, length, 3, heads, size).permute(2, 0, 3, 1, 4)
        asked = 1 if first_only else length
        found = mixed[done : done + count * asked].view(count, asked, heads, size).transpose(1, 2)
        done += count * asked
        if window is None or length <= window + 1:
            found.copy_(torch.nn.functional.scaled_dot_product_attention(query[:, :, :asked], key, value))
        else:
            attend_in_window(query[:, :, :asked], key, value, window, found)
    mixed[done:] = 0  # tokens that fill up the row: nobody reads them, but they are multiplied like the others
    return mixed


def attend_in_window(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, window: int, found: torch.Tensor
) -> None:
    """Fill `found` from [sequences, heads, length, size]: block by block, each with the keys that its window reaches.

    Queries may be those of a sequence's first tokens alone.
    """
    import torch

    asked, length = query.shape[2], key.shape[2]
    mask = band(BLOCK, window, query.dtype, query.device)
    for start in range(0, asked, BLOCK):
        end = min(asked, start + BLOCK)
        low, high = max(0, start - window), min(length, end + window)
        shift = low - (start - window)
        found[:, :, start:end] = torch.nn.functional.scaled_dot_product_attention(
            query[:, :, start:end], key[:, :, low:high], value[:, :, low:high],
            attn_mask=mask[: end - start, shift : shift + high - low],
        )  # fmt: skip


@cache
def band(block: int, window: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Return [block, block + 2 * window], 0 where a query of a block sees a key and -inf elsewhere.

    Its first key lies `window` before its first query.
    """
    import torch

    away = torch.arange(block + 2 * window)[None] - window - torch.arange(block)[:, None]
    return torch.where(away.abs() <= window, 0.0, float("-inf")).to(device=device, dtype=dtype)


def attend_varlen(
    qkv: torch.Tensor, packed: Packed, heads: int, window: int | None = None, first_only: bool = False
) -> torch.Tensor:
    """Attend within each sequence by one flash attention over all; half precision on GPUs from Ampere on.

    First tokens alone are taken out of what all tokens got: the kernel is a small part of a layer there.
    """
    import torch
    from torch.nn.attention.varlen import varlen_attn

    tokens, width = qkv.shape[0], qkv.shape[1] // 3
    query, key, value = qkv.view(tokens, 3, heads, width // heads).unbind(1)
    reach = (-1, -1) if window is None else (window, window)
    starts, longest = packed.starts, packed.longest
    mixed = varlen_attn(query, key, value, starts, starts, longest, longest, window_size=reach)
    assert isinstance(mixed, torch.Tensor)  # noqa: S101  # narrows the type: no log-sum-exp was asked for
    mixed = mixed.reshape(tokens, width)
    return mixed.index_select(0, packed.firsts) if first_only else mixed
