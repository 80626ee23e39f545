"""The opened data folder: database, device, embedders, and the two indexes of every live and building generation.

Retrievers ask `live(collection)`; the worker writes through `opened(generation)`; `refresh()` follows flips and
commits of other processes. Every generation is searched and written with the recipe it was built under.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from indexer.device import Device
from indexer.embedder import Embedder, load_embedder
from indexer.errors import NotFound, StaleIndex
from indexer.generation import Recipe, differences, recipe_of
from indexer.lexical import LexicalIndex
from indexer.lexical.tantivy import TantivyIndex
from indexer.settings import Settings
from indexer.splitter import Splitter
from indexer.store import collections, generations, jobs, passages
from indexer.store.database import Database, open_database
from indexer.token_vectors import TokenEncoder
from indexer.tokens import PassageTokenizer
from indexer.types import DEFAULT_COLLECTION
from indexer.vectors import VectorIndex
from indexer.vectors.backends import VECTOR_BACKENDS

log = logging.getLogger(__name__)

GRACE_S = 60.0
"""A retired generation stays open and on disk this long, for queries that began before the flip."""


@dataclass(frozen=True, slots=True)
class LiveIndexes:
    """A generation, opened: what a search needs, and what the worker writes."""

    generation_id: str
    collection: str
    recipe: Recipe
    lexical: LexicalIndex
    vectors: VectorIndex
    embedder: Embedder

    def close(self) -> None:
        """Close both indexes."""
        self.lexical.close()
        self.vectors.close()


class Engine:
    """Everything one process holds open. Thread-safe."""

    def __init__(
        self, settings: Settings, database: Database, device: Device, *, clock: Callable[[], float] = time.time
    ) -> None:
        self.settings = settings
        self.database = database
        self.device = device
        self.clock = clock
        self.reranking: Callable[[], Iterable[PassageTokenizer]] = tuple
        """Gives the tokenizers of rerankers, whose ids are stored beside the embedder's; the roof sets it."""
        self.token_encoder: TokenEncoder | None = None
        """Makes the token vectors that are stored of passages; the roof sets it."""
        self.doubtful_tokenizers: set[str] = set()
        """Fingerprints of those that were reported: some of their ids do not add up."""
        self._lock = threading.RLock()
        self._embedders: dict[tuple[str, str, str, str], Embedder] = {}
        self._opened: dict[str, LiveIndexes] = {}
        self._live: dict[str, str] = {}
        self._broken: dict[str, StaleIndex] = {}
        self._refresher: threading.Thread | None = None
        self._stop = threading.Event()

    @classmethod
    def open(cls, settings: Settings, *, check: bool = True) -> Engine:
        """Open the data folder: migrate SQL, load the embedder, open live indexes; `default` exists afterwards.

        With `check`, settings that do not fit a live generation are refused.
        Raises: StaleIndex, ConfigError, TransientError (a database or Qdrant that is away).
        """
        settings.data_path.mkdir(parents=True, exist_ok=True, mode=0o700)
        engine = cls(settings, open_database(settings.resolved_database_url), Device(settings))
        try:
            with engine.database.session() as session:
                collections.ensure(session, DEFAULT_COLLECTION, settings.default_language, engine.clock())
            if check:
                engine.check_fresh()
            engine.refresh(strict=check)
        except BaseException:
            engine.close()
            raise
        return engine

    # -- embedders and recipes ------------------------------------------------------------------------------------

    @property
    def embedder(self) -> Embedder:
        """The embedder that the settings name; new generations are built with it."""
        return self.embedder_of(self.settings)

    def embedder_of(self, settings: Settings) -> Embedder:
        """Return the embedder these settings name, loaded once."""
        key = _key_of(settings)
        with self._lock:
            if key not in self._embedders:
                self._embedders[key] = load_embedder(settings, self.device)
            return self._embedders[key]

    def wanted_recipe(self, language: str, settings: Settings | None = None) -> Recipe:
        """Return the recipe of a generation built now under these settings (default: the engine's own)."""
        chosen = settings or self.settings
        embedder = self.embedder_of(chosen)
        return recipe_of(chosen, language, embedder_fingerprint=embedder.fingerprint, dimension=embedder.dimension)

    def splitter(self, recipe: Recipe) -> Splitter:
        """Return the splitter of a recipe, counting tokens as its embedder does."""
        embedder = self.embedder_of(recipe.settings(self.settings))
        return Splitter(embedder.tokenizer, recipe.passage_tokens, recipe.passage_overlap_tokens)

    def check_fresh(self) -> None:
        """Compare every live generation with the settings. Raises: StaleIndex naming what differs and the command."""
        with self.database.read() as session:
            pairs = [
                (collection, generation)
                for collection in collections.list_all(session)
                if (generation := generations.live(session, collection.name)) is not None
            ]
        stale = {
            collection.name: changed
            for collection, generation in pairs
            if (changed := differences(recipe_from(generation.parts), self.wanted_recipe(collection.language)))
        }
        if stale:
            said = "; ".join(f"{name!r} ({'; '.join(changed)})" for name, changed in stale.items())
            commands = " && ".join(f"indexer rebuild --collection {name}" for name in stale)
            raise StaleIndex(
                f"indexed under other settings: {said}; take them back, or build these collections anew: {commands}"
            )

    # -- generations ----------------------------------------------------------------------------------------------

    def live(self, collection: str) -> LiveIndexes:
        """Return the live indexes of a collection. Raises: NotFound for a collection that does not exist."""
        generation_id = self._live.get(collection)
        if generation_id is None:
            self.refresh()
            generation_id = self._live.get(collection)
        if collection in self._broken:
            raise self._broken[collection]
        if generation_id is None:
            raise NotFound(f"there is no collection {collection!r}")
        return self._opened[generation_id]

    def opened(self, generation: generations.Generation) -> LiveIndexes:
        """Return a live or building generation's indexes, opened once."""
        with self._lock:
            found = self._opened.get(generation.generation_id)
            if found is None:
                found = self._opened[generation.generation_id] = self._open(generation)
            return found

    def _open(self, generation: generations.Generation) -> LiveIndexes:
        recipe = recipe_from(generation.parts)
        builder = VECTOR_BACKENDS[recipe.vector_backend]
        indexes = LiveIndexes(
            generation_id=generation.generation_id,
            collection=generation.collection,
            recipe=recipe,
            lexical=TantivyIndex(self.lexical_path(generation.generation_id), recipe.language),
            vectors=builder.open(self.settings, self.settings.data_path, generation.generation_id, recipe.dimension),
            embedder=self.embedder_of(recipe.settings(self.settings)),
        )
        if generation.state == "live" and self._is_lost(indexes):
            indexes.close()
            raise StaleIndex(
                f"the indexes of collection {generation.collection!r} are empty, its documents are not; "
                f"run: indexer rebuild --collection {generation.collection}"
            )
        return indexes

    def _is_lost(self, indexes: LiveIndexes) -> bool:
        """Say whether an index holds nothing though SQL holds passages and no work for it is left to do."""
        if next(indexes.lexical.scan(), None) is not None and next(indexes.vectors.scan(), None) is not None:
            return False
        with self.database.read() as session:
            waits = jobs.open_for(session, indexes.generation_id)
            return not waits and passages.any_of(session, indexes.generation_id)

    def lexical_path(self, generation_id: str) -> Path:
        """Return the folder of a generation's Tantivy index."""
        return self.settings.data_path / "lexical" / generation_id

    def ensure_live(self) -> None:
        """Give every collection that has no live generation an empty one under the current settings."""
        with self.database.read() as session:
            bare = [c for c in collections.list_all(session) if generations.live(session, c.name) is None]
        for collection in bare:
            recipe = self.wanted_recipe(collection.language)
            with self.database.session() as session:
                generations.ensure_live(
                    session,
                    collection.name,
                    fingerprint=recipe.fingerprint,
                    parts=msgspec.to_builtins(recipe),
                    dimension=recipe.dimension,
                    now=self.clock(),
                )

    def refresh(self, *, strict: bool = False) -> None:
        """Follow SQL: open what has become live (before it is used), see other processes' commits, close what is gone.

        A collection whose indexes are damaged or lost is told of by `live`, and keeps no other from being searched and
        itself from being rebuilt. Raises: StaleIndex of the first such one if `strict`.
        """
        self.ensure_live()
        with self._lock:
            opened = list(self._opened)
        with self.database.read() as session:
            current = [
                generation
                for collection in collections.list_all(session)
                if (generation := generations.live(session, collection.name)) is not None
            ]
            known = generations.all_ids(session)
        broken: dict[str, StaleIndex] = {}
        for generation in current:
            try:
                self.opened(generation).lexical.refresh()
            except StaleIndex as error:
                if strict:
                    raise
                if generation.collection not in self._broken:
                    log.error("collection %s cannot be searched: %s", generation.collection, error)
                broken[generation.collection] = error
        with self._lock:
            self._live = {g.collection: g.generation_id for g in current if g.collection not in broken}
            self._broken = broken
        for generation_id in set(opened) - known:  # another process has dropped it
            self.forget(generation_id)

    def all_opened(self) -> list[LiveIndexes]:
        """Return every generation that is open now."""
        with self._lock:
            return list(self._opened.values())

    def forget(self, generation_id: str) -> None:
        """Close a generation that nobody searches any more."""
        with self._lock:
            indexes = self._opened.pop(generation_id, None)
            needed = {id(opened.embedder) for opened in self._opened.values()}
            wanted = _key_of(self.settings)
            self._embedders = {k: e for k, e in self._embedders.items() if k == wanted or id(e) in needed}
        if indexes is not None:
            indexes.close()

    def drop(self, generation_id: str, backend: str) -> None:
        """Close a generation and delete its indexes; its rows are the caller's."""
        self.forget(generation_id)
        VECTOR_BACKENDS[backend].drop(self.settings, self.settings.data_path, generation_id)
        remove_tree(self.lexical_path(generation_id))

    # -- life -----------------------------------------------------------------------------------------------------

    def start_refresher(self, every_s: float = 1.0) -> None:
        """Refresh in the background: for a process that searches what others index."""

        def loop() -> None:
            while not self._stop.wait(every_s):
                try:
                    self.refresh()
                except Exception:
                    log.exception("refresh failed; searching what is open")

        self._refresher = threading.Thread(target=loop, name="refresher", daemon=True)
        self._refresher.start()

    def close(self) -> None:
        """Close indexes, device and database."""
        self._stop.set()
        if self._refresher is not None:
            self._refresher.join(timeout=5)
        with self._lock:
            opened, self._opened, self._live = list(self._opened.values()), {}, {}
        for indexes in opened:
            indexes.close()
        self.device.close()
        self.database.close()


def _key_of(settings: Settings) -> tuple[str, str, str, str]:
    return settings.embedder, settings.embedder_revision, settings.query_prompt, settings.passage_prompt


def recipe_from(parts: dict[str, object]) -> Recipe:
    """Read a recipe back from a generation's row."""
    return msgspec.convert(parts, Recipe)


def remove_tree(path: Path) -> None:
    """Delete a folder of derived data; nothing there is no error."""
    shutil.rmtree(path, ignore_errors=True)
