"""Which configurations are tried: fusions, cascades over the best few of them, and what differs in one respect from the best.

Pure functions over Profile and Stage. What a configuration gives is `trial.py`'s, in which order they are tried
`search.py`'s matter.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import msgspec

from indexer.errors import InputError
from searchd.evaluate.scores import Asking, asking
from searchd.evaluate.trial import Family, family_of, fusion_of, key_of
from searchd.rerank.house import HOUSE_MODELS
from searchd.rerank.table import reusable
from searchd.settings import RESERVED, Profile, Settings, Stage
from searchd.train import registry

RETRIEVED = (50, 100, 200)
"""Passages of each system."""
RRF_KS = (10.0, 20.0, 60.0, 100.0)
DENSE_WEIGHTS = (1 / 3, 0.5, 1.0, 2.0, 3.0)
"""Of dense in RRF, beside 1 of bm25."""
SHARES = tuple(round(0.1 * tenth, 1) for tenth in range(1, 10))
"""Of dense in the linear fusion."""
DEPTHS = (5, 10, 15, 20, 30, 50)
KEEPS = (5, 10, 15, 20)
BLENDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0)
MARGINS = (0.5, 1.0, 1.5, 2.0)
TOP = 10
"""What the last stage settles first, where it may stop early: the first page."""
STARTS = ((30, 15, 0.6), (15, 10, 0.6), (30, 15, 0.3), (50, 20, 0.6))
"""Depth, keep and blend of the first cascades that are tried."""
FAMILIES = 7
"""Of cascades: each has its share of all that are tried."""
SMALL = Stage(name="small", model="rerank-small", max_length=64, long="beginning")
LARGE = Stage(name="large", model="rerank-base", max_length=256)
"""How the packaged models, and those trained in their place, are sensibly asked."""


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Shape:
    """A configuration by what it is searched over. `profile_of` makes the Profile."""

    fusion: Profile
    """Without stages."""
    family: Family
    depth: int
    """Of the first stage; each one after it scores what the one before has kept."""
    keeps: tuple[int, ...]
    """Of all stages but the last."""
    blends: tuple[float, ...]
    margins: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Space:
    """What there is to choose from."""

    present: Profile
    """As it runs: without stages that are switched off."""
    models: tuple[Stage, ...]
    """One for each way that a model is asked; `depth` is the most that it is tried with."""
    families: tuple[Family, ...]
    """Cascades by their models; the first is rerank off."""

    def model(self, asked: Asking) -> Stage:
        """Return the model that is asked so."""
        return next(stage for stage in self.models if asking(stage) == asked)


def running(profile: Profile) -> Profile:
    """Return a profile without stages that are switched off. Raises: InputError for one whose scores depend on others."""
    stages = tuple(stage for stage in profile.stages if stage.enabled)
    for stage in stages:
        if not reusable(stage):
            raise InputError(
                f"stage {stage.name!r} scores passages by what they stand beside, so that its scores cannot be tried in other "
                "cascades; switch it off in the profile (enabled = false), or tune a profile without it"
            )
    return msgspec.structs.replace(profile, stages=stages)


def models_of(settings: Settings, profile: Profile) -> tuple[Stage, ...]:
    """Return what there is to rerank with: the profile's stages, the packaged models, and those trained here."""
    own = [stage for stage in profile.stages if stage.may_run and reusable(stage)]
    return distinct([*own, SMALL, LARGE, *trained(settings)])


def trained(settings: Settings) -> Iterator[Stage]:
    """Yield the models of the registry: those in use, and the latest of a name if it did better than what is in use."""
    latest = {card.name: card for card in registry.cards(settings)}
    for name, card in latest.items():
        usual = SMALL if card.small else LARGE
        used = registry.promoted(settings, name)
        if used is not None and name not in HOUSE_MODELS:
            yield msgspec.structs.replace(usual, name=as_name(name), model=name)
        folder = registry.folder_of(settings, name, card.version)
        if card.improved and folder != used:
            yield msgspec.structs.replace(usual, name=as_name(f"{name}-{card.version}"), model=str(folder))


