"""The commands of training: `searchd train`, and `searchd models show | promote | rollback`. A roof: it composes and prints.

`searchd/__main__.py` registers them. What needs torch or the engine is imported when a command runs.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from indexer.settings import environment, load_settings
from searchd.settings import Settings

if TYPE_CHECKING:
    from searchd.train.registry import Card

console = Console(stderr=True)
output = Console()


def settings_now() -> Settings:
    """Read the settings of this invocation."""
    return load_settings(Settings, environ=environment())


@click.command()
@click.option("--collection", default="default", show_default=True, help="Whose documents make the training groups.")
@click.option("--as", "principals", multiple=True, help="Read as this principal too; public documents alone otherwise.")
@click.option("--judged", type=click.Path(exists=True, path_type=Path), help="JSON lines of query, document_id, grade.")
@click.option(
    "--corpus", type=click.Path(exists=True, path_type=Path), help="Documents of a file, not of a collection."
)
@click.option("--base", default="rerank-base", show_default=True, help="What to fit: a packaged model or a folder.")
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
@click.option("--promote", "promoting", is_flag=True, help="Use what improves from the next start on.")
def train(new: bool, promoting: bool, **asked: Any) -> None:
    """Make rerankers from your own documents: fit the base model, distil it into a small one, measure both.

    Stopped, it goes on where it was when it is run again with the same options.
    """
    from searchd.train.fit import require_extra

    require_extra()
    settings = settings_now()
    with console.status("Loading ..."):
        from searchd.train import registry
        from searchd.train.options import be_nice, options_of, run_folder
        from searchd.train.run import Runner

        be_nice()
        options = options_of(settings, **asked)
    folder = run_folder(settings, options, new=new)
    console.print(f"The run is kept in {folder}; run the same command again to go on after a stop.", highlight=False)
    with bars() as progress:
        cards = Runner(settings, options, folder, Bars(progress).report).run()
    for card in cards:
        show_figures(card)
        if promoting and card.improved:
            registry.promote(settings, card.name, card.version)
            output.print(f"{card.name} {card.version} is in use from the next start on.")


def bars() -> Progress:
    """Return the progress display."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console)


class Bars:
    """A bar for each step of a run."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def report(self, step: str, done: int, whole: int) -> None:
        """Move a step's bar; what stands after its name's comma changes."""
        name = step.partition(",")[0]
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=whole)
        self._progress.update(self._tasks[name], completed=done, total=whole, description=step)


def list_trained() -> None:
    """Print every trained version, and which are in use."""
    from searchd.train import registry

    settings = settings_now()
    for card in registry.cards(settings):
        used = registry.in_use(settings, card.name)
        mark = "  in use" if used is not None and used.version == card.version else ""
        figures = f"nDCG@10 {card.before.blended:.4f} -> {card.after.blended:.4f}"
        output.print(f"{card.name}  {card.version}  {figures}{mark}", highlight=False, soft_wrap=True)


@click.command()
@click.argument("name")
@click.argument("version", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the card as it is kept.")
def show(name: str, version: str | None, as_json: bool) -> None:
    """Show the card of a trained model: its data, settings and figures. The latest version unless one is named."""
    from searchd.train import registry

    card = registry.card_of(settings_now(), name, version)
    if as_json:
        output.print_json(msgspec.json.encode(card).decode())
        return
    made = datetime.fromtimestamp(card.made_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    output.print(f"{card.name} {card.version}, fitted from {card.base} on {card.collection!r}, {made}", highlight=False)
    output.print(
        f"{card.groups:,} groups: {', '.join(f'{kind} {n:,}' for kind, n in card.kinds.items())}", highlight=False
    )
    output.print(f"settings: {json.dumps(dict(card.settings))}", highlight=False, soft_wrap=True)
    show_figures(card)


def show_figures(card: Card) -> None:
    """Print a model's figures beside those of what it is to replace."""
    table = Table(box=None, title=f"{card.name} {card.version}: nDCG@10, {card.after.queries} held-out queries")
    for column in ("order", "before", "after"):
        table.add_column(column)
    table.add_row("fused", f"{card.before.fused:.4f}", f"{card.after.fused:.4f}")
    table.add_row("model alone", f"{card.before.alone:.4f}", f"{card.after.alone:.4f}")
    table.add_row("blended", f"{card.before.blended:.4f}", f"{card.after.blended:.4f}")
    output.print(table)


@click.command()
@click.argument("name")
@click.argument("version", required=False)
@click.option("--force", is_flag=True, help="Even if held-out queries are not answered better.")
def promote(name: str, version: str | None, force: bool) -> None:
    """Use a trained model wherever a stage names NAME, from the next start on. The latest version unless one is named."""
    from searchd.train import registry

    card = registry.promote(settings_now(), name, version, force=force)
    output.print(f"{card.name} {card.version} is in use from the next start on.", highlight=False)


@click.command()
@click.argument("name")
def rollback(name: str) -> None:
    """Go back to what was in use before the last promotion of NAME."""
    from searchd.train import registry

    output.print(
        f"{name}: {registry.rollback(settings_now(), name)} is in use from the next start on.", highlight=False
    )


COMMANDS = (show, promote, rollback)
"""What is registered under `searchd models`; `train` stands by itself."""
