"""
A disk that is really full: a file system of its own with a bound on its size.

Each time: a clear error with a hint and exit code 33, nothing lost, nothing left, and the
next run succeeds once there is room.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.nursery import Nursery, Run

NO_SPACE = 33
SIZE = 4 << 20

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("mount") is None, reason="mounting needs root"
)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    if subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("this machine does not let us mount a tmpfs")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path, free: int) -> Path:
    """Leave *free* bytes on the disk of *folder*."""
    room = os.statvfs(folder)
    ballast = folder / "ballast"
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, room.f_bavail * room.f_frsize - free)
    return ballast


def refused(run: Run) -> None:
    assert run.status == NO_SPACE, run.errors
    assert "hint: Free some space" in run.errors, run.errors
    assert "Traceback" not in run.errors


def litter(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if ".litekeep-" in path.name]


def make(nursery: Nursery, folder: Path, count: int = 3000) -> Path:
    """Make a database of about 1.3 MB of noise."""
    database = folder / "app.db"
    nursery.call("make", str(database), "wal", "rows", count)
    return database


@pytest.mark.parametrize("free", [0, 8192, 300_000, 1_000_000])
def test_a_store_without_room_loses_nothing(
    nursery: Nursery, tmp_path: Path, small: Path, free: int
):
    environment = {"LITEKEEP_STATE": str(tmp_path / "state")}
    database = make(nursery, tmp_path)
    store = small / "store"
    command = ("backup", database, "--to", store)
    assert nursery.litekeep(*command, environment=environment).status == 0
    ballast = fill(small, free)
    refused(nursery.litekeep(*command, environment=environment, ahead_seconds=2))
    assert litter(small) == []
    listed = nursery.litekeep("list", store, "--json").json()["restore_points"]
    # With a megabyte there is room for the snapshot, but not for its copy as latest.
    assert len(listed) == (2 if free == 1_000_000 else 1)
    assert nursery.litekeep("verify", store, environment=environment).status == 0

    ballast.unlink()
    # Two snapshots and `latest` need more than there is: the first one makes room.
    shutil.rmtree(store)
    assert nursery.litekeep(*command, environment=environment, ahead_seconds=4).status == 0


@pytest.mark.parametrize("free", [0, 4096, 300_000])
def test_a_state_folder_without_room_is_an_error_that_says_so(
    nursery: Nursery, tmp_path: Path, small: Path, free: int
):
    """An object store would be fed from a spool in that folder; here it holds the record."""
    environment = {"LITEKEEP_STATE": str(small / "state")}
    database = make(nursery, tmp_path)
    (small / "state").mkdir()
    ballast = fill(small, free)
    run = nursery.litekeep("backup", database, environment=environment)
    if free == 0:
        refused(run)
        points = nursery.litekeep("list", database, "--json")
        assert points.status != 0 or points.json()["restore_points"] == []
        assert litter(tmp_path) == []
        ballast.unlink()
        run = nursery.litekeep("backup", database, environment=environment, ahead_seconds=2)
    assert run.status == 0, run.errors
    assert [name for name in os.listdir(small / "state") if not name.endswith(".lock")] == []


@pytest.mark.parametrize("free", ["nothing", "what is captured"])
def test_a_stream_without_room_for_its_state_says_so_and_goes_on_later(
    nursery: Nursery, tmp_path: Path, small: Path, free: str
):
    """The page map is mapped: without room taken for it first, the process would be killed."""
    environment = {"LITEKEEP_STATE": str(small / "state")}
    database = make(nursery, tmp_path)
    command = ("stream", database, "--to", tmp_path / "store", "--once")
    (small / "state").mkdir()
    elsewhere = {"LITEKEEP_STATE": str(tmp_path / "elsewhere")}
    to = tmp_path / "measured"
    assert nursery.litekeep(*command[:3], to, "--once", environment=elsewhere).status == 0
    (captured,) = to.rglob("*1.ltx")
    room = 4096 if free == "nothing" else captured.stat().st_size + 12 * 1024
    ballast = fill(small, room)
    refused(nursery.litekeep(*command, environment=environment))
    assert litter(small) == []
    ballast.unlink()
    run = nursery.litekeep(*command, environment=environment)
    assert run.status == 0, run.errors
    ballast = fill(small, 0)
    nursery.call("commit_and_die", str(database), "more", 10)
    refused(nursery.litekeep(*command, environment=environment))
    ballast.unlink()
    run = nursery.litekeep(*command, "--json", environment=environment)
    assert run.status == 0, run.errors
    assert run.json()["stores"][0]["bytes"] < 100_000


@pytest.mark.parametrize("free", [0, 4096, 1_000_000])
@pytest.mark.parametrize("is_proved", [True, False], ids=["snapshot", "single file"])
def test_a_target_without_room_stays_as_it_was(
    nursery: Nursery, tmp_path: Path, small: Path, free: int, is_proved: bool
):
    """The size of a single file is not known before it is unpacked."""
    environment = {"LITEKEEP_STATE": str(tmp_path / "state")}
    database = make(nursery, tmp_path)
    assert nursery.litekeep("backup", database, environment=environment).status == 0
    source = tmp_path / "app.db-backups"
    if not is_proved:
        source = source / "latest.db.gz"
    target = small / "target.db"
    old = nursery.call("make", str(target), "wal", "old", 10)
    ballast = fill(small, free)
    refused(nursery.litekeep("restore", source, "--output", target, "--replace"))
    assert litter(small) == []
    ballast.unlink()
    assert nursery.call("read", str(target)) == old

    run = nursery.litekeep("restore", source, "--output", target, "--replace")
    assert run.status == 0, run.errors
    assert nursery.call("read", str(target))["counts"] == {"rows": 3000}
