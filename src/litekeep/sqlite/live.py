"""
The taking of views of live databases.

Taking a view, in order:

    1  begin, and read a row       SQLite holds a read mark (WAL) or a SHARED lock for us
    2  ask the state of the log    how far commits go now, and whether the main file alone is
       on a second connection      the view: `sqlite/logstate.py`

Why this is one commit: `sqlite/view.py`, invariants 1 to 3 and 5.

INVARIANTS

  1. Raw bytes are read through SQLite's own descriptors.  Opening and closing the
     file ourselves would drop every lock that this process holds on it (POSIX).
  2. The application's database is opened read-only.  The exceptions: a hot journal
     must be rolled back before anybody can read the file, and `settle.py` is
     for the file that a restore is about to replace.
  3. Nothing of ours stays behind: where there was no log when we came, or one of no
     bytes (a run of ours was killed), the last connection of ours to go removes the
     `-wal` and `-shm`.
  4. A log counts where SQLite uses it, which `PRAGMA journal_mode` says.  The header
     does not: a `-wal` that was made to persist outlives the mode of that name.

See https://www.sqlite.org/walformat.html and https://www.sqlite.org/lockingv3.html.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import apsw

from litekeep.errors import (
    CorruptionError,
    DatabaseBusy,
    DatabaseUnusable,
    NotADatabase,
    NotFound,
)
from litekeep.paths import exists, is_file
from litekeep.sqlite.connections import connect, prime, refuse_to_litter, roll_back
from litekeep.sqlite.header import HEADER_SIZE, Header, read_header
from litekeep.sqlite.logstate import LogState, stable_log
from litekeep.sqlite.translate import translated
from litekeep.sqlite.view import (
    MAIN,
    WAL,
    Pages,
    View,
    mark_lost,
)
from litekeep.sqlite.wal import FRAME_HEADER_SIZE, WAL_HEADER_SIZE

BUSY_TIMEOUT_SECONDS = 10.0


class LiveView:
    """A view with the mark that keeps it; `take_view` makes and ends it."""

    def __init__(self, view: View, connection: apsw.Connection, *, rolled_back: bool) -> None:
        self.view = view
        self.is_hot_journal_rolled_back = rolled_back
        self._connection = connection

    def pages(self) -> Pages:
        """Return the reader of the view's bytes, for one thread at a time."""
        return Pages(self.view, self._read)

    def refuse_changed(self) -> None:
        """
        Raise if what was read is no view of the file that is there.

        Raises:
            DatabaseBusy, CorruptionError: As `View.refuse_changed`.
        """
        self.view.refuse_changed(status_of(self.view.path))

    def _read(self, which: int, offset: int, amount: int) -> bytes:
        with translated(self.view.path):
            is_complete, data = self._connection.read("main", which, offset, amount)
        if not is_complete:
            raise mark_lost(which)
        return data


@contextlib.contextmanager
def take_view(
    path: Path, *, busy_timeout_seconds: float = BUSY_TIMEOUT_SECONDS
) -> Iterator[LiveView]:
    """
    Hold the database at one commit for the time of a ``with`` block.

    In WAL mode writers go on meanwhile, and the WAL grows; in the rollback modes
    they wait.

    Args:
        path: The database; links are followed to the file itself.

        busy_timeout_seconds: How long to wait for a lock.

    Raises:
        NotFound: There is no such file.

        DatabaseBusy: A lock was not to be had in time, or this very process has
            the file open through a library that shares no locks with ours.

        NotADatabase: The file is not one that SQLite can read.
    """
    with opened_marked(path, busy_timeout_seconds) as found, contextlib.ExitStack() as stack:
        real, status, connection, header = found.real, found.status, found.connection, found.header
        if header is not None and found.is_wal:
            probe = connect(real, busy_timeout_seconds)
            stack.callback(probe.close)
            if not found.had_log:
                stack.callback(leave_no_trace, real, status, connection, probe)
            prime(probe)
            view, _ = take_wal(connection, probe, real, status, header, busy_timeout_seconds)
        else:
            view = _take_main(connection, real, status, header, is_wal=found.is_wal)
        yield LiveView(view, connection, rolled_back=found.is_rolled_back)


