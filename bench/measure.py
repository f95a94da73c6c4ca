"""
This module is the rounds: contender after contender, on equal terms.

Before each run everything written so far is flushed to the disk, and the database is
read once, so that nobody pays for what another left behind and nobody reads from a
cold disk.  Contenders take turns (A B C, A B C): what the machine does meanwhile falls
on all of them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import contenders, launch, server
from bench.contenders import Contender, Job
from bench.results import Run
from bench.server import Server

#: Says what is going on.
Say = Callable[[str], None]


def measure_backups(
    listed: Sequence[Contender], database: Path, rounds: int, folder: Path, say: Say
) -> dict[str, list[Run]]:
    """Back up *database* with each contender in turn, *rounds* times over."""
    runs: dict[str, list[Run]] = {one.name: [] for one in listed}
    for round_number in range(1, rounds + 1):
        with server.running(folder / "server") as running:
            for one in listed:
                run = _run(one, database, running, folder, None)
                runs[one.name].append(run)
                say(_line("backup", round_number, one.name, run))
    return runs


def measure_restores(
    listed: Sequence[Contender], database: Path, rounds: int, folder: Path, say: Say
) -> dict[str, list[Run]]:
    """Restore one snapshot of *database* with each contender in turn."""
    runs: dict[str, list[Run]] = {one.name: [] for one in listed}
    objects = folder / "objects"
    for round_number in range(1, rounds + 1):
        with server.running(folder / "server") as running:
            _snapshot_into(objects, database, running, folder)
            for one in listed:
                run = _run(one, database, running, folder, objects)
                runs[one.name].append(run)
                say(_line("restore", round_number, one.name, run))
            shutil.rmtree(objects)
    return runs


def measure_growth(
    contender: Contender, databases: Sequence[Path], rounds: int, folder: Path, say: Say
) -> dict[int, list[Run]]:
    """Back up databases of several sizes with one contender."""
    runs: dict[int, list[Run]] = {path.stat().st_size: [] for path in databases}
    for round_number in range(1, rounds + 1):
        with server.running(folder / "server") as running:
            for path in databases:
                run = _run(contender, path, running, folder, None)
                runs[path.stat().st_size].append(run)
                say(_line("growth", round_number, path.name, run))
    return runs


def settle(path: Path) -> None:
    """Flush what was written, and bring the database into the page cache."""
    os.sync()
    with path.open("rb", buffering=0) as file:
        while file.read(8 << 20):
            pass


def _run(
    contender: Contender, database: Path, running: Server, folder: Path, objects: Path | None
) -> Run:
    scratch = folder / "scratch"
    scratch.mkdir(parents=True)
    bucket = f"{contender.name}-{database.stat().st_size >> 20}"
    running.create_bucket(bucket)
    job = Job(database, running, bucket, scratch, running.endpoint, objects)
    try:
        contender.prepare(job)
        settle(database)
        server_before = launch.cpu_seconds_of(running.pid)
        cost = launch.run(
            contender.command(job),
            environment=job.environment,
            folder=scratch,
            watched=[scratch, database.parent],
        )
        return Run(
            wall_seconds=cost.wall_seconds,
            cpu_seconds=cost.cpu_seconds,
            server_cpu_seconds=launch.cpu_seconds_of(running.pid) - server_before,
            memory_peak_size=cost.memory_peak_size,
            disk_peak_size=cost.disk_peak_size,
            disk_end_size=cost.disk_end_size,
            stored_size=running.stored_size(bucket),
        )
    finally:
        shutil.rmtree(scratch)


def _snapshot_into(objects: Path, database: Path, running: Server, folder: Path) -> None:
    """Make the snapshot that restores begin from; the result is checked by the first."""
    scratch = folder / "scratch"
    scratch.mkdir(parents=True)
    job = Job(database, running, "unused", scratch, running.endpoint)
    launch.run(
        [*contenders.LITEKEEP, "backup", str(database), "--to", str(objects), "--no-check"],
        environment=job.environment,
        folder=scratch,
        watched=(),
    )
    shutil.rmtree(scratch)


def _line(part: str, round_number: int, name: str, run: Run) -> str:
    return (
        f"{part} {round_number}: {name:22} {run.wall_seconds:7.2f} s wall"
        f" {run.cpu_seconds:7.2f} s cpu {run.server_cpu_seconds:6.2f} s server"
        f" {run.memory_peak_size / 2**20:6.0f} MiB memory"
        f" {run.disk_peak_size / 2**20:6.0f} MiB disk {run.stored_size / 2**20:6.0f} MiB stored"
    )
