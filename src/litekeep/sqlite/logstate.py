"""
How far the commits in the log of a live database go.

The wal-index knows, and `wal_checkpoint(NOOP)` tells it, (frames in the log, frames copied
back), and changes nothing.  It reads its two numbers one after the other, so a restart of
the log may fall between them: then they are the old log's frames and the new log's zero,
while the salts in the file are still the old ones.  So, in order:

    1  read the salts       from the file: the header is written before any frame counts
    2  ask NOOP
    3  ask NOOP again       a log that is shorter now was restarted by a writer meanwhile: from 1
    4  read the salts       other ones: likewise

The wal-index also counts commits, which nothing else tells.  It begins with two copies of:

    Offset  Size  Field                     All integers in the machine's own order.
    8       4     commits so far
    16      4     frames in the log
    32      8     salts, as in the file
and behind both, at 96, 4 bytes: how many frames are copied back.

The connection that asks must have read the database once, and be in no transaction.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass

import apsw

from litekeep.clock import monotonic, sleep
from litekeep.errors import DatabaseBusy
from litekeep.sqlite.view import WAL
from litekeep.sqlite.wal import WAL_HEADER_SIZE

_ATTEMPTS_MAX = 100
_INDEX_HEADER_SIZE = 48
_INDEX_FIELDS = struct.Struct("=8xI4xI12x8s8x48xI")
assert _INDEX_FIELDS.size == 2 * _INDEX_HEADER_SIZE + 4
_LOOK_SECONDS = 0.001


@dataclass(frozen=True, slots=True)
class LogState:
    """How many frames of the log count, how many are copied back; its salts, empty if it is."""

    salts: bytes
    frame_count: int
    copied_count: int


def stable_log(probe: apsw.Connection, real: str, timeout_seconds: float) -> LogState:
    """
    Return the state of the log, its numbers and its salts being of one use of the file.

    Args:
        probe: A connection that is primed, and in no transaction.

        real: The database's path, for the error.

        timeout_seconds: How long to wait for a writer between two moments.
    """
    for _ in range(_ATTEMPTS_MAX):
        salts = _salts(probe)
        frame_count, copied_count = ask_noop(probe, timeout_seconds)
        is_restarted = ask_noop(probe, timeout_seconds)[0] < frame_count
        if not is_restarted and salts == _salts(probe):
            return LogState(salts, frame_count, copied_count)
    raise DatabaseBusy(f"the log of {real} never stood still", hint="Try again.")


def ask_noop(probe: apsw.Connection, timeout_seconds: float) -> tuple[int, int]:
    """
    Return how many frames the log has and how many of them are copied back.

    SQLite's busy timeout does not reach a NOOP.  It is refused while a writer is
    between the two copies of the wal-index header, which takes a microsecond, or as
    long as the scheduler keeps the writer there.
    """
    deadline = monotonic() + timeout_seconds
    while True:
        try:
            return probe.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)
        except apsw.BusyError:
            if monotonic() > deadline:
                raise
        sleep(_LOOK_SECONDS)


def _salts(connection: apsw.Connection) -> bytes:
    is_complete, data = connection.read("main", WAL, 0, WAL_HEADER_SIZE)
    return data[16:24] if is_complete else b""


@dataclass(frozen=True, slots=True)
class IndexHeader:
    """What the wal-index says; `change_count` rises by one a commit, and wraps at 2^32."""

    change_count: int
    frame_count: int
    salts: bytes
    copied_count: int


class WalIndex:
    """
    The wal-index of a database, read through a descriptor of our own.

    It is opened when it is first read, and must be closed after every connection of this
    process to the database: closing it drops their locks.
    """

    def __init__(self, real: str) -> None:
        self._path = f"{real}-shm"
        self._descriptor: int | None = None

    def read(self) -> IndexHeader:
        """
        Return what it says now.

        Raises:
            DatabaseBusy: It is being written, and has been for some time.
        """
        if self._descriptor is None:
            self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        for _ in range(_ATTEMPTS_MAX):
            data = os.pread(self._descriptor, _INDEX_FIELDS.size, 0)
            fields = _INDEX_FIELDS.unpack(data.ljust(_INDEX_FIELDS.size, b"\0"))
            if data[:_INDEX_HEADER_SIZE] == data[_INDEX_HEADER_SIZE : 2 * _INDEX_HEADER_SIZE]:
                return IndexHeader(*fields)
            sleep(_LOOK_SECONDS)
        raise DatabaseBusy(f"{self._path} never stood still", hint="Try again.")

    def close(self) -> None:
        """Close it, after every connection."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
