"""docker-compose.yml and Dockerfile against the real command line and settings: every command and variable exists."""

from __future__ import annotations

import re
import shlex
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest
import yaml
from packaging.requirements import Requirement

import indexer.__main__
import searchd.__main__
from indexer.settings import load_settings
from searchd.settings import Settings

ROOT = Path(__file__).parent.parent
NAMES = {field.name for field in msgspec.structs.fields(Settings)}
PROGRAMS: dict[str, click.Command] = {"searchd": searchd.__main__.cli, "indexer": indexer.__main__.cli}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return loaded


def dockerfile() -> list[tuple[str, str]]:
    """Return (instruction, rest) pairs, continuation lines joined, comments dropped."""
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in lines]


def check_command(arguments: list[str]) -> None:
    """Walk click's own commands and parse the options, without running anything."""
    command = PROGRAMS[arguments[0]]
    rest = arguments[1:]
    context = click.Context(command, info_name=arguments[0])
    while isinstance(command, click.Group):
        found = command.get_command(context, rest[0])
        assert found is not None, f"{' '.join(arguments)}: there is no such command"
        command, rest = found, rest[1:]
        context = click.Context(command, parent=context)
    command.parse_args(context, list(rest))


def test_compose_has_the_four_services_of_the_server_profile(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == {"postgres", "qdrant", "indexer", "searchd"}


@pytest.mark.parametrize("service", ["indexer", "searchd"])
def test_every_compose_command_is_one_the_command_line_takes(compose: dict[str, Any], service: str) -> None:
    check_command(compose["services"][service]["command"])


@pytest.mark.parametrize("service", ["indexer", "searchd"])
def test_every_compose_setting_exists_and_its_value_is_accepted(compose: dict[str, Any], service: str) -> None:
    given = {
        name: re.sub(r"\$\{[A-Z_]+:[?-]([^}]*)\}", lambda m: m[1] if m[1].startswith("[") else "secret", str(value))
        for name, value in compose["services"][service]["environment"].items()
    }
    settings = load_settings(Settings, environ=given)
    assert settings.vector_backend == "server"
    assert settings.resolved_database_url.startswith("postgresql://")
    assert settings.run_worker is (service == "indexer")


def test_every_volume_and_dependency_named_is_declared(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for volume in service.get("volumes", []):
            assert volume.split(":")[0] in compose["volumes"]
        assert set(service.get("depends_on", {})) <= set(compose["services"])


def test_dockerfile_copies_what_exists_and_everything_the_wheel_needs() -> None:
    copied = [word for name, rest in dockerfile() if name == "COPY" for word in shlex.split(rest)[:-1]]
    for path in copied:
        assert (ROOT / path).exists(), path
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["packages"] == ["indexer", "searchd", "web"]  # what people install: no tests, no benchmarks
    assert {"pyproject.toml", *wheel["packages"], *wheel["force-include"], "LICENSE"} <= set(copied)


def test_dockerfile_settings_exist_and_its_command_is_one_the_command_line_takes() -> None:
    given = dict(pair.split("=", 1) for name, rest in dockerfile() if name == "ENV" for pair in shlex.split(rest))
    named = {name.removeprefix("SEARCHD_").lower() for name in given if name.startswith("SEARCHD_")}
    assert named <= NAMES
    check_command(msgspec.json.decode(dict(dockerfile())["CMD"].encode(), type=list[str]))


def test_dockerfile_runs_as_an_ordinary_user_and_installs_the_torch_the_project_pins() -> None:
    instructions = dockerfile()
    assert dict(instructions)["USER"] == "searchd"
    pinned = re.search(r'"(torch==[^"]+)"', (ROOT / "pyproject.toml").read_text())
    assert pinned is not None
    assert any(pinned[1] in rest for name, rest in instructions if name == "RUN")


def test_no_sentence_transformers_is_installed_that_kind_late_interaction_cannot_run_with() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (wanted,) = [line for line in project["dependencies"] if line.startswith("sentence-transformers")]
    allowed = Requirement(wanted).specifier
    assert "5.6.1" not in allowed, "it has no MultiVectorEncoder"
    assert "6.0.0" in allowed
    assert version("sentence-transformers") in allowed
