"""`searchd calibrate`: fits scores to a judged set, shows how far they can be believed, and keeps the fit. A roof.

`searchd/__main__.py` registers it. What needs torch or the engine is imported when the command runs.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
import msgspec
from rich.table import Table

from indexer.errors import InputError, NotFound
from searchd.database import opened_database
from searchd.judge.beir import folder_named
from searchd.settings import Profile, Settings
from searchd.terminal import bars, check_places, console, line, output, settings_now

if TYPE_CHECKING:
    from searchd.calibration import Calibration, StageCalibration, Ties
    from searchd.evaluate.types import JudgedData
    from searchd.evaluate.workbench import Workbench


@dataclass(frozen=True, slots=True)
class Asked:
    """The options."""

    name: str | None
    collection: str
    profile: str
    complete: bool
    method: Literal["auto", "platt", "isotonic"]
    relevant_from: int
    json_file: Path | None
    principals: tuple[str, ...]

    @property
    def dataset(self) -> Path | None:
        """The BEIR folder that is asked for, None if it is a stored set. Raises: InputError for one without queries."""
        return folder_named(self.name)


@click.command()
@click.argument("name", metavar="[SET]", required=False)
@click.option("--collection", default="default", show_default=True, help="Whose judged set and whose answers.")
@click.option("--profile", default="default", show_default=True, help="Whose scores.")
@click.option("--complete", is_flag=True, help="Documents without a judgment are known not to be relevant.")
@click.option(
    "--method",
    type=click.Choice(["auto", "platt", "isotonic"]),
    default="auto",
    show_default=True,
    help="auto: what says more of held-out queries.",
)
@click.option(
    "--relevant-from", default=1, show_default=True, type=click.IntRange(1, 3), help="Least grade that is relevant."
)
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write all of it to FILE.")
@click.option("--as", "principals", multiple=True, help="Read as this principal too. Without a daemon only.")
@click.option("--show", "showing", is_flag=True, help="Show the calibration that is kept, and whether it holds.")
@click.option("--remove", "removing", is_flag=True, help="Forget it: answers have no relevance then.")
def calibrate(showing: bool, removing: bool, **given: Any) -> None:
    """Make scores probabilities: answers of a profile then say how likely each hit is relevant.

    SET is a judged set of the collection, or a BEIR folder: that is indexed apart, told of, and nothing is kept. The fit
    holds for the profile, its models and the index as they are now; when one changes it is stale, and no number is shown.
    """
    asked = Asked(**given)
    if sum((showing, removing, asked.name is not None)) != 1:
        raise click.UsageError("give either SET, --show or --remove")
    check_places(asked.json_file)
    logging.disable(logging.WARNING)
    settings = settings_now()
    if removing:
        remove(settings, asked)
    elif showing:
        show_standing(settings, asked)
    else:
        fit_and_keep(settings, asked)


def fit_and_keep(settings: Settings, asked: Asked) -> None:
    """Fit, show, write, and keep what is of a stored set. Raises: InputError if its labels do not separate."""
    from searchd.calibration import enabled_stages
    from searchd.evaluate.calibration import calibrate as fit
    from searchd.evaluate.learned import learned_from
    from searchd.evaluate.scored_pairs import scored_pairs
    from searchd.evaluate.sentences import learned_sentences

    with opened(settings, asked) as (data, bench):
        profile = profile_of(settings, asked, bench)
        complete = asked.complete or data.complete
        with bars() as progress:
            pairs = scored_pairs(
                bench, data, profile, complete=complete, relevant_from=asked.relevant_from, report=progress.report
            )
        found = fit(
            pairs, data, profile, ties_of(bench, profile), profile_name=asked.profile, complete=complete,
            relevant_from=asked.relevant_from, method=asked.method, now=time.time(),
        )  # fmt: skip
        learned = learned_from(bench.rerankers.settings, enabled_stages(profile), data)
        if asked.dataset is None:
            keep(bench, found)
    show(found)
    for said in learned_sentences(learned, data.name):
        line(said)
    if asked.json_file is not None:
        asked.json_file.write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")
    if asked.dataset is not None:
        line("Nothing is kept of a folder: calibrate a judged set of the collection that answers.")
    else:
        line(f"Kept: answers of profile {asked.profile!r} in {asked.collection!r} have a relevance from now on.")


@contextlib.contextmanager
def opened(settings: Settings, asked: Asked) -> Iterator[tuple[JudgedData, Workbench]]:
    """Yield what is judged, and the workbench of its documents. Raises: InputError for a set of clicks."""
    with console.status("Loading ..."):
        from indexer.store import judged
        from searchd.evaluate.dataset import opened_dataset, read_dataset
        from searchd.evaluate.judged_data import judged_data, set_named
        from searchd.evaluate.workbench import open_workbench

    if asked.dataset is not None:
        data = read_dataset(asked.dataset, complete=asked.complete)
        with opened_dataset(settings, asked.dataset) as bench:
            yield data, bench
        return
    with open_workbench(settings, asked.collection, asked.principals) as bench:
        with bench.database.read() as session:
            one = set_named(session, asked.collection, asked.name or "")
            if one.kind == judged.CLICKS:
                raise InputError(
                    f"judged set {one.name!r} is made of clicks: they say what was opened, not what was relevant, and no "
                    "percentage may rest on them; judge some queries, and calibrate those",
                    code="clicks",
                )
            data = judged_data(session, one)
        yield data, bench


def profile_of(settings: Settings, asked: Asked, bench: Workbench) -> Profile:
    """Return the profile in force. Raises: NotFound; InputError if it runs no stage."""
    from searchd.calibration import enabled_stages
    from searchd.profiles import Profiles

    profiles = Profiles(settings, bench.database)
    profile = profiles.get(asked.collection, asked.profile)
    if profile is None:
        names = ", ".join(profiles.names(asked.collection))
        raise NotFound(f"there is no profile {asked.profile!r}; there are: {names}", code="unknown_profile")
    if not enabled_stages(profile):
        raise InputError(f"profile {asked.profile!r} runs no stage, so no score could be calibrated", code="no_stage")
    return profile


def ties_of(bench: Workbench, profile: Profile) -> Ties:
    """Return what scores come of now: waits for the models of the profile's stages."""
    from searchd.calibration import Ties, enabled_stages, tied_profile

    models = {stage.name: bench.rerankers.of(stage).fingerprint for stage in enabled_stages(profile)}
    return Ties(generation_id=bench.generation_id, models=models, profile=tied_profile(profile))


