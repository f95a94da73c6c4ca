"""
This module is the command ``python -m bench.stream``, or ``make bench-stream``: streams compared.

    python -m bench.stream              everything: writes docs/benchmarks-stream.md
    python -m bench.stream --quick      tiny, one round: prints, and writes nothing

An application writes alone, beside `litekeep stream`, and beside the real Litestream, in turn,
into a folder; then each restores what it stored, and each is asked what it sends after it was
away.  All figures of a round come from the same minute of the same machine.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.launch import TOP
from bench.machine import machine, versions
from bench.stream_page import write_page

BIN = Path(sys.executable).parent
NAMES = ("alone", "litekeep", "litestream")
START_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured: seconds of writing, bytes of database, rounds."""

    seconds: float
    restore_size: int
    rounds: int
    idle_seconds: float


FULL = Size(12.0, 512 << 20, 3, 60.0)
QUICK = Size(1.0, 16 << 20, 1, 1.0)

Figures = dict[str, dict[str, list[float]]]


def main() -> None:
    """Measure as the arguments say."""
    parser = argparse.ArgumentParser(prog="python -m bench.stream")
    parser.add_argument("--quick", action="store_true", help="tiny and once")
    parser.add_argument("--rounds", type=int, help="another number of rounds")
    parser.add_argument("--page", help="write the page there")
    arguments = parser.parse_args()
    size = QUICK if arguments.quick else FULL
    rounds = arguments.rounds or size.rounds
    figures: Figures = {}
    for number in range(rounds):
        sys.stderr.write(f"round {number + 1} of {rounds}\n")
        _round(figures, size)
    for name, found in figures.items():
        for contender, values in found.items():
            sys.stdout.write(f"{name:28} {contender:11} {statistics.median(values):,.3f}\n")
    page = arguments.page or (None if arguments.quick else TOP / "docs" / "benchmarks-stream.md")
    if page is not None:
        write_page(Path(page), figures, rounds, machine(), versions())


def _round(figures: Figures, size: Size) -> None:
    for rate, kind in ((0.0, "flat out"), (1000.0, "1,000/s")):
        for name in NAMES:
            with _folder() as folder, _streaming(name, folder, size) as process:
                before = _cpu_seconds(process.pid) if process is not None else 0.0
                found = _write(folder, size.seconds, rate)
                found["cpu"] = -before / size.seconds
                _note(figures, kind, name, found, process, size)
    for name in NAMES[1:]:
        with _folder() as folder, _streaming(name, folder, size) as process:
            assert process is not None
            time.sleep(2.0)
            before = _cpu_seconds(process.pid)
            time.sleep(size.idle_seconds)
            spent = _cpu_seconds(process.pid) - before
            _add(figures, "idle: CPU share", name, spent / size.idle_seconds)
    with _folder() as folder:
        _measure_restore(figures, folder, size)


def _note(
    figures: Figures,
    kind: str,
    name: str,
    found: dict[str, float],
    process: subprocess.Popen[bytes] | None,
    size: Size,
) -> None:
    _add(figures, f"{kind}: commits/s", name, found["commits"] / size.seconds)
    _add(figures, f"{kind}: p99 s", name, found["p99"])
    _add(figures, f"{kind}: p99.9 s", name, found["p999"])
    _add(figures, f"{kind}: longest s", name, found["longest"])
    _add(figures, f"{kind}: WAL MiB", name, found["wal"] / (1 << 20))
    if process is not None:
        share = _cpu_seconds(process.pid) / size.seconds + found["cpu"]
        _add(figures, f"{kind}: CPU share", name, share)
        _add(figures, f"{kind}: memory MiB", name, _memory_peak(process.pid) / (1 << 20))


