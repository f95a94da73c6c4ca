"""
SQLite's own check, run on the bytes of a view.

Where the main file alone is the view, SQLite reads it as an immutable file; where
the log belongs to it, a small read-only VFS shows both as one such file, at twice the
cost.  Either way no lock is taken, no other file is looked at, nothing is written.
In a backup this runs in a child process, which may open the files by itself (its
locks are its own) while the parent holds the mark; see `workers.py`.

The schema is not trusted.  Where the check needs what only the application has (a
collation, a function, a virtual table module), the rest is checked all the same:

    the structure     of all trees, and which pages they use: no order of rows is
                      looked at there, so any collation does, and a stub is lent
    each table        that needs nothing of the application, as ever

Damage found there is damage.  If there is none the check says "inconclusive", and why.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

import apsw

from litekeep.clock import monotonic
from litekeep.sqlite.connections import harden
from litekeep.sqlite.view import MAIN, WAL, Pages, Read, View, mark_lost

OK = "ok"
FAILED = "failed"
INCONCLUSIVE = "inconclusive"

#: Counting rows may take this share of the time of the check, and at least this long.
COUNT_SHARE = 0.25
COUNT_SECONDS_MIN = 0.2

#: What a manifest has room for: tables beyond these are not counted.
COUNTED_TABLES_MAX = 1000
COUNTED_NAME_LENGTH_MAX = 128

#: SQLite's memory in a process that only checks.  A row that takes more to look at
#: (a hostile generated column can ask for any amount) makes the check inconclusive.
MEMORY_SIZE_MAX = 64 << 20

_MESSAGES_MAX = 20
_OF_STRUCTURE = "*** in database"  # so begins a line on trees and pages, and no other
_DETAIL_SIZE_MAX = 2000
_VFS_NAME = "litekeep-view"
_INSTRUCTIONS_PER_LOOK = 10_000


@dataclass(frozen=True, slots=True)
class Check:
    """
    What SQLite says of a database.

    `row_counts` holds a count for each table where counting was cheap; a table
    that is not in it was not counted, or, where `is_counted_whole`, is not there.
    """

    result: str
    detail: str
    row_counts: dict[str, int]
    is_counted_whole: bool = False


@contextlib.contextmanager
def raw_reader(view: View) -> Iterator[Read]:
    """
    Read the files of a view through descriptors of this process.

    Never in a process that has SQLite connections to the same file: closing the
    descriptors would drop their locks.

    Raises:
        DatabaseBusy, CorruptionError: As `View.refuse_changed`.
    """
    with contextlib.ExitStack() as stack:
        try:
            main = os.open(view.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            view.refuse_changed(None)
            raise
        stack.callback(os.close, main)
        view.refuse_changed(os.fstat(main))
        descriptors = {MAIN: main}
        if view.frame_count:
            descriptors[WAL] = os.open(f"{view.path}-wal", os.O_RDONLY | os.O_CLOEXEC)
            stack.callback(os.close, descriptors[WAL])

        def read(which: int, offset: int, amount: int) -> bytes:
            data = os.pread(descriptors[which], amount, offset)
            if len(data) != amount:
                raise mark_lost(which)
            return data

        yield read


def bound_memory() -> None:
    """Let SQLite take no more than `MEMORY_SIZE_MAX` in this whole process."""
    apsw.hard_heap_limit(MEMORY_SIZE_MAX)


def check_view(view: View, read: Read) -> Check:
    """
    Run quick_check on the view, and count rows where that is cheap.

    Raises:
        CorruptionError: The view itself could not be read to its end.
    """
    return _check(connect_view(Pages(view, read)))


def check_main(view: View) -> Check:
    """
    Run quick_check on a view without a log, and count rows where that is cheap.

    Only in a process of its own, as `raw_reader`, and while the mark is held: SQLite
    opens the file and takes no lock.
    """
    assert view.frame_count == 0, "the main file alone is not this view"
    uri = f"file:{quote(os.fsencode(view.path))}?immutable=1"
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    return _check(cautious(apsw.Connection(uri, flags=flags)))


def check_in_full(pages: Pages) -> Check:
    """
    Run integrity_check on a view, in this process: also each index against its table.

    No rows are counted.
    """
    with contextlib.closing(connect_view(pages)) as connection:
        result, detail = _ask(connection, "integrity_check")
    return Check(result, detail[:_DETAIL_SIZE_MAX], {})


def _check(opened: apsw.Connection) -> Check:
    with contextlib.closing(opened) as connection:
        started = monotonic()
        result, detail = _ask(connection, "quick_check")
        seconds = max(COUNT_SECONDS_MIN, COUNT_SHARE * (monotonic() - started))
        counts, is_whole = _count_rows(connection, seconds) if result == OK else ({}, False)
    return Check(result, detail[:_DETAIL_SIZE_MAX], counts, is_whole)


def _ask(connection: apsw.Connection, check: str) -> tuple[str, str]:
    try:
        found = _complaints(connection, check)
    except (apsw.CorruptError, apsw.NotADBError) as error:
        return FAILED, str(error)
    except UnicodeDecodeError:  # no "ok", then
        return FAILED, "a name in the schema is not UTF-8"
    except apsw.SQLError as error:  # something is missing that the schema names
        try:
            found = _complaints_of_the_rest(connection, check)
        except (apsw.CorruptError, apsw.NotADBError) as damage:
            return FAILED, str(damage)
        except apsw.Error:
            found = []
        if not found:
            return INCONCLUSIVE, str(error)
    except apsw.Error as error:
        return INCONCLUSIVE, str(error) or type(error).__name__
    return (FAILED, "; ".join(found)) if found else (OK, "")


def _complaints(connection: apsw.Connection, check: str, table: str = "") -> list[str]:
    quoted = table.replace('"', '""')
    scope = f'"{quoted}"' if table else str(_MESSAGES_MAX)
    rows = [str(row[0]) for row in connection.execute(f"PRAGMA {check}({scope})")]
    return [] if rows == ["ok"] else rows[:_MESSAGES_MAX]


def _complaints_of_the_rest(connection: apsw.Connection, check: str) -> list[str]:
    """Return what is wrong in spite of what is missing here; nothing that a stub makes wrong."""
    for table in _tables(connection) or ():
        with contextlib.suppress(apsw.SQLError):  # this one needs what is missing
            if found := _complaints(connection, check, table):
                return found
    connection.collation_needed(_lend_collation)
    with contextlib.suppress(apsw.SQLError):
        return [line for line in _complaints(connection, check) if line.startswith(_OF_STRUCTURE)]
    return []


def _lend_collation(connection: apsw.Connection, name: str) -> None:
    connection.create_collation(name, lambda left, right: (left > right) - (left < right))


def _tables(connection: apsw.Connection) -> list[str] | None:
    """Return the names of tables whose rows this database holds; None: one cannot be read."""
    try:
        return [
            str(row[0])
            for row in connection.execute(
                "SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage > 0 "
                "AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND length(name) <= ? LIMIT ?",
                (COUNTED_NAME_LENGTH_MAX, COUNTED_TABLES_MAX),
            )
        ]
    except UnicodeDecodeError:  # SQLite takes any bytes for a name
        return None


def _count_rows(connection: apsw.Connection, seconds: float) -> tuple[dict[str, int], bool]:
    deadline = monotonic() + seconds
    counts: dict[str, int] = {}
    names = _tables(connection)
    if names is None:
        return counts, False
    connection.set_progress_handler(lambda: monotonic() > deadline, _INSTRUCTIONS_PER_LOOK)
    for name in names:
        quoted = name.replace('"', '""')
        try:
            query = f'SELECT count(*) FROM "{quoted}"'  # noqa: S608 (quoted just above)
            counts[name] = int(str(connection.execute(query).fetchall()[0][0]))
        except apsw.InterruptError:
            break
        except apsw.Error:
            continue  # it needs what only the application has
    return counts, len(counts) == len(names) < COUNTED_TABLES_MAX


def connect_view(pages: Pages) -> apsw.Connection:
    """Open the view as an immutable database."""
    vfs = _ViewVFS(pages)
    connection = apsw.Connection("view", vfs=_VFS_NAME, flags=apsw.SQLITE_OPEN_READONLY)
    vfs.unregister()  # the connection keeps it
    return cautious(connection)


def cautious(connection: apsw.Connection) -> apsw.Connection:
    """Let a connection to a file of anybody's trust nothing in it."""
    harden(connection)
    connection.pragma("temp_store", "memory")
    connection.pragma("cell_size_check", True)
    return connection


