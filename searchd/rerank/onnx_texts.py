"""Real texts that are always at hand, to compare two forms of one model on: this Python's own documentation."""

from __future__ import annotations

import inspect
import json
import random
import shutil
import statistics
import textwrap
import threading
from types import ModuleType

MODULES = (json, random, shutil, statistics, textwrap, threading)
QUERIES = (
    "how is a folder copied with everything in it",
    "middle value of a list of numbers",
    "break a long text into lines of a given width",
    "wait until another thread has finished",
)
LEAST_CHARS, MOST_PASSAGES = 80, 40


def documentation(modules: tuple[ModuleType, ...]) -> tuple[str, ...]:
    """Return what public functions and classes of these modules say of themselves, by name; not what is very short."""
    found: dict[str, str] = {}
    for module in modules:
        for name in sorted(vars(module)):
            said = inspect.getdoc(getattr(module, name))
            own = str(getattr(getattr(module, name), "__module__", "")).split(".")[0] == module.__name__
            if own and not name.startswith("_") and said and len(said) >= LEAST_CHARS:
                found.setdefault(said, f"{module.__name__}.{name}")
    return tuple(f"{name}\n{said}" for said, name in found.items())[:MOST_PASSAGES]


PASSAGES = documentation(MODULES)
