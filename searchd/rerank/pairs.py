"""(query, passages) -> padded token ids: the input of a cross-encoder. Pure; used by `cross_encoder.py`.

Works on a tokenizer that is never changed: one that is told to truncate is changed by each call, and threads collide.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

LONGEST_TOKEN_CHARS = 24
"""A passage is cut to this many characters per token before it is tokenized: what lies beyond cannot be reached."""


class PairEncoder:
    """Makes pairs as the model was trained on; `inputs` names what it takes besides ids and mask."""

    def __init__(self, tokenizer: Tokenizer, *, pad_id: int, longest: int, type_ids: bool) -> None:
        self._tokenizer = tokenizer
        self._pad_id = pad_id
        self._longest = longest
        self._type_ids = type_ids
        self._special = tokenizer.num_special_tokens_to_add(True)

    def encode(self, query: str, passages: Sequence[str], max_length: int) -> dict[str, NDArray[np.int64]]:
        """Return int64[len(passages), longest pair] by the model's input names.

        A pair has at most `max_length` tokens (fewer if the model takes fewer); the query is cut to half of that.
        """
        limit = max(self._special + 2, min(max_length, self._longest))
        room = limit - self._special
        first = self._tokenizer.encode(query, add_special_tokens=False)
        first.truncate(max(1, min(len(first.ids), limit // 2, room - 1)))
        shortened = [passage[: room * LONGEST_TOKEN_CHARS] for passage in passages]
        seconds = self._tokenizer.encode_batch(shortened, add_special_tokens=False)
        for second in seconds:
            second.truncate(room - len(first.ids))
        return self._padded([self._tokenizer.post_process(first, second, True) for second in seconds])

    def _padded(self, pairs: Sequence[Encoding]) -> dict[str, NDArray[np.int64]]:
        width = max(len(pair.ids) for pair in pairs)
        ids = np.full((len(pairs), width), self._pad_id, dtype=np.int64)
        mask = np.zeros((len(pairs), width), dtype=np.int64)
        types = np.zeros((len(pairs), width), dtype=np.int64)
        for row, pair in enumerate(pairs):
            ids[row, : len(pair.ids)] = pair.ids
            mask[row, : len(pair.ids)] = 1
            types[row, : len(pair.ids)] = pair.type_ids
        inputs = {"input_ids": ids, "attention_mask": mask}
        return inputs | {"token_type_ids": types} if self._type_ids else inputs