@dataclass(frozen=True, slots=True)
class Opened:
    """
    A live database in which we hold a mark; `header` is None for a file of no bytes.

    `had_log`: a log of any bytes lay there before.  One of none is that of a run of ours that
    was killed.
    """

    real: str
    status: os.stat_result
    connection: apsw.Connection
    header: Header | None
    is_wal: bool
    is_rolled_back: bool
    had_log: bool


@contextlib.contextmanager
def opened_marked(path: Path, busy_timeout_seconds: float) -> Iterator[Opened]:
    """
    Open a database and take a mark, for the time of a ``with`` block.

    Raises:
        NotFound, DatabaseBusy, NotADatabase: As `take_view`.
    """
    real = resolve(path)
    status = os.stat(real)
    refuse_if_open_here(real, status)
    wal = status_of(f"{real}-wal")
    with translated(real), contextlib.ExitStack() as stack:
        connection, is_rolled_back = _open_marked(real, wal is not None, busy_timeout_seconds)
        stack.callback(connection.close)
        header = header_of(connection, real)
        # The header may say otherwise: SQLite uses a log wherever there is one.
        is_wal = connection.pragma("journal_mode") == "wal"
        had_log = wal is not None and wal.st_size > 0
        yield Opened(real, status, connection, header, is_wal, is_rolled_back, had_log)


def resolve(path: Path) -> str:
    """
    Return the path of the database file itself, links followed.

    Raises:
        NotFound: There is nothing.

        AccessDenied: A folder on the way may not be entered.

        NotADatabase: It is a folder, a device or a pipe, or SQLite cannot be told its name.
    """
    real = os.path.realpath(path)
    if not exists(Path(real)):
        raise NotFound(f"no database at {path}", hint="Check the path.")
    refuse_odd(real, path)
    return real


def refuse_odd(real: str, path: Path) -> None:
    """
    Raise if what *path* leads to, *real*, can never be a database; it need not exist.

    Raises:
        NotADatabase: It is a folder, a device or a pipe, or SQLite cannot be told its name.
    """
    if any("\ud800" <= character <= "\udfff" for character in real):
        raise NotADatabase(
            f"the path {os.fsencode(real)!r} is not UTF-8, and SQLite takes no other",
            hint="Rename the file or its folder.",
        )
    if exists(Path(real)) and not is_file(Path(real)):
        raise NotADatabase(f"{path} is not a regular file", hint="Give the path of the database.")


def refuse_if_open_here(real: str, status: os.stat_result) -> None:
    """
    Raise if this process has the file open already.

    Two SQLite libraries in one process share no locks, and when one of them closes
    the file it drops the other's (https://www.sqlite.org/howtocorrupt.html, 2.2).
    """
    for entry in _own_descriptors():
        try:
            found = os.stat(entry)
        except OSError:
            continue
        if (found.st_dev, found.st_ino) == (status.st_dev, status.st_ino):
            raise DatabaseBusy(
                f"this process has {real} open already",
                hint="Call Litekeep from a process of its own: two SQLite libraries in one "
                "process drop each other's locks.",
            )


