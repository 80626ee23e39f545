"""What the commands share: this invocation's settings, two consoles (what was asked for, and all else), lines,
log and progress."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from indexer.errors import InputError
from indexer.settings import environment, load_settings
from searchd.settings import Settings

console = Console(stderr=True, emoji=False)
output = Console(emoji=False)
"""What they print has names of files and texts of documents in it: `:bug:` there is no picture."""


def settings_now(**overrides: Any) -> Settings:
    """Read the settings of this invocation; an override that is None leaves them as they are."""
    given = {name: value for name, value in overrides.items() if value is not None}
    return load_settings(Settings, environ=environment(), overrides=given)


def line(text: str) -> None:
    """Print a text as it is, wrapped at words."""
    output.print(Text(text))


def whole_line(text: str) -> None:
    """Print a text as it is, never broken: paths and addresses in it can be copied."""
    output.print(text, highlight=False, soft_wrap=True, markup=False)


def check_places(*files: Path | None) -> None:
    """Refuse files that cannot be written, before anything is computed for them. Raises: InputError naming the first."""
    for path in files:
        if path is None:
            continue
        target = path if path.exists() else path.absolute().parent
        if path.is_dir() or not target.exists() or not os.access(target, os.W_OK):
            why = (
                "it is a folder"
                if path.is_dir()
                else f"{target} {'cannot be written' if target.exists() else 'is not there'}"
            )
            raise InputError(f"{path} cannot be written: {why}")


NOISY = (
    "httpx", "httpcore", "sentence_transformers", "transformers", "alembic", "filelock", "qdrant_client",
    "torch.nn.attention.varlen",
)  # fmt: skip


def log_to_stderr() -> None:
    """Send the daemon's log to stderr, a line each."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)


EVERY_S = 10.0
"""Where nobody watches, a step's progress is a line, so often at most."""


class Steps:
    """Shows how far each step is: a bar on a terminal, lines in a log."""

    def __init__(self, progress: Progress, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._progress = progress
        self._clock = clock
        self._tasks: dict[str, TaskID] = {}
        self._said_at: dict[str, float] = {}

    def report(self, step: str, done: int, whole: int) -> None:
        """Move a step on; what stands after its name's comma changes."""
        name = step.partition(",")[0]
        if not self._progress.console.is_terminal:
            self._say(name, step, done, whole)
            return
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=whole)
        self._progress.update(self._tasks[name], completed=done, total=whole, description=step)

    def _say(self, name: str, step: str, done: int, whole: int) -> None:
        now = self._clock()
        if name in self._said_at and done < whole and now - self._said_at[name] < EVERY_S:
            return
        self._said_at[name] = now
        self._progress.console.print(f"{step}: {done:,} of {whole:,}", highlight=False, soft_wrap=True)


@contextmanager
def bars() -> Iterator[Steps]:
    """Show a step's progress while the block runs."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield Steps(progress)
