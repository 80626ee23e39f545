"""Every setting as a row of text: what `searchd settings` prints and the README shows."""

from __future__ import annotations

from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from searchd.settings import Key, Profile, Settings, Stage

MASK = "********"


def described(settings: Settings) -> list[dict[str, str]]:
    """Return a row per setting, in order: name, variable, value in force (secrets masked), default, accepts, meaning."""
    return [row_of(settings, field) for field in msgspec.structs.fields(Settings)]


def row_of(settings: Settings, field: msgspec.structs.FieldInfo) -> dict[str, str]:
    """Return one setting's row."""
    meta = meta_of(Settings, field.name)
    value = getattr(settings, field.name)
    secret = bool((meta.extra or {}).get("secret"))
    default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    return {
        "name": field.name,
        "variable": f"SEARCHD_{field.name.upper()}",
        "value": MASK if secret and value else text_of(value),
        "default": text_of(default),
        "accepts": accepts(field.name, meta),
        "meaning": meta.description or "",
    }


def meta_of(struct: type[Any], name: str) -> Meta:
    """Return the Meta of a field's annotation."""
    hint = get_type_hints(struct, include_extras=True)[name]
    if get_origin(hint) is Annotated:
        for extra in get_args(hint)[1:]:
            if isinstance(extra, Meta):
                return extra
    return Meta()


def text_of(value: Any) -> str:
    """Return a value as it would be written in a variable."""
    if isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()


def accepts(name: str, meta: Meta) -> str:
    """Return what a setting takes, in words."""
    if meta.pattern is not None:
        inner = meta.pattern.removeprefix("^").removesuffix("$")
        return inner.strip("()").replace("|", ", ") if "[" not in inner and "\\" not in inner else f"matching {inner}"
    if meta.ge is not None or meta.le is not None:
        return f"{meta.ge if meta.ge is not None else ''} to {meta.le if meta.le is not None else ''}"
    nested = {"profiles": Profile, "keys": Key}.get(name)
    if nested is not None:
        return "tables of " + ", ".join(nested.__struct_fields__)
    return str(get_type_hints(Settings)[name]).replace("<class '", "").replace("'>", "").replace("typing.", "")


def described_stage() -> list[dict[str, str]]:
    """Return a row per field of a cascade stage and of a profile, for the README."""
    rows = []
    for struct, prefix in ((Profile, "profiles.<name>."), (Stage, "profiles.<name>.stages[].")):
        for field in msgspec.structs.fields(struct):
            meta = meta_of(struct, field.name)
            default = "" if field.default is msgspec.NODEFAULT or field.name == "stages" else text_of(field.default)
            rows.append({"name": prefix + field.name, "default": default, "meaning": meta.description or ""})
    return rows
