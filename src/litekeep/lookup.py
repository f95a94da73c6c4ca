"""
Which database is meant where only a store is named, and where in the store it lies.

    the store itself holds it           there
    --database NAME                     there, or in the folder of this name, as
                                        `config/places.py` lays out what is shared
    it is Litestream's                  there, under the last name in the store's path
    only folders of the store hold any  an error that names them

The names in the store are listed, once.  What may be restored over is not decided here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, tzinfo
from urllib.parse import unquote, urlsplit

from litekeep.codec.formats import CODECS
from litekeep.config.places import Place, is_url, join_url, kind_of
from litekeep.config.values import is_name
from litekeep.errors import NotFound, UserError
from litekeep.opening import open_repository
from litekeep.repository.layout import Repository, parse_object
from litekeep.repository.names import find_databases

NAMES_SHOWN_MAX = 10

_COMPRESSED = tuple(codec.suffix for codec in CODECS if codec.suffix)


def look_up(place: Place, name: str | None, zone: tzinfo, environ: Mapping[str, str]) -> Repository:
    """
    Return the repository in the store at *place* that is meant.

    Args:
        place: A store, as it was named.

        name: Of the database; None means the only one there.

        zone: Of the times in names.

        environ: The environment.

    Raises:
        UserError: The place is no store, or several databases could be meant.

        NotFound: No snapshots are there, or none of that name.
    """
    _refuse_object(place.url)
    found = find_databases(open_repository(place, "", zone, environ))
    folders = found.folders
    if found.is_litestream:
        theirs = name_of_litestream(place.url, folders.get("", ()))
        if name == theirs or (name is None and "" not in folders):
            return replace(open_repository(place, theirs, zone, environ), is_litestream=True)
        folders = {**folders, "": [*folders.get("", ()), theirs]}
    if name is None:
        name, folder = _only(place.url, folders), ""
    else:
        folder = _folder_of(place.url, name, folders)
    inside = replace(place, url=join_url(place.url, folder))
    return open_repository(inside, name, zone, environ)


def name_of_litestream(url: str, taken: Sequence[str] = ()) -> str:
    """
    Return what a database is called whose replica by Litestream lies at *url*.

    >>> name_of_litestream("s3://bucket/shop?region=eu-west-1"), name_of_litestream("s3://bucket")
    ('shop', 'database')
    >>> name_of_litestream("/var/replicas/shop/", ["shop"])
    'litestream'
    """
    path = unquote(urlsplit(url).path) if is_url(url) else url
    name = path.rstrip("/").rpartition("/")[2]
    if not is_name(name):
        name = "database"
    return "litestream" if name in taken else name


def _only(url: str, folders: Mapping[str, Sequence[str]]) -> str:
    names = folders.get("", ())
    if len(names) == 1:
        return names[0]
    if names:
        raise UserError(
            f"{url} holds several databases", hint=f"Choose with --database: {_some(names)}."
        )
    if folders:
        below = sorted({name for found in folders.values() for name in found})
        raise NotFound(
            f"no snapshots in {url} itself, but in its folders {_some(sorted(folders))}",
            hint=f"Choose with --database: {_some(below)}.",
        )
    raise NotFound(
        f"no snapshots in {url}",
        hint="Give the folder that holds the years (YYYY/MM/...). A single file, latest.db.gz for "
        "instance, can be given itself, to restore and to dump.",
    )


def _folder_of(url: str, name: str, folders: Mapping[str, Sequence[str]]) -> str:
    found = [folder for folder, names in folders.items() if name in names]
    for folder in ("", name):
        if folder in found:
            return folder
    if len(found) == 1:
        return found[0]
    if found:
        raise UserError(
            f"several folders of {url} hold a database called {name!r}",
            hint=f"Name one of them as the store: {_some(sorted(found))}.",
        )
    there = sorted({name for names in folders.values() for name in names})
    raise NotFound(
        f"no snapshots of {name!r} in {url}",
        hint=f"There are those of {_some(there)}." if there else "Check the path or URL.",
    )


def _refuse_object(url: str) -> None:
    """Say what to write where one object was named, or a file, and not a store."""
    local = unquote(urlsplit(url).path) if is_url(url) else url
    if kind_of(url) == "local" and os.path.isfile(local):
        raise UserError(
            f"{url} is a file, and a store or a database is needed here",
            hint=f"Write the path alone for the backups of a database: {local}.",
        )
    path = urlsplit(url).path
    last = path.rpartition("/")[2]
    parsed = parse_object(last, UTC)
    if kind_of(url) == "local" or (parsed is None and not last.endswith(_COMPRESSED)):
        return
    folder = path.removesuffix(f"/{last}")
    parts = folder.split("/")
    if parse_object("/".join([*parts[-2:], last]), UTC):
        folder = "/".join(parts[:-2])  # the year and the month belong to the object
    store = urlsplit(url)._replace(path=folder).geturl()
    hint = f"Name the store, {store}; the newest restore point is meant where none is named."
    if parsed:
        hint = f"Name the store, and the restore point with --at: {store} --at {parsed.name}."
    raise UserError(f"{url} is an object in a store, not a store", hint=hint)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMES_SHOWN_MAX} more" if len(names) > NAMES_SHOWN_MAX else ""
    return ", ".join(names[:NAMES_SHOWN_MAX]) + more
