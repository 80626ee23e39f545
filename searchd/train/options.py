"""What a run is asked for, where it is kept, and what it takes of this machine. Given by the command line, used by `run.py`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from indexer.device import Device
from indexer.errors import InputError
from searchd.settings import Settings
from searchd.train import registry
from searchd.train.files import write_whole
from searchd.train.fit import FitSettings
from searchd.train.mining import MiningSettings
from searchd.train.prepare import PrepareSettings

BASE, SMALL = "rerank-base", "rerank-small"
OPTIONS, FINISHED = "run.json", "finished"
RETIRED = ("prepare.language",)
"""What runs of earlier versions noted and no run depends on."""
OF_THE_MACHINE = ("threads", "device", "bfloat16")
"""What a run may go on with that differs: it was stopped, and goes on on another machine or beside another daemon."""
DISTIL_RATE = 2.5
"""The small model learns with so many times the base's rate: its layers have further to go."""


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """What a run is asked for. A run that goes on must be asked for the same."""

    collection: str = "default"
    principals: tuple[str, ...] = ()
    corpus: str = ""
    """A file of documents to train on instead of a collection."""
    judged: str = ""
    """A file of judgments."""
    sets: tuple[str, ...] = ()
    """Names of judged sets, and sets of clicks, of the collection."""
    name: str = BASE
    base: str = BASE
    """What is fitted: a role, a packaged model, a folder or a hub name; empty: what the deciding stage runs."""
    small: str = SMALL
    """The role of the model that is distilled from the fitted one; empty: none."""
    small_layers: tuple[int, ...] = ()
    """Which of the fitted model's layers the small one begins with, and imitates; none: every second one."""
    prepare: PrepareSettings = field(default_factory=PrepareSettings)
    fit: FitSettings = field(default_factory=FitSettings)
    distil: FitSettings = field(default_factory=FitSettings)


def half_of_the_threads(settings: Settings) -> Settings:
    """Return settings with half of the threads, one at least: the other half is the daemon's."""
    threads = settings.threads or os.cpu_count() or 1
    return msgspec.structs.replace(settings, threads=max(1, threads // 2))


def fit_settings(settings: Settings, wanted: FitSettings) -> FitSettings:
    """Return settings of fitting for this machine: its device, half of its threads, bfloat16 where that is fast."""
    device = Device(half_of_the_threads(settings))
    try:
        import torch

        fast = device.dtype is torch.bfloat16
        threads = half_of_the_threads(settings).threads
        return replace(wanted, device=device.name, threads=threads, bfloat16=fast)
    finally:
        device.close()


def options_of(settings: Settings, **asked: Any) -> TrainOptions:
    """Return a run's options from those of the command line."""
    plain = FitSettings(
        method=asked["method"],
        epochs=asked["epochs"],
        max_steps=asked["max_steps"],
        learning_rate=asked["learning_rate"],
        max_length=asked["max_length"],
        save_steps=asked["save_steps"],
        seed=asked["seed"],
    )
    fitting = fit_settings(settings, plain)
    return TrainOptions(
        collection=asked["collection"],
        principals=tuple(asked["principals"]),
        corpus=whole(asked["corpus"]),
        judged=whole(asked["judged"]),
        sets=tuple(dict.fromkeys(asked["sets"])),
        name=asked["name"],
        base=asked["base"],
        small=asked["small"],
        prepare=PrepareSettings(
            seed=asked["seed"], groups=asked["groups"], mining=MiningSettings(negatives=asked["negatives"])
        ),
        fit=fitting,
        distil=replace(fitting, method="full", learning_rate=asked["learning_rate"] * DISTIL_RATE),
    )


def whole(path: Path | None) -> str:
    """Return a path that means the same wherever the run goes on from; none is empty."""
    return "" if path is None else str(path.absolute())


def run_folder(settings: Settings, options: TrainOptions, *, new: bool) -> Path:
    """Return the folder of the last run of this collection if it is unfinished (and not a `new` one is asked for), else
    of the next."""
    home = settings.data_path / "training"
    name = "corpus" if options.corpus else options.collection
    found = (re.fullmatch(rf"{re.escape(name)}-(\d+)", path.name) for path in home.glob("*"))
    taken = sorted(int(one[1]) for one in found if one is not None)
    if taken and not new and not (home / f"{name}-{taken[-1]}" / FINISHED).is_file():
        return home / f"{name}-{taken[-1]}"
    return home / f"{name}-{taken[-1] + 1 if taken else 1}"


def check_names(options: TrainOptions) -> None:
    """Raise InputError unless the models of a run may be called as they are to be: what it costs to find out is hours."""
    for name in (options.name, *([options.small] if options.small else [])):
        registry.check_name(name)
    if options.small == options.name:
        raise InputError(f"both models would be called {options.name!r}; --small gives the small one a name of its own")


def check_sets(options: TrainOptions) -> None:
    """Raise InputError if judged sets are asked for where there is no collection that has any."""
    if options.sets and options.corpus:
        raise InputError("--set names judged sets of a collection; a run on the documents of a --corpus has none")


def same_options(folder: Path, options: TrainOptions) -> None:
    """Note a new run's options, and compare those of one that goes on. Raises: InputError naming what differs."""
    path = folder / OPTIONS
    if not path.is_file():
        write_whole(path, msgspec.json.encode(options, order="sorted"))
        return
    before, now = (dict(plain(one)) for one in (msgspec.json.decode(path.read_bytes()), msgspec.to_builtins(options)))
    differ = [
        f"{name} {before.get(name)!r}, not {now.get(name)!r}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name) and name not in RETIRED and name.rpartition(".")[2] not in OF_THE_MACHINE
    ]
    if differ:
        raise InputError(f"the run in {folder} was begun with {'; '.join(differ)}; --new begins another run")


def plain(options: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield options by dotted name, down to those that hold no others."""
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from plain(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", list(value) if isinstance(value, tuple) else value
