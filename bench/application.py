"""
This module is what a backup does to the application beside it.

A writer commits without pause; meanwhile nothing happens, or a backup runs.  Only
commits that overlap the backup count.  The writer is started anew for each phase, so
that each begins with an empty WAL.  The WAL's size is looked at every few milliseconds.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench import launch, server
from bench.contenders import Contender, Job
from bench.launch import Cost
from bench.measure import Say, settle
from bench.results import Phase
from bench.server import Server
from tests.servers.proxy import TcpProxy

WAL_LOOK_SECONDS = 0.005
LIMIT_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Conditions:
    """
    How the phases are run.

    `limit_seconds` bounds the contenders named in it; `bytes_per_second` is what the
    line to the store lets through, all it can where it is None.
    """

    rounds: int
    limit_seconds: Mapping[str, float]
    bytes_per_second: int | None = None


def measure_application(
    listed: Sequence[Contender], database: Path, conditions: Conditions, folder: Path, say: Say
) -> dict[str, list[Phase]]:
    """Run each contender in turn beside a busy writer, on a copy of *database*."""
    phases: dict[str, list[Phase]] = {one.name: [] for one in listed}
    live = folder / "live" / "app.db"
    for round_number in range(1, conditions.rounds + 1):
        with (
            server.running(folder / "server") as running,
            _line_to(running, conditions.bytes_per_second) as endpoint,
        ):
            for one in listed:
                # A fresh copy, because the writer of the phase before has made it grow.
                live.parent.mkdir(parents=True)
                shutil.copyfile(database, live)
                limit = conditions.limit_seconds.get(one.name, LIMIT_SECONDS)
                phase = _phase(one, live, running, endpoint, folder, limit)
                phases[one.name].append(phase)
                say(_told(round_number, one.name, phase))
                shutil.rmtree(live.parent)
    return phases


@contextmanager
def _line_to(running: Server, bytes_per_second: int | None) -> Iterator[str]:
    if bytes_per_second is None:
        yield running.endpoint
        return
    with TcpProxy(running.endpoint) as line:
        line.throttle(bytes_per_second)
        yield line.endpoint


def _phase(
    contender: Contender,
    live: Path,
    running: Server,
    endpoint: str,
    folder: Path,
    limit_seconds: float,
) -> Phase:
    scratch = folder / "scratch"
    scratch.mkdir()
    running.create_bucket(contender.name)
    job = Job(live, running, contender.name, scratch, endpoint)
    try:
        contender.prepare(job)
        settle(live)
        with _writing(live, scratch / "record") as writer, _watching(live) as wal_sizes:
            cost = launch.run(
                contender.command(job),
                environment=job.environment,
                folder=scratch,
                watched=(),
                limit_seconds=limit_seconds,
            )
            assert writer.poll() is None
        times = np.fromfile(scratch / "record", dtype=np.int64).reshape(-1, 2)
        return _summed_up(cost, times, max(wal_sizes, default=0))
    finally:
        shutil.rmtree(scratch)


@contextmanager
def _writing(live: Path, record: Path) -> Iterator[subprocess.Popen[str]]:
    """Run the writer; when this ends, its record stands."""
    writer = subprocess.Popen(
        [sys.executable, "-m", "bench.writer", str(live), str(record)],
        cwd=launch.TOP,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdin is not None and writer.stdout is not None
    try:
        if writer.stdout.readline() != "ready\n":
            raise launch.CommandFailed("the writer did not begin")
        yield writer
        writer.stdin.close()
        if writer.wait() != 0:
            raise launch.CommandFailed("the writer failed")
    finally:
        writer.kill()
        writer.wait()
        writer.stdin.close()
        writer.stdout.close()


@contextmanager
def _watching(live: Path) -> Iterator[list[int]]:
    """Note the size of the WAL again and again."""
    sizes: list[int] = []
    is_over = threading.Event()
    wal = f"{live}-wal"

    def watch() -> None:
        while not is_over.wait(WAL_LOOK_SECONDS):
            sizes.append(os.stat(wal).st_size)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield sizes
    finally:
        is_over.set()
        thread.join()


def _summed_up(
    cost: Cost, times: np.ndarray[tuple[int, int], np.dtype[np.int64]], wal: int
) -> Phase:
    ended = times[:, 0] / 1e9
    took = times[:, 1] / 1e9
    is_within = (ended >= cost.started_at) & (ended - took <= cost.ended_at)
    counted = took[is_within]
    return Phase(
        seconds=cost.wall_seconds,
        is_finished=not cost.is_stopped_by_limit,
        commits_per_second=len(counted) / cost.wall_seconds,
        latency_p99_seconds=float(np.percentile(counted, 99)),
        latency_max_seconds=float(counted.max()),
        wal_peak_size=wal,
    )


def _told(round_number: int, name: str, phase: Phase) -> str:
    return (
        f"application {round_number}: {name:22} {phase.seconds:7.2f} s"
        f"{'' if phase.is_finished else ' (stopped)'}"
        f" {phase.commits_per_second:7.0f} commits/s"
        f" p99 {phase.latency_p99_seconds * 1e3:7.2f} ms"
        f" longest {phase.latency_max_seconds * 1e3:7.1f} ms"
        f" WAL {phase.wal_peak_size / 2**20:6.1f} MiB"
    )
