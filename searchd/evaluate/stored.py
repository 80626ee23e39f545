"""Evaluations kept and found again: in SQL by id or day, or in the JSON file that `--json` wrote."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from indexer.errors import InputError, NotFound
from indexer.store import evaluations
from indexer.store.database import Database
from indexer.store.evaluations import StoredEvaluation
from searchd.evaluate.evaluation import Evaluation, SystemFigures
from searchd.evaluate.measures import MAIN

DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What a list tells of an evaluation: little enough that every version can read every other's."""

    kind: str = "judged"
    systems: tuple[SystemFigures, ...] = ()
    queries: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Listed:
    """A stored evaluation as a list shows it."""

    stored: StoredEvaluation
    summary: Summary


def keep(database: Database, evaluation: Evaluation) -> None:
    """Keep an evaluation in SQL."""
    with database.session() as session:
        evaluations.put(
            session,
            StoredEvaluation(
                evaluation.evaluation_id,
                evaluation.collection,
                evaluation.set_name,
                evaluation.profile,
                evaluation.evaluated_at,
                msgspec.to_builtins(evaluation),
            ),
        )


def find(database: Database, collection: str, set_name: str | None, name: str) -> Evaluation:
    """Return a stored evaluation by the beginning of its id, or the newest of a day (2026-11-29, UTC) of a set.

    Raises: NotFound; InputError for a day without a set, or that is none.
    """
    with database.read() as session:
        if not DAY.fullmatch(name):
            return decoded(evaluations.get(session, collection, name))
        start = day_start(name)
        if set_name is None:
            raise InputError(f"{name} is a day, and no set is named: searchd eval SET --compare ...")
        end = start + timedelta(days=1)
        found = evaluations.newest(session, collection, set_name, end.timestamp(), start.timestamp())
    if found is None:
        raise NotFound(f"set {set_name!r} has no evaluation of {name}; `searchd eval --list` names those there are")
    return decoded(found)


def day_start(name: str) -> datetime:
    """Return the first moment of a day, UTC. Raises: InputError if there is no such day."""
    try:
        return datetime.strptime(name, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError as error:
        raise InputError(f"{name} is no day: 2026-11-29 is one") from error


def before(database: Database, evaluation: Evaluation) -> Evaluation | None:
    """Return the newest evaluation of the same set and profile that was kept before this one; None if there is none.

    One that failed a gate is passed over: a drop would else be one for a single run, and then what is usual.
    """
    of, when = (evaluation.collection, evaluation.set_name), evaluation.evaluated_at
    while True:
        with database.read() as session:
            found = evaluations.newest(session, *of, when, profile=evaluation.profile)
        if found is None or not found.body.get("failed_gates"):
            return None if found is None else decoded(found)
        when = found.evaluated_at


def newest_first(database: Database, collection: str, set_name: str | None) -> list[Listed]:
    """Return the newest evaluations of a collection or of one of its sets, as a list shows them."""
    with database.read() as session:
        found = evaluations.of_collection(session, collection, set_name)
    return [Listed(one, msgspec.convert(one.body, Summary)) for one in found]


def decoded(one: StoredEvaluation) -> Evaluation:
    """Return a stored evaluation. Raises: InputError if another version wrote it in a way this one cannot read."""
    try:
        return msgspec.convert(one.body, Evaluation)
    except msgspec.ValidationError as error:
        raise InputError(f"evaluation {one.evaluation_id} was kept by another version of searchd: {error}") from error


def read_file(path: Path) -> Evaluation:
    """Return the evaluation of a JSON file. Raises: InputError naming the file."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Evaluation)
        datetime.fromtimestamp(found.evaluated_at, UTC)
    except (OSError, ValueError, OverflowError, RecursionError) as error:  # msgspec's own are ValueErrors
        raise InputError(f"{path} is no evaluation as `searchd eval --json` writes it: {error}") from error
    told = (*(one.metrics for one in found.systems), *(one.default for one in found.queries if one.default))
    if any(MAIN not in figures for figures in told):
        raise InputError(
            f"{path} is no evaluation as `searchd eval --json` writes it: there are figures without {MAIN}"
        )
    return found
