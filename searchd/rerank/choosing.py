"""What a caller's `model` and `stages` mean: one stage of a profile, or a cascade. Used by rerank APIs and playground."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from indexer.errors import InputError, NotFound
from searchd.rerank.table import shown_model
from searchd.settings import OPTIONS, Profile, Settings, Stage

SHOWN = 20


@dataclass(frozen=True, slots=True)
class Choice:
    """Stages to run in order, and how an answer calls them."""

    name: str
    profile: str
    stages: tuple[Stage, ...]


def choose(settings: Settings, model: str | None, stages: Sequence[str] | None = None) -> Choice:
    """Return what to run: by default the last enabled stage of the profile `default`, alone.

    `model` is a stage's name, a profile's (all its enabled stages), `profile/stage`, or the name of a stage's model.
    `stages` names stages of the same profile instead, in order. Raises: NotFound; InputError.
    """
    known = choices(settings)
    chosen = known.get(model) or _of_setting(settings, model) if model else _usual(settings)
    if chosen is None:
        there = ", ".join([*known][:SHOWN]) or "none: the profile `default` has no stages"
        raise NotFound(f"there is no model {(model or '')[:80]!r}; there are: {there}", code="unknown_model")
    if not stages:
        return chosen
    if len(set(stages)) < len(stages):
        raise InputError("stages: a stage is named twice; each runs once", code="invalid_parameter")
    there_are = {stage.name: stage for stage in profiles_of(settings)[chosen.profile].stages}
    offered = [name for name, stage in there_are.items() if stage.may_run]
    for name in stages:
        if name in there_are and not there_are[name].may_run:
            raise InputError(f"stages: {name!r} is switched off, and not `on_request`", code="stage_off")
        if name not in there_are:
            raise InputError(
                f"stages: {name[:80]!r} is not a stage of profile {chosen.profile!r}; there are: {', '.join(offered)}",
                code="unknown_stage",
            )
    return Choice("+".join(stages), chosen.profile, tuple(there_are[name] for name in stages))


def choices(settings: Settings) -> dict[str, Choice]:
    """Return everything that can be asked for by name: no stage that is off unless it is `on_request`.

    What comes first keeps a name that several things have.

    The order: stages of `default`, profiles, `profile/stage`, stages of other profiles, models; these as everybody may
    read them, of folders the last part alone.
    """
    profiles = profiles_of(settings)
    pairs = [(name, stage) for name, profile in profiles.items() for stage in profile.stages if stage.may_run]
    found: dict[str, Choice] = {}
    for stage in (stage for name, stage in pairs if name == "default"):
        found.setdefault(stage.name, Choice(stage.name, "default", (stage,)))
    for name, profile in profiles.items():
        enabled = tuple(stage for stage in profile.stages if stage.enabled)
        if enabled:
            found.setdefault(name, Choice(name, name, enabled))
    for name, stage in pairs:
        found.setdefault(f"{name}/{stage.name}", Choice(f"{name}/{stage.name}", name, (stage,)))
    for name, stage in pairs:
        found.setdefault(stage.name, Choice(f"{name}/{stage.name}", name, (stage,)))
    for name, profile in profiles.items():
        for stage in (stage for stage in reversed(profile.stages) if stage.may_run):
            found.setdefault(_told(stage), Choice(stage.name, name, (stage,)))
    return found


def _told(stage: Stage) -> str:
    """Return a stage's model without the server's folders, also of a folder that is gone."""
    model = shown_model(stage)
    return Path(model).name if Path(model).is_absolute() else model


def _of_setting(settings: Settings, model: str) -> Choice | None:
    """Return the stage whose setting `model` is written like this."""
    for name, profile in profiles_of(settings).items():
        for stage in reversed(profile.stages):
            if stage.model == model and stage.may_run:
                return Choice(stage.name, name, (stage,))
    return None


def profiles_of(settings: Settings) -> dict[str, Profile]:
    """Return all profiles by name, `default` first."""
    return {"default": settings.profile("default") or Profile(), **settings.profiles}


def check_instruction(instruction: str | None, choice: Choice, parameter: str = "instruction") -> None:
    """Refuse an instruction that no stage would read. Raises: InputError."""
    if instruction is not None and not any(stage.takes_instruction for stage in choice.stages):
        raise InputError(f"{parameter}: no stage of {choice.name!r} takes an instruction", code="no_instruction")


def shortened(choice: Choice, tokens: int) -> Choice:
    """Return the choice reading so many tokens at most, the query's included; -1: as many as each stage says.

    Raises: InputError for a stage whose reading is not ours to cut.
    """
    changed = []
    for stage in choice.stages:
        if stage.kind not in OPTIONS["max_length"]:
            raise InputError(
                f"truncate_prompt_tokens: stage {stage.name!r} is {stage.kind}, which cuts nothing",
                code="invalid_parameter",
            )
        length = stage.max_length if tokens < 0 else min(tokens, stage.max_length)
        changed.append(msgspec.structs.replace(stage, max_length=length))
    return Choice(choice.name, choice.profile, tuple(changed))


def _usual(settings: Settings) -> Choice | None:
    stages = profiles_of(settings)["default"].stages
    enabled = [stage for stage in stages if stage.enabled] or [stage for stage in stages if stage.on_request]
    return Choice(enabled[-1].name, "default", (enabled[-1],)) if enabled else None
