"""
Bringing a database to rest, so that another file can take its name.

    1  open and read         a hot journal is rolled back, by SQLite
    2  lock exclusively      nobody else reads or writes
    3  checkpoint, TRUNCATE  the main file is whole, the log is empty
    4  the caller's work     the `-wal`, `-shm` and `-journal` may go, and the name too
    5  close                 removes nothing: those names may be another file's by then

Step 1 comes apart from step 2 because a connection that rolled a journal back under
an exclusive lock removes it *by name* when it is closed.

The schema is not read: that it is malformed keeps nobody from bringing the file to rest.

The caller may have the file open already, and then closes it after this: closing it
earlier would drop SQLite's locks (POSIX).
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from typing import BinaryIO

import apsw

from litekeep import faults
from litekeep.errors import DatabaseBusy
from litekeep.sqlite.connections import connect
from litekeep.sqlite.header import LOCK_BYTE_OFFSET
from litekeep.sqlite.translate import translated

#: PENDING, RESERVED and the 510 SHARED bytes: https://www.sqlite.org/lockingv3.html.
_LOCK_SIZE = 512

#: What a TRUNCATE that did its work answers, in WAL mode and in the others.
_EMPTIED = ((0, 0), (-1, -1))


@contextlib.contextmanager
def settled(real: str, *, busy_timeout_seconds: float) -> Iterator[None]:
    """
    Hold the database at rest for the time of a ``with`` block.

    Args:
        real: The database file itself.

        busy_timeout_seconds: How long to wait for the others.

    Raises:
        DatabaseBusy: Somebody has the database open.

        CorruptionError, DatabaseUnusable: SQLite cannot do that with this file, or would
            delete its log.
    """
    with translated(real), contextlib.ExitStack() as stack:
        with contextlib.closing(connect(real, busy_timeout_seconds, is_writable=True)) as first:
            _touch(first)
        connection = connect(real, busy_timeout_seconds, is_writable=True)
        stack.callback(connection.close)
        connection.pragma("locking_mode", "exclusive")
        connection.execute("BEGIN EXCLUSIVE")
        _touch(connection)
        connection.execute("COMMIT")
        faults.reach("checkpoint target")
        answer = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        if answer not in _EMPTIED:
            raise DatabaseBusy(
                f"the log of {real} could not be emptied: {answer[0]} frames, "
                f"{answer[1]} copied back",
                hint="Stop what uses the database, then restore again.",
            )
        yield


def _touch(connection: apsw.Connection) -> None:
    """Read the header in a transaction, and nothing else."""
    connection.execute("PRAGMA schema_version").fetchall()


@contextlib.contextmanager
def barred(file: BinaryIO) -> Iterator[None]:
    """
    Keep every SQLite out of a file for the time of a ``with`` block, by its own locks.

    No SQLite of this process may have the file open: a lock belongs to a process.  Where
    this user may not write to the file, only writers are kept out.

    Raises:
        DatabaseBusy: Somebody holds a lock on it.
    """
    kind = fcntl.LOCK_EX if file.writable() else fcntl.LOCK_SH
    try:
        fcntl.lockf(file, kind | fcntl.LOCK_NB, _LOCK_SIZE, LOCK_BYTE_OFFSET)
    except BlockingIOError as error:
        raise DatabaseBusy(
            f"{file.name} is locked by another process",
            hint="Stop what uses it, then try again.",
        ) from error
    try:
        yield
    finally:
        fcntl.lockf(file, fcntl.LOCK_UN, _LOCK_SIZE, LOCK_BYTE_OFFSET)
