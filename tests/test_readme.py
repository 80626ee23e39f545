"""The README says what is so: its settings table is the real one, its commands exist, its links lead somewhere."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import click
import msgspec
import pytest

import indexer.__main__
import searchd.__main__
from indexer.settings import describe
from searchd.rerank.providers import PROVIDERS
from searchd.rerank.table import RERANKERS
from searchd.settings import Settings, Stage

README = Path(__file__).parent.parent / "README.md"
PROGRAMS: dict[str, click.Command] = {"searchd": searchd.__main__.cli, "indexer": indexer.__main__.cli}


def settings_table() -> str:
    """Return the table as the README must have it; `python -m tests.test_readme` writes it there."""
    lines = ["| setting | default | accepts | meaning |", "|---|---|---|---|"]
    for row in describe(Settings()):
        default = f"`{row.default}`" if row.default else ""
        accepts = row.accepts.replace("|", "\\|")
        lines.append(f"| `{row.name}` | {default} | {accepts} | {row.meaning} |")
    return "\n".join(lines)


def in_markers(text: str) -> str:
    found = re.search(r"<!-- settings -->\n(.*?)\n?<!-- /settings -->", text, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_settings_table_is_the_one_the_program_has() -> None:
    assert in_markers(README.read_text(encoding="utf-8")) == settings_table()


def commands() -> list[str]:
    """Return the indented command lines of the README, without comments."""
    lines = re.findall(r"^    ((?:searchd|indexer) .*)$", README.read_text(encoding="utf-8"), re.MULTILINE)
    return [line.split("  #")[0].strip() for line in lines]


@pytest.mark.parametrize("line", commands())
def test_every_command_shown_is_one_the_command_line_takes(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(README.parent)
    words = [str(README.parent) if word in ("./docs", "./hr") else word for word in shlex.split(line)]
    command, rest = PROGRAMS[words[0]], words[1:]
    context = click.Context(command, info_name=words[0])
    while isinstance(command, click.Group):
        found = command.get_command(context, rest[0])
        assert found is not None, line
        command, rest = found, rest[1:]
        context = click.Context(command, parent=context)
    command.parse_args(context, list(rest))


def stages_shown() -> list[tuple[str, str]]:
    """Return each stage of the table of models, with its row's first cell, as lines of TOML."""
    text = README.read_text(encoding="utf-8")
    table = text[text.index("| model | settings of its stage |") :].partition("\n\n")[0]
    found = []
    for row in table.splitlines()[2:]:
        name, cell = row.strip("| ").split(" | ")
        for stage in cell.partition("; at the top")[0].split("; "):
            if lines := re.findall(r"`(\w+ = [^`]+)`", stage):
                found.append((name, "\n".join(lines)))
    return found


@pytest.mark.parametrize(("name", "lines"), stages_shown(), ids=lambda text: text.replace("\n", ", "))
def test_every_stage_of_the_table_of_models_is_one_the_settings_take(name: str, lines: str) -> None:
    given = tomllib.loads(lines)
    stage = msgspec.convert({"name": "shown", **given}, Stage)
    assert stage.model == given["model"]
    assert stage.kind in RERANKERS
    if stage.kind == "remote":
        provider = PROVIDERS[stage.provider]
        assert bool(stage.url) != bool(provider.url)
        row = next(line for line in README.read_text(encoding="utf-8").splitlines() if line.startswith(f"| {name} |"))
        assert f"`{provider.key_variable}`" in row or stage.url


def test_every_kind_and_every_provider_is_in_the_table_of_models() -> None:
    given = [tomllib.loads(lines) for _, lines in stages_shown()]
    assert {one.get("kind", "cross_encoder") for one in given} == set(RERANKERS)
    assert {one.get("provider") for one in given} - {None} == set(PROVIDERS)


def test_a_model_of_the_table_that_needs_its_own_code_trusted_is_called_untried() -> None:
    rows = [line for line in README.read_text(encoding="utf-8").splitlines() if "`trust_remote_code = [" in line]
    assert [row for row in rows if "untried" not in row] == [], "such code breaks with a new transformers"


def test_the_pictures_and_files_linked_are_there() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README.read_text(encoding="utf-8")):
        assert (README.parent / target).exists(), target


if __name__ == "__main__":
    text = README.read_text(encoding="utf-8")
    fresh = f"<!-- settings -->\n{settings_table()}\n<!-- /settings -->"
    text = re.sub(r"<!-- settings -->.*<!-- /settings -->", lambda _: fresh, text, flags=re.DOTALL)
    README.write_text(text, encoding="utf-8")
