"""The profiles in force: those applied to a collection (by `searchd tune --apply`), else those of the settings.

Read again from SQL every few seconds, so that what is applied beside a daemon works without a restart; a database that is
away leaves what was known, and one that is slow keeps nobody waiting: event loops ask too. Rerank APIs, which know no
collection, use the settings' alone (`rerank/choosing.py`).
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from indexer.errors import InputError, TransientError
from indexer.store import profiles as store
from indexer.store.database import Database
from indexer.store.profiles import ProfileVersion
from searchd.settings import Profile, Settings, Stage, defaults_of

log = logging.getLogger(__name__)

FRESH_S = 2.0
"""How long what was read counts as fresh."""
PATIENCE_S = 0.5
"""How long the one who finds it stale waits for the reading; after that what was known serves, until it is done."""


class Profiles:
    """Profiles by collection and name. Thread-safe; without a database the settings' alone."""

    def __init__(
        self,
        settings: Settings,
        database: Database | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._settings = settings
        self._database = database
        self._clock = clock
        self._patience_s = patience_s
        self._applied: Mapping[tuple[str, str], tuple[int, Profile]] = {}
        self._read_at: float | None = None
        self._reading = threading.Lock()
        self._refused: set[tuple[str, str, int]] = set()

    def get(self, collection: str, name: str) -> Profile | None:
        """Return the profile of this name for a collection, None if there is none; `default` always exists."""
        applied = self._now().get((collection, name))
        return applied[1] if applied else self._settings.profile(name)

    def version(self, collection: str, name: str) -> int | None:
        """Return which applied version is in force, None where the settings' profile is."""
        applied = self._now().get((collection, name))
        return applied[0] if applied else None

    def names(self, collection: str) -> tuple[str, ...]:
        """Return the names of a collection's profiles, `default` first."""
        applied = [name for of, name in self._now() if of == collection]
        return tuple(dict.fromkeys(["default", *self._settings.profiles, *applied]))

    def all(self) -> list[Profile]:
        """Return every profile in force anywhere: what models may be asked for."""
        own = [self._settings.profile("default"), *self._settings.profiles.values()]
        return [*(one for one in own if one), *(profile for _, profile in self._now().values())]

    def _now(self) -> Mapping[tuple[str, str], tuple[int, Profile]]:
        """Return what is applied; who asks first waits until it is known."""
        first = self._read_at is None
        fresh = self._read_at is not None and self._clock() - self._read_at < FRESH_S
        if self._database is None or fresh or not self._reading.acquire(blocking=first):
            return self._applied
        if first and self._read_at is not None:  # another was the first, meanwhile
            self._reading.release()
            return self._applied
        reading = threading.Thread(target=self._read, args=(self._database,), name="profiles", daemon=True)
        reading.start()
        reading.join(None if first else self._patience_s)
        return self._applied

    def _read(self, database: Database) -> None:
        try:
            with database.read() as session:
                found = store.active(session)
            self._applied = {(one.collection, one.name): known for one in found if (known := self._decoded(one))}
        except TransientError as error:
            log.warning("applied profiles could not be read, those known stay: %s", error)
        finally:
            self._read_at = self._clock()
            self._reading.release()

    def _decoded(self, one: ProfileVersion) -> tuple[int, Profile] | None:
        key = (one.collection, one.name, one.version)
        try:
            return one.version, profile_of(one)
        except InputError as error:
            if key not in self._refused:
                self._refused.add(key)
                log.warning("%s; the settings' profile serves instead", error)
            return None


def profile_of(one: ProfileVersion) -> Profile:
    """Return the profile that a version holds. Raises: InputError if this searchd does not understand it."""
    try:
        return msgspec.convert(dict(one.body), Profile)
    except msgspec.ValidationError as error:
        raise InputError(
            f"version {one.version} of profile {one.name!r} of collection {one.collection!r} is not understood: {error}"
        ) from error


def body_of(profile: Profile) -> dict[str, object]:
    """Return a profile as it is stored: all of it, so that a version stays what it was when defaults change."""
    body: dict[str, object] = msgspec.to_builtins(profile)
    return body


def toml_of(name: str, profile: Profile) -> str:
    """Return a profile as `searchd.toml` writes it."""
    told = _told(profile)
    told.pop("weights", None)
    told.pop("stages", None)
    lines = [f"[profiles.{name}]", *(f"{key} = {json.dumps(value)}" for key, value in told.items())]
    if profile.weights:
        weights = ", ".join(f"{key} = {json.dumps(value)}" for key, value in profile.weights.items())
        lines.append(f"weights = {{{weights}}}")
    if not profile.stages:
        lines.append("stages = []")
    for stage in profile.stages:
        lines += ["", f"[[profiles.{name}.stages]]"]
        lines += [f"{key} = {json.dumps(value)}" for key, value in _told(stage).items()]
    return "\n".join(lines) + "\n"


def differences(before: Profile, after: Profile) -> list[tuple[str, str, str]]:
    """Return what differs between two profiles: the setting, and what it is in each; empty where a stage is missing."""
    old, new = _flat(before), _flat(after)
    return [(name, old.get(name, ""), new.get(name, "")) for name in {**old, **new} if old.get(name) != new.get(name)]


def _flat(profile: Profile) -> dict[str, str]:
    plain: dict[str, Any] = msgspec.to_builtins(profile)
    stages = plain.pop("stages")
    flat = {name: json.dumps(value) for name, value in plain.items()}
    flat["stages"] = ", ".join(stage["name"] for stage in stages) or "none"
    for stage in stages:
        flat |= {f"{stage['name']}.{key}": json.dumps(value) for key, value in stage.items() if key != "name"}
    return flat


def _told(one: Profile | Stage) -> dict[str, object]:
    """Return a struct's fields that differ from their defaults, as plain values."""
    usual = defaults_of(type(one))
    plain: dict[str, object] = msgspec.to_builtins(one)
    return {
        name: value
        for name, value in plain.items()
        if value is not None and (name == "stages" or getattr(one, name) != usual[name]) and value != {}
    }
