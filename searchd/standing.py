"""Which calibration holds now: what is stored, held against the generation, profile and models that answer.

The pipeline, the status and the pages ask; one that was fitted, or removed, beside a running daemon counts within seconds.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from indexer.errors import TransientError
from indexer.store import calibrations
from indexer.store.database import Database
from searchd.calibration import Calibration, broken_ties, enabled_stages
from searchd.settings import Profile, Stage

log = logging.getLogger(__name__)

EVERY_S = 3.0
"""How old what is known may be."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a profile of a collection stands: calibrated, stale, or never calibrated."""

    collection: str
    profile: str
    stored: Calibration | None
    broken: tuple[str, ...] = ()
    """Which ties of the stored one no longer hold, in words."""

    @property
    def calibration(self) -> Calibration | None:
        """The stored one if it holds."""
        return None if self.broken else self.stored

    @property
    def said(self) -> str:
        """How it stands, in words for every reader."""
        if self.stored is None:
            return "not calibrated"
        fitted = f"fitted {day(self.stored.fitted_at)} on {self.stored.set_name}"
        return f"stale, {fitted}: {'; '.join(self.broken)}" if self.broken else f"calibrated, {fitted}"

    @property
    def command(self) -> str:
        """What calibrates it."""
        name = self.stored.set_name if self.stored else "SET"
        return f"searchd calibrate {name} --collection {self.collection} --profile {self.profile}"


class Standings:
    """Knows every stored calibration. Thread-safe; SQL is read at most every `EVERY_S`."""

    def __init__(
        self,
        database: Database,
        fingerprint: Callable[[Stage], str | None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; `fingerprint` names the model of a stage, None while it is not loaded."""
        self._database = database
        self._fingerprint = fingerprint
        self._clock = clock
        self._known: Mapping[tuple[str, str], Calibration] = {}
        self._read_at: float | None = None
        self._reading = threading.Lock()

    def of(self, collection: str, name: str, profile: Profile, generation_id: str) -> Standing:
        """Return how the profile of this name stands, as it and the collection are now."""
        stored = self.all().get((collection, name))
        if stored is None:
            return Standing(collection, name, None)
        models = {stage.name: self._fingerprint(stage) for stage in enabled_stages(profile)}
        return Standing(collection, name, stored, broken_ties(stored.ties, generation_id, models, profile))

    def all(self) -> Mapping[tuple[str, str], Calibration]:
        """Return what is stored, by collection and profile; of a database that is away, what was known."""
        fresh = self._read_at is not None and self._clock() - self._read_at < EVERY_S
        if fresh or not self._reading.acquire(blocking=self._read_at is None):
            return self._known
        try:
            self._known = read_all(self._database)
        except TransientError as error:
            log.warning("calibrations could not be read, those known stay: %s", error)
        finally:
            self._read_at = self._clock()
            self._reading.release()
        return self._known


def read_all(database: Database) -> dict[tuple[str, str], Calibration]:
    """Return what is stored, by collection and profile."""
    with database.read() as session:
        stored = calibrations.list_all(session)
    found = {}
    for one in stored:
        try:
            found[one.collection, one.profile] = msgspec.convert(one.body, Calibration)
        except msgspec.ValidationError as error:
            log.warning("the calibration of %s/%s is of another version (%s)", one.collection, one.profile, error)
    return found


def day(when: float) -> str:
    """Return the day of a time."""
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%d")
