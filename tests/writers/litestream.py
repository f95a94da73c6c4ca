"""
The real Litestream: it writes replicas that we read, and reads those that we write.

As a program, ``python -m tests.writers.litestream PROGRAM FOLDER`` makes the files of
`tests/unit/ltx/golden`.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.servers.process import running

PROGRAM = Path(sys.prefix, "bin", "litestream")
#: Litestream 0.3, where tests/servers/install put it.
OLD_PROGRAM = Path(
    os.environ.get("LITEKEEP_SERVERS", Path(__file__).parents[2] / ".servers"),
    "litestream-0.3/bin/litestream",
)
TXID_SECONDS_MAX = 30.0


def environment() -> dict[str, str]:
    """Return an environment in which it does not die of a setting of the machine's."""
    return {name: value for name, value in os.environ.items() if name != "AWS_CA_BUNDLE"}


def restore(replica: Path, out: Path, txid: int | None = None) -> bytes:
    """Let Litestream restore a replica in a folder, and return the database."""
    target = [] if txid is None else ["-txid", f"{txid:016x}"]
    ran = subprocess.run(
        [PROGRAM, "restore", *target, "-o", out, f"file://{replica}"],
        check=False,
        capture_output=True,
        text=True,
        env=environment(),
    )
    assert ran.returncode == 0, ran.stderr
    return out.read_bytes()


def newest_txid(replica: Path) -> int:
    """Return the last txid of level 0."""
    names = sorted(path.name for path in (replica / "ltx" / "0").glob("*.ltx"))
    return int(names[-1][17:33], 16) if names else 0


def wait_for(replica: Path, txid: int) -> None:
    """Wait until Litestream has written a txid."""
    deadline = time.monotonic() + TXID_SECONDS_MAX
    while newest_txid(replica) < txid:
        assert time.monotonic() < deadline, f"txid {txid} never came"
        time.sleep(0.02)  # another program's files: nothing tells of them


@contextlib.contextmanager
def replicating(database: Path, replica: Path, program: Path = PROGRAM) -> Iterator[None]:
    """Run Litestream on a database until the context ends."""
    with running(
        [str(program), "replicate", str(database), f"file://{replica}"],
        log=replica.with_suffix(".log"),
        is_ready=lambda: newest_txid(replica) > 0,
        environment=environment(),
        end=signal.SIGINT,
    ):
        yield


def write_history(database: Path, replica: Path, program: Path = PROGRAM) -> list[int]:
    """
    Let an application grow, shrink and grow a database while Litestream watches.

    Returns:
        The page count at each txid.
    """
    dice = random.Random(1)
    page_counts = []
    connection = sqlite3.connect(database, isolation_level=None)
    with contextlib.closing(connection):
        connection.execute("PRAGMA page_size = 512")
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
        with replicating(database, replica, program):
            for step in range(5):
                if step == 3:
                    connection.execute("DELETE FROM t WHERE id > 3")
                    connection.execute("VACUUM")
                elif step:
                    connection.execute("BEGIN")
                    for row in range(12):
                        value = b"litekeep " * 60 if row % 2 else dice.randbytes(400)
                        connection.execute("INSERT INTO t(v) VALUES (?)", (value,))
                    connection.execute("COMMIT")
                wait_for(replica, step + 1)
                page_counts.append(connection.execute("PRAGMA page_count").fetchone()[0])
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return page_counts


if __name__ == "__main__":
    program, folder = map(Path, sys.argv[1:])
    folder.mkdir()
    write_history(folder / "app.db", folder.absolute() / "replica", program)
