"""The evaluations that `searchd eval` wants: of profiles, measured now; kept ones, by day or id; of files.

Takes the options; measuring is `measuring.py`, what is measured `subject.py`, what is kept `stored.py`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec

from indexer.errors import NotFound
from searchd.database import opened_database
from searchd.evaluate import stored
from searchd.evaluate.asked import Asked
from searchd.evaluate.evaluation import Evaluation
from searchd.evaluate.judged_data import only_set
from searchd.evaluate.measuring import Measured, measure
from searchd.evaluate.subject import opened
from searchd.evaluate.types import JudgedData
from searchd.evaluate.workbench import Workbench
from searchd.profiles import Profiles
from searchd.settings import Profile, Settings
from searchd.terminal import bars


def measured(data: JudgedData, bench: Workbench, names: list[str]) -> list[Measured]:
    """Measure profiles by name, all on the same retrieval. Raises: NotFound, naming the profiles there are."""
    profiles = Profiles(bench.settings, bench.database)
    chosen: dict[str, Profile] = {}
    for name in names:
        profile = profiles.get(bench.scope.collection, name)
        if profile is None:
            there = ", ".join(profiles.names(bench.scope.collection))
            raise NotFound(f"there is no profile {name[:80]!r}; there are: {there}", code="unknown_profile")
        chosen[name] = profile
    with bars() as progress:
        return [with_version(one, profiles) for one in measure(data, bench, chosen, progress.report)]


def with_version(one: Measured, profiles: Profiles) -> Measured:
    """Return an evaluation that says which applied version of its profile was measured."""
    version = profiles.version(one.evaluation.collection, one.evaluation.profile)
    return replace(one, evaluation=msgspec.structs.replace(one.evaluation, profile_version=version))


def pair(settings: Settings, asked: Asked) -> tuple[Evaluation, Evaluation]:
    """Return the two evaluations that are to be compared; profiles are measured, both on the same retrieval."""
    names = asked.compared or ("", "")
    found = {name: stored.read_file(Path(name)) for name in names if name.endswith(".json")}
    others = [name for name in names if name not in found]
    known = known_profiles(settings, asked) if others else ()
    now, kept = [name for name in others if name in known], [name for name in others if name not in known]
    if kept:  # before minutes of measuring: there may be none
        with opened_database(settings) as database:
            with database.read() as session:
                set_name = asked.name or only_set(session, asked.collection)
            found |= {name: stored.find(database, asked.collection, set_name, name) for name in kept}
    if now:
        found |= made_now(settings, asked, now)
    return found[names[0]], found[names[1]]


def known_profiles(settings: Settings, asked: Asked) -> tuple[str, ...]:
    """Return the names of profiles that may be measured."""
    if asked.dataset:
        return Profiles(settings).names(asked.collection)
    with opened_database(settings) as database:
        return Profiles(settings, database).names(asked.collection)


def made_now(settings: Settings, asked: Asked, names: list[str]) -> dict[str, Evaluation]:
    """Measure profiles and keep that, if it is of a stored set; return it by their names."""
    with opened(settings, asked) as (data, bench):
        made = [one.evaluation for one in measured(data, bench, names)]
        for one in made if not asked.dataset else ():
            stored.keep(bench.database, one)
    return {one.profile: one for one in made}
