"""
Reading views and snapshots as somebody without this package would.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

from fastcrc import crc64

from litekeep.sqlite.live import LiveView, take_view

FLAG = 1 << 63


@contextlib.contextmanager
def opened(data: bytes) -> Iterator[sqlite3.Connection]:
    """Open the bytes of a database with the standard library's SQLite, in memory."""
    if data[18:20] == b"\x02\x02":  # WAL mode, which a database in memory cannot have
        data = data[:18] + b"\x01\x01" + data[20:]
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        if data:
            connection.deserialize(data)
        yield connection


def bytes_of(live: LiveView) -> bytes:
    """Read a view to its end."""
    return b"".join(live.pages().pieces(1 << 20))


def copy_of(path: Path) -> bytes:
    """Take a view, read it, let it go."""
    with take_view(path) as live:
        return bytes_of(live)


def plain_checksum(data: bytes, page_size: int) -> int:
    """Return the database checksum, page by page, as the format defines it."""
    total = FLAG
    lock_page = 0x40000000 // page_size + 1
    for index in range(len(data) // page_size):
        if index + 1 != lock_page:
            page = data[index * page_size : (index + 1) * page_size]
            page_checksum = FLAG | crc64.go_iso((index + 1).to_bytes(4, "big") + page)
            total = FLAG | (total ^ page_checksum)
    return total


def gunzipped(path: Path) -> bytes:
    """Return what the system's gunzip makes of a file."""
    return subprocess.run(["gzip", "-dc", path], check=True, stdout=subprocess.PIPE).stdout


def sha256(data: bytes) -> str:
    """Return SHA-256 in hex digits."""
    return hashlib.sha256(data).hexdigest()


def log_salts(path: Path) -> bytes:
    """
    Return the salts in the header of the log.

    Opening and closing a `-wal` drops no lock: SQLite's are on the other files.
    """
    try:
        with open(f"{os.fspath(path)}-wal", "rb") as file:
            return file.read(24)[16:24]
    except FileNotFoundError:
        return b""
