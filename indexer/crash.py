"""Named crash points: where the environment variable SEARCHD_CRASH_AT names one, the process dies there as if killed.

Tests set it to prove what survives. Nothing is flushed, no handler runs: like SIGKILL, but at a known place.
"""

from __future__ import annotations

import os

VARIABLE = "SEARCHD_CRASH_AT"
EXIT_CODE = 137


def crash_point(name: str) -> None:
    """Die here if the environment says so; otherwise do nothing."""
    if os.environ.get(VARIABLE) == name:
        os._exit(EXIT_CODE)
