"""The owner's trained models, by name and version, and which one is in use.

    data_dir/models/<name>/<version>/    safetensors, tokenizer, configuration, card.json
    data_dir/models/<name>/promoted.json the version in use, and those before it

A name is a role: `rerank-base` and `rerank-small` mean the packaged models until a version of theirs is promoted. Each
change of what is in use is one rename.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from indexer.errors import Conflict, InputError, NotFound
from indexer.settings import Settings

PACKAGED = "packaged"
"""What `rollback` returns to when the first promoted version is taken back."""
PROMOTED, CARD = "promoted.json", "card.json"
_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
_VERSION = re.compile(r"v[1-9][0-9]{0,5}")


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """nDCG@10 over held-out queries: the fused order, the model's own, and both blended."""

    queries: int
    fused: float
    alone: float
    blended: float


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a version: where it came from, on what it was fitted, and how much better it is."""

    name: str
    version: str
    made_at: float
    base: str
    """The model it was fitted from: a packaged name, or name and version."""
    collection: str
    groups: int
    kinds: Mapping[str, int]
    settings: Mapping[str, Any]
    before: Figures
    after: Figures
    took_s: float

    @property
    def improved(self) -> bool:
        """Whether held-out queries are answered better than by the model it was fitted from."""
        return self.after.blended > self.before.blended


class InUse(msgspec.Struct, frozen=True):
    """The version in use, and those that were before it, the latest last."""

    version: str
    before: tuple[str, ...] = ()


def models_folder(settings: Settings) -> Path:
    """Return where trained models lie."""
    return settings.data_path / "models"


def promoted(settings: Settings, name: str) -> Path | None:
    """Return the folder of the version in use, None if that is the packaged one."""
    if not _NAME.fullmatch(name):
        return None
    found = in_use(settings, name)
    if found is None or found.version == PACKAGED:
        return None
    return folder_of(settings, name, found.version)


def in_use(settings: Settings, name: str) -> InUse | None:
    """Return what was promoted last, None if nothing ever was."""
    try:
        return msgspec.json.decode((models_folder(settings) / name / PROMOTED).read_bytes(), type=InUse)
    except FileNotFoundError:
        return None


def folder_of(settings: Settings, name: str, version: str) -> Path:
    """Return a version's folder. Raises: NotFound, naming the versions there are; InputError for no version's name."""
    if not _NAME.fullmatch(name) or not _VERSION.fullmatch(version):
        raise InputError(f"{name} {version} is no trained model; `searchd models list` names them")
    folder = models_folder(settings) / name / version
    if not (folder / CARD).is_file():
        known = ", ".join(card.version for card in cards(settings, name)) or "none"
        raise NotFound(f"{name} has no version {version}; there are: {known}")
    return folder


def cards(settings: Settings, name: str | None = None) -> list[Card]:
    """Return the card of every version (of one name), by name and number."""
    found = []
    pattern = f"{name or '*'}/v*/{CARD}"
    for path in models_folder(settings).glob(pattern):
        found.append(msgspec.json.decode(path.read_bytes(), type=Card))
    return sorted(found, key=lambda card: (card.name, number_of(card.version)))


def number_of(version: str) -> int:
    """Return the number of "v3"."""
    return int(version.removeprefix("v"))


def card_of(settings: Settings, name: str, version: str | None = None) -> Card:
    """Return a version's card, the latest version's if none is named. Raises: NotFound."""
    if version is None:
        known = cards(settings, name)
        if not known:
            raise NotFound(f"{name} has no trained version; `searchd train` makes one")
        return known[-1]
    return msgspec.json.decode((folder_of(settings, name, version) / CARD).read_bytes(), type=Card)


def store(settings: Settings, model: Path, card: Card) -> Card:
    """Keep a fitted model under the next version of its name, and return the card with it."""
    if not _NAME.fullmatch(card.name):
        raise InputError(f"{card.name!r} is no model's name: a-z, 0-9 and -, a letter first, 32 at most")
    home = models_folder(settings) / card.name
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    taken = [number_of(path.name) for path in home.iterdir() if _VERSION.fullmatch(path.name)]
    card = msgspec.structs.replace(card, version=f"v{max(taken, default=0) + 1}")
    draft = home / f"draft-{card.version}"
    shutil.rmtree(draft, ignore_errors=True)
    shutil.copytree(model, draft)
    (draft / CARD).write_bytes(msgspec.json.format(msgspec.json.encode(card)))
    draft.rename(home / card.version)
    return card


def promote(settings: Settings, name: str, version: str | None = None, *, force: bool = False) -> Card:
    """Put a version (default: the latest) to use from the next start on.

    Raises: NotFound; Conflict where held-out queries are not answered better, unless forced.
    """
    card = card_of(settings, name, version)
    if not card.improved and not force:
        raise Conflict(
            f"{name} {card.version} does not improve on held-out queries: nDCG@10 {card.before.blended:.4f} before, "
            f"{card.after.blended:.4f} after; --force promotes it all the same"
        )
    now = in_use(settings, name) or InUse(PACKAGED)
    if now.version != card.version:
        flip(settings, name, InUse(card.version, (*now.before, now.version)))
    return card


def rollback(settings: Settings, name: str) -> str:
    """Return to what was in use before, and name it. Raises: Conflict if nothing was."""
    now = in_use(settings, name)
    if now is None or not now.before:
        raise Conflict(f"{name}: the packaged model is in use; there is nothing to go back to")
    flip(settings, name, InUse(now.before[-1], now.before[:-1]))
    return now.before[-1]


def flip(settings: Settings, name: str, chosen: InUse) -> None:
    """Write what is in use, by one rename."""
    path = models_folder(settings) / name / PROMOTED
    draft = path.with_suffix(".draft")
    draft.write_bytes(msgspec.json.encode(chosen))
    draft.replace(path)
