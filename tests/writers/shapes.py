"""
Databases of shapes that are rare or large, made cheaply.
"""

from __future__ import annotations

import contextlib
import struct
import subprocess
import sys
from pathlib import Path

import apsw

from tests.writers.application import ROOT

LOCK_BYTE_OFFSET = 0x40000000

#: Dies in the middle of a transaction that has spilled into the file: a hot journal stays.
_DYING = """
import os, signal, sqlite3, sys
c = sqlite3.connect(sys.argv[1], isolation_level=None)
c.execute("PRAGMA cache_size=5")
c.execute("BEGIN")
c.execute("UPDATE t SET a = 'lost' || a")
os.kill(os.getpid(), signal.SIGKILL)
"""


def make(path: Path, *statements: str) -> Path:
    """Make a database by statements; nobody has it open afterwards."""
    with contextlib.closing(apsw.Connection(str(path))) as connection:
        for statement in statements:
            connection.execute(statement).fetchall()
    return path


def make_hot_journal(path: Path, *, journal_mode: str = "DELETE") -> bytes:
    """Make a database whose last writer died; return its bytes before that transaction."""
    make(
        path,
        f"PRAGMA journal_mode={journal_mode}",
        "CREATE TABLE t(a)",
        "WITH n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 500) "
        "INSERT INTO t SELECT hex(randomblob(1000)) FROM n",
    )
    before = path.read_bytes()
    subprocess.run([sys.executable, "-c", _DYING, path], cwd=ROOT, check=False)
    assert path.read_bytes() != before, "the transaction was to spill into the file"
    return before


def make_beyond_lock_page(path: Path, page_size: int, *, journal_mode: str = "DELETE") -> int:
    """
    Make a sparse database of more than 1 GiB with real pages behind the lock page.

    The file is made long by hand while SQLite does not look, so that what is added then
    lies behind the lock page; the hole becomes the freelist, whose leaves need no bytes.

    Returns:
        The size of the file.
    """
    lock_page = LOCK_BYTE_OFFSET // page_size + 1
    make(path, f"PRAGMA page_size={page_size}", "CREATE TABLE t(id INTEGER PRIMARY KEY, a)")
    used = path.stat().st_size // page_size
    with path.open("r+b") as file:
        file.truncate((lock_page - 1) * page_size)
        _put(file, 28, lock_page - 1)
    make(
        path,
        "WITH n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 1000) "
        "INSERT INTO t SELECT i, hex(randomblob(500)) FROM n",
    )
    size = path.stat().st_size
    assert size > lock_page * page_size
    free = list(range(used + 1, lock_page))
    per_trunk = page_size // 4 - 8
    with path.open("r+b") as file:
        _put(file, 32, free[0])
        _put(file, 36, len(free))
        while free:
            trunk, leaves = free[0], free[1 : 1 + per_trunk]
            free = free[1 + per_trunk :]
            file.seek((trunk - 1) * page_size)
            head = (free[0] if free else 0, len(leaves))
            file.write(struct.pack(f">{2 + len(leaves)}I", *head, *leaves))
    make(path, f"PRAGMA journal_mode={journal_mode}")
    assert path.stat().st_blocks * 512 < size // 10, "the file was to be sparse"
    return size


def _put(file: object, offset: int, value: int) -> None:
    file.seek(offset)  # type: ignore[attr-defined]
    file.write(value.to_bytes(4, "big"))  # type: ignore[attr-defined]
