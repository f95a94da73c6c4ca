"""
Bringing a database to rest, so that another file can take its name.

    1  open and read         a hot journal is rolled back, by SQLite
    2  lock exclusively      nobody else reads or writes
    3  checkpoint, TRUNCATE  the main file is whole, the log is empty
    4  the caller's work     the `-wal`, `-shm` and `-journal` may go, and the name too
    5  close                 removes nothing: those names may be another file's by then

Step 1 comes apart from step 2 because a connection that rolled a journal back under
an exclusive lock removes it *by name* when it is closed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import apsw

from litekeep import faults
from litekeep.errors import DatabaseBusy
from litekeep.sqlite.connections import connect, prime
from litekeep.sqlite.header import LOCK_BYTE_OFFSET
from litekeep.sqlite.live import refuse_if_open_here
from litekeep.sqlite.translate import translated

#: PENDING, RESERVED and the 510 SHARED bytes: https://www.sqlite.org/lockingv3.html.
_LOCK_SIZE = 512


@contextlib.contextmanager
def settled(real: str, *, busy_timeout_seconds: float) -> Iterator[None]:
    """
    Hold the database at rest for the time of a ``with`` block.

    Args:
        real: The database file itself.

        busy_timeout_seconds: How long to wait for the others.

    Raises:
        DatabaseBusy: Somebody has the database open.

        CorruptionError, NotADatabase: SQLite cannot read it.

        DatabaseUnusable: To open it would delete its log.
    """
    refuse_if_open_here(real, os.stat(real))
    with translated(real), contextlib.ExitStack() as stack:
        with contextlib.closing(connect(real, busy_timeout_seconds, is_writable=True)) as first:
            prime(first)
        connection = connect(real, busy_timeout_seconds, is_writable=True)
        stack.callback(connection.close)
        connection.pragma("locking_mode", "exclusive")
        connection.execute("BEGIN EXCLUSIVE")
        prime(connection)
        connection.execute("COMMIT")
        if connection.pragma("journal_mode") == "wal":
            faults.reach("checkpoint target")
            frame_count, copied_count = connection.wal_checkpoint(
                mode=apsw.SQLITE_CHECKPOINT_TRUNCATE
            )
            if frame_count != 0 or copied_count != 0:
                raise DatabaseBusy(
                    f"the log of {real} could not be emptied: {frame_count} frames, "
                    f"{copied_count} copied back",
                    hint="Stop what uses the database, then restore again.",
                )
        yield


@contextlib.contextmanager
def barred(path: Path) -> Iterator[None]:
    """
    Keep every SQLite out of a file for the time of a ``with`` block, by its own locks.

    No SQLite of this process may have the file open: a lock belongs to a process.
    """
    with path.open("r+b") as file:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, _LOCK_SIZE, LOCK_BYTE_OFFSET)
        yield


def spoil(file: BinaryIO) -> None:
    """
    Make a database that has lost its name useless to those who wait to use it.

    What they would write to its log goes by name, into the log of another file.
    """
    file.seek(0)
    file.write(b"This database was never put in place.\n".ljust(512))
    file.flush()
