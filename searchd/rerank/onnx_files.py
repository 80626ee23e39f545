"""Where an ONNX model's files are: one graph, the weights beside it, tokenizer and configuration.

Takes what a stage's `model` says: a folder, an .onnx file in one, a hub name, or a hub name with a file
(`org/name/onnx/model_int8.onnx`, `@revision` after either). Between several graphs it never guesses: they differ in scores.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tokenizers import Tokenizer

from indexer.weights import sha256_of

FOLDERS = ("", "onnx")
"""Where graphs lie in a model's folder."""
DESCRIBING = ("tokenizer.json", "config.json", "tokenizer_config.json")
"""The last may be missing."""
FETCHED = ("*.json", "*.txt")


@dataclass(frozen=True, slots=True)
class OnnxFiles:
    """The files of one model."""

    folder: Path
    """Of tokenizer and configuration."""
    graph: Path

    @property
    def weights(self) -> list[Path]:
        """The graph, and files beside it that hold what does not fit into it (`model.onnx_data`, `model.onnx.data`)."""
        beside = self.graph.parent.iterdir()
        return sorted(path for path in beside if path.name.startswith(self.graph.name) and path.is_file())

    def tokenizer(self) -> Tokenizer:
        """Return the tokenizer as it is published: it may cut and pad."""
        return Tokenizer.from_file(str(self.folder / "tokenizer.json"))

    def digest(self) -> str:
        """Return the hex sha256 of all that scores depend on."""
        describing = [self.folder / name for name in DESCRIBING if (self.folder / name).is_file()]
        named = [f"{path.name}\0{sha256_of(path)}\n" for path in [*describing, *self.weights]]
        return hashlib.sha256("".join(named).encode()).hexdigest()


def find_onnx(name: str) -> OnnxFiles:
    """Return the files of a model, fetched if it is a hub name that is not in the hub's cache.

    Raises: OSError or ValueError if there is none, or more than one graph and none is named.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return of_graph(path)
    if path.is_dir():
        return of_graph(path / the_one(graphs_in(path), name))
    if path.is_absolute() or name.startswith((".", "~")):
        raise FileNotFoundError(f"there is no folder or file {path}")
    return from_hub(*name.partition("@")[::2])


def of_graph(graph: Path) -> OnnxFiles:
    """Return the files of the model that a graph belongs to: tokenizer and configuration lie beside or above it."""
    if graph.suffix != ".onnx":
        raise ValueError(f"{graph.name} is no .onnx file")
    needed = DESCRIBING[:2]
    for folder in (graph.parent, graph.parent.parent):
        if all((folder / file).is_file() for file in needed):
            return OnnxFiles(folder, graph)
    raise FileNotFoundError(f"{' and '.join(needed)} are neither beside {graph.name} nor in the folder above")


def graphs_in(folder: Path) -> list[str]:
    """Return the graphs of a model's folder, by relative path."""
    found = [path for inner in FOLDERS for path in (folder / inner).glob("*.onnx") if path.is_file()]
    return sorted(path.relative_to(folder).as_posix() for path in found)


def the_one(graphs: Sequence[str], name: str) -> str:
    """Return the only graph. Raises: ValueError naming them all if there are several, or saying that there is none."""
    if not graphs:
        raise ValueError("there is no .onnx file in it, nor in its folder `onnx`")
    if len(graphs) > 1:
        plain, at, revision = name.partition("@")
        raise ValueError(
            f"it has {len(graphs)} ONNX files ({', '.join(graphs)}); name one: "
            f'model = "{plain.rstrip("/")}/{graphs[-1]}{at}{revision}"'
        )
    return graphs[0]


def from_hub(name: str, revision: str) -> OnnxFiles:
    """Fetch a hub model's graph, tokenizer and configuration: no other weights, no code."""
    from huggingface_hub import (  # imports an HTTP client that packaged models do without
        list_repo_files,
        snapshot_download,
    )

    parts = PurePosixPath(name).parts
    repository, graph = "/".join(parts[:2]), "/".join(parts[2:])
    if not graph:  # asks the hub at every start: what its cache holds is not all there is
        files = list_repo_files(repository, revision=revision or None)
        graphs = [file for file in files if file.endswith(".onnx") and str(PurePosixPath(file).parent) in (".", "onnx")]
        graph = the_one(sorted(graphs), f"{name}@{revision}" if revision else name)
    if not graph.endswith(".onnx"):
        raise ValueError(f"{graph} is no .onnx file")
    folder = snapshot_download(repository, revision=revision or None, allow_patterns=[*FETCHED, f"{graph}*"])
    found = Path(folder) / graph
    if not found.is_file():
        raise FileNotFoundError(f"{repository} has no file {graph}")
    return of_graph(found)
