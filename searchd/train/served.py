"""What serves now: the stage that a role is for, and the model that runs there at this moment.

A new version has to beat exactly that model, asked as that stage asks it. Used when a run measures, and again when a
version is promoted.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from indexer.errors import ConfigError
from indexer.weights import digest_of, first_line, model_folder
from searchd.rerank.adapters import adapter_of, digest_with
from searchd.rerank.choosing import profiles_of
from searchd.rerank.house import HOUSE_MODELS
from searchd.settings import Settings, Stage
from searchd.train.registry import PACKAGED, promoted

FITTED = "cross_encoder"
"""The kind of stage whose models are trained."""


@dataclass(frozen=True, slots=True)
class Served:
    """A model that serves, and the stage that asks it."""

    label: str
    """What people call it: `rerank-base v2`, `rerank-base packaged`, or a name or folder of the settings."""
    digest: str
    """Names its files: equal digests are the same model."""
    stage: Stage
    """How it is asked; names the model so that it can be loaded."""


def place_of(settings: Settings, name: str, *, small: bool = False) -> Stage:
    """Return the stage that a role is for: the last one that names it, of the first profile with such a stage.

    Where none names it: the default profile's last cross-encoder, for a small model its first; else one of defaults.
    """
    for profile in profiles_of(settings).values():
        named = [stage for stage in profile.stages if stage.kind == FITTED and stage.model == name]
        if named:
            return named[-1]
    stages = [stage for stage in profiles_of(settings)["default"].stages if stage.kind == FITTED]
    if stages:
        return stages[0] if small else stages[-1]
    return Stage(name="trained", model=name)


def stages_that_run(settings: Settings, name: str) -> list[str]:
    """Return the stages that run a role's model, as `profile.stage`."""
    return [
        f"{profile}.{stage.name}"
        for profile, found in profiles_of(settings).items()
        for stage in found.stages
        if stage.model == name and stage.kind == FITTED
    ]


def served(settings: Settings, name: str, *, small: bool = False) -> Served | None:
    """Return what the stage that a role is for runs now: a version in use, a packaged model, or any other.

    None where no cross-encoder serves at all: then the fused order is what has to be beaten. Raises: ConfigError if the
    stage's model is not to be had.
    """
    place = place_of(settings, name, small=small)
    own = promoted(settings, place.model)
    if own is not None:
        label, digest, model = f"{place.model} {own.name}", digest_of(own), str(own)
    elif place.model in HOUSE_MODELS:
        label, digest, model = f"{place.model} {PACKAGED}", HOUSE_MODELS[place.model], place.model
    elif place.model == name and not stages_that_run(settings, name):
        return None
    else:
        label, digest, model = place.model, digest_of(folder_of_model(place.model)), place.model
    return Served(label, digest_with(digest, adapter_of(place)), msgspec.structs.replace(place, model=model))


def folder_of_model(name: str) -> Path:
    """Return the folder of a model that settings or an option name: a folder, or `name@revision` on the hub.

    Raises: ConfigError naming what is accepted.
    """
    plain, _, revision = (name, "", "") if Path(name).expanduser().is_dir() else name.partition("@")
    try:
        return model_folder(plain, revision)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"model {name!r} cannot be had: {first_line(error)}. It takes a packaged name ({', '.join(HOUSE_MODELS)}), "
            "a trained one that is in use, the Hugging Face name of a cross-encoder (the hub must be reachable the first "
            "time), or a folder"
        ) from error