def _own_descriptors() -> list[str]:
    try:
        return [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
    except OSError:  # no /proc: macOS
        return []


def _open_marked(
    real: str, has_wal: bool, busy_timeout_seconds: float
) -> tuple[apsw.Connection, bool]:
    """Open, begin, read: the mark is ours.  A hot journal is rolled back first."""
    rolled_back = False
    while True:
        connection = connect(real, busy_timeout_seconds)
        # Read without a lock, so it only serves to say what is in the way.
        first = connection.read("main", MAIN, 0, HEADER_SIZE)[1]
        try:
            if first[19] == 2 and not has_wal:
                refuse_to_litter(real)
            connection.execute("BEGIN")
            prime(connection)
            return connection, rolled_back
        except apsw.NotADBError:
            connection.close()
            _named_header(first, real)  # says what it is, where that can be known
            raise
        except apsw.ReadOnlyError as error:
            connection.close()
            is_hot = getattr(error, "extendedresult", 0) == apsw.SQLITE_READONLY_ROLLBACK
            if rolled_back or not is_hot:
                raise
            roll_back(real, busy_timeout_seconds)
            rolled_back = True
        except BaseException:
            connection.close()
            raise


def header_of(connection: apsw.Connection, real: str) -> Header | None:
    """Return the header of an open database; None where the file has no bytes."""
    complete, data = connection.read("main", MAIN, 0, HEADER_SIZE)
    if not complete and os.stat(real).st_size == 0:
        return None  # a file of no bytes is an empty database
    return _named_header(data, real)


def _named_header(data: bytes, real: str) -> Header:
    """Read the header; the file is named in the error."""
    try:
        return read_header(data)
    except NotADatabase as error:
        raise NotADatabase(f"{real}: {error.message}", hint=error.hint) from error


def _page_count(connection: apsw.Connection) -> int:
    count = connection.pragma("page_count")
    assert isinstance(count, int)
    return count


def _take_main(
    connection: apsw.Connection,
    real: str,
    status: os.stat_result,
    header: Header | None,
    *,
    is_wal: bool,
) -> View:
    main = os.stat(real)
    return View(
        path=real,
        device=status.st_dev,
        inode=status.st_ino,
        is_wal=is_wal,
        page_size=header.page_size if header else 4096,
        page_count=_page_count(connection) if header else 0,
        frame_count=0,
        salts=b"",
        sqlite_version=header.sqlite_version if header else "",
        main_size=main.st_size,
        main_time_ns=main.st_mtime_ns,
    )


def take_wal(
    connection: apsw.Connection,
    probe: apsw.Connection,
    real: str,
    status: os.stat_result,
    header: Header,
    busy_timeout_seconds: float,
) -> tuple[View, LogState]:
    """Return the view under the mark of *connection*, and how far the log went then."""
    log = stable_log(probe, real, busy_timeout_seconds)
    if log.frame_count <= log.copied_count:
        return _take_main(connection, real, status, header, is_wal=True), log
    frame_count = log.frame_count
    page_count = _commit_page_count(connection, header.page_size, frame_count)
    main = os.stat(real)
    view = View(
        path=real,
        device=status.st_dev,
        inode=status.st_ino,
        is_wal=True,
        page_size=header.page_size,
        page_count=page_count,
        frame_count=frame_count,
        salts=log.salts,
        sqlite_version=header.sqlite_version,
        main_size=main.st_size,
        main_time_ns=main.st_mtime_ns,
    )
    return view, log


def _commit_page_count(connection: apsw.Connection, page_size: int, frame_count: int) -> int:
    offset = WAL_HEADER_SIZE + (frame_count - 1) * (FRAME_HEADER_SIZE + page_size)
    frame = connection.read("main", WAL, offset, FRAME_HEADER_SIZE)[1]
    page_count = int.from_bytes(frame[4:8], "big")
    if page_count == 0:
        raise CorruptionError(f"frame {frame_count} of the log, its last, is no commit")
    return page_count


def status_of(path: str) -> os.stat_result | None:
    """Return what the path leads to; None where that cannot be known."""
    try:
        return os.stat(path)
    except OSError:
        return None


def leave_no_trace(
    real: str, status: os.stat_result, connection: apsw.Connection, probe: apsw.Connection
) -> None:
    """
    Close, and remove the `-wal` and `-shm` that only we needed.

    SQLite removes them when the last connection closes and may write.  It does so
    only where the log holds nothing, so no page is moved on our account.  An
    application that has the database open keeps both files.
    """
    now = status_of(real)
    if now is None or not os.path.samestat(now, status):
        return  # it was replaced: what has those names now is not ours
    try:
        last = connect(real, 0, is_writable=True)
    except (apsw.Error, DatabaseUnusable):
        return
    try:
        prime(last)
        connection.close()
        is_empty = probe.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP) == (0, 0)
        probe.close()
        last.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0 if is_empty else 1)
    except apsw.Error:
        pass  # a writer is at work, so both files are its own by now
    finally:
        last.close()
