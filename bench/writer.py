"""
This module is an application that commits without pause, and times each commit.

    python -m bench.writer DATABASE RECORD

Small transactions as applications make them: one event is inserted and one customer
changed.  WAL mode, synchronous=NORMAL, the automatic checkpoint as SQLite has it, a
busy timeout of 5 s.  It says ``ready`` when it has begun and ends when its standard
input is closed; then it writes RECORD: for each commit two 64-bit integers, the
instant of its end (monotonic clock, nanoseconds) and how long it took.

It is a process of its own with the interpreter's own SQLite: what it measures is what
an application would see.
"""

from __future__ import annotations

import random
import sqlite3
import sys
import threading
import time
from array import array
from pathlib import Path


def main() -> None:
    """Commit until standard input ends."""
    database, record = sys.argv[1:]
    is_over = threading.Event()
    threading.Thread(target=_hear_the_end, args=(is_over,), daemon=True).start()
    connection = sqlite3.connect(database, isolation_level=None, timeout=5)
    connection.execute("pragma synchronous=normal")
    customer_count = connection.execute("select max(id) from customer").fetchone()[0]
    print("ready", flush=True)
    Path(record).write_bytes(_commit_until(is_over, connection, customer_count).tobytes())
    connection.close()


def _hear_the_end(is_over: threading.Event) -> None:
    sys.stdin.read()
    is_over.set()


def _commit_until(
    is_over: threading.Event, connection: sqlite3.Connection, customer_count: int
) -> array[int]:
    rng = random.Random(1)
    times: array[int] = array("q")
    while not is_over.is_set():
        payload = f'{{"user": {rng.randrange(10**6)}, "token": "{rng.getrandbits(256):064x}"}}'
        customer_id = rng.randrange(customer_count)
        begun_at = time.monotonic_ns()
        connection.execute("begin immediate")
        connection.execute("insert into event values(null, 1, 'bench', ?)", (payload,))
        connection.execute("update customer set score = score + 1 where id = ?", (customer_id,))
        connection.execute("commit")
        ended_at = time.monotonic_ns()
        times.append(ended_at)
        times.append(ended_at - begun_at)
    return times


if __name__ == "__main__":
    main()
