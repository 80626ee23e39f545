"""query -> the frame of a pair encoding: what a cross-encoder's tokenizer puts before and after the passage.

Found by encoding a pair and looking where the second text lies. Fast tokenizers encode both texts of a pair apart, so
joining ids gives the same as encoding the pair (tests hold it). Used by `cross_encoder.py` and `onnx.py`.
"""

from __future__ import annotations

import numpy as np
from tokenizers import Tokenizer

from searchd.rerank.local import Frame
from searchd.rerank.types import query_cut


class PairFrames:
    """Makes frames as the model was trained on. Thread-safe: the tokenizer is never changed.

    A tokenizer that is told to truncate is changed by each call, and threads collide.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Raises: ValueError if its template of a pair has a text more than once: no frame is that."""
        self._tokenizer = tokenizer
        self._special = tokenizer.num_special_tokens_to_add(True)
        first, second = (tokenizer.encode("a", add_special_tokens=False) for _ in range(2))
        pair = tokenizer.post_process(first, second, True)
        if len(pair.ids) != len(first.ids) + len(second.ids) + self._special:
            raise ValueError("its tokenizer's template of a pair has a text more than once")

    def frame(self, query: str, limit: int) -> Frame:
        """Return the frame of a query, which is cut to half of `limit` tokens at most."""
        room = max(self._special + 2, limit) - self._special
        first = self._tokenizer.encode(query, add_special_tokens=False)
        tokens = len(first.ids)
        first.truncate(max(1, min(tokens, limit // 2, room - 1)))
        second = self._tokenizer.encode("a", add_special_tokens=False)
        pair = self._tokenizer.post_process(first, second, True)
        inside = [place for place, sequence in enumerate(pair.sequence_ids) if sequence == 1]
        start, end = inside[0], inside[-1] + 1
        return Frame(
            head=np.asarray(pair.ids[:start], dtype=np.int32),
            tail=np.asarray(pair.ids[end:], dtype=np.int32),
            passage_type=int(pair.type_ids[start]),
            cut=query_cut(len(first.ids), tokens),
        )
