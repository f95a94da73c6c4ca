"""
Checks of the database file: what it is, where it lies, how it is written.

    database         there, one file of one name, SQLite's, readable
    file-system      SQLite's locks and shared memory work there, and it outlives the machine
    journal-mode     WAL, or writers wait while a backup reads
    wal-size         no larger than checkpoints that come leave it
    sqlite-version   of the application's SQLite, as far as the header shows it

The header is read as plain bytes, and SQLite never opens the file here: nothing is written,
no lock is taken.  So what stands only in the log is not seen.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from litekeep.doctor.findings import Finding, ok, unknown, warn
from litekeep.engine.intent import refuse_pending
from litekeep.engine.source import has_other_name, refuse_second_name, refuse_unsafe
from litekeep.errors import DatabaseUnusable, UnsafeFileSystem
from litekeep.host.filesystems import MOUNTINFO, mount_of
from litekeep.host.volumes import database_at
from litekeep.sources import Database
from litekeep.sqlite.connections import refuse_orphan_log
from litekeep.sqlite.header import HEADER_SIZE, Header, read_header
from litekeep.sqlite.live import resolve
from litekeep.sqlite.versions import has_reset_bug
from litekeep.units import show_size

#: SQLite copies its log back after 1,000 pages, and then begins it anew: 4 MiB at the usual size.
WAL_SIZE_MAX = 64 << 20

_LAYERS = frozenset({"overlay", "aufs", "fuse.fuse-overlayfs"})
_MEMORY = frozenset({"tmpfs", "ramfs"})


@dataclass(frozen=True, slots=True)
class Seen:
    """
    A database file that is there and can be read.

    `path` is the file itself, `header` None where it holds no bytes, sizes in bytes.
    """

    path: Path
    header: Header | None
    size: int
    wal_size: int


def look_at(database: Database, environ: Mapping[str, str]) -> Seen:
    """
    Find the file and read its header.

    Raises:
        LitekeepError: It is not there, cannot be read, is none of SQLite's, or is half restored.
    """
    real = resolve(database_at(database.path, environ))
    refuse_pending(Path(real))
    refuse_orphan_log(real)
    try:
        with open(real, "rb") as file:
            data = file.read(HEADER_SIZE)
    except OSError as error:
        raise DatabaseUnusable(
            f"{real} cannot be read: {os.strerror(error.errno or 0).lower()}",
            hint=f"Give user id {os.geteuid()} the right to read it, or run this as its owner "
            "or as root.",
        ) from error
    header = read_header(data) if data else None
    return Seen(Path(real), header, os.stat(real).st_size, _size(Path(f"{real}-wal")))


def is_that_file(database: Database, seen: Seen) -> Iterator[Finding]:
    """Check that the file is the whole database: `database`."""
    about, real = database.name, seen.path
    if not _is_unsafe_allowed(database):
        refuse_second_name(str(real))
    if has_other_name(str(real)):
        yield warn(
            "database",
            about,
            f"{real} has another name too (a hard link): each name has a log of its own",
            "Give the name that the application uses, and remove the other.",
        )
    elif seen.header is None:
        hint = "Is it the file that the application uses?"
        yield warn("database", about, f"{real} is empty: there is nothing in it yet", hint)
    else:
        yield ok("database", about, f"{real}, {show_size(seen.size)}")


def file_system(
    database: Database, seen: Seen, *, mountinfo: Path = MOUNTINFO
) -> Iterator[Finding]:
    """Check that SQLite works where the file lies, and that it stays there: `file-system`."""
    name, about, real = "file-system", database.name, str(seen.path)
    try:
        refuse_unsafe(real, mountinfo=mountinfo)
    except UnsafeFileSystem as error:
        if not _is_unsafe_allowed(database):
            raise
        hint = "Make sure that only this machine uses the file; see what can go wrong."
        yield warn(name, about, f"{error.message}; the configuration allows it", hint)
        return
    mount = mount_of(real, mountinfo=mountinfo)
    if mount is None:
        yield unknown(name, about, "the system does not tell its mounts", "Is /proc there?")
    elif mount.type in _LAYERS:
        yield warn(
            name,
            about,
            f"{real} lies on {mount.type}: a container's own layer is lost with the container",
            "Keep the database in a volume, or in a folder of the host.",
        )
    elif mount.type in _MEMORY:
        hint = "Keep the database on a disk."
        yield warn(name, about, f"{real} lies in memory ({mount.type})", hint)
    else:
        yield ok(name, about, f"{mount.type} at {mount.point}")


def journal_mode(database: Database, seen: Seen) -> Iterator[Finding]:
    """Tell the journal mode: `journal-mode`."""
    if seen.header is None:
        yield unknown("journal-mode", database.name, "the file is empty", "See database.")
    elif seen.header.is_wal:
        yield ok("journal-mode", database.name, "WAL: writers go on while a backup reads")
    else:
        yield ok(
            "journal-mode",
            database.name,
            "a rollback mode: writers wait while a backup reads",
            "PRAGMA journal_mode=WAL, once, lets them go on, if the application allows it.",
        )


def wal_size(database: Database, seen: Seen) -> Iterator[Finding]:
    """Check that the log is copied back and begun anew: `wal-size`."""
    size = show_size(seen.wal_size)
    if seen.wal_size <= WAL_SIZE_MAX:
        yield ok("wal-size", database.name, f"{size} of log" if seen.wal_size else "no log")
        return
    yield warn(
        "wal-size",
        database.name,
        f"the log, {seen.path}-wal, has {size}: a reader never ends, checkpoints do not come, or "
        "one transaction was that large",
        "Look for a connection that keeps a transaction or a cursor open. If there is none, "
        "PRAGMA wal_checkpoint(TRUNCATE) gives the room back.",
    )


def sqlite_version(database: Database, seen: Seen) -> Iterator[Finding]:
    """Tell which SQLite wrote last, and whether it can lose pages: `sqlite-version`."""
    name, about = "sqlite-version", database.name
    version = seen.header.sqlite_version if seen.header else ""
    if version in ("", "0.0.0"):
        hint = "Ask the application: SELECT sqlite_version()."
        yield unknown(name, about, "the header does not tell who wrote it", hint)
        return
    shown = f"the header shows SQLite {version} as the last that wrote"
    if not has_reset_bug(version):
        yield ok(name, about, shown)
    elif seen.header is None or not seen.header.is_wal:
        yield ok(name, about, f"{shown}; its WAL-reset bug does not matter without WAL")
    else:
        yield warn(
            name,
            about,
            f"{shown}, which can lose pages when it resets the log (WAL-reset bug, 3.7.0 to "
            "3.51.2); the application may use another by now, and this is no proof of damage",
            "Give the application SQLite 3.51.3, 3.50.7 or 3.44.6, or later in these lines; ask "
            "it with SELECT sqlite_version(). litekeep drill looks for damage.",
        )


def _is_unsafe_allowed(database: Database) -> bool:
    return database.listed is not None and database.listed.allow_unsafe_file_system


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
