"""`searchd models`: the packaged models and those trained here, listed, shown, promoted, rolled back, exported. A roof.

What needs torch or the engine is imported when a command runs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.table import Table

from indexer.errors import TransientError
from indexer.owner import running_daemon
from searchd.settings import Settings
from searchd.terminal import bars, console, line, output, settings_now, whole_line
from searchd.train.beside import be_nice

if TYPE_CHECKING:
    from searchd.train.gate import Weighed
    from searchd.train.registry import Card, Figures


@click.group()
def models() -> None:
    """The packaged models, and those trained here."""


@models.command("list")
def list_models() -> None:
    """List the packaged models, then the trained ones with their figures; * is in use."""
    from searchd.rerank.house import HOUSE_MODELS
    from searchd.train import registry

    settings = settings_now()
    table = Table(box=None, pad_edge=False)
    for column in ("", "model", "version", "made", "held-out nDCG@10: in use then, new"):
        table.add_column(column)
    for name, digest in HOUSE_MODELS.items():
        used = registry.promoted(settings, name) is None
        table.add_row("*" * used, name, registry.PACKAGED, "", f"sha256 {digest[:16]}...")
    for card in registry.cards(settings):
        now = registry.in_use(settings, card.name)
        used = now is not None and now.version == card.version
        table.add_row("*" * used, card.name, card.version, made(card), short(card))
    output.print(table)


def made(card: Card) -> str:
    """Return when a version was made."""
    return datetime.fromtimestamp(card.made_at, UTC).strftime("%Y-%m-%d %H:%M")


def short(card: Card) -> str:
    """Return a version's figures on half a line."""
    found = card.compared
    if found is None:
        return f"{card.after.blended:.4f}, not compared"
    verdict = "better" if found.better else "not better"
    return f"{found.before:.4f}, {found.after:.4f}: {verdict} ({found.queries})"


@models.command()
@click.argument("name")
@click.argument("version", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the card as it is kept.")
def show(name: str, version: str | None, as_json: bool) -> None:
    """Show the card of a trained model: its data, settings and figures. The latest version unless one is named."""
    from searchd.rerank.house import HOUSE_MODELS
    from searchd.train import registry

    if version == registry.PACKAGED and name in HOUSE_MODELS:
        line(f"{name} packaged with searchd: cross-encoder, sha256 of its weights\n{HOUSE_MODELS[name]}")
        return
    card = registry.card_of(settings_now(), name, version)
    if as_json:
        output.print_json(msgspec.json.encode(card).decode())
        return
    line(
        f"{card.name} {card.version}, fitted from {card.base} on {card.collection!r}, {made(card)} UTC, {card.took_s:.0f} s"
    )
    line(f"data: {card.groups:,} groups: {', '.join(f'{kind} {n:,}' for kind, n in card.kinds.items())}")
    line(f"settings: {', '.join(f'{key} {value}' for key, value in plain(card.settings))}")
    if card.asked:
        line(f"measured: {card.asked}")
    show_figures(card)


def plain(settings: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield settings by dotted name."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from plain(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def show_figures(card: Card) -> None:
    """Print a version's figures beside those of what was in use when its run ended."""
    table = Table(box=None, pad_edge=False)
    for column in (f"nDCG@10, {card.after.queries} queries", card.against or "before", f"{card.name} {card.version}"):
        table.add_column(column)
    for row, told in (("fused order", "fused"), ("model alone", "alone"), ("as served: blended", "blended")):
        table.add_row(row, figure(card.before, told), figure(card.after, told))
    output.print(table)
    if card.compared is not None:
        line(f"{card.name} {card.version} is {'' if card.improved else 'not '}better: {card.compared.said}")


def figure(figures: Figures, name: str) -> str:
    """Return one of the figures."""
    return f"{getattr(figures, name):.4f}"


@models.command()
@click.argument("name")
@click.argument("version", required=False)
@click.option("--force", is_flag=True, help="Even if held-out queries are not answered better.")
def promote(name: str, version: str | None, force: bool) -> None:
    """Use a trained model wherever a stage names NAME, from the next start on. The latest version unless one is named.

    It has to answer its held-out queries better than what serves now, by more than noise; both are measured where the
    figures at hand are of another model.
    """
    put_to_use(settings_now(), name, version, force=force)


def put_to_use(settings: Settings, name: str, version: str | None, *, force: bool = False) -> None:
    """Promote a version and say what it was weighed against, and from when on it serves."""
    with console.status("Loading ..."):
        from indexer.device import Device
        from searchd.train import gate
        from searchd.train.options import half_of_the_threads

    device = Device(half_of_the_threads(settings))
    be_nice()
    try:
        with told_of_the_disk(), bars() as progress:
            card, weighed = gate.promote(settings, device, name, version, force=force, progress=progress.report)
    finally:
        device.close()
    line(f"{card.name} {card.version}: {said_of(weighed, force)}")
    tell_start(settings, name)


@contextlib.contextmanager
def told_of_the_disk() -> Iterator[None]:
    """Say in a line that the disk is full or cannot be written. Raises: TransientError."""
    try:
        yield
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise TransientError(f"what is in use stays as it was: {error.strerror or error}{where}") from error


def said_of(weighed: Weighed | None, force: bool) -> str:
    """Return why a version was promoted."""
    if weighed is None:
        return "promoted by force" if force else "in use already"
    return f"better than {weighed.against} (stage {weighed.stage!r}): {weighed.comparison.said}"


def tell_start(settings: Settings, name: str) -> None:
    """Say from when on what is in use serves, and where."""
    from searchd.train.served import stages_that_run

    stages = stages_that_run(settings, name)
    if not stages:
        line(f'No stage runs {name} yet: give one model = "{name}" in searchd.toml.')
        return
    daemon = running_daemon(settings)
    when = "from the next start on" if daemon is None else f"when the daemon at {daemon.url} is started again"
    line(f"It serves {when}, in {', '.join(stages)}.")


@models.command()
@click.argument("name")
def rollback(name: str) -> None:
    """Go back to what was in use before the last promotion of NAME, from the next start on."""
    from searchd.train import gate

    settings = settings_now()
    with told_of_the_disk():
        now = gate.rollback(settings, name)
    line(f"{now} is in use.")
    tell_start(settings, name)


@models.command()
@click.argument("name")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--onnx", is_flag=True, help="As ONNX, for stages of kind onnx; NAME may be a cross-encoder's folder too."
)
@click.option("--int8", is_flag=True, help="With --onnx: int8 beside float32.")
def export(name: str, folder: Path, onnx: bool, int8: bool) -> None:
    """Write packaged model NAME into FOLDER, as an ordinary CrossEncoder."""
    if int8 and not onnx:
        raise click.UsageError("--int8 is for --onnx")
    if onnx:
        export_as_onnx(name, folder, int8)
        return
    from searchd.rerank.house import export as write

    write(name, folder)
    whole_line(f"{name} was written to {folder}; CrossEncoder({str(folder)!r}) loads it")


def export_as_onnx(name: str, folder: Path, int8: bool) -> None:
    """Write a model as ONNX and say how its scores compare with torch's."""
    with console.status("Writing and comparing ..."):
        from searchd.rerank.onnx_export import export_onnx

        checks = export_onnx(name, folder, int8=int8)
    for check in checks:
        size = check.graph.stat().st_size / 1e6
        whole_line(
            f'model = "{check.graph}"  # {size:.0f} MB; against torch in float32: logits within {check.worst:.2g}, '
            f"Spearman {check.spearman:.4f}, top 10 {check.top:.0%} the same"
        )
