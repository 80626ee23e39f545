"""The law of the house, read from the imports: indexer <- searchd <- web, roofs imported by nobody, no cycle."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = {"indexer": {"indexer"}, "searchd": {"indexer", "searchd"}, "web": {"indexer", "searchd", "web"}}
"""Package -> packages it may import."""
ROOFS = {
    "indexer.__main__",
    "searchd.__main__",
    "searchd.app",
    "searchd.asking",
    "searchd.evaluate.calibrate_commands",
    "searchd.evaluate.commands",
    "searchd.evaluate.tune_commands",
    "searchd.judge.clicks_commands",
    "searchd.judge.commands",
    "searchd.judge.page_commands",
    "searchd.models",
    "searchd.profile_commands",
    "searchd.train.commands",
}
LAZY = {
    "torch", "transformers", "sentence_transformers", "safetensors", "huggingface_hub",
    "onnx", "onnxruntime", "onnxscript", "peft", "pydoc_data",
    "accelerate", "datasets", "ir_measures", "sklearn",
}  # fmt: skip
"""First import takes long, or they come with an extra: allowed inside functions."""
LAZY_MODULES = {"indexer.vectors.server"}
"""Likewise: qdrant-client takes 0.6 s of every start, and the default backend does without."""


def modules() -> dict[str, Path]:
    """Return every module of the three packages by name."""
    found = {}
    for package in LAYERS:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}


def imported(node: ast.AST) -> Iterator[str]:
    """Yield what one import statement names; `from a import b` names module a.b if there is one, else a."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        for alias in node.names:
            whole = f"{node.module}.{alias.name}"
            yield whole if whole in MODULES else str(node.module)


def imports_of(name: str) -> set[str]:
    """Return everything a module imports anywhere in it."""
    return {target for node in ast.walk(TREES[name]) for target in imported(node)}


def for_types(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def test_arrows_point_right_to_left() -> None:
    wrong = [
        f"{name} imports {target}"
        for name in MODULES
        if name not in ROOFS
        for target in imports_of(name)
        if target.split(".")[0] in LAYERS and target.split(".")[0] not in LAYERS[name.split(".")[0]]
    ]
    assert wrong == []


def test_roofs_are_imported_by_nobody() -> None:
    allowed = {("searchd.__main__", roof) for roof in ROOFS} | {
        ("searchd.train.commands", "searchd.models"),
        ("searchd.judge.page_commands", "searchd.app"),
    }
    wrong = {(name, roof) for name in MODULES for roof in ROOFS & imports_of(name)}
    assert wrong <= allowed


def test_tests_and_benchmarks_are_imported_by_no_package() -> None:
    assert [name for name in MODULES if any(t.split(".")[0] in ("tests", "benchmarks") for t in imports_of(name))] == []


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = {
        name: {
            target
            for statement in tree.body
            if not for_types(statement)
            for node in ast.walk(statement)
            for target in imported(node)
            if target in MODULES
        }
        for name, tree in TREES.items()
    }
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path[path.index(name) :], name))
        if name not in done:
            for target in sorted(graph[name]):
                visit(target, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize("name", [name for name in MODULES if name not in ROOFS])
def test_imports_stand_at_the_top_unless_they_take_seconds(name: str) -> None:
    inside = {
        target
        for node in ast.walk(TREES[name])
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(node)
        for target in imported(inner)
    }
    assert {target for target in inside - LAZY_MODULES if target.split(".")[0] not in LAZY} == set()


def test_every_module_says_what_it_does() -> None:
    assert [name for name, tree in TREES.items() if not ast.get_docstring(tree)] == []
