"""
SQLite's own dbhash agrees: what comes out holds what went in.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import apsw
import apsw.sqlite_extra
import pytest

import litekeep

UNPACK = {"gzip": ("gunzip", "-c"), "zstd": ("zstd", "-d", "-c"), "none": ("cat",)}


def dbhash(path: Path) -> str:
    """Return the hash of the contents, by SQLite's program."""
    program = str(apsw.sqlite_extra.path("sqlite3_dbhash"))
    ran = subprocess.run([program, str(path)], capture_output=True, text=True, check=True)
    return ran.stdout.split()[0]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "app.db"
    connection = apsw.Connection(str(path))
    connection.pragma("journal_mode", "wal")
    connection.execute("CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT, c BLOB, d REAL)")
    connection.executemany(
        "INSERT INTO t VALUES (?, ?, ?, ?)",
        [(n, f"row {n}", bytes([n % 256]) * n, n / 7) for n in range(2000)],
    )
    connection.close()
    return path


@pytest.mark.parametrize("form", UNPACK)
def test_dbhash_is_the_same_by_stock_tools_and_by_restore(
    database: Path, tmp_path: Path, form: str
) -> None:
    wanted = dbhash(database)
    state, folder = tmp_path / "state", tmp_path / "backups"
    result = litekeep.backup(database, to=[str(folder)], format=form, state_dir=state)

    by_hand = tmp_path / "by-hand.db"
    with by_hand.open("wb") as file:
        stored = folder / result.stores[0].object
        subprocess.run([*UNPACK[form], str(stored)], stdout=file, check=True)
    litekeep.restore(folder, tmp_path / "restored.db")

    assert dbhash(by_hand) == wanted
    assert dbhash(tmp_path / "restored.db") == wanted


def test_dbhash_tells_databases_apart(database: Path) -> None:
    before = dbhash(database)
    connection = apsw.Connection(str(database))
    connection.execute("UPDATE t SET b = 'other' WHERE a = 1000")
    connection.close()

    assert dbhash(database) != before
