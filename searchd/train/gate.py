"""The gate: a version is promoted if it answers its run's held-out queries better than what serves at that moment.

Not than what it was fitted from, nor than what served when its run ended. Takes a version, gives its card and what it was
weighed against; `--force` goes round it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from indexer.device import Device
from indexer.errors import Conflict
from indexer.weights import digest_of
from searchd.rerank.house import HOUSE_MODELS
from searchd.settings import Settings
from searchd.train import registry
from searchd.train.compare import Comparison, compared
from searchd.train.measure import Measured, measure
from searchd.train.prepare import HELD_OUT
from searchd.train.registry import PACKAGED, Card
from searchd.train.served import Served, place_of, served, stages_that_run

NOTHING = "the fused order, since no reranker serves"
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Weighed:
    """A new model beside what serves now."""

    against: str
    stage: str
    before: Measured | None
    after: Measured
    comparison: Comparison


def weigh(
    name: str, small: bool, model: Served, folder: Path, settings: Settings, device: Device, progress: Progress
) -> Weighed:
    """Compare a model with what serves now in its role, over the held-out queries in `folder`."""
    now = served(settings, name, small=small)
    after = measure(model, folder, settings, device, lambda done, whole: progress("measuring the new", done, whole))
    if now is None:
        return Weighed(NOTHING, model.stage.name, None, after, compared(after.fused, after.blended))
    before = measure(now, folder, settings, device, lambda done, whole: progress("measuring what serves", done, whole))
    return Weighed(now.label, now.stage.name, before, after, compared(before.blended, after.blended))


def candidate(settings: Settings, name: str, folder: Path, *, small: bool) -> Served:
    """Return a fitted model as it would be served in its role."""
    stage = msgspec.structs.replace(place_of(settings, name, small=small), model=str(folder), adapter="")
    return Served(f"{name} {folder.name}", digest_of(folder), stage)


def promote(
    settings: Settings,
    device: Device,
    name: str,
    version: str | None = None,
    *,
    force: bool = False,
    progress: Progress,
) -> tuple[Card, Weighed | None]:
    """Put a version (default: the latest) to use from the next start on, and return its card and what it was weighed with.

    Nothing is weighed where it is in use already, or forced. Raises: NotFound; Conflict unless it is better than what
    serves now, by more than noise; Busy.
    """
    card = registry.card_of(settings, name, version)
    with registry.changing(settings, name):
        weighed = None
        if not force and registry.promoted(settings, name) != registry.folder_of(settings, name, card.version):
            weighed = weigh_version(settings, device, card, progress)
            if not weighed.comparison.better:
                raise Conflict(refusal(card, weighed))
        registry.promote(settings, name, card.version)
    return card, weighed


def rollback(settings: Settings, name: str) -> str:
    """Return to what was in use before, and name it. Raises: Conflict if nothing was, or a stage would be left without."""
    now = registry.in_use(settings, name)
    stages = stages_that_run(settings, name)
    if now is not None and now.before[-1:] == (PACKAGED,) and name not in HOUSE_MODELS and stages:
        raise Conflict(
            f"before {name} {now.version} there was no {name}, which {', '.join(stages)} needs; give that stage another model "
            "in searchd.toml first"
        )
    back = registry.rollback(settings, name)
    return f"{name} {back}" if back != PACKAGED or name in HOUSE_MODELS else "no model of that name"


def weigh_version(settings: Settings, device: Device, card: Card, progress: Progress) -> Weighed:
    """Weigh a stored version against what serves now. Raises: Conflict where it was kept without held-out queries."""
    folder = registry.folder_of(settings, card.name, card.version)
    if not (folder / HELD_OUT).is_file():
        raise Conflict(
            f"{card.name} {card.version} was kept without held-out queries; --force promotes it all the same"
        )
    model = candidate(settings, card.name, folder, small=card.small)
    return weigh(card.name, card.small, model, folder, settings, device, progress)


def refusal(card: Card, weighed: Weighed) -> str:
    """Say why a version is not promoted: both figures, over how many queries, and what the difference is worth."""
    return (
        f"{card.name} {card.version} is not better than {weighed.against} (stage {weighed.stage!r}): "
        f"{weighed.comparison.said}; --force promotes it all the same"
    )
