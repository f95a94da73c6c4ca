"""
Writers that never rest, and the invariants by which a torn copy is known.

Every transaction changes pages all over the database and keeps these in step:

    clock     one row: n transactions so far, what the other tables must hold
    leaf      rows of which each is as large as half a page; all carry the same stamp
    debit,    amounts, written in pairs
    credit
    bulk      blobs that come and go: their number, their bytes, their checksums added up

A copy that mixes two commits breaks at least one of them; `commit_number` looks.
Started as ``python -m tests.writers.ledger``, it writes until its standard input ends,
then prints what it did.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import sqlite3
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import apsw

from tests.writers.application import ROOT, Library

LEAVES = 40
BULK_MAX = 300
CHECKPOINTS = ("PASSIVE", "FULL", "RESTART", "TRUNCATE")

SCHEMA = """
CREATE TABLE clock(n INTEGER, stamp INTEGER, bulk_count INTEGER, bulk_size INTEGER, crc INTEGER);
INSERT INTO clock VALUES (0, 0, 0, 0, 0);
CREATE TABLE leaf(id INTEGER PRIMARY KEY, stamp INTEGER, body BLOB);
CREATE TABLE debit(id INTEGER PRIMARY KEY, n INTEGER, amount INTEGER);
CREATE TABLE credit(id INTEGER PRIMARY KEY, n INTEGER, amount INTEGER);
CREATE TABLE bulk(id INTEGER PRIMARY KEY, size INTEGER, crc INTEGER, body BLOB);
CREATE INDEX bulk_by_crc ON bulk(crc, size);
"""


@dataclass(frozen=True, slots=True)
class Habits:
    """How a writer behaves; the chances are of each transaction."""

    path: str
    seed: int
    library: Library = "apsw"
    autocheckpoint: int = 1000
    checkpoint_chance: float = 0.0
    vacuum_chance: float = 0.0
    pause_seconds: float = 0.0
    busy_timeout_seconds: float = 10.0


def make_ledger(
    path: Path, *, journal_mode: str = "WAL", page_size: int = 4096, auto_vacuum: int = 0
) -> None:
    """Make the database; nobody has it open afterwards."""
    with contextlib.closing(apsw.Connection(str(path))) as connection:
        connection.execute(f"PRAGMA page_size={page_size}; PRAGMA auto_vacuum={auto_vacuum}")
        connection.execute(f"PRAGMA journal_mode={journal_mode}").fetchall()
        connection.execute(SCHEMA)
        for number in range(LEAVES):
            connection.execute("INSERT INTO leaf VALUES (?, 0, randomblob(2000))", (number,))


def commit_number(connection: apsw.Connection | sqlite3.Connection) -> int:
    """Return the number of the commit that the database is at, every invariant held."""

    def rows(sql: str) -> list[Any]:
        found: list[Any] = connection.execute(sql).fetchall()
        return found

    assert rows("PRAGMA integrity_check") == [("ok",)]
    ((n, stamp, bulk_count, bulk_size, crc),) = rows("SELECT * FROM clock")
    assert rows("SELECT count(*), min(stamp), max(stamp) FROM leaf") == [(LEAVES, stamp, stamp)]
    debit = rows("SELECT count(*), sum(amount), max(n) FROM debit")
    assert debit == rows("SELECT count(*), sum(amount), max(n) FROM credit")
    assert debit[0][2] == (n or None)
    bodies = rows("SELECT size, crc, body FROM bulk")
    assert len(bodies) == bulk_count
    assert sum(size for size, _, _ in bodies) == bulk_size
    assert sum(value for _, value, _ in bodies) == crc
    assert all(len(body) == size and zlib.crc32(body) == value for size, value, body in bodies)
    assert isinstance(n, int)
    return n


@contextlib.contextmanager
def at_work(writers: Sequence[Habits]) -> Iterator[Counter[str]]:
    """Let the writers write; what they did is in the counter once the block has ended."""
    did: Counter[str] = Counter()
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.writers.ledger", json.dumps(asdict(writer))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        )
        for writer in writers
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == b"first\n"
        yield did
        for process in processes:
            did.update(json.loads(process.communicate(timeout=60)[0]))
            assert process.returncode == 0
    finally:
        for process in processes:
            process.kill()
            process.communicate()


class _Writer:
    def __init__(self, habits: Habits) -> None:
        self._habits = habits
        self._random = random.Random(habits.seed)
        self.did: Counter[str] = Counter()
        if habits.library == "sqlite3":
            self._connection: Any = sqlite3.connect(
                habits.path, timeout=habits.busy_timeout_seconds, isolation_level=None
            )
        else:
            self._connection = apsw.Connection(habits.path)
            self._connection.set_busy_timeout(int(habits.busy_timeout_seconds * 1000))
        self._run(f"PRAGMA wal_autocheckpoint={habits.autocheckpoint}")
        self._run("PRAGMA synchronous=NORMAL")

    def _run(self, sql: str, values: Sequence[object] = ()) -> list[Any]:
        rows: list[Any] = self._connection.execute(sql, values).fetchall()
        return rows

    def step(self) -> None:
        """Make one transaction, and perhaps a checkpoint or a VACUUM."""
        try:
            self._run("BEGIN IMMEDIATE")
            self._transaction()
            self._run("COMMIT")
            self.did["commits"] += 1
            self._keep_house()
        except (apsw.BusyError, sqlite3.OperationalError) as error:
            if "lock" not in str(error):
                raise
            self.did["busy"] += 1
            with contextlib.suppress(apsw.Error, sqlite3.Error):
                self._run("ROLLBACK")

    def _transaction(self) -> None:
        ((n, stamp, count, size, crc),) = self._run("SELECT * FROM clock")
        n += 1
        if self._random.random() < 0.3:
            stamp = n
            self._run("UPDATE leaf SET stamp = ?, body = randomblob(2000)", (n,))
        amount = self._random.randrange(1_000_000)
        self._run("INSERT INTO debit(n, amount) VALUES (?, ?)", (n, amount))
        self._run("INSERT INTO credit(n, amount) VALUES (?, ?)", (n, amount))
        if self._random.random() < count / BULK_MAX:
            gone = self._run("SELECT id, size, crc FROM bulk ORDER BY random() LIMIT 80")
            for number, gone_size, gone_crc in gone:
                self._run("DELETE FROM bulk WHERE id = ?", (number,))
                count, size, crc = count - 1, size - gone_size, crc - gone_crc
        else:
            for _ in range(self._random.randrange(8)):
                body = self._random.randbytes(self._random.choice((10, 300, 3000, 20_000)))
                value = zlib.crc32(body)
                self._run(
                    "INSERT INTO bulk(size, crc, body) VALUES (?, ?, ?)", (len(body), value, body)
                )
                count, size, crc = count + 1, size + len(body), crc + value
        self._run(
            "UPDATE clock SET n=?, stamp=?, bulk_count=?, bulk_size=?, crc=?",
            (n, stamp, count, size, crc),
        )

    def _keep_house(self) -> None:
        if self._random.random() < self._habits.checkpoint_chance:
            mode = self._random.choice(CHECKPOINTS)
            self._run(f"PRAGMA wal_checkpoint({mode})")
            self.did[mode] += 1
        if self._random.random() < self._habits.vacuum_chance:
            self._run("VACUUM")
            self.did["vacuums"] += 1
        if self._habits.pause_seconds:
            time.sleep(self._habits.pause_seconds * self._random.random())


def _main() -> None:
    writer = _Writer(Habits(**json.loads(sys.argv[1])))
    while not writer.did["commits"]:
        writer.step()
    print("first", flush=True)  # noqa: T201 (the parent waits for it)
    while not select.select([0], [], [], 0)[0]:
        writer.step()
    print(json.dumps(writer.did))  # noqa: T201


if __name__ == "__main__":
    _main()
