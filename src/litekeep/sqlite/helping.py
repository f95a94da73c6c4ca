"""
Helping an application's checkpoints along, which a tail's marks hinder.

A checkpoint copies no further than the oldest mark, and a log is restarted only when all
of it is copied: with a writer that never rests and a tail behind it, that moment never
comes (measured: 1.1 GB of log in 6 s).  So above a bound, in order:

    1  a checkpoint beside the writers    the most of it, and nobody waits
    2  take the write lock                for some tens of milliseconds at most, else another time
    3  the tail reads the rest and moves its mark
    4  a checkpoint                       what is left, which is little
    5  the tail moves its mark            to the main file: nothing in the log is needed
    6  let go                             the next writer begins the log anew

Pages of the application's go from its log to its file, as any connection of it would have
moved them; nothing else is written.  It is safe with an SQLite that has the fix of the
WAL-reset bug (3.51.3), as ours does: https://www.sqlite.org/wal.html#walresetbug.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import apsw

from litekeep.clock import monotonic, sleep
from litekeep.errors import DatabaseUnusable
from litekeep.sqlite.connections import connect, prime

#: How long the write lock is waited for, and how often it is tried: a writer that never rests
#: lets go of it for microseconds, in which SQLite's own busy handler mostly sleeps.
_LOCK_SECONDS = 0.05
_TRY_SECONDS = 0.0001
#: How long it is put off where that lock was not to be had.
HELP_AGAIN_SECONDS = 0.2
#: How long a checkpoint of the application's is waited for while writers are held.
PATIENCE_SECONDS = 0.05
_LOOK_SECONDS = 0.0005


class Helper:
    """Two connections that may write: one holds the lock, the other makes the checkpoint."""

    def __init__(self, real: str) -> None:
        self._real = real
        self._connections: tuple[apsw.Connection, apsw.Connection] | None = None
        #: Whether the database may be written to by us at all.
        self.is_able = True

    def checkpoint(self, *, patience_seconds: float = 0.0) -> bool:
        """
        Copy back what may be copied; say whether that is all there is.

        Args:
            patience_seconds: How long to wait for one that the application runs: after each
                commit behind which its log is long, it does, and lets nobody else.
        """
        opened = self._open()
        if opened is None:
            return False
        deadline = monotonic() + patience_seconds
        while True:
            try:
                frame_count, copied_count = opened[1].wal_checkpoint(
                    mode=apsw.SQLITE_CHECKPOINT_PASSIVE
                )
            except (apsw.BusyError, apsw.LockedError):
                if monotonic() > deadline:
                    return False
                sleep(_LOOK_SECONDS)
                continue
            return frame_count == copied_count

    @contextlib.contextmanager
    def writers_held(self) -> Iterator[bool]:
        """Keep writers out for the time of a ``with`` block; False: it was not to be had."""
        opened = self._open()
        if opened is None:
            yield False
            return
        if not _try_to_begin(opened[0]):
            yield False
            return
        try:
            yield True
        finally:
            opened[0].execute("ROLLBACK")

    def is_locked(self) -> bool:
        """Whether somebody holds the write lock right now."""
        opened = self._open()
        if opened is None:
            return False
        try:
            opened[1].execute("BEGIN IMMEDIATE")
        except (apsw.BusyError, apsw.LockedError):
            return True
        opened[1].execute("ROLLBACK")
        return False

    def close(self) -> None:
        """Close both; they are opened again when they are needed."""
        for connection in self._connections or ():
            connection.close()
        self._connections = None

    def _open(self) -> tuple[apsw.Connection, apsw.Connection] | None:
        if self._connections is None and self.is_able:
            try:
                with contextlib.ExitStack() as stack:
                    lock = connect(self._real, 0, is_writable=True)
                    stack.callback(lock.close)
                    checkpoint = connect(self._real, 0, is_writable=True)
                    stack.callback(checkpoint.close)
                    self.is_able = not lock.readonly("main")
                    if self.is_able:
                        prime(lock)
                        prime(checkpoint)
                        stack.pop_all()
                        self._connections = (lock, checkpoint)
            except (apsw.CantOpenError, apsw.PermissionsError, DatabaseUnusable):
                self.is_able = False
        return self._connections


def _try_to_begin(connection: apsw.Connection) -> bool:
    """Take the write lock, if it is to be had within some tens of milliseconds."""
    deadline = monotonic() + _LOCK_SECONDS
    while True:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except (apsw.BusyError, apsw.LockedError):
            if monotonic() > deadline:
                return False
            sleep(_TRY_SECONDS)
        else:
            return True
