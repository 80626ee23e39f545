"""`searchd profiles`: the profiles in force and the versions applied to collections, shown, compared, put back. A roof.

SQL is read and written directly, beside a daemon too, which notices within seconds.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

import click
from rich.markup import escape
from rich.table import Table

from indexer.errors import InputError, NotFound
from indexer.store import profiles as store
from indexer.store.database import Database
from indexer.store.profiles import ProfileVersion
from searchd.database import opened_database
from searchd.profiles import body_of, differences, profile_of, toml_of
from searchd.settings import Profile, Settings
from searchd.terminal import output, settings_now

IN_SETTINGS = "settings"
"""What the settings' own profile is called where a version is named."""
of_collection = click.option("--collection", default="default", show_default=True)


@click.group()
def profiles() -> None:
    """Profiles: those of the settings, and versions that were applied to collections (by `searchd tune --apply`)."""


@profiles.command("list")
@click.option("--collection", help="Of this collection alone.")
def list_profiles(collection: str | None) -> None:
    """List applied versions, and why; * is in force. Where none is, the settings' profile is."""
    settings = settings_now()
    with opened_database(settings) as database, database.read() as session:
        found = store.versions(session, collection)
    table = Table(box=None, pad_edge=False)
    for column in ("", "collection", "profile", "version", "applied (UTC)", "by", "why"):
        table.add_column(column, overflow="fold")
    for one in found:
        when = datetime.fromtimestamp(one.applied_at, UTC).strftime("%Y-%m-%d %H:%M")
        row = (one.collection, one.name, str(one.version), when, one.author, one.why)
        table.add_row("*" * one.active, *map(escape, row))
    if found:
        output.print(table)
    used = ", ".join(dict.fromkeys(["default", *settings.profiles]))
    output.print(f"Of the settings: {escape(used)}. They serve where no version is in force.", highlight=False)


@profiles.command()
@click.argument("name", default="default")
@click.argument("version", required=False)
@of_collection
def show(name: str, version: str | None, collection: str) -> None:
    """Print a profile as searchd.toml writes it: the one in force, a version, or `settings`."""
    settings = settings_now()
    with opened_database(settings) as database:
        profile, said = found_profile(database, settings, collection, name, version)
    output.print(f"# {said}\n{toml_of(name, profile)}", markup=False, highlight=False, soft_wrap=True, end="")


@profiles.command()
@click.argument("before")
@click.argument("after")
@click.option("--name", default="default", show_default=True, help="Whose versions.")
@of_collection
def compare(before: str, after: str, name: str, collection: str) -> None:
    """Show what differs between two versions (numbers, `settings`, or names of profiles)."""
    settings = settings_now()
    with opened_database(settings) as database:
        (old, old_said), (new, new_said) = (
            found_profile(database, settings, collection, *named(one, name)) for one in (before, after)
        )
    table = Table(box=None, pad_edge=False)
    for column in ("", old_said, new_said):
        table.add_column(escape(column), overflow="fold")
    rows = differences(old, new)
    for row in rows:
        table.add_row(*map(escape, row))
    output.print(table if rows else "They are the same.")


@profiles.command()
@click.argument("name", default="default")
@click.option("--to", "version", help="A version, or `settings`; the one before unless it is given.")
@of_collection
def rollback(name: str, version: str | None, collection: str) -> None:
    """Put an earlier version in force: the one before, a given one, or the settings' profile."""
    with opened_database(settings_now()) as database, database.session() as session:
        wanted = earlier(store.versions(session, collection, name), version, collection, name)
        store.activate(session, collection, name, wanted)
    serves = "the settings' profile" if wanted is None else f"version {wanted}"
    output.print(f"Profile {name!r} of {collection!r}: {serves} is in force.", highlight=False, markup=False)


@profiles.command()
@click.argument("source")
@click.option("--name", default="default", show_default=True, help="What it is called there.")
@click.option("--why", default="", help="Kept with the version.")
@of_collection
def apply(source: str, name: str, why: str, collection: str) -> None:
    """Put a profile of the settings in force for a collection, as its next version."""
    settings = settings_now()
    profile = settings.profile(source)
    if profile is None:
        raise NotFound(f"the settings have no profile {source!r}", code="unknown_profile")
    with opened_database(settings) as database, database.session() as session:
        version = store.apply(
            session, collection, name, body_of(profile), author="apply", why=why or f"{source} of the settings",
            now=time.time(),
        )  # fmt: skip
    output.print(f"Profile {name!r} of {collection!r}: version {version} is in force.", highlight=False)


def earlier(found: list[ProfileVersion], wanted: str | None, collection: str, name: str) -> int | None:
    """Return which version to go back to; None is the settings' profile. Raises: InputError, NotFound."""
    if wanted == IN_SETTINGS:
        return None
    if wanted is not None:
        return number(wanted)
    active = next((one.version for one in found if one.active), None)
    if active is None:
        raise NotFound(
            f"no version of profile {name!r} of collection {collection!r} is in force; --to names one to put in force"
        )
    return max((one.version for one in found if one.version < active), default=None)


def number(text: str) -> int:
    """Read a version. Raises: InputError."""
    if not (text.isascii() and text.isdigit()):
        raise InputError(f"{text[:40]!r} is no version; a number or `{IN_SETTINGS}` is")
    return int(text[:9])


def named(text: str, name: str) -> tuple[str, str | None]:
    """Return the profile and the version that a word of `compare` means."""
    return (name, text) if text == IN_SETTINGS or text.isdigit() else (text, None)


def found_profile(
    database: Database, settings: Settings, collection: str, name: str, version: str | None
) -> tuple[Profile, str]:
    """Return a profile and what it is, in words; without a version the one in force. Raises: NotFound, InputError."""
    with database.read() as session:
        found = store.versions(session, collection, name)
    if version not in (None, IN_SETTINGS):
        one = next((one for one in found if one.version == number(str(version))), None)
        if one is None:
            raise NotFound(f"collection {collection!r} has no version {version} of profile {name!r}")
        return profile_of(one), f"{name} of {collection}, version {one.version}"
    active = next((one for one in found if one.active), None)
    if version is None and active is not None:
        return profile_of(active), f"{name} of {collection}, version {active.version}, in force"
    profile = settings.profile(name)
    if profile is None:
        raise NotFound(f"there is no profile {name!r}: neither in the settings nor applied to {collection!r}")
    return profile, f"{name} of the settings"
