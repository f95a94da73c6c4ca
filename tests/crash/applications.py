"""
What applications do with their database: each function runs in a process of its own.

They use the interpreter's SQLite, as an application would, and never Litekeep's, and
they open files the way that applications do: for writing, so that SQLite recovers
what it finds and tidies up when it closes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import sqlite3
import tempfile
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.crash import veil

PAGE_SIZE = 1024


def make(path: str, journal_mode: str, generation: str, count: int) -> dict[str, Any]:
    """Make a database of *count* rows that all bear the name of their generation."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
        connection.execute(f"PRAGMA journal_mode = {journal_mode}")
        connection.execute(
            "CREATE TABLE rows (id INTEGER PRIMARY KEY, generation TEXT, filler BLOB)"
        )
        connection.execute("CREATE INDEX rows_generation ON rows (generation, id)")
        _insert(connection, generation, count)
    return read(path)


def _insert(connection: sqlite3.Connection, generation: str, count: int) -> None:
    connection.execute("BEGIN")
    connection.executemany(
        "INSERT INTO rows (generation, filler) VALUES (?, randomblob(300))",
        [(generation,)] * count,
    )
    connection.execute("COMMIT")


def commit(path: str, generation: str, count: int, busy_seconds: float = 5.0) -> dict[str, Any]:
    """Commit rows and close, which checkpoints; tell whether it was let."""
    try:
        with closing(
            sqlite3.connect(path, isolation_level=None, timeout=busy_seconds)
        ) as connection:
            _insert(connection, generation, count)
    except sqlite3.Error as error:
        return {"committed": False, "error": str(error)}
    return {"committed": True}


def commit_and_die(path: str, generation: str, count: int) -> None:
    """Commit rows to the log of a WAL database, and be killed: only the log has them."""
    pid = os.fork()
    if pid == 0:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        _insert(connection, generation, count)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    assert os.path.getsize(f"{path}-wal") > count * 300, "the rows are in the log"


def die_in_transaction(path: str, generation: str) -> None:
    """Spill a large transaction into a rollback-mode database, and be killed: a hot journal."""
    pid = os.fork()
    if pid == 0:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA cache_size = 2")
        connection.execute("BEGIN")
        connection.execute(
            "UPDATE rows SET generation = ?, filler = randomblob(301)", (generation,)
        )
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    assert os.path.getsize(f"{path}-journal") > 512, "the journal is hot"


def read(path: str) -> dict[str, Any]:
    """Open as an application does and tell what is there."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=5)) as connection:
        rows = connection.execute("SELECT id, generation, filler FROM rows ORDER BY id").fetchall()
        by_index = connection.execute(
            "SELECT generation, count(*) FROM rows GROUP BY generation ORDER BY generation"
        ).fetchall()
        (integrity,) = connection.execute("PRAGMA integrity_check").fetchone()
    digest = hashlib.sha256(repr(rows).encode()).hexdigest()
    return {"integrity": integrity, "digest": digest, "counts": dict(by_index)}


def malform(path: str) -> None:
    """Put into the schema what no SQLite can parse; `PRAGMA writable_schema` passes over it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "INSERT INTO sqlite_schema VALUES ('table', 'bad', 'bad', 0, 'CREATE TABLE bad(')"
        )


def read_apart(path: str, *, is_veiled: bool) -> dict[str, Any]:
    """As `try_read`, of a copy, with the key, and though the schema be malformed."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "copy.db")
        for suffix in ("", "-wal", "-journal"):
            if Path(path + suffix).exists():
                shutil.copy(path + suffix, f"{copy}{suffix}")
                if is_veiled:
                    veil.draw(Path(f"{copy}{suffix}"))
        try:
            with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
                connection.execute("PRAGMA writable_schema = ON")
                connection.execute("SELECT count(*) FROM rows").fetchone()
                (integrity,) = connection.execute("PRAGMA integrity_check").fetchone()
                counts = connection.execute("SELECT generation, count(*) FROM rows GROUP BY 1")
                return {"integrity": integrity, "counts": dict(counts)}
        except sqlite3.Error as error:
            return {"error": str(error)}


def try_read(path: str) -> dict[str, Any]:
    """As `read`; what cannot be read is told."""
    if not Path(path).exists():
        return {"error": "missing"}
    try:
        return read(path)
    except sqlite3.Error as error:
        return {"error": str(error)}


def write_until_told(path: str, fifo: str) -> int:
    """
    Commit transfers until *fifo* is opened to write; return how many.

    Each leaves the sum of all rows at zero, and both halves of a pair equal: what is
    torn breaks one or the other.
    """
    told = threading.Event()

    def listen() -> None:
        Path(fifo).open().close()
        told.set()

    threading.Thread(target=listen, daemon=True).start()
    count = 0
    with closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as connection:
        connection.execute("PRAGMA synchronous = NORMAL")
        while not told.is_set():
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO pairs VALUES (NULL, ?, randomblob(500))", (count,))
            connection.execute("INSERT INTO pairs VALUES (NULL, ?, randomblob(500))", (-count,))
            if count % 20 == 19:
                connection.execute("DELETE FROM pairs")
            connection.execute("UPDATE state SET last = ?", (count,))
            connection.execute("COMMIT")
            count += 1
    return count


def make_pairs(path: str, journal_mode: str) -> None:
    """Make what `write_until_told` works on."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA journal_mode = {journal_mode}")
        connection.execute("CREATE TABLE pairs (id INTEGER PRIMARY KEY, amount INT, filler BLOB)")
        connection.execute("CREATE TABLE state (last INT)")
        connection.execute("INSERT INTO state VALUES (-1)")


def check_pairs(path: str) -> dict[str, Any]:
    """Tell whether the database is some commit of `write_until_told`."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        (integrity,) = connection.execute("PRAGMA integrity_check").fetchone()
        total, count = connection.execute("SELECT total(amount), count(*) FROM pairs").fetchone()
        (last,) = connection.execute("SELECT last FROM state").fetchone()
    wanted = 2 * ((last + 1) % 20)
    return {"is_whole": integrity == "ok" and total == 0 and count == wanted, "last": last}
