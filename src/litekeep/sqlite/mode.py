"""
The journal mode that a database's header names, and the way out of WAL for a file that is
about to lose its name.

    Offset  Size  Field
    18      1     write version: 1 rollback journal, 2 WAL
    19      1     read version: likewise; SQLite goes by this one

SQLite finds a log by the name that it opened the database by.  A connection to a file that
has lost this name would write a WAL under the name of another file.  In the rollback modes
SQLite looks first whether the file still has its name, and refuses to write:
SQLITE_READONLY_DBMOVED.  (Where a log lies under that name already, it is used whatever the
header says.)  So a file at rest whose log is empty is set to rollback before it
loses its name, and set back under its new one.

The two bytes lie in one sector, and nothing else changes.  The caller holds every lock
(`settle.py`), so no connection remembers the other mode: one that has the log of a WAL
database open holds a lock for as long.

See https://www.sqlite.org/fileformat2.html#the_database_header and
https://www.sqlite.org/rescode.html#readonly_dbmoved.
"""

from __future__ import annotations

import os
from typing import BinaryIO

from litekeep import faults
from litekeep.sqlite.header import HEADER_SIZE, MAGIC

ROLLBACK = b"\x01\x01"
_OFFSET = 18
_WAL = 2


def wal_versions(file: BinaryIO) -> bytes | None:
    """Return the two bytes if the header names WAL mode, else None."""
    header = os.pread(file.fileno(), HEADER_SIZE, 0)
    if len(header) < HEADER_SIZE or not header.startswith(MAGIC) or header[_OFFSET + 1] != _WAL:
        return None
    return header[_OFFSET : _OFFSET + 2]


def set_versions(file: BinaryIO, versions: bytes) -> None:
    """Write the two bytes of a header that is SQLite's."""
    if os.pread(file.fileno(), len(MAGIC), 0) == MAGIC:
        faults.reach("write header")
        os.pwrite(file.fileno(), versions, _OFFSET)


def spoil(file: BinaryIO) -> None:
    """Make a database that has lost its name useless to those who wait to use it."""
    os.pwrite(file.fileno(), b"This database was never put in place.\n".ljust(512), 0)
