"""
Where a database lay when a snapshot of it was taken: host and path, kept in the manifest.

A name of a file is no proof that two snapshots are of one database: `p1/app.db` and `p2/app.db`
may have come to share a place.  Another host is no reason to refuse, because a restore on a new
machine is what backups are for; another path on this host is one.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from litekeep.engine.points import RestorePoint
from litekeep.errors import CorruptionError, UserError
from litekeep.repository.layout import Repository
from litekeep.repository.manifest import TEXT_LENGTH_MAX, Origin
from litekeep.repository.newest import newest_manifest
from litekeep.store.base import FAILURES


def origin_of(path: str | os.PathLike[str]) -> Origin:
    """Return where the database at *path* lies: of several names of one file, the real one."""
    real = os.fsencode(os.path.realpath(path)).decode("utf-8", "backslashreplace")
    return Origin(host=os.uname().nodename[:TEXT_LENGTH_MAX], path=real[:TEXT_LENGTH_MAX])


def show_origin(origin: Origin) -> str:
    """Return an origin for a person."""
    return f"{origin.path} on {origin.host}"


def other_origin(repository: Repository, name: str, ours: Origin) -> Origin | None:
    """
    Return whose the newest snapshot in *repository* is, if it is not of *ours*.

    Args:
        repository: Of a name that two databases may have.

        name: Of the snapshot under way; its month is looked at first.

        ours: The database that is backed up.

    Returns:
        None also where that cannot be known: a warning is not worth a backup.
    """
    try:
        newest = newest_manifest(repository, name)
    except (CorruptionError, *FAILURES):
        return None
    theirs = newest.origin if newest is not None else None
    return theirs if theirs != ours else None


def taken_of(point: RestorePoint, database: Path | None) -> Origin | None:
    """Return where *point* was taken if that is not here, or not of *database*."""
    origin = point.origin
    if origin is None:
        return None
    here = origin_of(database if database is not None else "/")
    is_here = origin.host == here.host and (database is None or origin.path == here.path)
    return None if is_here else origin


def refuse_other(chosen: RestorePoint, points: Sequence[RestorePoint], database: Path) -> None:
    """
    Raise if *chosen* is of another file of this host than *database*, whose place it would take.

    Raises:
        UserError: It is; the newest that is of *database* is named, if there is one.
    """
    origin, here = chosen.origin, origin_of(database)
    if origin is None or origin.host != here.host or origin == here:
        return
    own = next((point for point in points if point.origin == here), None)
    named = f"{own.name} is of {database}: restore it with --at. " if own is not None else ""
    raise UserError(
        f"{chosen.name} is of {origin.path}, not of {database}",
        hint=f"{named}To put this one there all the same, give the path with --output.",
    )
