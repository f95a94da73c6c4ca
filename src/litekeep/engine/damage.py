"""
Alarms at backup time: what the database has lost since the last good snapshot.

    empty            there were tables, or a hundred rows, and there are none
    tables gone      one that held rows is not there any more
    rows collapsed   a table of some size lost more than a set share of its rows
    size collapsed   the database lost more than a set share of its size

An application that started on an empty file, a migration that went wrong, a DELETE
without its WHERE: SQLite's check finds nothing wrong with them, and the next snapshots
would push the good ones out.  So the snapshot is made and set aside as suspect; `latest`
stays, retention waits, and a person says whether all is well (`accept.py`).

What is compared is in the manifests; nothing is read for it but the last good one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from litekeep.engine.points import read_quickly
from litekeep.errors import CorruptionError
from litekeep.repository.layout import Repository
from litekeep.repository.manifest import Manifest
from litekeep.repository.newest import good_manifest, is_good
from litekeep.sqlite.check import Check
from litekeep.store.base import FAILURES
from litekeep.units import show_size

_NAMED_MAX = 3
_NAME_LENGTH_MAX = 80


@dataclass(frozen=True, slots=True)
class Limits:
    """
    What may be lost between two snapshots without an alarm.

    `rows_lost` and `size_lost` are shares; tables below `rows_min` rows, and databases
    below `size_min` bytes, may lose more; tables of `ignored` may lose all.  A database of
    `rows_all_min` rows, in all its tables, may not lose each of them.
    """

    rows_lost: float = 0.5
    size_lost: float = 0.5
    rows_min: int = 1000
    size_min: int = 1 << 20
    rows_all_min: int = 100
    ignored: tuple[str, ...] = ()


def last_good(
    repositories: Sequence[Repository], name: str, *, is_counted: bool = False
) -> Manifest | None:
    """
    Return the manifest of the last good snapshot, from the nearest store that has one.

    Args:
        repositories: Of one database, nearest first.

        name: Of the snapshot under way; its month is looked at first.

        is_counted: Whether one whose rows were counted is wanted, where there is one: what was
            lost behind an unchecked one would be lost unseen.

    Returns:
        None also where that cannot be known: an alarm is not worth a backup.
    """
    for repository in repositories:
        try:
            found = _last_good(repository, name, is_counted=is_counted)
            if found is None and is_counted:
                found = _last_good(repository, name, is_counted=False)
        except (CorruptionError, *FAILURES):
            continue
        if found is not None:
            return found
    return None


def _last_good(repository: Repository, name: str, *, is_counted: bool) -> Manifest | None:
    """Look at the newest, then at all: where nobody accepts for long, many are suspect."""
    found = good_manifest(repository, name, is_counted=is_counted)
    if found is not None:
        return found
    for snapshot in reversed(read_quickly(repository).snapshots):
        manifest = snapshot.manifest
        if manifest is not None and is_good(
            manifest, is_accepted=snapshot.is_accepted, is_counted=is_counted
        ):
            return manifest
    return None


def losses(before: Manifest, size: int, check: Check, limits: Limits) -> tuple[str, ...]:
    """
    Return what the database lost since *before*, in words; nothing if all seems well.

    Args:
        before: Of the last good snapshot.

        size: Of the database now, in bytes.

        check: What SQLite says of it now.

        limits: What may be lost.
    """
    found: list[str] = []
    counts = {
        table: count for table, count in before.row_counts.items() if table not in limits.ignored
    }
    if check.is_counted_whole:
        held = [table for table, count in counts.items() if count > 0]
        gone = [table for table in held if table not in check.row_counts]
        now_held = any(n for table, n in check.row_counts.items() if table not in limits.ignored)
        is_empty = sum(counts.values()) >= limits.rows_all_min and not now_held
        if held and (is_empty or not check.row_counts):
            found.append("the database is empty")
        elif gone:
            found.append(f"gone: {_named(gone)}")
    for table, count in counts.items():
        now = check.row_counts.get(table)
        if now is None or count < limits.rows_min:
            continue
        if now < count * (1 - limits.rows_lost):
            found.append(f"{table[:_NAME_LENGTH_MAX]} has {now} rows, and had {count}")
    size_before = before.database.size_bytes
    if size_before >= limits.size_min and size < size_before * (1 - limits.size_lost):
        found.append(f"the database has {show_size(size)}, and had {show_size(size_before)}")
    return tuple(found)


def _named(tables: Sequence[str]) -> str:
    shown = ", ".join(table[:_NAME_LENGTH_MAX] for table in tables[:_NAMED_MAX])
    more = len(tables) - _NAMED_MAX
    return f"{shown} and {more} more" if more > 0 else shown
