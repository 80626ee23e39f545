"""The one protocol of every reranker: (query, passages) -> raw logits. Kinds register in `table.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Reranker(Protocol):
    """A model that scores pairs. Thread-safe."""

    @property
    def fingerprint(self) -> str:
        """Names the weights: equal fingerprints give equal scores."""

    def score(
        self, query: str, passages: Sequence[str], *, max_length: int, deadline: float | None = None
    ) -> NDArray[np.float32]:
        """Return float32[len(passages)], raw logits, higher is better, in the order given.

        `max_length` bounds query and passage together, in tokens; the passage is cut, the query to half at most.
        Raises: TimeoutError at `deadline` (monotonic seconds).
        """
