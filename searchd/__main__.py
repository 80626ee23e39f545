"""The `searchd` command: demo, serve, query, settings, models. A roof: it composes and prints, nothing imports it.

Heavy imports (torch, the engine) wait until a command needs them, so that `--help` answers at once.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from indexer.errors import ConfigError, InputError, SearchdError, StaleIndex
from indexer.settings import environment, load_settings
from searchd.describe import described
from searchd.settings import Settings

if TYPE_CHECKING:
    from searchd.services import Services

console = Console(stderr=True)
output = Console()


def settings_now(**overrides: Any) -> Settings:
    """Read the settings of this invocation."""
    given = {name: value for name, value in overrides.items() if value is not None}
    return load_settings(Settings, environ=environment(), overrides=given)


def log_to_stderr() -> None:
    """Send the daemon's log to stderr, a line each."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for noisy in ("httpx", "sentence_transformers", "transformers", "alembic", "filelock"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="searchd")
def cli() -> None:
    """Search with a reranking stage that proves itself."""


@cli.command()
@click.option("--host", help="Address to bind; 127.0.0.1 unless told otherwise.")
@click.option("--port", type=int, help="Port to bind (8000); 0 takes any free one.")
def serve(host: str | None, port: int | None) -> None:
    """Serve page and API, and index what is added, until stopped."""
    from searchd.app import serve as run
    from searchd.services import build_services

    settings = settings_now(host=host, port=port)
    log_to_stderr()
    run(settings, lambda: build_services(settings, worker=settings.run_worker), say_address)


def say_address(url: str) -> None:
    """Print where the page is."""
    console.print(f"searchd: serving {url} (API: {url}/docs); stop with Ctrl-C", highlight=False)


@cli.command()
@click.argument("path", required=False, type=click.Path(exists=True, path_type=Path))
@click.option("--host", help="Address to bind; 127.0.0.1 unless told otherwise.")
@click.option("--port", type=int, help="Port to serve on afterwards (8000).")
@click.option("--no-serve", is_flag=True, help="End after the questions.")
def demo(path: Path | None, host: str | None, port: int | None, no_serve: bool) -> None:
    """Index the documentation of this Python (or a folder), ask five questions, serve the page."""
    from indexer.owner import Owner
    from searchd.app import serve as run
    from searchd.demo import COLLECTION, ask, index_demo, questions_of
    from searchd.services import build_services

    settings = settings_now(host=host, port=port)
    logging.disable(logging.WARNING)

    def opened() -> Services:
        with console.status("Loading models ..."):
            services = build_services(settings)
        try:
            index_demo(services, path, console)
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
@click.argument("text")
@click.option("--collection", default="default", show_default=True)
@click.option("--limit", default=10, show_default=True, type=click.IntRange(1, 100))
@click.option("--filter", "filter_", help='For example: product = "shop" AND NOT draft')
@click.option("--mode", type=click.Choice(["hybrid", "lexical", "semantic"]), default="hybrid", show_default=True)
@click.option("--profile", default="default", show_default=True)
@click.option("--no-rerank", is_flag=True, help="Fused order only.")
@click.option("--explain", is_flag=True, help="Show every score and what each stage moved.")
@click.option("--timeout-ms", type=int, help="Whole-query budget.")
@click.option("--json", "as_json", is_flag=True, help="Print the API's answer.")
@click.option("--as", "principals", multiple=True, help="Read as this principal too (own folder only); repeatable.")
def query(
    text: str,
    collection: str,
    limit: int,
    filter_: str | None,
    mode: str,
    profile: str,
    no_rerank: bool,
    explain: bool,
    timeout_ms: int | None,
    as_json: bool,
    principals: tuple[str, ...],
) -> None:
    """Search from the terminal, through the running daemon if there is one."""
    asked: dict[str, Any] = {
        "q": text,
        "collection": collection,
        "limit": limit,
        "mode": mode,
        "profile": profile,
        "explain": explain,
        "rerank": {"enabled": not no_rerank},
    }
    asked |= {"filter": filter_} if filter_ else {}
    asked |= {"timeout_ms": timeout_ms} if timeout_ms else {}
    answer = answer_to(asked, principals)
    if as_json:
        output.print_json(json.dumps(answer, ensure_ascii=False))
        return
    show(answer, explain)


