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

The connection that asks must have read the database once, and be in no transaction.
"""

from __future__ import annotations

from dataclasses import dataclass

import apsw

from litekeep.clock import monotonic, sleep
from litekeep.errors import DatabaseBusy
from litekeep.sqlite.view import WAL
from litekeep.sqlite.wal import WAL_HEADER_SIZE

_ATTEMPTS_MAX = 100
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