class _ViewFile(apsw.VFSFile):
    """The view as an immutable file."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._size = pages.view.size

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802 (apsw's name)
        amount = min(amount, self._size - offset)
        return self._pages.at(offset, amount) if amount > 0 else b""

    def xFileSize(self) -> int:  # noqa: N802
        return self._size

    def xClose(self) -> None:  # noqa: N802
        pass

    def xLock(self, level: int) -> None:  # noqa: N802
        pass

    def xUnlock(self, level: int) -> None:  # noqa: N802
        pass

    def xCheckReservedLock(self) -> bool:  # noqa: N802
        return False

    def xFileControl(self, op: int, ptr: int) -> bool:  # noqa: N802
        return False

    def xSectorSize(self) -> int:  # noqa: N802
        return 4096

    def xDeviceCharacteristics(self) -> int:  # noqa: N802
        return apsw.SQLITE_IOCAP_IMMUTABLE


class _ViewVFS(apsw.VFS):
    """Knows one file, whatever the name."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        super().__init__(_VFS_NAME, "")

    def xOpen(self, name: object, flags: list[int]) -> _ViewFile:  # noqa: N802
        return _ViewFile(self._pages)

    def xAccess(self, path: str, flags: int) -> bool:  # noqa: N802
        return False

    def xFullPathname(self, name: str) -> str:  # noqa: N802
        return name
