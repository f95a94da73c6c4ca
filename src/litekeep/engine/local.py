"""
What of a database's backups lies on this machine alone: looked at, never touched.

    killed     a run of backup recorded what it put into stores, and did not end (`job.py`)
    spooled    commits that a stream captured, and not every store has (`stream/spool.py`)

No lock is taken and no folder made, so that nothing that runs is disturbed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from litekeep.dockername import Address
from litekeep.engine.job import Job, key_of
from litekeep.errors import FormatError, LitekeepError
from litekeep.host.processes import is_locked
from litekeep.host.volumes import path_of
from litekeep.ltx.format import parse_name


@dataclass(frozen=True, slots=True)
class Local:
    """
    How much lies here, and since when; a time is None where there is nothing.

    `killed_count` is of snapshots that were begun and not ended, `spooled_size` in bytes.
    """

    killed_count: int = 0
    killed_since: datetime | None = None
    spooled_count: int = 0
    spooled_size: int = 0
    spooled_since: datetime | None = None


def look_here(address: Address, name: str, state: Path) -> Local | None:
    """
    Look what lies here of a database.

    Args:
        address: The live file, which need not be there.

        name: The database's.

        state: The folder for local state.

    Returns:
        None where that cannot be known: it lies elsewhere, or this user may not look.
    """
    try:
        key = key_of(name, os.path.realpath(path_of(address)))
        killed_count, killed_since = _killed(state, key)
        spooled = _spooled(state / "stream" / key)
    except (LitekeepError, OSError):
        return None
    return Local(
        killed_count,
        killed_since,
        len(spooled),
        sum(status.st_size for status in spooled),
        min((_changed(status) for status in spooled), default=None),
    )


def _killed(state: Path, key: str) -> tuple[int, datetime | None]:
    """Return what killed runs of backup left; nothing while a run is at work, or may be."""
    record = state / f"{key}.json"
    found = Job(record).interrupted()
    if not found or is_locked(state / f"{key}.lock") is not False:
        return 0, None
    try:
        since = _changed(record.stat())
    except FileNotFoundError:  # the run ended between the two looks
        return 0, None
    return len(found), since


def _spooled(folder: Path) -> list[os.stat_result]:
    """Return the captured files; a fill, which is for one store alone, is none."""
    found = []
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    for name in names:
        try:
            parse_name(name)
            found.append((folder / name).stat())
        except (FormatError, FileNotFoundError):  # shipped meanwhile
            continue
    return found


def _changed(status: os.stat_result) -> datetime:
    return datetime.fromtimestamp(status.st_mtime, UTC)
