"""
Whether this user may read the database and put a restored one in its place, and the
application may go on writing to it: `permissions`.

SQLite gives a new log the owner of the database only where root makes it.  So a log of
another owner was made by somebody who opened the database, and shuts the application out.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from litekeep.doctor.database import Seen
from litekeep.doctor.findings import Finding, ok, warn
from litekeep.errors import DatabaseUnusable
from litekeep.sqlite.connections import may_read, may_write, refuse_to_litter

NAME = "permissions"


def permissions(about: str, seen: Seen) -> Iterator[Finding]:
    """
    Check rights and owners of the file, its folder, its log.

    Raises:
        DatabaseUnusable: A backup by this user cannot read it.
    """
    logs = [path for end in ("-wal", "-shm") if (path := Path(f"{seen.path}{end}")).exists()]
    _refuse_unreadable(seen, logs)
    status = seen.path.stat()
    found = [*_foreign_logs(about, status, logs), *_open_to_all(about, seen.path)]
    shut = [path for path in (seen.path, seen.path.parent) if not may_write(str(path))]
    if shut:
        found.append(
            warn(
                NAME,
                about,
                f"user id {os.geteuid()} may read it, and may not write to "
                f"{' and '.join(map(str, shut))}",
                "A restore in its place has to be run as its owner or as root.",
            )
        )
    mode = stat.S_IMODE(status.st_mode)
    detail = f"of {user_named(status.st_uid)}, mode {mode:04o}; a backup and a restore may use it"
    yield from found or [ok(NAME, about, detail)]


def user_named(user_id: int) -> str:
    """Return a user for a person."""
    try:
        return f"{pwd.getpwuid(user_id).pw_name} ({user_id})"
    except KeyError:
        return f"user id {user_id}"


def _refuse_unreadable(seen: Seen, logs: list[Path]) -> None:
    if seen.header is None or not seen.header.is_wal:
        return
    if not logs:
        refuse_to_litter(str(seen.path))
    for path in logs:
        if not may_read(str(path)):
            raise DatabaseUnusable(
                f"user id {os.geteuid()} may not read {path}, so a backup cannot read the database",
                hint="Run Litekeep as the application's user or as root.",
            )


def _foreign_logs(about: str, status: os.stat_result, logs: list[Path]) -> Iterator[Finding]:
    for path in logs:
        owner = path.stat().st_uid
        if owner != status.st_uid:
            yield warn(
                NAME,
                about,
                f"{path} belongs to {user_named(owner)}, and the database to "
                f"{user_named(status.st_uid)}: the application may not be able to write",
                "Stop whoever opened it as another user, then give the file the owner of the "
                "database (chown --reference).",
            )


def _open_to_all(about: str, real: Path) -> Iterator[Finding]:
    for path in (real, real.parent):
        mode = path.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            yield warn(
                NAME,
                about,
                f"every user of this machine may write to {path}",
                f"Take that right away: chmod o-w {path}",
            )
