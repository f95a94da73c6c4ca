"""
Whether the disks have room for the next backup and for a restore.

    space-backup    the compressed snapshot in each local store, and its copy as latest; in
                    the folder for local state where no store is local
    space-restore   the restored file beside the old one, which stays as the undo copy

What a snapshot takes is known from the last one; before the first it is bounded by the
size of the database.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from litekeep.doctor.database import Seen
from litekeep.doctor.findings import Finding, ok, warn
from litekeep.engine.backup import stored_size_max
from litekeep.engine.plan import refuse_without_room
from litekeep.errors import NoSpace
from litekeep.paths import is_folder
from litekeep.repository.layout import Repository
from litekeep.units import show_size


@dataclass(frozen=True, slots=True)
class _Disk:
    """One disk, a folder on it for a person, and how many copies of a snapshot go there."""

    folder: Path
    copies: int


def space_for_backup(
    about: str,
    seen: Seen,
    repositories: Sequence[Repository],
    state: Path,
    last_size: int | None,
) -> Iterator[Finding]:
    """
    Check the room for a backup: `space-backup`.

    Args:
        about: The database's name.

        seen: The database.

        repositories: Where its backups go.

        state: The folder for local state.

        last_size: Of the newest snapshot as it is stored; None where there is none.

    Raises:
        NoSpace: A snapshot like the last one does not fit.
    """
    size = last_size or stored_size_max(seen.size + seen.wal_size)
    told = "as the last snapshot" if last_size else "at most"
    for disk in _disks(repositories, state):
        needed, free = disk.copies * size, _free(disk.folder)
        shown = f"{disk.folder} has {show_size(free)} free; a backup takes {show_size(needed)}"
        hint = "Free some space, let snapshots go (litekeep prune), or choose another folder."
        if free < needed and last_size:
            raise NoSpace(f"{shown}, {told}", hint=hint)
        if free < (2 if last_size else 1) * needed:
            yield warn("space-backup", about, f"{shown}, {told}", hint)
        else:
            yield ok("space-backup", about, f"{shown}, {told}")


def space_for_restore(about: str, seen: Seen) -> Iterator[Finding]:
    """
    Check the room for a restore in place: `space-restore`.

    Raises:
        NoSpace: The database does not fit there a second time.
    """
    size, folder = seen.size + seen.wal_size, seen.path.parent
    refuse_without_room(folder, size)
    shown = f"{folder} has {show_size(_free(folder))} free; a restore takes {show_size(size)}"
    yield ok("space-restore", about, shown)


def nearest_folder(path: Path) -> Path:
    """Return *path*, or the innermost folder above it that is there."""
    while not is_folder(path) and path != path.parent:
        path = path.parent
    return path


def _disks(repositories: Sequence[Repository], state: Path) -> list[_Disk]:
    wanted = [
        # A store of a folder links the staging file; latest is a copy.
        (repository.store.staging, 1 if repository.layout == "flat" else 2)
        for repository in repositories
        if repository.store.staging is not None
    ]
    found: dict[int, _Disk] = {}
    for folder, copies in wanted or [(state, 1)]:
        place = nearest_folder(folder)
        device = place.stat().st_dev
        before = found.get(device)
        found[device] = _Disk(
            before.folder if before else place, copies + (before.copies if before else 0)
        )
    return list(found.values())


def _free(folder: Path) -> int:
    room = os.statvfs(folder)
    return room.f_bavail * room.f_frsize
