"""
The first 100 bytes of a database file.

    Offset  Size  Field                     All integers are big-endian.
    0       16    "SQLite format 3\\0"
    16      2     page size; 1 stands for 65536
    18      1     write version: 1 rollback journal, 2 WAL
    19      1     read version: likewise
    24      4     change counter
    28      4     size in pages, valid if 92 equals 24
    56      4     text encoding
    92      4     the change counter for which 28 is valid
    96      4     version of the SQLite that wrote last

A file of no bytes is an empty database too, and has no header.

This module reads bytes that it is given and opens nothing.
See https://www.sqlite.org/fileformat2.html#the_database_header.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from litekeep.errors import NotADatabase

HEADER_SIZE = 100
MAGIC = b"SQLite format 3\x00"
PAGE_COUNT_MAX = 0xFFFFFFFE
LOCK_BYTE_OFFSET = 0x40000000

_FIELDS = struct.Struct(">16sHBB4xII24xI32xII")
assert _FIELDS.size == HEADER_SIZE


@dataclass(frozen=True, slots=True)
class Header:
    """
    What the header says; nothing of it is checked against the file's size.

    `page_count` is None where an old SQLite wrote last, and did not keep it; `is_wal` is what
    the read version names.
    """

    page_size: int
    page_count: int | None
    sqlite_version: str
    is_wal: bool


def read_header(data: bytes) -> Header:
    """
    Return the header at the start of *data*.

    Raises:
        NotADatabase: *data* is short, is not SQLite's, or needs an SQLite that
            this package does not have.
    """
    if len(data) < HEADER_SIZE or data[:16] != MAGIC:
        raise NotADatabase(
            "the file does not begin as an SQLite database",
            hint="If it is encrypted as a whole (SQLCipher, SEE), only a program that has its "
            "key can read it; otherwise check the path.",
        )
    _, size, write_version, read_version, changes, page_count, _, valid_for, version = (
        _FIELDS.unpack_from(data)
    )
    page_size = 65536 if size == 1 else size
    if not 512 <= page_size <= 65536 or page_size & (page_size - 1):
        raise NotADatabase(
            f"the header gives a page size of {page_size}",
            hint="The header is damaged, or the file is encrypted behind a plain first line.",
        )
    if read_version > 2 or write_version > 2:
        raise NotADatabase(
            f"the header asks for file format {max(read_version, write_version)}; "
            "1 (rollback journal) and 2 (WAL) are known",
            hint="WAL2 databases belong to a branch of SQLite: PRAGMA journal_mode=WAL makes it "
            "an ordinary one.",
        )
    is_kept = changes == valid_for and page_count > 0
    return Header(
        page_size, page_count if is_kept else None, show_version(version), read_version == 2
    )


def show_version(number: int) -> str:
    """
    Return SQLite's version number as people write it.

    >>> show_version(3054001)
    '3.54.1'
    """
    return f"{number // 1000000}.{number // 1000 % 1000}.{number % 1000}"
