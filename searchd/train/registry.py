"""The owner's trained models, by name and version, and which one is in use.

    data_dir/models/<name>/<version>/    safetensors, tokenizer, configuration, card.json
    data_dir/models/<name>/promoted.json the version in use, and those before it

A name is a role: `rerank-base` and `rerank-small` mean the packaged models until a version of theirs is promoted. Each
change of what is in use is one rename, under a lock. Whether a version may be promoted is `gate.py`'s to say.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import filelock
import msgspec

from indexer.errors import Busy, Conflict, InputError, NotFound
from indexer.settings import Settings
from indexer.store.judged import CLICKS, JUDGED
from searchd.train.compare import Comparison
from searchd.train.files import write_whole

PACKAGED = "packaged"
"""What `rollback` returns to when the first promoted version is taken back."""
UNKEPT = "v0"
"""The version on the card of a model that is not kept yet."""
PROMOTED, CARD, LOCK = "promoted.json", "card.json", "lock"
LOCK_WAIT_S, STORE_WAIT_S = 5.0, 900.0
"""A run that took hours waits for a promotion that takes minutes."""
OF_A_FILE = ("", "")
_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
_VERSION = re.compile(r"v[1-9][0-9]{0,5}")


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """nDCG@10 over held-out queries: the fused order, the model's own, and both blended."""

    queries: int
    fused: float
    alone: float
    blended: float

    @classmethod
    def of_fused(cls, measured: Figures) -> Figures:
        """Return the figures of no model at all: the fused order's."""
        return cls(queries=measured.queries, fused=measured.fused, alone=measured.fused, blended=measured.fused)


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a version: where it came from, on what it was fitted, and how much better it is."""

    name: str
    version: str
    made_at: float
    base: str
    """The model it was fitted from: name and version, or what was named."""
    collection: str
    groups: int
    kinds: Mapping[str, int]
    settings: Mapping[str, Any]
    before: Figures
    """Those of the model that was in use when the run ended."""
    after: Figures
    took_s: float
    """Seconds since the process began that ended the run; what it did before a stop is not in it."""
    against: str = ""
    """What was in use then."""
    asked: str = ""
    """How both were asked: as the stage asks that they are for."""
    compared: Comparison | None = None
    small: bool = False
    """Whether it is for the first stage of a cascade, not for the last."""
    learned_from: tuple[tuple[str, str], ...] = ()
    """Judged sets that it, or a model it was fitted from, learned from: (collection, name); `OF_A_FILE`: a file's judgments."""

    @property
    def learned(self) -> tuple[tuple[str, str], ...]:
        """What it learned from, as `learned_from`; of judgments that an older card does not name, as those of a file."""
        judged = any(self.kinds.get(kind) for kind in (JUDGED, CLICKS))
        return self.learned_from or ((OF_A_FILE,) if judged else ())

    @property
    def improved(self) -> bool:
        """Whether it answered held-out queries better, beyond noise, than what was in use when the run ended."""
        return self.compared is not None and self.compared.better


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


def card_in(folder: Path) -> Card | None:
    """Return the card that lies beside a model, None if it is no version of a trained one."""
    try:
        return msgspec.json.decode((folder / CARD).read_bytes(), type=Card)
    except (OSError, msgspec.DecodeError):
        return None


def check_name(name: str) -> None:
    """Raise InputError unless a model may be called so."""
    if not _NAME.fullmatch(name):
        raise InputError(f"{name!r} is no model's name: a-z, 0-9 and -, a letter first, 32 at most")


def number_of(version: str) -> int:
    """Return the number of "v3"."""
    return int(version.removeprefix("v"))


def card_of(settings: Settings, name: str, version: str | None = None) -> Card:
    """Return a version's card, the latest version's if none is named. Raises: NotFound; InputError for no model's name."""
    check_name(name)
    if version is None:
        known = cards(settings, name)
        if not known:
            raise NotFound(f"{name} has no trained version; `searchd train` makes one")
        return known[-1]
    return msgspec.json.decode((folder_of(settings, name, version) / CARD).read_bytes(), type=Card)


def store(settings: Settings, model: Path, card: Card, beside: Sequence[Path] = ()) -> Card:
    """Keep a fitted model under the next version of its name, with files to lie beside it, and return the card with it."""
    check_name(card.name)
    home = models_folder(settings) / card.name
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    with changing(settings, card.name, STORE_WAIT_S):
        taken = [number_of(path.name) for path in home.iterdir() if _VERSION.fullmatch(path.name)]
        card = msgspec.structs.replace(card, version=f"v{max(taken, default=0) + 1}")
        draft = home / f"draft-{card.version}"
        shutil.rmtree(draft, ignore_errors=True)
        shutil.copytree(model, draft)
        for path in beside:
            shutil.copyfile(path, draft / path.name)
        (draft / CARD).write_bytes(msgspec.json.format(msgspec.json.encode(card)))
        draft.rename(home / card.version)
    return card


def kept_as(settings: Settings, card: Card) -> Card | None:
    """Return the card of the version that a model was kept as, None if it was not."""
    return next(
        (one for one in cards(settings, card.name) if msgspec.structs.replace(one, version=UNKEPT) == card), None
    )


@contextlib.contextmanager
def changing(settings: Settings, name: str, wait_s: float = LOCK_WAIT_S) -> Iterator[None]:
    """Let nobody else change a name's versions meanwhile. Raises: Busy if somebody is at it."""
    lock = filelock.FileLock(models_folder(settings) / name / LOCK, timeout=wait_s)
    try:
        with lock:
            yield
    except filelock.Timeout as error:
        raise Busy(f"another process is storing or promoting a version of {name}; try again when it is done") from error


def promote(settings: Settings, name: str, version: str) -> None:
    """Put a version to use from the next start on; nothing is changed where it is in use. Raises: NotFound."""
    folder_of(settings, name, version)
    now = in_use(settings, name) or InUse(PACKAGED)
    if now.version != version:
        flip(settings, name, InUse(version, (*now.before, now.version)))


def rollback(settings: Settings, name: str) -> str:
    """Return to what was in use before, and name it. Raises: Conflict if nothing was."""
    if in_use(settings, name) is None:
        raise Conflict(f"{name}: no version was ever promoted; there is nothing to go back to")
    with changing(settings, name):
        now = in_use(settings, name) or InUse(PACKAGED)
        if not now.before:
            raise Conflict(f"{name}: {now.version} was in use first; there is nothing to go back to")
        back = now.before[-1]
        if back != PACKAGED:
            folder_of(settings, name, back)
        flip(settings, name, InUse(back, now.before[:-1]))
    return back


def flip(settings: Settings, name: str, chosen: InUse) -> None:
    """Write what is in use, by one rename."""
    write_whole(models_folder(settings) / name / PROMOTED, msgspec.json.encode(chosen))
