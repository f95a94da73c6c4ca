"""
SQLite's errors, as ours.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import apsw

from litekeep.errors import (
    CorruptionError,
    DatabaseBusy,
    DatabaseUnusable,
    LitekeepError,
    NoSpace,
    NotADatabase,
)


@contextlib.contextmanager
def translated(path: str) -> Iterator[None]:
    """Turn SQLite's errors into ours; *path* is named in them."""
    try:
        yield
    except LitekeepError:
        raise
    except apsw.Error as error:
        raise _translate(error, path) from error


def _translate(error: apsw.Error, path: str) -> LitekeepError:
    text = str(error)
    match error:
        case apsw.BusyError() | apsw.LockedError():
            return DatabaseBusy(
                f"{path} is locked by another process",
                hint="A long write transaction or locking_mode=EXCLUSIVE keeps everybody out; "
                "try again when it has ended.",
            )
        case apsw.NotADBError():
            return NotADatabase(
                f"{path} is not an SQLite database that can be read here",
                hint="If it is encrypted as a whole (SQLCipher, SEE), only a program that has "
                "its key can read it; otherwise check the path.",
            )
        case apsw.CorruptError():
            return CorruptionError(
                f"{path} is damaged: {text}",
                hint="Restore it with litekeep restore, or save what can be read with "
                "litekeep dump.",
            )
        case apsw.FullError():
            return NoSpace(f"no room on the disk of {path}", hint="Free some space.")
        case apsw.CantOpenError() | apsw.PermissionsError() | apsw.ReadOnlyError():
            return DatabaseUnusable(
                f"{path} cannot be opened: {text}",
                hint="Reading takes permission to read the file, and in WAL mode to write to its "
                "-wal and -shm too; run Litekeep as the application's user or as root.",
            )
        case _:
            return DatabaseUnusable(f"{path} cannot be read: {text}", hint=None)
