"""`searchd query`: one search from the terminal, through the running daemon or the folder itself. A roof, like `__main__.py`.

Heavy imports (torch, the engine) wait until they are needed.
"""

from __future__ import annotations

import json
from typing import Any

import click
from rich.markup import escape
from rich.text import Text

from indexer.errors import InputError
from searchd.settings import Settings
from searchd.terminal import console, output, settings_now


@click.command()
@click.argument("text")
@click.option("--collection", default="default", show_default=True)
@click.option("--limit", default=10, show_default=True, type=click.IntRange(1, 100))
@click.option("--filter", "filter_", help='For example: product = "shop" AND NOT draft')
@click.option("--mode", type=click.Choice(["hybrid", "lexical", "semantic"]), default="hybrid", show_default=True)
@click.option("--profile", default="default", show_default=True)
@click.option("--min-relevance", type=click.FloatRange(0, 1), help="Least calibrated relevance of a hit.")
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
    with Owner.acquire(settings), console.status("Searching ..."):
        services = build_services(settings, worker=False)
        try:
            parsed, collection = query_from_request(request, settings, services.profiles)
            if parsed.rerank.enabled:
                services.warm_up()
            response = services.pipeline.search(parsed, Scope.of(collection, principals))
        finally:
            services.close()
    plain: dict[str, Any] = msgspec.to_builtins(answer_of(response, request, parsed, parsed.chosen or Profile(), None))
    return plain


def show(answer: dict[str, Any]) -> None:
    """Print hits for people, then what ran."""
    for hit in answer["hits"]:
        show_hit(hit)
    cut = answer.get("cut")
    if not answer["hits"]:
        output.print("Nothing fits well enough." if cut and cut["applied"] else "Nothing was found.")
    if cut:
        output.print(escape(said_of_cut(cut)), highlight=False)
    reports = [*answer["systems"], *answer["stages"]]
    ran = " · ".join(f"{one['name']} {said_of(one)}" for one in reports)
    least = "" if answer["total"]["relation"] == "eq" else "at least "
    count = f"{least}{answer['total']['value']:,} documents"
    output.print(f"[dim]{count} · {escape(ran)} · {answer['took_ms']:.0f} ms[/]", highlight=False)
    for report in reports:
        if report["name"] in answer["degraded"]:
            output.print(f"[yellow]{escape(report['name'])}: {escape(report['reason'] or '')}[/]", highlight=False)


def said_of_cut(cut: dict[str, Any]) -> str:
    """Return what a threshold left out, or why it was not applied."""
    if not cut["applied"]:
        return f"--min-relevance was not applied: {cut['reason']}"
    best = "" if cut["best_below"] is None else f", the best of them {cut['best_below']:.0%}"
    more = "" if cut["unscored"]["relation"] == "eq" else "at least "
    return f"left out: {cut['below']:,} below {cut['min_relevance']:.0%}{best}; {more}{cut['unscored']['value']:,} unscored"


def show_hit(hit: dict[str, Any]) -> None:
    """Print one hit: where it stands, what matched, and its scores if they were asked for."""
    path = [heading for heading in hit["passage"]["heading_path"] if heading != hit["title"]]
    title = " > ".join([hit["title"] or hit["document_id"], *path])
    page = f" p. {hit['passage']['page']}" if hit["passage"]["page"] else ""
    told = "" if hit["relevance"] is None else f"  {hit['relevance']:.0%} {hit['relevance_label']}"
    output.print(f"[bold]{hit['rank']}. {escape(title)}[/]{page}{told}  [dim]{escape(hit['uri'])}[/]", highlight=False)
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
