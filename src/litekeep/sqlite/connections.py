"""
Connections to databases that are not ours: how one is opened, and what is refused first.

    connect            trusts nothing in the file, never checkpoints, never runs its code
    prime              reads a row, so that locks and log are as SQLite wants them
    roll_back          the one write: a hot journal must be undone before anybody can read
    refuse_to_litter   SQLite would make a log here that we could not remove
    library_version    of the SQLite that all this is done with

SQLite takes a log, or a journal, beside a file of no bytes for a remnant of another
database, and deletes it, even where it opens read-only.  So that state is never opened.

See https://www.sqlite.org/lockingv3.html and https://www.sqlite.org/howtocorrupt.html.
"""

from __future__ import annotations

import contextlib
import os

import apsw

from litekeep.errors import DatabaseUnusable

#: Of the database at the transaction's start: https://www.sqlite.org/fileformat.html, 3.
_JOURNAL_PAGE_COUNT_OFFSET = 16

#: SQLite's MAX_PATHNAME, 512, less what it puts behind the name.
PATH_SIZE_MAX = 504


def connect(
    real: str, busy_timeout_seconds: float, *, is_writable: bool = False
) -> apsw.Connection:
    """
    Open a connection that trusts nothing in the file and never checkpoints by itself.

    Raises:
        DatabaseUnusable: To open it would delete its log, or SQLite takes no such path.
    """
    path_size = len(os.fsencode(real))
    if path_size > PATH_SIZE_MAX:
        raise DatabaseUnusable(
            f"the path {real} has {path_size} bytes, and SQLite takes at most {PATH_SIZE_MAX}",
            hint="Move the database to a folder of a shorter path; links are followed, so a link "
            "does not help.",
        )
    refuse_orphan_log(real)
    flags = apsw.SQLITE_OPEN_READWRITE if is_writable else apsw.SQLITE_OPEN_READONLY
    connection = apsw.Connection(real, flags=flags)
    connection.set_busy_timeout(int(busy_timeout_seconds * 1000))
    harden(connection)
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.wal_autocheckpoint(0)
    return connection


def refuse_orphan_log(real: str) -> None:
    """
    Raise if SQLite would delete what may be all that is left of a database.

    Raises:
        DatabaseUnusable: The file holds no bytes, and its log or its journal does.
    """
    if _size(real) != 0:
        return
    if _size(f"{real}-wal") > 0:
        kind = "log"
    elif _is_of_pages(f"{real}-journal"):
        kind = "journal"
    else:
        return
    raise DatabaseUnusable(
        f"{real} is empty but its {kind} is not; opening it would delete the {kind}",
        hint="Copy both away first.",
    )


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _is_of_pages(journal: str) -> bool:
    """Say whether the database had any pages when this journal of it was begun."""
    try:
        with open(journal, "rb") as file:
            file.seek(_JOURNAL_PAGE_COUNT_OFFSET)
            return any(file.read(4))
    except OSError:
        return False


def harden(connection: apsw.Connection) -> None:
    """Let a hostile schema do no harm: no writes to it, no functions called from it."""
    connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
    connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0)


def library_version() -> str:
    """Return the version of the SQLite that this package uses."""
    return apsw.sqlite_lib_version()


def prime(connection: apsw.Connection) -> None:
    """Read a row, so that the connection has the file's state."""
    connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()


def roll_back(real: str, busy_timeout_seconds: float) -> None:
    """Let SQLite undo the unfinished transaction of a writer that died (a hot journal)."""
    try:
        with contextlib.closing(
            connect(real, busy_timeout_seconds, is_writable=True)
        ) as connection:
            prime(connection)
    except (apsw.ReadOnlyError, apsw.IOError) as error:
        is_undeleted = getattr(error, "extendedresult", 0) == apsw.SQLITE_IOERR_DELETE
        if isinstance(error, apsw.IOError) and not is_undeleted:
            raise
        raise DatabaseUnusable(
            f"{real} has a hot journal: a writer died in a transaction that must be undone first",
            hint="Let a user who may write to the file and its folder run this, or open the "
            "database once with the application.",
        ) from error


def refuse_to_litter(real: str) -> None:
    """
    Raise if SQLite would make a `-wal` and `-shm` here that we could not remove.

    They would be ours, and the application might not be able to write to them.
    """
    if not (may_write(real) and may_write(os.path.dirname(real))):
        is_mounted_read_only = os.statvfs(real).f_flag & os.ST_RDONLY
        raise DatabaseUnusable(
            f"{real} is in WAL mode and nobody has it open: to read it then takes permission to "
            "write to it and to its folder",
            hint="It lies on a read-only file system: back it up where it may be written to."
            if is_mounted_read_only
            else "Run Litekeep as the application's user or as root.",
        )


def may_read(path: str) -> bool:
    """Say whether this process may read a file."""
    return _may(path, os.R_OK)


def may_write(path: str) -> bool:
    """Say whether this process may write to a file or a folder."""
    return _may(path, os.W_OK)


def _may(path: str, right: int) -> bool:
    return os.access(path, right, effective_ids=os.access in os.supports_effective_ids)
