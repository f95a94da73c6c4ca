"""
From words to things: what DATABASE, SOURCE and `--to` mean under the settings in force.

The command line and the library alike come through here, so that both resolve the same
words to the same things.

    DATABASE     a name of the configuration, a path, or a database in Docker
    SOURCE       the same, or a store's URL, or a folder of backups

Opening a store asks nothing of a server, and naming a database in Docker nothing of
its engine.  The exception is a SOURCE that is a store:
its names are listed, once, to learn which databases it holds (`lookup.py`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from pathlib import Path
from urllib.parse import unquote, urlsplit

from litekeep.codec.formats import CODECS
from litekeep.config.environment import environment_database, environment_stores
from litekeep.config.file import find_file, read_file
from litekeep.config.places import (
    Place,
    folder_beside,
    is_url,
    places_named,
    places_of_listed,
    places_of_unlisted,
)
from litekeep.config.settings import (
    DatabaseSettings,
    Settings,
)
from litekeep.config.values import NAME_SIZE_MAX, is_name, zone_named
from litekeep.dockername import Address, is_docker, parse_docker
from litekeep.engine.undo import UNDO_MARK
from litekeep.errors import NotFound, UserError
from litekeep.lookup import look_up
from litekeep.opening import open_all
from litekeep.paths import current_folder, exists, full_path, is_file, is_folder
from litekeep.repository.layout import Repository, parse_object

#: How the names of compressed files end.
COMPRESSED = tuple(codec.suffix for codec in CODECS if codec.suffix)


@dataclass(frozen=True, slots=True)
class Source:
    """
    Whose backups are meant, and where they lie, nearest first.

    `database` is the live file, whether it exists or not; None where only a store
    is known.
    """

    name: str
    database: Address | None
    repositories: tuple[Repository, ...]


@dataclass(frozen=True, slots=True)
class Database:
    """A database and where its backups go; `listed` is what the file says of it."""

    name: str
    path: Address
    places: tuple[Place, ...]
    listed: DatabaseSettings | None


def load_settings(
    file: Path | None = None, *, environ: Mapping[str, str] | None = None
) -> Settings:
    """
    Return the settings in force; the defaults where there is no file.

    Raises:
        ConfigError: The file is not there, or something in it is wrong.
    """
    environ = os.environ if environ is None else environ
    found = find_file(file, environ, current_folder())
    return read_file(found, environ) if found else Settings()


def zone_of(settings: Settings) -> tzinfo:
    """Return the zone of times in names and on the command line."""
    zone = zone_named(settings.timezone)
    assert zone is not None, "the reader of settings lets no other name pass"
    return zone


def find_databases(
    settings: Settings,
    database: str | None,
    to: Sequence[str],
    environ: Mapping[str, str],
) -> tuple[Database, ...]:
    """
    Return what *database* means, and where its backups go; None means all that are listed.

    Raises:
        UserError: There is nothing, or a name cannot be resolved.
    """
    _refuse_empty(database)
    if database is None:
        return _all_databases(settings, to, environ)
    return (_find_database(settings, database, to, environ),)


def find_sources(
    settings: Settings,
    source: str | None = None,
    *,
    name: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> tuple[Source, ...]:
    """
    Return whose backups *source* means.

    Args:
        settings: In force.

        source: A name, a path or a URL; None means all that the configuration lists.

        name: Which database, where a store or the configuration holds several.

        environ: The environment; the real one if None.

    Raises:
        UserError: It can mean nothing, or several things, or another database than *name*.

        NotFound: The store holds no snapshots.
    """
    environ = os.environ if environ is None else environ
    _refuse_empty(source, name)
    if source is None:
        found = _all_databases(settings, (), environ)
    elif _listed(settings, source) is None and _is_store(source):
        return (_store_source(settings, source, name, environ),)
    else:
        found = (_find_database(settings, source, (), environ),)
        _refuse_unknown(settings, found[0], environ)
    found = _named(found, name)
    return tuple(
        Source(item.name, item.path, open_all(item.places, item.name, zone_of(settings), environ))
        for item in found
    )


def find_source(
    settings: Settings,
    source: str | None = None,
    *,
    name: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> Source:
    """
    Return the one database whose backups *source* means.

    Raises:
        UserError: The configuration lists several; and as `find_sources`.
    """
    found = find_sources(settings, source, name=name, environ=environ)
    if len(found) > 1:
        raise UserError(
            "the configuration lists several databases",
            hint=f"Name one: {', '.join(item.name for item in found)}.",
        )
    return found[0]


def single_file(
    settings: Settings,
    source: str,
    *,
    has_output: bool,
    environ: Mapping[str, str] | None = None,
) -> Path | None:
    """
    Return the file, if *source* is a single copy to restore from and no database.

    Compressed files, undo copies and files called like a snapshot are, and any file
    written as ``file:///path``.  Another bare path means the database that is kept there:
    it may be live, and its bytes alone are no copy, so a UserError says what to write.
    """
    environ = os.environ if environ is None else environ
    is_explicit = source.startswith("file://")
    text = unquote(urlsplit(source).path) if is_explicit else source
    path = full_path(text)
    if (is_url(source) and not is_explicit) or is_docker(source) or not is_file(path):
        return None
    is_copy = path.name.endswith(COMPRESSED) or UNDO_MARK in path.name
    if is_explicit or is_copy or parse_object(path.name, UTC) is not None:
        return path
    has_stores = settings.stores or (settings.file is None and environment_stores(environ))
    is_kept = _listed(settings, source) or has_stores or exists(folder_beside(path))
    if has_output and not is_kept:
        raise UserError(
            f"no backups of {path} are known here",
            hint=f"Name the store that has them, or file://{path} if the file is the copy.",
        )
    return None


def _refuse_empty(*texts: str | None) -> None:
    """Refuse what a script's unset variable makes: a path of nothing is the current folder."""
    if "" in texts:
        raise UserError(
            "the name of a database or store is empty", hint="Give a name, a path or a URL."
        )


