"""One training run, from the owner's documents to a stored version, in a folder that a stopped run goes on in.

    read -> vectors -> prepare -> measure -> fit -> measure -> (distil -> measure) -> store

SQL is read and nothing is owned, so that a daemon may serve and index meanwhile; the process is nice to it, and takes
half of the threads.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

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
from searchd.train.options import FINISHED, TrainOptions, half_of_the_threads, same_options
from searchd.train.prepare import GROUPS, HELD_OUT, HeldOut, counted, prepare
from searchd.train.registry import Card, Figures, promoted, store
from searchd.train.shrink import every_second, shrunk
from searchd.train.types import Group, Material

LEAST_GROUPS = 20


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