def keep(bench: Workbench, found: Calibration) -> None:
    """Store a calibration in place of what its profile had."""
    from indexer.store import calibrations

    body = msgspec.to_builtins(found)
    with bench.database.session() as session:
        one = calibrations.StoredCalibration(found.collection, found.profile, found.fitted_at, body)
        calibrations.put(session, one)


def remove(settings: Settings, asked: Asked) -> None:
    """Forget the calibration of a profile. Raises: NotFound if there is none."""
    from indexer.store import calibrations

    with opened_database(settings) as database, database.session() as session:
        if not calibrations.delete(session, asked.collection, asked.profile):
            raise none_kept(asked)
    line(f"Profile {asked.profile!r} of collection {asked.collection!r} is not calibrated any more.")


def show_standing(settings: Settings, asked: Asked) -> None:
    """Show what is kept, and which of its ties broke. Raises: NotFound if there is none."""
    with console.status("Loading ..."):
        from searchd.calibration import broken_ties
        from searchd.evaluate.workbench import open_workbench
        from searchd.standing import Standing, read_all

    with open_workbench(settings, asked.collection) as bench:
        stored = read_all(bench.database).get((asked.collection, asked.profile))
        if stored is None:
            raise none_kept(asked)
        profile = profile_of(settings, asked, bench)
        now = ties_of(bench, profile)
        broken = broken_ties(stored.ties, now.generation_id, now.models, profile)
    show(stored)
    if asked.json_file is not None:
        asked.json_file.write_bytes(msgspec.json.format(msgspec.json.encode(stored)) + b"\n")
    standing = Standing(asked.collection, asked.profile, stored, broken)
    line(f"It is {standing.said}.")
    if broken:
        line(f"No percentage is shown until it is fitted anew: {standing.command}")


def none_kept(asked: Asked) -> NotFound:
    """Return the refusal to show or remove what is not there."""
    where = f"profile {asked.profile!r} of collection {asked.collection!r}"
    return NotFound(f"{where} has no calibration: `searchd calibrate SET` fits one", code="not_calibrated")


def show(found: Calibration) -> None:
    """Print a calibration: each stage's figures and its reliability diagram, then what hits are called."""
    judged = "documents without a judgment are irrelevant" if found.unjudged_as_irrelevant else "judged pairs only"
    line(f"{found.set_name}, profile {found.profile}: relevant from grade {found.relevant_from} on, {judged}")
    last = next(iter(found.stages), "")
    for name, fitted in found.stages.items():
        show_stage(name, fitted, "" if name == last else ", where no later stage read the passage")
    for why in found.refused.values():
        line(f"{why}; hits that only it read have no relevance")
    cuts = found.cuts
    line(f"unlikely below {cuts.likely:.0%}, likely from {cuts.likely:.0%}, very likely from {cuts.very_likely:.0%}")


def show_stage(name: str, fitted: StageCalibration, where: str) -> None:
    """Print one stage's figures and its reliability diagram."""
    line(
        f"{name}{where}: {fitted.pairs:,} pairs of {fitted.queries:,} queries, {fitted.relevant:.1%} relevant; "
        f"{fitted.curve.method}"
    )
    low, high = fitted.auc_ci
    line(
        f"expected calibration error {fitted.ece:.3f} (queries held out), of the raw score {fitted.raw_ece:.3f}; "
        f"area under ROC {fitted.auc:.3f} [{low:.3f}, {high:.3f}]"
    )
    table = Table(box=None, pad_edge=False)
    for column in ("said", "pairs", "mean", "so", "", "raw pairs", "mean", "so"):
        table.add_column(column, justify="right")
    sides = [{round(one.low, 6): one for one in bins} for bins in (fitted.bins, fitted.raw_bins)]
    for low in sorted({*sides[0], *sides[1]}):
        cells = [f"{low:.0%} to {low + 0.1:.0%}"]
        for place, side in enumerate(sides):
            one = side.get(low)
            cells += [""] * place + ([f"{one.pairs:,}", f"{one.said:.0%}", f"{one.so:.0%}"] if one else ["", "", ""])
        table.add_row(*cells)
    output.print(table)