def distinct(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """Return one stage for each way of asking, the first, each with a name of its own and nothing but its asking."""
    found: dict[Asking, Stage] = {}
    for stage in stages:
        if asking(stage) in found:
            continue
        taken = {one.name for one in found.values()} | RESERVED
        names = itertools.chain([stage.name], (as_name(f"{stage.name}-{number}") for number in itertools.count(2)))
        name = next(name for name in names if name not in taken)
        found[asking(stage)] = msgspec.structs.replace(
            stage, name=name, depth=max(DEPTHS), keep=TOP, early_stop_margin=None, enabled=True, on_request=False
        )
    return tuple(found.values())


def as_name(text: str) -> str:
    """Return a text as a stage may be called."""
    return re.sub(r"[^a-z0-9_-]", "-", Path(text).name.lower()).lstrip("0123456789-_")[:32] or "model"


def families_of(models: Sequence[Stage], ms_per_pair: Mapping[Asking, float], present: Family) -> tuple[Family, ...]:
    """Return the cascades: off, the present one, each model alone, then a cheaper model before a dearer one."""
    cheapest = sorted(map(asking, models), key=lambda one: ms_per_pair[one])
    alone = [(one,) for one in cheapest]
    pairs = list(itertools.combinations(cheapest, 2))
    found = dict.fromkeys([(), present, *alone, *pairs])
    return tuple(found)[: FAMILIES + 1]


def fusions_of(present: Profile, fusions: Sequence[str]) -> list[Profile]:
    """Return the fusions, without stages: the present one, plain RRF, then the grids, at the present depth."""
    own, plain = fusion_of(present), Profile(stages=())
    found = [own, plain]
    for share in SHARES if "linear" in fusions else ():
        weights = {"bm25": round(1 - share, 1), "dense": share}
        found.append(Profile(depth=own.depth, fusion="linear", weights=weights, stages=()))
    for k, weight in itertools.product(RRF_KS, DENSE_WEIGHTS) if "rrf" in fusions else ():
        weights = {} if weight == 1.0 else {"bm25": 1.0, "dense": weight}
        found.append(Profile(depth=own.depth, rrf_k=k, weights=weights, stages=()))
    return list({key_of(one): one for one in found}.values())


def deeper(fusion: Profile) -> list[Profile]:
    """Return a fusion of more and of fewer passages of each system."""
    return [msgspec.structs.replace(fusion, depth=depth) for depth in RETRIEVED if depth != fusion.depth]


def starts_of(space: Space, family: Family, fusions: Sequence[Profile]) -> list[Shape]:
    """Return the first cascades of a family that are tried, over each of these fusions; the present one's come first."""
    count = len(family)
    found = [replace(shape_of(space.present), fusion=one) for one in fusions if family == family_of(space.present)]
    for fusion, (depth, keep, blend) in itertools.product(fusions, STARTS):
        shape = Shape(fusion, family, depth, (keep,) * (count - 1), (blend,) * count, (None,) * count)
        found.append(within(space, shape))
    return found


def neighbours(space: Space, shape: Shape, fusions: Sequence[Profile]) -> Iterator[Shape]:
    """Yield what differs from a shape in one respect: a blend, a depth, what is kept, the fusion, a margin."""
    for number in range(len(shape.family)):
        yield from (replace(shape, blends=put(shape.blends, number, blend)) for blend in BLENDS)
    yield from (within(space, replace(shape, depth=depth)) for depth in DEPTHS)
    for number in range(len(shape.keeps)):
        yield from (within(space, replace(shape, keeps=put(shape.keeps, number, keep))) for keep in KEEPS)
    yield from (replace(shape, fusion=fusion) for fusion in fusions)
    for number in range(len(shape.family)):
        yield from (replace(shape, margins=put(shape.margins, number, margin)) for margin in (None, *MARGINS))


def within(space: Space, shape: Shape) -> Shape:
    """Return a shape in which no stage scores more than it is given, or than its model may."""
    most = [space.model(asked).depth for asked in shape.family]
    depth = min(shape.depth, most[0])
    keeps: list[int] = []
    for keep, limit in zip(shape.keeps, most[1:], strict=True):
        keeps.append(min(keep, limit, *keeps, depth))
    return replace(shape, depth=depth, keeps=tuple(keeps))


def put(values: tuple[T, ...], place: int, value: T) -> tuple[T, ...]:
    """Return values with one in place of another."""
    return (*values[:place], value, *values[place + 1 :])


def shape_of(profile: Profile) -> Shape:
    """Return a profile's shape."""
    stages = profile.stages
    return Shape(
        fusion_of(profile),
        family_of(profile),
        stages[0].depth if stages else 0,
        tuple(min(one.keep, after.depth) for one, after in itertools.pairwise(stages)),
        tuple(stage.blend for stage in stages),
        tuple(stage.early_stop_margin for stage in stages),
    )


def profile_of(space: Space, shape: Shape) -> Profile:
    """Return the profile of a shape; a stage that keeps all that it scores has no margin."""
    stages = []
    for number, asked in enumerate(shape.family):
        depth = shape.keeps[number - 1] if number else shape.depth
        keep = shape.keeps[number] if number < len(shape.keeps) else min(TOP, depth)
        margin = shape.margins[number] if keep < depth else None
        model = space.model(asked)
        stages.append(
            msgspec.structs.replace(model, depth=depth, keep=keep, blend=shape.blends[number], early_stop_margin=margin)
        )
    return msgspec.structs.replace(shape.fusion, stages=tuple(stages))
