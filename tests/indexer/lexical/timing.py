"""How long a call takes at best: a busy machine makes single calls slow, a bad algorithm all of them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from indexer.errors import InputError

TRIES = 5


def takes_within(limit_s: float, call: Callable[[], object]) -> bool:
    """Say whether one of a few calls ended, perhaps in refusal, within the time."""
    for _ in range(TRIES):
        start = time.thread_time()
        with contextlib.suppress(InputError):
            call()
        if time.thread_time() - start < limit_s:
            return True
    return False
