"""`searchd train`: reads its options, runs the run, shows what it made. A roof: it composes and prints.

`searchd/__main__.py` registers it. What needs torch or the engine is imported when the command runs.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from indexer.errors import Conflict, TransientError
from searchd.models import put_to_use, show_figures
from searchd.program import Terminated
from searchd.terminal import bars, console, line, settings_now
from searchd.train.beside import step_aside

TORCH_WRITER = "inline_container"
"""What torch's errors name when a checkpoint cannot be written."""


@click.command()
@click.option("--collection", default="default", show_default=True, help="Whose documents make the training groups.")
@click.option("--as", "principals", multiple=True, help="Read as this principal too; public documents alone otherwise.")
@click.option("--judged", type=click.Path(exists=True, path_type=Path), help="JSON lines of query, document_id, grade.")
@click.option(
    "--set",
    "sets",
    multiple=True,
    help="A judged set of the collection, or one of clicks; repeatable, beside --judged.",
)
@click.option(
    "--corpus",
    type=click.Path(exists=True, path_type=Path),
    help="Documents of a file, not of a collection; in `default_language`.",
)
@click.option(
    "--base", default="", help="What to fit: a name, as in a stage, or a folder; else what the last stage runs."
)
@click.option("--name", default="rerank-base", show_default=True, help="Role of the fitted model.")
@click.option("--small", default="rerank-small", show_default=True, help="Role of the one distilled from it; '': none.")
@click.option("--method", type=click.Choice(["full", "lora"]), default="full", show_default=True)
@click.option("--groups", default=20_000, show_default=True, type=click.IntRange(20), help="Questions at most.")
@click.option("--negatives", default=5, show_default=True, type=click.IntRange(1, 50), help="Of each question.")
@click.option("--epochs", default=1.0, show_default=True, type=click.FloatRange(0.01, 100))
@click.option("--max-steps", default=0, type=click.IntRange(0), help="Steps of fitting at most; 0: whole epochs.")
@click.option("--learning-rate", default=4e-5, show_default=True, type=click.FloatRange(1e-7, 1e-2))
@click.option("--max-length", default=128, show_default=True, type=click.IntRange(32, 512), help="Tokens of a pair.")
@click.option("--save-steps", default=100, show_default=True, type=click.IntRange(1), help="Steps between checkpoints.")
@click.option("--seed", default=7, show_default=True)
@click.option("--new", is_flag=True, help="Begin anew, though a run is unfinished.")
@click.option("--promote", "promoting", is_flag=True, help="Use what is better from the next start on.")
def train(new: bool, promoting: bool, **asked: Any) -> None:
    """Make rerankers from your own documents: fit the base model, distil it into a small one, measure both.

    Stopped, it goes on where it was when it is run again with the same options.
    """
    from searchd.train.fit import require_extra

    require_extra()
    logging.disable(logging.WARNING)
    settings = settings_now()
    step_aside()
    with console.status("Loading ..."):
        from searchd.train.options import options_of, run_folder
        from searchd.train.run import Runner

        options = options_of(settings, **asked)
    folder = run_folder(settings, options, new=new)
    console.print(f"The run is kept in {folder}", highlight=False, soft_wrap=True)
    with stopped_with_a_word(), bars() as progress:
        cards = Runner(settings, options, folder, progress.report).run()
    for card in cards:
        show_figures(card)
        if card.improved and not promoting:
            line(f"To use it: searchd models promote {card.name} {card.version}")
    for card in cards if promoting else ():
        try:
            put_to_use(settings, card.name, card.version)
        except Conflict as refused:
            line(str(refused))


@contextlib.contextmanager
def stopped_with_a_word() -> Iterator[None]:
    """Say that a run which was interrupted, or found no room, goes on. Raises: TransientError for the latter."""
    from safetensors import SafetensorError

    again = "the same command goes on where it was"
    try:
        yield
    except (KeyboardInterrupt, Terminated):
        console.print(f"Stopped; {again}.", highlight=False)
        raise
    except (OSError, SafetensorError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and TORCH_WRITER not in str(error):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        where = f" ({error.filename})" if isinstance(error, OSError) and error.filename else ""
        raise TransientError(f"the run stopped: {reason}{where}; when that is mended, {again}") from error