def answer_to(asked: dict[str, Any], principals: tuple[str, ...]) -> dict[str, Any]:
    """Return the API's answer: from the daemon of this data folder, or from the folder itself."""
    from indexer.client import RemoteIndexer
    from indexer.owner import running_daemon

    settings = settings_now()
    daemon = running_daemon(settings)
    if daemon is not None:
        if principals:
            raise InputError("--as reads the folder itself; a daemon is running: send an API key to it instead")
        answer: dict[str, Any] = RemoteIndexer(daemon.url).call("POST", "/api/search", json=asked)
        return answer
    return local_answer(settings, asked, principals)


def local_answer(settings: Settings, asked: dict[str, Any], principals: tuple[str, ...]) -> dict[str, Any]:
    """Open the folder, search, close it."""
    from indexer.owner import Owner
    from indexer.scope import Scope
    from searchd.api.schemas import SearchRequest
    from searchd.api.search import convert, query_from_request, response_json
    from searchd.services import build_services

    with Owner.acquire(settings):
        parsed, collection = query_from_request(convert(asked, SearchRequest), settings)
        services = build_services(settings, worker=False)
        try:
            response = services.pipeline.search(parsed, Scope.of(collection, principals))
            return response_json(response, parsed)
        finally:
            services.close()


def show(answer: dict[str, Any], explain: bool) -> None:
    """Print hits for people."""
    for hit in answer["hits"]:
        place = " > ".join([hit["title"], *[h for h in hit["passage"]["heading_path"] if h != hit["title"]]])
        output.print(f"[bold]{hit['rank']}. {escape(place)}[/]  [dim]{escape(hit['uri'])}[/]", highlight=False)
        for highlight in hit["highlights"]:
            line = Text("   " + highlight["text"].replace("\n", " "))
            for start, end in highlight["ranges"]:
                line.stylize("bold yellow", start + 3, end + 3)
            output.print(line)
        if explain:
            output.print(f"   [dim]{escape(json.dumps(hit['scores']))} moved {escape(json.dumps(hit['moved']))}[/]")
    if not answer["hits"]:
        output.print("Nothing was found.")
    ran = " · ".join(f"{s['name']} {s['ms']:.0f} ms" + ("" if s["status"] == "full" else f" ({s['status']})") for s in answer["stages"])
    relation = "" if answer["total"]["relation"] == "eq" else "at least "
    output.print(f"[dim]{relation}{answer['total']['value']:,} documents · {ran} · {answer['took_ms']:.0f} ms[/]", highlight=False)
    for stage in answer["stages"]:
        if stage["name"] in answer["degraded"]:
            output.print(f"[yellow]{escape(stage['name'])}: {escape(stage['reason'] or '')}[/]")


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def settings(as_json: bool) -> None:
    """Print every setting: its value, its variable, what it accepts, what it means."""
    rows = described(settings_now())
    if as_json:
        output.print_json(json.dumps(rows))
        return
    table = Table(box=None)
    for column in ("setting", "value", "accepts", "meaning"):
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(row["name"], escape(row["value"]), escape(row["accepts"]), escape(row["meaning"]))
    output.print(table)
    output.print("Set them in searchd.toml (or SEARCHD_CONFIG), or as SEARCHD_<NAME>; lists and tables there as JSON.")


@cli.group()
def models() -> None:
    """The packaged models."""


@models.command("list")
def list_models() -> None:
    """List the packaged models."""
    from searchd.rerank.house import HOUSE_MODELS

    for name, digest in HOUSE_MODELS.items():
        output.print(f"{name}  cross_encoder  sha256 {digest}", highlight=False)


@models.command()
@click.argument("name")
@click.argument("folder", type=click.Path(path_type=Path))
def export(name: str, folder: Path) -> None:
    """Write packaged model NAME into FOLDER, as an ordinary CrossEncoder."""
    from searchd.rerank.house import export as write

    write(name, folder)
    output.print(f"{name} was written to {folder}; CrossEncoder({str(folder)!r}) loads it")


def run_command(command: Callable[[], object], program: str) -> int:
    """Run a click command; errors made on purpose become one line. Return the exit status."""
    try:
        command()
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except (click.exceptions.Abort, KeyboardInterrupt):
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except SearchdError as error:
        console.print(f"{program}: {escape(str(error))}", highlight=False, soft_wrap=True)
        return 2 if isinstance(error, InputError | ConfigError | StaleIndex) else 1
    return 0


def main() -> None:
    """Run the command line."""
    sys.exit(run_command(lambda: cli(standalone_mode=False), "searchd"))


if __name__ == "__main__":
    main()
