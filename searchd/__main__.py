"""The `searchd` command: demo, serve, query, settings, models. A roof: it composes and prints, nothing imports it.

Heavy imports (torch, the engine) wait until a command needs them, so that `--help` answers at once.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from indexer.errors import ConfigError, InputError, SearchdError, StaleIndex
from indexer.settings import describe, environment, load_settings
from searchd.settings import Settings
from searchd.train import commands

if TYPE_CHECKING:
    from searchd.services import Services

console = Console(stderr=True)
output = Console()

NOISY = (
    "httpx", "httpcore", "sentence_transformers", "transformers", "alembic", "filelock", "qdrant_client",
    "torch.nn.attention.varlen",
)  # fmt: skip


def settings_now(**overrides: Any) -> Settings:
    """Read the settings of this invocation; an override that is None leaves them as they are."""
    given = {name: value for name, value in overrides.items() if value is not None}
    return load_settings(Settings, environ=environment(), overrides=given)


def log_to_stderr() -> None:
    """Send the daemon's log to stderr, a line each."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)


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
@click.argument("text")
@click.option("--collection", default="default", show_default=True)
@click.option("--limit", default=10, show_default=True, type=click.IntRange(1, 100))
@click.option("--filter", "filter_", help='For example: product = "shop" AND NOT draft')
@click.option("--mode", type=click.Choice(["hybrid", "lexical", "semantic"]), default="hybrid", show_default=True)
@click.option("--profile", default="default", show_default=True)
@click.option("--no-rerank", is_flag=True, help="Fused order only.")
@click.option("--explain", is_flag=True, help="Show every score and what each stage moved.")
@click.option("--timeout-ms", type=click.IntRange(1), help="Whole-query budget.")
@click.option("--json", "as_json", is_flag=True, help="Print the API's answer.")
@click.option(
    "--as", "principals", multiple=True, help="Read as this principal too; repeatable. Without a daemon only."
)
def query(
    text: str, filter_: str | None, no_rerank: bool, as_json: bool, principals: tuple[str, ...], **same: Any
) -> None:
    """Search from the terminal: through the running daemon if there is one, else the folder itself."""
    asked = {"q": text, "filter": filter_, "rerank": {"enabled": not no_rerank}, **same}
    answer = answer_to({name: value for name, value in asked.items() if value is not None}, principals)
    if as_json:
        output.print_json(json.dumps(answer, ensure_ascii=False))
    else:
        show(answer)


def answer_to(asked: dict[str, Any], principals: tuple[str, ...]) -> dict[str, Any]:
    """Return the API's answer: from the daemon of this data folder, or from the folder itself."""
    from indexer.client import RemoteIndexer
    from indexer.owner import running_daemon

    settings = settings_now()
    daemon = running_daemon(settings)
    if daemon is None:
        return answer_of_folder(settings, asked, principals)
    if principals:
        raise InputError("--as reads the folder itself, which a daemon owns now; ask the daemon with one of its keys")
    answer: dict[str, Any] = RemoteIndexer(daemon.url).call("POST", "/api/search", json=asked)
    return answer


def answer_of_folder(settings: Settings, asked: dict[str, Any], principals: tuple[str, ...]) -> dict[str, Any]:
    """Own the folder, search, give it back."""
    with console.status("Loading models ..."):
        import msgspec

        from indexer.owner import Owner
        from indexer.scope import Scope
        from searchd.api.answers import answer_of
        from searchd.api.reading import decode_json
        from searchd.api.search import SearchRequest, query_from_request
        from searchd.services import build_services
        from searchd.settings import Profile

    request = decode_json(msgspec.json.encode(asked), SearchRequest)
    parsed, collection = query_from_request(request, settings)
    with Owner.acquire(settings), console.status("Searching ..."):
        services = build_services(settings, worker=False)
        try:
            if parsed.rerank.enabled:
                services.warm_up()
            response = services.pipeline.search(parsed, Scope.of(collection, principals))
        finally:
            services.close()
    profile = settings.profile(parsed.profile) or Profile()
    plain: dict[str, Any] = msgspec.to_builtins(answer_of(response, request, parsed, profile, None))
    return plain


