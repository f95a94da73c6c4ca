"""
Our LTX files in the real Litestream's hands, and its files in ours.
"""

from __future__ import annotations

import itertools
import os
import random
import subprocess
from pathlib import Path

import apsw
import pytest

from litekeep.ltx.encode import Encoded, Encoder
from litekeep.ltx.format import Header, format_name, parse_name
from litekeep.ltx.frames import Form
from litekeep.ltx.merge import merge
from tests.writers.litestream import environment, restore, write_history
from tests.writers.ltx import TIMESTAMP_MS, applied, decoder_of


def states_of(folder: Path, page_size: int) -> list[bytes]:
    """Return a database that grows, shrinks and grows, after each commit."""
    dice = random.Random(page_size)
    path = folder / "source.db"
    connection = apsw.Connection(str(path))
    connection.pragma("page_size", page_size)
    states = []
    for step in range(6):
        connection.execute("BEGIN")
        if step == 0:
            connection.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
        elif step == 3:
            connection.execute("DELETE FROM t WHERE id > 5")
        else:
            for row in range(30):
                value = dice.randbytes(page_size) if row % 2 else b"litekeep " * 200
                connection.execute("INSERT INTO t(v) VALUES (?)", (value,))
        connection.execute("COMMIT")
        if step == 3:
            connection.execute("VACUUM")
        states.append(path.read_bytes())
    connection.close()
    return states


def write_file(
    replica: Path, txid: int, before: bytes, after: bytes, page_size: int, form: Form
) -> Encoded:
    """Write the pages that differ as the file of a txid, where Litestream looks for it."""
    path = replica / "ltx" / "0" / format_name(txid, txid)
    path.parent.mkdir(parents=True, exist_ok=True)
    commit = len(after) // page_size
    head = Header(
        page_size=page_size,
        commit=commit,
        min_txid=txid,
        max_txid=txid,
        timestamp_ms=TIMESTAMP_MS + txid * 1000,
    )
    with path.open("wb") as file, Encoder(file.write, head, form=form) as encoder:
        for number in range(1, commit + 1):
            place = slice((number - 1) * page_size, number * page_size)
            if before[place] != after[place]:
                encoder.add(number, after[place])
        encoded = encoder.finish()
    os.utime(path, (head.timestamp_ms / 1000,) * 2)
    return encoded


def replica_of(folder: Path, states: list[bytes], page_size: int, form: Form) -> Path:
    for txid, (before, after) in enumerate(itertools.pairwise([b"", *states]), 1):
        write_file(folder / "replica", txid, before, after, page_size, form)
    return folder / "replica"


def merged(replica: Path, min_txid: int, max_txid: int, level: int) -> None:
    """Make one file of some of level 0, as the only one that has them."""
    sources = [replica / "ltx" / "0" / format_name(n, n) for n in range(min_txid, max_txid + 1)]
    target = replica / "ltx" / str(level) / format_name(min_txid, max_txid)
    target.parent.mkdir(exist_ok=True)
    with target.open("wb") as file:
        merge([decoder_of(source.read_bytes()) for source in sources], file.write)
    os.utime(target, (sources[-1].stat().st_mtime,) * 2)
    for source in sources:
        source.unlink()


@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize("page_size", [512, 4096, 65536])
def test_litestream_restores_what_we_write_at_each_txid(tmp_path: Path, page_size: int, form: Form):
    states = states_of(tmp_path, page_size)
    assert len(states[3]) < len(states[2]) < len(states[5])
    replica = replica_of(tmp_path, states, page_size, form)

    for txid, state in enumerate(states, 1):
        assert restore(replica, tmp_path / f"{txid}.db", txid) == state


@pytest.mark.parametrize(
    "merges",
    [[(1, 3, 9)], [(2, 6, 1)], [(1, 1, 9), (2, 4, 2)], [(1, 6, 9)], [(1, 4, 9), (5, 6, 1)]],
    ids=str,
)
def test_litestream_restores_what_we_merge(tmp_path: Path, merges: list[tuple[int, int, int]]):
    states = states_of(tmp_path, 1024)
    replica = replica_of(tmp_path, states, 1024, Form.BLOCK)
    for min_txid, max_txid, level in merges:
        merged(replica, min_txid, max_txid, level)

    assert restore(replica, tmp_path / "out.db") == states[-1]
    for _, max_txid, _ in merges:
        assert restore(replica, tmp_path / f"{max_txid}.db", max_txid) == states[max_txid - 1]


def test_litestream_refuses_a_file_of_ours_once_it_is_damaged(tmp_path: Path):
    """It is the real reader that says yes above: it can say no."""
    states = states_of(tmp_path, 1024)
    replica = replica_of(tmp_path, states, 1024, Form.BLOCK)
    path = replica / "ltx" / "0" / format_name(2, 2)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)

    with pytest.raises(AssertionError, match="checksum"):
        restore(replica, tmp_path / "out.db")


def test_we_read_what_litestream_writes_at_each_txid(tmp_path: Path):
    replica = tmp_path / "replica"
    page_counts = write_history(tmp_path / "app.db", replica)
    assert page_counts[3] < page_counts[2]
    database = b""

    for path in sorted((replica / "ltx" / "0").iterdir()):
        txid, max_txid = parse_name(path.name)
        assert txid == max_txid
        database = applied(database, path.read_bytes())
        assert len(database) == page_counts[txid - 1] * 512
        assert restore(replica, tmp_path / f"{txid}.db", txid) == database

    assert database == (tmp_path / "app.db").read_bytes()


def test_litestreams_vfs_reads_single_pages_of_what_we_write(tmp_path: Path):
    """It goes by the index at the end of each file, and fetches page by page."""
    vfs = pytest.importorskip("litestream_vfs", reason="it has no wheel for this Python")
    replica = replica_of(tmp_path, states_of(tmp_path, 4096), 4096, Form.BLOCK)
    query = "SELECT count(*), sum(length(v)), hex(max(v)) FROM t"

    by_vfs = subprocess.run(
        [
            *("sqlite3", "-cmd", f".load {vfs.loadable_path().removesuffix('.so')}"),
            *("-cmd", ".open file:any.db?vfs=litestream", ":memory:", query),
        ],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment() | {"LITESTREAM_REPLICA_URL": f"file://{replica}"},
    )
    direct = subprocess.run(
        ["sqlite3", tmp_path / "source.db", query], capture_output=True, text=True, check=True
    )

    assert by_vfs.returncode == 0, by_vfs.stderr
    assert by_vfs.stdout == direct.stdout != ""
