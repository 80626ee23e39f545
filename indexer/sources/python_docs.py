"""Documentation every Python has: pydoc's topics, and the docstrings of the standard library, a module a document.

Modules are read with `ast`, never imported, so nothing of them runs. `searchd demo` indexes this.
"""

from __future__ import annotations

import ast
import inspect
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from pydoc_data.topics import topics

from indexer.types import SourceFile

SITE = f"https://docs.python.org/{sys.version_info.major}.{sys.version_info.minor}"
LEFT_OUT = {
    "antigravity",
    "this",
    "idlelib",
    "test",
    "turtledemo",
    "lib2to3",
    "site-packages",
    "ensurepip",
    "__pycache__",
    "encodings",
}
Defined = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def walk_python_docs() -> Iterator[SourceFile]:
    """Yield the topics, then the modules, as markdown sources."""
    for name, text in sorted(topics.items()):
        title = text.strip().splitlines()[0].strip()
        body = f"# {title}\n\n" + indented_away(text)
        yield source(f"{SITE}/reference/#{name}", f"topic-{name}.md", title, body, "topic")
    root = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if not any(
            part in LEFT_OUT or (part.startswith(("_", "config-", "test")) and part != "__init__") for part in parts
        ):
            text = module_text(path, ".".join(part for part in parts if part != "__init__"))
            if text:
                name = ".".join(part for part in parts if part != "__init__")
                yield source(f"{SITE}/library/{name}.html", f"{name}.md", name, text, "module")


def source(uri: str, name: str, title: str, text: str, kind: str) -> SourceFile:
    """Return one document of the documentation."""
    return SourceFile(uri=uri, name=name, content=text.encode("utf-8", "replace"), title=title, metadata={"kind": kind})


def indented_away(text: str) -> str:
    """Return a topic without the underlines of its headings."""
    lines = text.strip().splitlines()[1:]
    return "\n".join(line for line in lines if not line or set(line.strip()) - set("*=-~^+") or len(line.strip()) < 3)


def module_text(path: Path, name: str) -> str:
    """Return a module's docstrings as markdown with a heading per class and function; empty if it has none."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, OSError):
        return ""
    own = ast.get_docstring(tree) or ""
    parts = [f"# {name}\n\n{fenced(own)}"] if own else []
    found = list(definitions(tree, name, 2))
    return "\n\n".join([*parts, *found]) if len(own) + sum(map(len, found)) > 200 else ""


def definitions(node: ast.Module | ast.ClassDef, prefix: str, level: int) -> Iterator[str]:
    """Yield a section for every public class, method and function that has a docstring."""
    for child in node.body:
        if not isinstance(child, Defined) or child.name.startswith("_"):
            continue
        doc = ast.get_docstring(child)
        inner = list(definitions(child, f"{prefix}.{child.name}", level + 1)) if isinstance(child, ast.ClassDef) else []
        if doc:
            yield f"{'#' * level} {prefix}.{child.name}{signature(child)}\n\n{fenced(doc)}"
        yield from inner


def signature(node: Defined) -> str:
    """Return a function's parameters, as written."""
    return "" if isinstance(node, ast.ClassDef) else f"({ast.unparse(node.args)[:200]})"


def fenced(doc: str) -> str:
    """Return a docstring with its indented stretches as code, so that their lines stay."""
    return inspect.cleandoc(doc).replace("\n#", "\n\\#")
