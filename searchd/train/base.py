"""What is fitted: the model that an option or the settings name, as a folder; a run stays with the one it began with.

Takes a name (a role, a packaged model, a folder, a hub name), gives a checked folder and what people call it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import msgspec

from indexer.errors import ConfigError, InputError
from indexer.weights import digest_of
from searchd.rerank import house
from searchd.settings import Settings
from searchd.train.files import write_whole
from searchd.train.registry import PACKAGED, promoted
from searchd.train.served import folder_of_model, place_of
from searchd.train.shrink import has_layers

PINNED = "base.json"
HEAD = "ForSequenceClassification"


@dataclass(frozen=True, slots=True)
class Base:
    """A model to fit."""

    label: str
    folder: Path


class Pinned(msgspec.Struct, frozen=True):
    """What a run began with."""

    label: str
    folder: str
    digest: str


def base_of(settings: Settings, name: str, run: Path, *, small: bool) -> Base:
    """Return the model to fit; with `small`, one whose layers a small model can be made of.

    Raises: ConfigError if it is not to be had or cannot be fitted; InputError if it has changed since the run began.
    """
    path = run / PINNED
    if path.is_file():
        pinned = msgspec.json.decode(path.read_bytes(), type=Pinned)
        if not Path(pinned.folder).is_dir() or digest_of(Path(pinned.folder)) != pinned.digest:
            raise InputError(
                f"the run in {run} was begun with {pinned.label}, which has changed since; --new begins another run"
            )
        return Base(pinned.label, Path(pinned.folder))
    base = named(settings, name, run)
    check(base, small=small)
    write_whole(path, msgspec.json.encode(Pinned(base.label, str(base.folder), digest_of(base.folder))))
    return base


def named(settings: Settings, name: str, run: Path) -> Base:
    """Return what a name means now; an empty one is the model of the stage that decides."""
    name = name or place_of(settings, "").model
    own = promoted(settings, name)
    if own is not None:
        return Base(f"{name} {own.name}", own)
    if name in house.HOUSE_MODELS:
        return Base(f"{name} {PACKAGED}", exported(name, run))
    return Base(name, folder_of_model(name).resolve())


def exported(name: str, run: Path) -> Path:
    """Return a packaged model as a folder of the run's that can be fitted."""
    folder = run / f"packaged-{name}"
    if not folder.is_dir():
        draft = run / f"packaged-{name}.draft"
        for path in draft.glob("*"):
            path.unlink()
        house.export(name, draft)
        draft.rename(folder)
    return folder


def check(base: Base, *, small: bool) -> None:
    """Raise ConfigError unless a model is a cross-encoder of one label, and can be made smaller if that is wanted."""
    try:
        config = json.loads((base.folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"model {base.label!r} cannot be fitted: its config.json cannot be read") from error
    kinds = config.get("architectures") or ["a model that does not say what it is"]
    if not kinds[0].endswith(HEAD):
        raise ConfigError(f"model {base.label!r} cannot be fitted: it is {kinds[0]}, no cross-encoder (...{HEAD})")
    labels = len(config["id2label"]) if config.get("id2label") else int(config.get("num_labels", 2))
    if labels != 1:
        raise ConfigError(f"model {base.label!r} cannot be fitted: it has {labels} labels; one is needed")
    if small and not has_layers(base.folder):
        raise ConfigError(
            f"no small model can be made of {base.label!r}: a {config.get('model_type')} names its layers in another way; "
            "--small '' leaves it out"
        )
