"""
A tail: every commit of a live database in WAL mode, after the view that it begins with.

Two connections take turns, so that a read mark of ours is held at every moment.  A look:

    1  on the idle connection  ask how far commits go (the bound)
    2  on the idle connection  begin and read a row: a mark at the bound or behind it
    3  read the frames         from where the last look ended to the bound, and check them
    4  on the older one        end the transaction: it is the idle one now

Where neither the log nor the main file has changed since a look that found nothing, a look
is two calls of stat, and the idle connection is closed: an idle database costs what one
connection holds.

Why no commit is missed.  A writer restarts the log only when all of it is copied back and
nobody holds a mark in it; a mark on the main file alone (taken when all was copied back)
does not hinder it, but nobody can copy back, so nor restart again, until that mark goes.
So between two looks the log is restarted once at most.  And it is restarted only after the
end of what the older mark saw, which step 3 of its own look had read: the bound of a look
is asked while the mark before it is held, and is never before that mark.  Therefore step 2
comes after step 1, and step 4 after step 3.

A checkpoint of the application's that waits for a mark waits for the mark's slot in the
wal-index, and may sleep through the moment in which it is free.  So where nothing comes, not
all is copied, and somebody holds the write lock, the tail steps aside for a moment: it holds
no mark, and afterwards compares the number of commits that the wal-index counts with those
that it finds.  Unless they are the same, it says `Lost`.

INVARIANTS

  1. Frames up to the bound and no further, each with the salts and the checksum that
     continue from the last one read.  A log that does not continue so was rewritten by
     somebody without SQLite's locks, or the files were replaced: `Lost`, and whoever
     follows begins again with a view and compares it with what was read before.
  2. What `look` returned is to be read before the next look: frames that are not in
     memory are read again from the log, which is kept by the mark until then.
  3. The database is only read.  `sqlite/helping.py` is the exception: it moves the
     application's own pages from the log to the main file, as any connection of it would.

See https://www.sqlite.org/walformat.html#wal_locks.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import apsw

from litekeep.clock import Clock, monotonic, now, sleep
from litekeep.errors import CorruptionError, DatabaseBusy, FormatError
from litekeep.sqlite.changes import Changes, read_changes
from litekeep.sqlite.connections import connect, prime
from litekeep.sqlite.helping import HELP_AGAIN_SECONDS, PATIENCE_SECONDS, Helper
from litekeep.sqlite.live import (
    BUSY_TIMEOUT_SECONDS,
    LiveView,
    leave_no_trace,
    opened_marked,
    status_of,
    take_wal,
)
from litekeep.sqlite.logstate import IndexHeader, LogState, WalIndex, stable_log
from litekeep.sqlite.translate import translated
from litekeep.sqlite.view import WAL, mark_lost
from litekeep.sqlite.wal import FRAME_HEADER_SIZE, WAL_HEADER_SIZE, Checksum, read_wal_header

#: Of log that is in use; with it the log of a writer that never rests stays under 24 MiB.
HELP_SIZE = 8 << 20
#: After a change of either file each look asks for this long: another one may have the same
#: time, and the end of a checkpoint, which may wait for our mark to move, shows in no file.
_SETTLED_SECONDS = 2.0
#: How long nothing must have come before the tail steps aside, and for how long it does:
#: SQLite's own busy handler sleeps for up to 0.1 s at a time.
_STILL_SECONDS = 0.1
_ASIDE_SECONDS = 0.12
_LOOK_SECONDS = 0.0005


@dataclass(frozen=True, slots=True)
class Lost:
    """The log does not continue what was read; only a comparison of all pages will do."""

    reason: str


@dataclass(frozen=True, slots=True)
class _Position:
    """Up to where the log was read; no salts where there was nothing in it."""

    salts: bytes
    frame_count: int
    checksum: Checksum


class Tail:
    """What follows a log; `follow` makes and ends it."""

    def __init__(
        self,
        first: LiveView,
        marked: apsw.Connection,
        idle: apsw.Connection,
        log: LogState,
        *,
        busy_timeout_seconds: float,
        help_size: int | None,
        clock: Clock,
    ) -> None:
        self.first = first
        self._path = first.view.path
        self._page_size = first.view.page_size
        self._marked = marked
        self._idle: apsw.Connection | None = idle
        self._older: apsw.Connection | None = None
        self._busy_timeout_seconds = busy_timeout_seconds
        self._help_size = help_size
        self._helper = Helper(self._path)
        self._help_from = 0.0
        self.helped_count = 0
        self._clock = clock
        self._is_mark_in_log = log.frame_count > 0
        self._position = self._position_at(log)
        self._seen: tuple[object, ...] = ()
        self._still_since: float | None = None
        self._index = WalIndex(self._path)
        self._wal_inode = _inode(f"{self._path}-wal")

    def look(self) -> Changes | Lost | None:
        """
        Return what was committed since the last look; None if nothing was.

        Raises:
            DatabaseBusy: A lock was not to be had in time; look again.
        """
        with translated(self._path):
            self._let_go()
            seen = self._stamp()
            if seen == self._seen:
                self._close_idle()
                return None
            reason = self._why_replaced()
            if reason is not None:
                return Lost(reason)
            try:
                changes = self._read_and_help() if self._is_help_due() else self._read()
            except (CorruptionError, FormatError) as error:
                return Lost(error.message)
            if changes is None:
                self._seen = seen if self._is_settled() else ()
            return changes

    def close(self) -> None:
        """Let go of every mark and connection."""
        self._helper.close()
        for connection in (self._marked, self._idle, self._older):
            if connection is not None:
                connection.close()
        self._index.close()  # last: SQLite's locks on that file go with it

    def leave_no_trace(self, status: os.stat_result) -> None:
        """Close, and remove a `-wal` and `-shm` that only we needed."""
        self._let_go()
        self._helper.close()
        leave_no_trace(self._path, status, self._marked, self._idle_connection())

    def _read(self) -> Changes | None:
        idle = self._idle_connection()
        log = stable_log(idle, self._path, self._busy_timeout_seconds)
        return self._read_to(idle, log)

    def _is_help_due(self) -> bool:
        if self._help_size is None or not self._is_mark_in_log:
            return False
        size = self._position.frame_count * (FRAME_HEADER_SIZE + self._page_size)
        return size >= self._help_size and monotonic() >= self._help_from

    def _read_and_help(self) -> Changes | None:
        """Read as ever, and bring the log to where the next writer begins it anew."""
        self._helper.checkpoint()
        with self._helper.writers_held() as is_held:
            if not is_held:  # a long transaction: it is not tried again and again
                self._help_from = monotonic() + HELP_AGAIN_SECONDS
            changes = self._read()
            is_free = self._older is None
            if (
                is_held
                and is_free
                and self._is_mark_in_log
                and self._helper.checkpoint(patience_seconds=PATIENCE_SECONDS)
            ):
                # Whatever fails now: what was read is to be returned.
                with contextlib.suppress(apsw.BusyError, apsw.LockedError, DatabaseBusy):
                    idle = self._idle_connection()
                    log = stable_log(idle, self._path, self._busy_timeout_seconds)
                    self._move_mark(idle, log)
                    self._let_go()
                    self.helped_count += 1
        return changes

    def _read_to(self, idle: apsw.Connection, log: LogState) -> Changes | None:
        """Move the mark, then read what lies between the position and the end of the log."""
        position = self._position
        is_restarted = log.salts != position.salts
        first = 0 if is_restarted else position.frame_count
        if log.frame_count <= first:
            if self._is_mark_in_log and log.copied_count == log.frame_count:
                self._move_mark(idle, log)  # it would keep the next writer from restarting
                self._let_go()
            elif self._is_in_the_way(log):
                return self._step_aside(idle)
            return None
        self._still_since = None
        data = idle.read("main", WAL, 0, WAL_HEADER_SIZE)[1]
        header = read_wal_header(data)
        if header.salts != log.salts or header.page_size != self._page_size:
            raise mark_lost(WAL)
        self._move_mark(idle, log)
        start = header.checksum if first == 0 else position.checksum
        changes, checksum = read_changes(self._marked, header, first, log.frame_count, start)
        self._position = _Position(log.salts, log.frame_count, checksum)
        if changes.is_kept:
            self._let_go()
        return changes

    def _is_in_the_way(self, log: LogState) -> bool:
        """Whether a checkpoint seems to wait for our mark to move; nothing is left to read."""
        if log.copied_count == log.frame_count:
            self._still_since = None
            return False
        since, self._still_since = self._still_since, self._still_since or monotonic()
        if since is None or monotonic() - since < _STILL_SECONDS:
            return False
        self._still_since = None
        return self._helper.is_locked()

    def _step_aside(self, idle: apsw.Connection) -> Changes | None:
        """Hold no mark until the checkpoint is through; then read on from a new one."""
        before = self._index.read()
        self._marked.execute("ROLLBACK")
        try:
            index = self._wait_aside(before)
            changes = self._read_to(idle, LogState(index.salts, index.frame_count, 0))
        except (apsw.BusyError, apsw.LockedError, DatabaseBusy) as error:
            # No mark is held, or nobody knows since when: not to be taken for a busy moment.
            raise CorruptionError(
                "a checkpoint that was given way to went on", hint=None
            ) from error
        made_count = (index.change_count - before.change_count) & 0xFFFFFFFF
        if made_count != (changes.commit_count if changes is not None else 0):
            raise CorruptionError("the log went on while a checkpoint was given way to", hint=None)
        return changes

    def _wait_aside(self, before: IndexHeader) -> IndexHeader:
        """Wait a moment without a mark, take one again, and return what there is then."""
        deadline = monotonic() + _ASIDE_SECONDS
        while (index := self._index.read()) == before and monotonic() < deadline:
            if index.copied_count == index.frame_count:
                break
            sleep(_LOOK_SECONDS)
        self._marked.execute("BEGIN")
        prime(self._marked)
        self._is_mark_in_log = True
        return self._index.read()

    def _move_mark(self, idle: apsw.Connection, log: LogState) -> None:
        idle.execute("BEGIN")
        try:
            prime(idle)
        except BaseException:
            idle.execute("ROLLBACK")
            raise
        self._older, self._marked, self._idle = self._marked, idle, None
        self._is_mark_in_log = log.copied_count < log.frame_count

    def _let_go(self) -> None:
        """End the older of two transactions."""
        if self._older is not None:
            self._older.execute("ROLLBACK")
            self._idle, self._older = self._older, None

    def _idle_connection(self) -> apsw.Connection:
        if self._idle is None:
            self._idle = connect(self._path, self._busy_timeout_seconds)
            prime(self._idle)
        return self._idle

    def _close_idle(self) -> None:
        self._helper.close()
        if self._idle is not None:
            self._idle.close()
            self._idle = None

    def _stamp(self) -> tuple[object, ...]:
        """What changes with every write to the log or to the main file."""
        return tuple(
            (status.st_ino, status.st_size, status.st_mtime_ns) if status is not None else None
            for status in (status_of(f"{self._path}-wal"), status_of(self._path))
        )

    def _is_settled(self) -> bool:
        """Whether neither file was changed lately."""
        statuses = (status_of(self._path), status_of(f"{self._path}-wal"))
        changed = max((one.st_mtime for one in statuses if one is not None), default=0.0)
        return self._clock().timestamp() - changed > _SETTLED_SECONDS

    def _why_replaced(self) -> str | None:
        view = self.first.view
        main = status_of(self._path)
        if main is None or (main.st_dev, main.st_ino) != (view.device, view.inode):
            return "the file was replaced by another"
        if _inode(f"{self._path}-wal") != self._wal_inode:
            return "the log was removed or replaced while it was in use"
        return None

    def _position_at(self, log: LogState) -> _Position:
        if not log.salts:
            return _Position(b"", 0, (0, 0))
        if log.frame_count == 0:
            return _Position(log.salts, 0, (0, 0))
        frame_size = FRAME_HEADER_SIZE + self._page_size
        offset = WAL_HEADER_SIZE + (log.frame_count - 1) * frame_size
        frame = self._marked.read("main", WAL, offset, FRAME_HEADER_SIZE)[1]
        checksum = int.from_bytes(frame[16:20], "big"), int.from_bytes(frame[20:24], "big")
        return _Position(log.salts, log.frame_count, checksum)


@contextlib.contextmanager
def follow(
    path: Path,
    *,
    busy_timeout_seconds: float = BUSY_TIMEOUT_SECONDS,
    help_size: int | None = HELP_SIZE,
    clock: Clock = now,
) -> Iterator[Tail | None]:
    """
    Follow the log of a database for the time of a ``with`` block.

    Args:
        path: The database; links are followed to the file itself.

        busy_timeout_seconds: How long to wait for a lock.

        help_size: At how many bytes of log `sqlite/helping.py` sets in; None: never.

        clock: What the times of files are compared with.

    Returns:
        The tail, with `first`, the view that it begins with; None where the database has
        no log: it is empty, or in a rollback mode.

    Raises:
        NotFound, DatabaseBusy, NotADatabase: As `take_view`.
    """
    with opened_marked(path, busy_timeout_seconds) as found, contextlib.ExitStack() as stack:
        real, status, connection, header = found.real, found.status, found.connection, found.header
        if header is None or not found.is_wal:
            connection.close()
            yield None
            return
        probe = connect(real, busy_timeout_seconds)
        stack.callback(probe.close)
        prime(probe)
        view, log = take_wal(connection, probe, real, status, header, busy_timeout_seconds)
        tail = Tail(
            LiveView(view, connection, rolled_back=found.is_rolled_back),
            connection,
            probe,
            log,
            busy_timeout_seconds=busy_timeout_seconds,
            help_size=help_size,
            clock=clock,
        )
        stack.callback(tail.close)
        if not found.had_log:
            stack.callback(tail.leave_no_trace, status)
        yield tail


def _inode(path: str) -> int | None:
    status = status_of(path)
    return status.st_ino if status is not None else None
