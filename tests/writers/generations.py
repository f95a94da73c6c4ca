"""
A replica as Litestream 0.3 lays it out, made of a real database and its real log.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import lz4.frame

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
GENERATION = "0123456789abcdef"


class OldReplica:
    """One generation in a folder; a minute passes with each file."""

    def __init__(self, folder: Path, *, page_size: int = 512) -> None:
        self.root = folder / "shop"
        #: What the database was at each moment, by the moment's name.
        self.states: dict[str, bytes] = {}
        self._database = folder / "old.db"
        self._time = NOON
        self._index = 0
        self._shipped = 0
        with self._opened() as app:
            app.execute(f"PRAGMA page_size = {page_size}")
            app.execute("PRAGMA journal_mode = WAL")
            app.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
            app.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        with contextlib.closing(sqlite3.connect(self._database, isolation_level=None)) as app:
            app.execute("PRAGMA wal_autocheckpoint = 0")
            yield app

    def snapshot(self) -> str:
        """Store the file as it is, its log left aside."""
        return self._put(f"snapshots/{self._index:08x}.snapshot.lz4", self._database.read_bytes())

    def run(self, *changes: Callable[[sqlite3.Connection], object]) -> list[str]:
        """Make changes, ship the log after each, and begin a new index; return the segments."""
        names = []
        with self._opened() as app:
            for change in changes:
                change(app)
                log = Path(f"{self._database}-wal").read_bytes()
                name = f"wal/{self._index:08x}_{self._shipped:08x}.wal.lz4"
                names.append(self._put(name, log[self._shipped :]))
                moment = f"{GENERATION}-{self._index:08x}-{self._shipped:08x}"
                self.states[moment] = self._checkpointed()
                self._shipped = len(log)
            app.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._index, self._shipped = self._index + 1, 0
        return names

    def path_of(self, name: str) -> Path:
        """Return the file of what `snapshot` or `run` named."""
        return self.root / name

    def _checkpointed(self) -> bytes:
        """Return what SQLite makes of the file and its log."""
        copy = self._database.with_name("copy.db")
        for suffix in ("", "-wal"):
            shutil.copy(f"{self._database}{suffix}", f"{copy}{suffix}")
        with contextlib.closing(sqlite3.connect(copy)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return copy.read_bytes()

    def _put(self, name: str, data: bytes) -> str:
        path = self.root / "generations" / GENERATION / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(lz4.frame.compress(data, content_checksum=True))
        self._time += timedelta(minutes=1)
        os.utime(path, (self._time.timestamp(),) * 2)
        return f"generations/{GENERATION}/{name}"


def rows(count: int, size: int = 300) -> Callable[[sqlite3.Connection], object]:
    """Return a change: so many rows more, in one commit."""
    return lambda app: app.execute(
        "WITH n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
        "INSERT INTO t(v) SELECT randomblob(?) FROM n",
        (count, size),
    )


def shrunk(app: sqlite3.Connection) -> None:
    """Delete most, and give the pages back."""
    app.execute("DELETE FROM t WHERE id > 3")
    app.execute("VACUUM")


def small_replica(folder: Path) -> OldReplica:
    """Return a replica of three indexes, the last with a snapshot of its own."""
    replica = OldReplica(folder)
    replica.snapshot()
    replica.run(rows(5), rows(20), shrunk)
    replica.run(rows(30))
    replica.snapshot()
    replica.run(rows(2), rows(3))
    return replica
