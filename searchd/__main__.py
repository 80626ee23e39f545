"""The `searchd` command: serve, demo, settings; other commands have files of their own. A roof: nothing imports it.

Heavy imports (torch, the engine) wait until a command needs them, so that `--help` answers at once.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.markup import escape
from rich.table import Table

from indexer.settings import describe
from searchd.asking import query
from searchd.evaluate.calibrate_commands import calibrate
from searchd.evaluate.commands import evaluate
from searchd.evaluate.tune_commands import tune
from searchd.judge.clicks_commands import clicks
from searchd.judge.commands import judged
from searchd.judge.page_commands import judge
from searchd.models import models
from searchd.profile_commands import profiles
from searchd.program import run_program
from searchd.terminal import console, log_to_stderr, output, settings_now
from searchd.train.commands import train

if TYPE_CHECKING:
    from searchd.services import Services


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="searchd")
def cli() -> None:
    """Search with a reranking stage that proves itself."""


@cli.command()
@click.option("--host", help="Address to bind; 127.0.0.1 unless told otherwise.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to bind (8000); 0 takes any free one.")
def serve(host: str | None, port: int | None) -> None:
    """Serve page and API, and index what is added, until stopped."""
    settings = settings_now(host=host, port=port)
    log_to_stderr()
    with console.status("Loading models ..."):
        from searchd.app import serve as run
        from searchd.services import build_services

    def say(url: str) -> None:
        console.print(f"searchd: serving {url} (API: {url}/docs); stop with Ctrl-C", highlight=False, soft_wrap=True)

    run(settings, lambda: build_services(settings, worker=settings.run_worker), say)


@cli.command()
@click.argument("path", required=False, type=click.Path(exists=True, path_type=Path))
@click.option("--host", help="Address to bind; 127.0.0.1 unless told otherwise.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to serve on afterwards (8000); 0: any free one.")
@click.option("--no-serve", is_flag=True, help="End after the questions.")
def demo(path: Path | None, host: str | None, port: int | None, no_serve: bool) -> None:
    """Index the documentation of this Python (or a folder), ask five questions, serve the page."""
    settings = settings_now(host=host, port=port)
    logging.disable(logging.WARNING)
    with console.status("Loading models ..."):
        from indexer.owner import Owner
        from searchd.app import serve as run
        from searchd.demo import COLLECTION, ask, index_demo, questions_of
        from searchd.services import build_services

    def opened() -> Services:
        with console.status("Loading models ..."):
            services = build_services(settings)
        try:
            index_demo(services, path, console)
            services.warm_up()
            ask(services, questions_of(services, path), output)
        except BaseException:
            services.close()
            raise
        return services

    def say(url: str) -> None:
        logging.disable(logging.NOTSET)
        output.print(f"The page: [bold]{url}/?collection={COLLECTION}[/]  (stop with Ctrl-C)", highlight=False)

    if no_serve:
        with Owner.acquire(settings):
            opened().close()
        return
    run(settings, opened, say)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def settings(as_json: bool) -> None:
    """Print every setting: its value now (secrets masked), its variable, what it accepts, what it means."""
    rows = describe(settings_now())
    if as_json:
        output.print_json(json.dumps([asdict(row) for row in rows]))
        return
    table = Table(box=None)
    for column in ("setting", "value", "default", "accepts", "meaning"):
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(escape(cell) for cell in (row.name, row.value, row.default, row.accepts, row.meaning)))
    output.print(table)
    output.print(
        "Set them in searchd.toml (or the file SEARCHD_CONFIG names), or as SEARCHD_<SETTING>; "
        "lists and tables are JSON there.",
        highlight=False,
    )


cli.add_command(query)
cli.add_command(calibrate)
cli.add_command(evaluate)
cli.add_command(tune)
cli.add_command(judged)
cli.add_command(clicks)
cli.add_command(train)
cli.add_command(models)
cli.add_command(profiles)
cli.add_command(judge)


def main() -> None:
    """Run the command line."""
    run_program(cli, "searchd")


if __name__ == "__main__":
    main()
