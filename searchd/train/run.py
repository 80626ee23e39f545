"""One training run, from the owner's documents to a stored version, in a folder that a stopped run goes on in.

    read -> vectors -> prepare -> fit -> weigh -> store (-> distil -> weigh -> store)

SQL is read and nothing is owned, so that a daemon may serve and index meanwhile; the process is nice to it, and takes
half of the threads.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import filelock
import msgspec
import numpy as np

from indexer.device import Device
from indexer.embedder import Embedder, load_embedder
from indexer.errors import Busy, InputError
from indexer.scope import Scope
from indexer.store.database import Database
from indexer.store.judged import CLICKS, JUDGED
from searchd.database import opened_database
from searchd.settings import Settings
from searchd.train import base, registry
from searchd.train.files import add_lines, read_lines, write_whole
from searchd.train.fit import FitSettings, fit, require_extra
from searchd.train.gate import candidate, weigh
from searchd.train.judged import read_judged
from searchd.train.judged_sets import read_sets
from searchd.train.material import Progress, Vectors, read_collection, read_corpus
from searchd.train.measure import MEASURED, asked_as, measure
from searchd.train.options import FINISHED, TrainOptions, check_names, check_sets, half_of_the_threads, same_options
from searchd.train.prepare import GROUPS, HELD_OUT, counted, prepare
from searchd.train.registry import UNKEPT, Card
from searchd.train.shrink import every_second, shrunk
from searchd.train.types import Group, Material
from searchd.train.vectors import vectors_of

LEAST_GROUPS = 20
LOCK = "lock"
KEPT = ("*.json", "*.jsonl", FINISHED, LOCK)
"""Of a finished run: its options, groups, held-out queries, figures and cards. Checkpoints take gigabytes."""


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
        self._began_at = clock()
        self._device = Device(half_of_the_threads(settings))

    def run(self) -> list[Card]:
        """Return the cards of the versions that were stored. Raises: ConfigError, InputError, Busy."""
        require_extra()
        check_names(self.options)
        check_sets(self.options)
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            with self._alone():
                same_options(self.folder, self.options)
                started = base.base_of(self.settings, self.options.base, self.folder, small=bool(self.options.small))
                self.prepared()
                cards = list(self._fitted(list(read_lines(self.folder / GROUPS, Group)), started))
                self._tidied()
                return cards
        finally:
            self._device.close()

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep others out of the run's folder. Raises: Busy."""
        try:
            with filelock.FileLock(self.folder / LOCK, timeout=0):
                yield
        except filelock.Timeout as error:
            raise Busy(f"another process is at the run in {self.folder}; --new begins another run") from error

    def _tidied(self) -> None:
        """Mark the run as finished, and leave of it what tells how the versions came to be."""
        (self.folder / FINISHED).touch()
        kept = {path for pattern in KEPT for path in self.folder.glob(pattern)}
        for path in set(self.folder.iterdir()) - kept:
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def prepared(self) -> None:
        """Read the documents, make and mine the questions, unless that is done. Raises: InputError if they are too few."""
        if not ((self.folder / GROUPS).is_file() and (self.folder / HELD_OUT).is_file()):
            embedder = load_embedder(self.settings, self._device)
            if self.options.corpus:
                corpus = read_corpus(Path(self.options.corpus), self.settings.default_language)
                self._prepare_from(corpus, embedder, None)
            else:
                self._prepare_from_collection(embedder)
        self._enough()

    def _prepare_from_collection(self, embedder: Embedder) -> None:
        with opened_database(self.settings) as database:
            scope = Scope.of(self.options.collection, self.options.principals)
            self._prepare_from(read_collection(database, scope), embedder, database)

    def _prepare_from(self, material: Material, embedder: Embedder, database: Database | None) -> None:
        judged = read_judged(Path(self.options.judged), material) if self.options.judged else []
        if database is not None:
            judged += read_sets(database, self.options.collection, self.options.sets, material)
        vectors = vectors_of(material, database, embedder, self.folder, self._progress)

        def encode(queries: Sequence[str]) -> Vectors:
            rows = [embedder.encode_query(query) for query in queries]
            return np.stack(rows) if rows else np.zeros((0, embedder.dimension), np.float32)

        prepare(material, vectors, encode, self.folder, self.options.prepare, self._progress, judged)

    def _enough(self) -> None:
        """Refuse too few questions, and forget them: the next try reads what was added meanwhile. Raises: InputError."""
        try:
            self._counted()
        except InputError:
            for name in (GROUPS, HELD_OUT):
                (self.folder / name).unlink()
            raise

    def _counted(self) -> None:
        groups, held_out = ((self.folder / name).read_bytes().count(b"\n") for name in (GROUPS, HELD_OUT))
        part = self.options.prepare.held_out_part
        if groups < LEAST_GROUPS:
            raise InputError(
                f"the documents give {groups} questions with an answer and other passages to tell it from; "
                f"{LEAST_GROUPS} are needed: add more documents with headings"
            )
        if not held_out:
            raise InputError(
                f"no question is held out to measure with: one document in {part} is kept apart, by its name, and none of "
                "yours is with a question that its texts are found for; add more documents"
            )

    def _fitted(self, groups: Sequence[Group], started: base.Base) -> Iterator[Card]:
        options, step = self.options, self._step
        fitted = fit(started.folder, groups, self.folder / "base", options.fit, step("fitting"))
        learned = self._learned(groups, registry.card_in(started.folder))
        card = self._stored(options.name, started.label, fitted, groups, options.fit, learned)
        yield card
        if options.small:
            layers = options.small_layers or every_second(fitted)
            small = shrunk(fitted, layers, self.folder / "small-start", groups, options.distil)
            kept = fit(small, groups, self.folder / "small", options.distil, step("distilling"), fitted, layers)
            label = f"{card.name} {card.version}"
            yield self._stored(options.small, label, kept, groups, options.distil, learned, small=True)

    def _learned(self, groups: Sequence[Group], before: Card | None) -> tuple[tuple[str, str], ...]:
        """Return the judgments that a model has learned from: those of this run, and those of the model it begins with."""
        own: list[tuple[str, str]] = []
        if {JUDGED, CLICKS} & set(counted(groups)):
            own += [(self.options.collection, name) for name in self.options.sets]
            own += [registry.OF_A_FILE] if self.options.judged else []
        return tuple(dict.fromkeys([*own, *(before.learned if before else ())]))

    def _stored(
        self,
        name: str,
        started: str,
        fitted: Path,
        groups: Sequence[Group],
        settings: FitSettings,
        learned: tuple[tuple[str, str], ...],
        *,
        small: bool = False,
    ) -> Card:
        """Weigh a model against what serves now in its role, and keep it with its card: once, wherever it is stopped."""
        noted = self.folder / f"{name}.card.json"
        if noted.is_file():
            card = msgspec.json.decode(noted.read_bytes(), type=Card)
        else:
            card = self._weighed(name, started, fitted, groups, settings, small=small)
            card = msgspec.structs.replace(card, learned_from=learned)
            write_whole(noted, msgspec.json.encode(card))
        if card.version == UNKEPT:
            card = registry.kept_as(self.settings, card) or self._kept(card, fitted)
            write_whole(noted, msgspec.json.encode(card))
        return card

    def _weighed(
        self, name: str, started: str, fitted: Path, groups: Sequence[Group], settings: FitSettings, *, small: bool
    ) -> Card:
        model = candidate(self.settings, name, fitted, small=small)
        weighed = weigh(name, small, model, self.folder, self.settings, self._device, self._progress)
        before = weighed.before.figures if weighed.before else None
        return Card(
            name=name,
            version=UNKEPT,
            made_at=self._clock(),
            base=started,
            collection=(self.options.corpus and Path(self.options.corpus).name) or self.options.collection,
            groups=len(groups),
            kinds=counted(groups),
            settings=msgspec.to_builtins(settings),
            before=before or registry.Figures.of_fused(weighed.after.figures),
            after=weighed.after.figures,
            took_s=round(self._clock() - self._began_at, 1),
            against=weighed.against,
            asked=asked_as(model.stage, self.settings),
            compared=weighed.comparison,
            small=small,
        )

    def _kept(self, card: Card, fitted: Path) -> Card:
        """Store a weighed model, its figures beside it as those of what is kept: its card makes it another folder."""
        kept = registry.store(self.settings, fitted, card, [self.folder / HELD_OUT, self.folder / MEASURED])
        folder = registry.folder_of(self.settings, card.name, kept.version)
        model, itself = (candidate(self.settings, card.name, one, small=card.small) for one in (fitted, folder))
        known = measure(model, self.folder, self.settings, self._device, lambda *_: None)
        add_lines(folder / MEASURED, [msgspec.structs.replace(known, digest=itself.digest)])
        return kept

    def _step(self, name: str) -> Callable[[int, int, float | None], None]:
        return lambda done, whole, loss: self._progress(
            name if loss is None else f"{name}, loss {loss:.3f}", done, whole
        )