def _measure_restore(figures: Figures, folder: Path, size: Size) -> None:
    """Restore, and what is sent once the stream was away, of a large database."""
    database = folder / "app.db"
    _fill(database, size.restore_size)
    for name in NAMES[1:]:
        with _streaming(name, folder, size):
            pass
        out = folder / f"{name}.db"
        begun = time.monotonic()
        _run(_restore_command(name, folder, out))
        _add(figures, "restore: s", name, time.monotonic() - begun)
        out.unlink()
    begun = time.monotonic()
    shutil.copyfile(database, folder / "copy.db")
    with (folder / "copy.db").open("rb") as copy:
        os.fsync(copy.fileno())
    _add(figures, "restore: s", "alone", time.monotonic() - begun)
    changed = _change(database)
    for name in NAMES[1:]:
        before = _stored_size(name, folder)
        with _streaming(name, folder, size):
            pass
        sent = _stored_size(name, folder) - before
        _add(figures, "after a gap: sent MiB", name, sent / (1 << 20))
    _add(figures, "after a gap: sent MiB", "alone", changed / (1 << 20))


def _fill(database: Path, size: int) -> None:
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as connection:
        while database.stat().st_size < size:
            connection.execute("begin")
            for _ in range(4000):
                text = (os.urandom(300).hex() + "the same words again and again " * 12)[:900]
                connection.execute("insert into event values (null, 1, ?)", (text,))
            connection.execute("commit")
            connection.execute("pragma wal_checkpoint(truncate)")


def _change(database: Path) -> int:
    """Change some pages while nobody watches; return about how many bytes they have."""
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as connection:
        (count,) = connection.execute("select max(id) from event").fetchone()
        step = max(1, count // 200)
        cursor = connection.execute("update event set n = n + 1 where id % ? = 0", (step,))
        rows = cursor.rowcount
        connection.execute("pragma wal_checkpoint(truncate)")
    return rows * 4096


def _write(folder: Path, seconds: float, rate: float) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.stream_writer", folder / "app.db", seconds, rate]
    answer: dict[str, float] = json.loads(_run(command))
    return answer


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="litekeep-bench-"))
    try:
        with contextlib.closing(sqlite3.connect(folder / "app.db")) as connection:
            connection.execute("pragma journal_mode=wal")
            connection.execute("create table event(id integer primary key, n, body)")
            connection.execute("create index event_by_n on event(n)")
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _streaming(name: str, folder: Path, size: Size) -> Iterator[subprocess.Popen[bytes] | None]:
    """Stream with the contender while the block lasts, once it has sent what is there."""
    if name == "alone":
        yield None
        return
    environment = {k: v for k, v in os.environ.items() if k != "AWS_CA_BUNDLE"}
    environment["LITEKEEP_STATE"] = str(folder / "state")
    database, store = str(folder / "app.db"), _store(name, folder)
    command = [str(BIN / "litestream"), "replicate", database, f"file://{store}"]
    if name == "litekeep":
        command = [sys.executable, "-m", "litekeep", "stream", database, "--to", str(store), "-q"]
    before = _stored_size(name, folder)
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + START_SECONDS
        seen, still_since = -1, time.monotonic()
        while time.monotonic() < deadline:
            found = _stored_size(name, folder)
            if found != seen:
                seen, still_since = found, time.monotonic()
            if found > 0 and time.monotonic() - still_since > (1.5 if found > before else 4.0):
                break
            time.sleep(0.05)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _store(name: str, folder: Path) -> Path:
    return folder / f"store-{name}"


def _stored_size(name: str, folder: Path) -> int:
    return sum(path.stat().st_size for path in _store(name, folder).rglob("*.ltx"))


def _restore_command(name: str, folder: Path, out: Path) -> list[Any]:
    if name == "litestream":
        return [BIN / "litestream", "restore", "-o", out, f"file://{_store(name, folder)}"]
    where = _store(name, folder)
    return [sys.executable, "-m", "litekeep", "restore", where, "--output", out, "-q"]


def _run(command: list[Any]) -> str:
    environment = {k: v for k, v in os.environ.items() if k != "AWS_CA_BUNDLE"}
    done = subprocess.run(
        list(map(str, command)),
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        cwd=TOP,
        env=environment,
    )
    return done.stdout


def _add(figures: Figures, figure: str, name: str, value: float) -> None:
    figures.setdefault(figure, {}).setdefault(name, []).append(value)


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory_peak(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) << 10
    return 0


if __name__ == "__main__":
    main()
