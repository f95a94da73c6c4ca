"""
This module is an application that makes small commits for some seconds, at a rate or flat out.

    python -m bench.stream_writer DATABASE SECONDS RATE

One row is inserted a commit.  WAL mode, synchronous=NORMAL, the automatic checkpoint as
SQLite has it, a busy timeout of 10 s.  RATE 0 is as fast as it can.  It prints one JSON
object: commits, latencies in seconds, and the largest size of the log.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import time


def main() -> None:
    """Commit, then print what it was like."""
    path, seconds, rate = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
    connection = sqlite3.connect(path, isolation_level=None, timeout=10)
    connection.execute("pragma synchronous=normal")
    payload = os.urandom(100)
    latencies: list[float] = []
    wal_size = 0
    begun = following = time.monotonic()
    while (now := time.monotonic()) < begun + seconds:
        connection.execute("insert into event values (null, ?, ?)", (len(latencies), payload))
        latencies.append(time.monotonic() - now)
        if len(latencies) % 256 == 0:
            wal_size = max(wal_size, os.path.getsize(f"{path}-wal"))
        if rate:
            following += 1 / rate
            time.sleep(max(0.0, following - time.monotonic()))
    wal_size = max(wal_size, os.path.getsize(f"{path}-wal"))
    latencies.sort()
    count = len(latencies)
    answer = {
        "commits": count,
        "p99": latencies[int(count * 0.99)],
        "p999": latencies[int(count * 0.999)],
        "longest": latencies[-1],
        "wal": wal_size,
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