def _all_databases(
    settings: Settings, to: Sequence[str], environ: Mapping[str, str]
) -> tuple[Database, ...]:
    """Return what is meant when nothing is named."""
    listed = settings.databases
    if listed:
        return tuple(
            _of_listed(settings, item, to, environ, is_one=len(listed) == 1) for item in listed
        )
    default = environment_database(environ) if settings.file is None and not to else None
    if default is not None:
        return (_find_database(settings, default, (), environ),)
    raise UserError(
        "no database is named",
        hint="Name one, or list it in the configuration: litekeep init writes one.",
    )


def _named(found: tuple[Database, ...], name: str | None) -> tuple[Database, ...]:
    """Return those of this name; that there is none is never passed over."""
    if name is None:
        return found
    chosen = tuple(item for item in found if item.name == name)
    if not chosen:
        names = ", ".join(item.name for item in found)
        raise UserError(
            f"no database called {name!r} is meant here: {names}",
            hint="Leave the name out, or name a store that holds several databases.",
        )
    return chosen


def _find_database(
    settings: Settings, text: str, to: Sequence[str], environ: Mapping[str, str]
) -> Database:
    """Return the database of this name or path."""
    listed = _listed(settings, text)
    if listed is not None:
        return _of_listed(settings, listed, to, environ, is_one=True)
    if is_url(text):
        raise UserError(
            f"{text} is a store, and a database is needed here",
            hint="Give the path of the SQLite file; a store is named by --to.",
        )
    path = parse_docker(text) if is_docker(text) else full_path(text)
    name = path.stem
    if not is_name(name):
        raise UserError(
            f"no name for snapshots can be made from {text!r}: one has at most {NAME_SIZE_MAX} "
            "bytes, all printable, and no leading dot or blank",
            hint="List the database in the configuration with a name of its own.",
        )
    names = [item.name for item in settings.databases]
    if name in names:
        raise UserError(
            f"{text} is not the database that the configuration calls {name!r}",
            hint="List it there too, with a name of its own.",
        )
    if names and isinstance(path, Path) and not _is_known(path):
        raise NotFound(
            f"no database at {text}", hint=f"The configuration lists {', '.join(names)}."
        )
    places = places_named(settings, to) if to else places_of_unlisted(settings, path, name, environ)
    return Database(name, path, places, None)


def _refuse_unknown(settings: Settings, found: Database, environ: Mapping[str, str]) -> None:
    """Raise where neither the database is there nor any place that could hold backups."""
    has_stores = settings.stores or (settings.file is None and environment_stores(environ))
    # Of a database in Docker the volume may be lost: then its backups are what is left.
    is_there = not isinstance(found.path, Path) or _is_known(found.path)
    if found.listed is None and not has_stores and not is_there:
        raise NotFound(f"no database at {found.path}", hint="Check the path.")


def _is_known(path: Path) -> bool:
    return exists(path) or exists(folder_beside(path))


def _listed(settings: Settings, text: str) -> DatabaseSettings | None:
    """Return the database that the configuration lists under this name or path."""
    for item in settings.databases:
        if item.name == text:
            return item
    if is_docker(text):
        name = parse_docker(text)
        return next((item for item in settings.databases if item.path == name), None)
    if is_url(text):
        return None
    path = os.path.realpath(full_path(text))
    for item in settings.databases:
        if isinstance(item.path, Path) and os.path.realpath(item.path) == path:
            return item
    return None


def _of_listed(
    settings: Settings,
    listed: DatabaseSettings,
    to: Sequence[str],
    environ: Mapping[str, str],
    *,
    is_one: bool,
) -> Database:
    if to:
        places = places_named(settings, to, "" if is_one else listed.name)
    else:
        places = places_of_listed(settings, listed, environ)
    return Database(listed.name, listed.path, places, listed)


def _is_store(text: str) -> bool:
    if is_url(text):
        return True
    path = full_path(text)
    return not is_docker(text) and is_folder(path) and not exists(folder_beside(path))


def _store_source(
    settings: Settings, text: str, name: str | None, environ: Mapping[str, str]
) -> Source:
    (place,) = places_named(settings, [text])
    repository = look_up(place, name, zone_of(settings), environ)
    name = repository.database
    # Only a store of the configuration may lead to a live file: a stranger's bucket
    # that happens to hold the same name does not.
    is_ours = place.store in settings.stores
    listed = next((item for item in settings.databases if is_ours and item.name == name), None)
    return Source(name, listed.path if listed else None, (repository,))