def show(answer: dict[str, Any]) -> None:
    """Print hits for people, then what ran."""
    for hit in answer["hits"]:
        show_hit(hit)
    if not answer["hits"]:
        output.print("Nothing was found.")
    reports = [*answer["systems"], *answer["stages"]]
    ran = " · ".join(f"{one['name']} {said_of(one)}" for one in reports)
    least = "" if answer["total"]["relation"] == "eq" else "at least "
    count = f"{least}{answer['total']['value']:,} documents"
    output.print(f"[dim]{count} · {escape(ran)} · {answer['took_ms']:.0f} ms[/]", highlight=False)
    for report in reports:
        if report["name"] in answer["degraded"]:
            output.print(f"[yellow]{escape(report['name'])}: {escape(report['reason'] or '')}[/]", highlight=False)


def show_hit(hit: dict[str, Any]) -> None:
    """Print one hit: where it stands, what matched, and its scores if they were asked for."""
    path = [heading for heading in hit["passage"]["heading_path"] if heading != hit["title"]]
    title = " > ".join([hit["title"] or hit["document_id"], *path])
    page = f" p. {hit['passage']['page']}" if hit["passage"]["page"] else ""
    output.print(f"[bold]{hit['rank']}. {escape(title)}[/]{page}  [dim]{escape(hit['uri'])}[/]", highlight=False)
    for highlight in hit["highlights"]:
        line = Text("   " + highlight["text"].replace("\n", " "))
        for start, end in highlight["ranges"]:
            line.stylize("bold yellow", start + 3, end + 3)
        output.print(line)
    for name, said in hit.get("scores", {}).items():
        moved = hit["moved"].get(name)
        places = f", {moved['from']} -> {moved['to']}" if moved else ""
        blend = f", blend {said['blend']:.3f}" if "blend" in said else ""
        terms = f", {' '.join(said['terms'])}" if said.get("terms") else ""
        scored = f"   {name}: rank {said.get('rank')}, score {said['score']:.4g}{blend}{places}{terms}"
        output.print(f"[dim]{escape(scored)}[/]", highlight=False)


def said_of(report: dict[str, Any]) -> str:
    """Return how one system or stage ended, in a word or two."""
    return f"{report['ms']:.0f} ms" if report["status"] == "full" else f"{report['status']}"


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


cli.add_command(commands.train)


@cli.group()
def models() -> None:
    """The packaged models, and those trained here."""


for command in commands.COMMANDS:
    models.add_command(command)


@models.command("list")
def list_models() -> None:
    """List the packaged models, then the trained ones with their figures."""
    from searchd.rerank.house import HOUSE_MODELS

    for name, digest in HOUSE_MODELS.items():
        output.print(f"{name}  cross-encoder  sha256 {digest}", highlight=False, soft_wrap=True)
    commands.list_trained()


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
    output.print(f"{name} was written to {folder}; CrossEncoder({str(folder)!r}) loads it", soft_wrap=True)


def export_as_onnx(name: str, folder: Path, int8: bool) -> None:
    """Write a model as ONNX and say how its scores compare with torch's."""
    with console.status("Writing and comparing ..."):
        from searchd.rerank.onnx_export import export_onnx

        checks = export_onnx(name, folder, int8=int8)
    for check in checks:
        size = check.graph.stat().st_size / 1e6
        line = (
            f'model = "{check.graph}"  # {size:.0f} MB; against torch in float32: logits within {check.worst:.2g}, '
            f"Spearman {check.spearman:.4f}, top 10 {check.top:.0%} the same"
        )
        output.print(line, highlight=False, soft_wrap=True, markup=False)


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
