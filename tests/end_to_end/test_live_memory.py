"""
The memory of all processes of a backup together, on databases far larger.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from litekeep.clock import sleep
from tests.writers.application import ROOT, Application
from tests.writers.shapes import make

PROMISED_SIZE = 150 << 20
SIZE = 256 << 20
LOOK_SECONDS = 0.02


def children(process_id: int) -> list[int]:
    """Return the process and all that descend from it."""
    found = [process_id]
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{process_id}/task"):
            text = Path(f"/proc/{process_id}/task/{task}/children").read_text()
            for child in text.split():
                found += children(int(child))
    return found


def proportional_size(process_id: int) -> int:
    """Return the memory of a process, pages that it shares counted in parts."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process_id}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


#: Runs the program as on a machine of 64 cores.
ON_64_CORES = """
import runpy
from litekeep import workers
workers.core_count = lambda: 64
runpy.run_module("litekeep", run_name="__main__", alter_sys=True)
"""


def peak_of_backup(
    path: Path, folder: Path, *options: str, program: tuple[str, str] = ("-m", "litekeep")
) -> int:
    peak = looks = 0
    with subprocess.Popen(
        [sys.executable, *program, "backup", path, "--to", folder, "--quiet", *options],
        cwd=ROOT,
        env=os.environ
        | {
            "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
            "LITEKEEP_STATE": str(folder / "state"),
        },
    ) as process:
        while process.poll() is None:
            peak = max(peak, sum(map(proportional_size, children(process.pid))))
            looks += 1
            sleep(LOOK_SECONDS)  # a sample is all that the system gives
        assert process.returncode == 0
    assert looks > 10
    return peak


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    """A database that no codec makes smaller."""
    path = make(
        tmp_path / "app.db",
        "PRAGMA journal_mode=OFF",
        "PRAGMA synchronous=OFF",
        "CREATE TABLE t(a)",
        "WITH n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 256) "
        "INSERT INTO t SELECT randomblob(1 << 20) FROM n",
    )
    assert path.stat().st_size > SIZE
    return path


@pytest.mark.parametrize("options", [[], ["--format", "zstd"]], ids=["gzip", "zstd"])
def test_a_backup_takes_no_more_memory_than_is_promised(noise, tmp_path, options):
    assert peak_of_backup(noise, tmp_path / "store", *options) < PROMISED_SIZE


@pytest.mark.parametrize("options", [[], ["--format", "zstd", "--level", "9"]], ids=["gzip", "9"])
def test_many_cores_take_no_more_memory_than_is_promised(noise, tmp_path, options):
    peak = peak_of_backup(noise, tmp_path / "store", *options, program=("-c", ON_64_CORES))
    assert peak < PROMISED_SIZE


def test_a_long_log_of_small_pages_takes_no_more_memory_than_is_promised(tmp_path):
    """The frames of a view are found by an index in memory, in both processes."""
    path = make(tmp_path / "app.db", "PRAGMA page_size=1024")
    with Application(path) as app:
        app.run("PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; PRAGMA synchronous=OFF")
        app.run("CREATE TABLE t(a)")
        app.run(
            "WITH n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 256) "
            "INSERT INTO t SELECT randomblob(1 << 20) FROM n"
        )
        assert os.path.getsize(f"{path}-wal") > SIZE
        assert peak_of_backup(path, tmp_path / "store") < PROMISED_SIZE
