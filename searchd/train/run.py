"""One training run, from the owner's documents to a stored version, in a folder that a stopped run goes on in.

    read -> vectors -> prepare -> measure -> fit -> measure -> (distil -> measure) -> store

SQL is read and nothing is owned, so that a daemon may serve and index meanwhile; the process is nice to it, and takes
half of the threads.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from indexer.device import Device
from indexer.embedder import Embedder, load_embedder
from indexer.errors import InputError
from indexer.scope import Scope
from indexer.store.database import Database, open_database
from searchd.rerank import house
from searchd.rerank.cross_encoder import load_cross_encoder
from searchd.rerank.scheduler import Scheduler
from searchd.rerank.types import PassageText, ScoreRequest
from searchd.settings import Settings, Stage
from searchd.train.evaluate import evaluate
from searchd.train.files import read_lines
from searchd.train.fit import FitSettings, fit, require_extra
from searchd.train.judged import read_judged
from searchd.train.material import Progress, Vectors, read_collection, read_corpus, vectors_of
from searchd.train.mining import MiningSettings
from searchd.train.prepare import GROUPS, HELD_OUT, HeldOut, PrepareSettings, counted, prepare
from searchd.train.registry import Card, Figures, promoted, store
from searchd.train.shrink import every_second, shrunk
from searchd.train.types import Group, Material

NICENESS = 10
LEAST_GROUPS = 20
BASE, SMALL = "rerank-base", "rerank-small"
OPTIONS, FINISHED = "run.json", "finished"
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
    name: str = BASE
    base: str = BASE
    """What is fitted: a packaged model, or a folder."""
    small: str = SMALL
    """The role of the model that is distilled from the fitted one; empty: none."""
    small_layers: tuple[int, ...] = ()
    """Which of the fitted model's layers the small one begins with, and imitates; none: every second one."""
    prepare: PrepareSettings = field(default_factory=PrepareSettings)
    fit: FitSettings = field(default_factory=FitSettings)
    distil: FitSettings = field(default_factory=FitSettings)


class Runner:
    """Does a run's steps in order; each leaves its work in the folder and is not done again."""

    def __init__(
        self,
        settings: Settings,
        options: TrainOptions,
        folder: Path,
        progress: Progress,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.options = options
        self.folder = folder
        self._progress = progress
        self._clock = clock
        self._device = Device(half_of_the_threads(settings))

    def run(self) -> list[Card]:
        """Return the cards of the versions that were stored. Raises: ConfigError, InputError."""
        require_extra()
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        same_options(self.folder, self.options)
        try:
            self.prepared()
            groups = list(read_lines(self.folder / GROUPS, Group))
            held_out = list(read_lines(self.folder / HELD_OUT, HeldOut))
            cards = list(self._fitted(groups, held_out))
            (self.folder / FINISHED).touch()
            return cards
        finally:
            self._device.close()

    def prepared(self) -> None:
        """Read the documents, make and mine the questions, unless that is done."""
        if (self.folder / GROUPS).is_file() and (self.folder / HELD_OUT).is_file():
            return
        embedder = load_embedder(self.settings, self._device)
        if self.options.corpus:
            self._prepare_from(read_corpus(Path(self.options.corpus)), embedder, None)
            return
        database = open_database(self.settings.resolved_database_url, migrate=False)
        try:
            scope = Scope.of(self.options.collection, self.options.principals)
            self._prepare_from(read_collection(database, scope), embedder, database)
        finally:
            database.close()

    def _prepare_from(self, material: Material, embedder: Embedder, database: Database | None) -> None:
        vectors = self._vectors(material, embedder, database)
        judged = read_judged(Path(self.options.judged), material) if self.options.judged else []

        def encode(queries: Sequence[str]) -> Vectors:
            rows = [embedder.encode_query(query) for query in self._counted("encoding queries", queries)]
            return np.stack(rows) if rows else np.zeros((0, embedder.dimension), np.float32)

        prepare(material, vectors, encode, self.folder, self.options.prepare, self._progress, judged)

    def _vectors(self, material: Material, embedder: Embedder, database: Database | None) -> Vectors:
        """Return the passages' vectors; of a corpus file they are kept, since nothing else keeps them."""
        kept = self.folder / "vectors.npy"
        if kept.is_file():
            loaded: Vectors = np.load(kept, allow_pickle=False)
            if len(loaded) == len(material.passages):
                return loaded
        vectors = vectors_of(material, database, embedder, self._progress)
        if database is None:
            np.save(kept, vectors, allow_pickle=False)
        return vectors

    def _counted(self, step: str, values: Sequence[str]) -> Iterator[str]:
        """Yield the values and tell how many have been taken."""
        for done, value in enumerate(values, start=1):
            yield value
            if done % 100 == 0 or done == len(values):
                self._progress(step, done, len(values))

    def _fitted(self, groups: Sequence[Group], held_out: Sequence[HeldOut]) -> Sequence[Card]:
        if len(groups) < LEAST_GROUPS:
            raise InputError(
                f"the documents give {len(groups)} questions with an answer and other passages to tell it from; "
                f"{LEAST_GROUPS} are needed: add more documents with headings"
            )
        options, started = self.options, self._clock()
        base = self._base()
        fitted = fit(base, groups, self.folder / "base", options.fit, self._step("fitting"))
        cards = [self._stored(options.name, options.base, base, fitted, groups, held_out, options.fit, started)]
        if options.small:
            layers = options.small_layers or every_second(fitted)
            small = shrunk(fitted, layers, self.folder / "small-start")
            kept = fit(
                small,
                groups,
                self.folder / "small",
                options.distil,
                self._step("distilling"),
                fitted,
                layers,
            )
            before = self._before(options.small, small)
            cards.append(
                self._stored(options.small, options.name, before, kept, groups, held_out, options.distil, started)
            )
        return cards

    def _stored(
        self,
        name: str,
        base: str,
        before: Path,
        after: Path,
        groups: Sequence[Group],
        held_out: Sequence[HeldOut],
        settings: FitSettings,
        started: float,
    ) -> Card:
        """Measure a model and the one it is to replace, and keep it with its card; once."""
        done = self.folder / f"{name}.json"
        if done.is_file():
            return msgspec.json.decode(done.read_bytes(), type=Card)
        card = Card(
            name=name,
            version="v0",
            made_at=self._clock(),
            base=base,
            collection=(self.options.corpus and Path(self.options.corpus).name) or self.options.collection,
            groups=len(groups),
            kinds=counted(groups),
            settings=msgspec.to_builtins(settings),
            before=self._measured("measuring before", before, held_out),
            after=self._measured("measuring after", after, held_out),
            took_s=round(self._clock() - started, 1),
        )
        card = store(self.settings, after, card)
        done.write_bytes(msgspec.json.encode(card))
        return card

    def _measured(self, step: str, model: Path, held_out: Sequence[HeldOut]) -> Figures:
        stage = Stage(name="trained", model=str(model))
        reranker = load_cross_encoder(stage, self.settings, Scheduler(self._device))

        def score(query: str, texts: Sequence[str]) -> NDArray[np.float32]:
            return reranker.score(ScoreRequest(query, stage.max_length), [PassageText(text) for text in texts])

        return evaluate(score, held_out, lambda done, whole: self._progress(step, done, whole))

    def _base(self) -> Path:
        """Return the folder of the model to fit: the version in use of a role, the packaged one, or a folder."""
        name = self.options.base
        given = promoted(self.settings, name) or Path(name)
        if given.is_dir():
            return given
        return self.exported(name)

    def _before(self, name: str, start: Path) -> Path:
        """Return what a small model is compared with: what serves in its role now, else where it began."""
        used = promoted(self.settings, name)
        if used is not None:
            return used
        return self.exported(name) if name in house.HOUSE_MODELS else start

    def exported(self, name: str) -> Path:
        """Return a packaged model as a folder that can be fitted."""
        exported = self.folder / f"packaged-{name}"
        if not (exported / "model.safetensors").is_file():
            house.export(name, exported)
        return exported

    def _step(self, name: str) -> Callable[[int, int, float | None], None]:
        return lambda done, whole, loss: self._progress(
            name if loss is None else f"{name}, loss {loss:.3f}", done, whole
        )


def half_of_the_threads(settings: Settings) -> Settings:
    """Return settings with half of the threads, one at least: the other half is the daemon's."""
    threads = settings.threads or os.cpu_count() or 1
    return msgspec.structs.replace(settings, threads=max(1, threads // 2))


def be_nice() -> None:
    """Let everything else on this machine go first."""
    if hasattr(os, "nice"):
        os.nice(max(0, NICENESS - os.nice(0)))


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
        corpus=str(asked["corpus"] or ""),
        judged=str(asked["judged"] or ""),
        name=asked["name"],
        base=asked["base"],
        small=asked["small"],
        prepare=PrepareSettings(
            seed=asked["seed"], groups=asked["groups"], mining=MiningSettings(negatives=asked["negatives"])
        ),
        fit=fitting,
        distil=replace(fitting, method="full", learning_rate=asked["learning_rate"] * DISTIL_RATE),
    )


def run_folder(settings: Settings, options: TrainOptions, *, new: bool) -> Path:
    """Return the folder of the last run of this collection if it is unfinished (and not a `new` one is asked for), else
    of the next."""
    home = settings.data_path / "training"
    name = "corpus" if options.corpus else options.collection
    taken = sorted(int(path.name.rpartition("-")[2]) for path in home.glob(f"{name}-*") if path.name[-1].isdigit())
    if taken and not new and not (home / f"{name}-{taken[-1]}" / FINISHED).is_file():
        return home / f"{name}-{taken[-1]}"
    return home / f"{name}-{taken[-1] + 1 if taken else 1}"


def same_options(folder: Path, options: TrainOptions) -> None:
    """Note a new run's options, and compare those of one that goes on. Raises: InputError naming what differs."""
    path = folder / OPTIONS
    now = msgspec.json.encode(options, order="sorted")
    if not path.is_file():
        path.write_bytes(now)
        return
    before = msgspec.json.decode(path.read_bytes())
    differ = sorted(name for name, value in msgspec.json.decode(now).items() if before.get(name) != value)
    if differ:
        raise InputError(f"the run in {folder} was begun with another {', '.join(differ)}; --new begins another run")
