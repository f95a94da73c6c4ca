"""
Runs that are killed at any moment, not only at steps, with a writer at work.

The moments come from a seed, which a failure prints.
"""

from __future__ import annotations

import json
import os
import random
import select
import shutil
import signal
import sys
import threading
from pathlib import Path

import pytest

from tests.crash import scenes
from tests.crash.nursery import Nursery
from tests.crash.test_restore_killed import check_as_application, check_next_run, read

FEW = pytest.param(20, id="few")
MANY = pytest.param(200, id="many", marks=[pytest.mark.torture, pytest.mark.timeout(1200)])


def kill_after(nursery: Nursery, pid: int, seconds: float) -> int:
    """Kill a run after a while; return how it ended.  The time is what is tested."""
    timer = threading.Timer(seconds, os.kill, (pid, signal.SIGKILL))
    descriptor = os.pidfd_open(pid)
    timer.start()
    try:
        select.select([descriptor], [], [])
    finally:
        os.close(descriptor)
        timer.cancel()
        timer.join()
    return nursery.wait(pid).status


@pytest.mark.parametrize("count", [FEW, MANY])
@pytest.mark.parametrize("journal_mode", ["wal", "delete"])
def test_backups_killed_at_random_under_a_writer(
    nursery: Nursery, tmp_path: Path, journal_mode: str, count: int
):
    """Every snapshot that is listed is one commit; the last backup leaves nothing behind."""
    seed = random.randrange(1 << 32)
    dice = random.Random(seed)
    database, store, state = tmp_path / "app.db", tmp_path / "store", tmp_path / "state"
    nursery.call("make_pairs", str(database), journal_mode)
    fifo = tmp_path / "stop"
    os.mkfifo(fifo)
    writer = nursery.start_call("write_until_told", str(database), str(fifo))
    environment = {"LITEKEEP_STATE": str(state)}
    command = ("backup", database, "--to", store, "--no-check")
    killed_count = 0
    try:
        for number in range(count):
            pid = nursery.start(*command, environment=environment, ahead_seconds=2 * number)
            status = kill_after(nursery, pid, dice.uniform(0.0, 0.2))
            assert status in (0, -signal.SIGKILL), f"seed {seed}: {status}"
            killed_count += status != 0
    finally:
        fifo.open("w").close()
        assert nursery.wait(writer).status == 0
    run = nursery.litekeep(*command, environment=environment, ahead_seconds=2 * count)
    assert run.status == 0, f"seed {seed}: {run.errors}"
    assert killed_count > 0, "no run was killed in time"

    points = nursery.litekeep("list", store, "--json").json()["restore_points"]
    for point in points[:: max(1, len(points) // 8)]:
        output = tmp_path / "out.db"
        output.unlink(missing_ok=True)
        run = nursery.litekeep("restore", store, "--at", point["name"], "--output", output)
        assert run.status == 0, f"seed {seed}: {run.errors}"
        assert nursery.call("check_pairs", str(output))["is_whole"], f"seed {seed}: {point}"
    assert [path.name for path in state.iterdir() if path.suffix != ".lock"] == []
    assert [path.name for path in store.rglob(".litekeep-*")] == []
    run = nursery.litekeep("verify", store, "--json")
    assert run.json()["damaged"] == [], f"seed {seed}"


@pytest.mark.parametrize("count", [pytest.param(8, id="few"), MANY])
@pytest.mark.parametrize("kind", ["wal", "hot journal", "damaged"])
def test_restores_killed_at_random_leave_old_or_new(
    nursery: Nursery, tmp_path: Path, kind: str, count: int
):
    seed = random.randrange(1 << 32)
    dice = random.Random(seed)
    template = scenes.SCENES[kind](nursery, tmp_path / "template")
    old = {
        suffix: Path(f"{template.target}{suffix}").read_bytes()
        for suffix in ("", "-wal", "-journal")
        if Path(f"{template.target}{suffix}").exists()
    }
    for number in range(count):
        where = f"seed {seed}, kill {number}"
        scene = template.copied(tmp_path / "killed")
        pid = nursery.start("restore", scene.backups, "--output", scene.target, "--replace")
        # The swap comes late: most moments are chosen there.
        kill_after(nursery, pid, dice.triangular(0.0, 0.4, 0.3))
        check_as_application(nursery, scene.copied(tmp_path / "opened"), where)
        check_next_run(nursery, scene, old, where)


def test_a_backup_of_a_database_that_is_restored_meanwhile_is_of_one_of_the_two(
    nursery: Nursery, tmp_path: Path
):
    """And the restore is refused, or done: never a mixture."""
    template = scenes.wal(nursery, tmp_path / "template")
    for _ in range(3):
        scene = template.copied(tmp_path / "scene")
        environment = {"LITEKEEP_STATE": str(tmp_path / "state")}
        shutil.rmtree(tmp_path / "other", ignore_errors=True)
        restore = nursery.start("restore", scene.backups, "--output", scene.target, "--replace")
        backup = nursery.start(
            "backup", scene.target, "--to", tmp_path / "other", environment=environment
        )
        restored, backed_up = nursery.wait(restore), nursery.wait(backup)
        assert restored.status in (0, 14), restored.errors
        assert backed_up.status in (0, 14), backed_up.errors
        found = read(nursery, scene.target)
        assert found == (scene.new if restored.status == 0 else scene.old)
        if backed_up.status == 0:
            output = tmp_path / "out.db"
            output.unlink(missing_ok=True)
            run = nursery.litekeep("restore", tmp_path / "other", "--output", output)
            assert run.status == 0, run.errors
            assert read(nursery, output) in (scene.new, scene.old)


def test_of_two_backups_at_once_one_is_told_so_at_once(nursery: Nursery, tmp_path: Path):
    database = tmp_path / "app.db"
    nursery.call("make", str(database), "wal", "rows", 100)
    environment = {"LITEKEEP_STATE": str(tmp_path / "state")}
    inner = json.dumps([str(database), str(tmp_path / "state")])
    script = (
        "import json, os, subprocess, sys\n"
        f"database, state = json.loads({inner!r})\n"
        "run = subprocess.run([sys.executable, '-m', 'litekeep', 'backup', database],\n"
        "    env=os.environ | {'LITEKEEP_STATE': state}, timeout=10)\n"
        f"open({str(tmp_path / 'code')!r}, 'w').write(str(run.returncode))\n"
    )
    fault = {"call": 3, "command": [sys.executable, "-c", script]}
    run = nursery.litekeep("backup", database, environment=environment, fault=fault)
    assert run.status == 0, run.errors
    assert (tmp_path / "code").read_text() == "75"


@pytest.mark.parametrize("host_count", [2, 4])
def test_hosts_that_write_to_one_store_in_one_second_overwrite_nothing(
    nursery: Nursery, tmp_path: Path, host_count: int
):
    """Each host has a database of its own under the same name, and a state of its own."""
    store = tmp_path / "store"
    databases = []
    for host in range(host_count):
        folder = tmp_path / f"host-{host}"
        folder.mkdir()
        databases.append(folder / "app.db")
        nursery.call("make", str(databases[-1]), "wal", f"host {host}", 10)
    pids = [
        nursery.start(
            *("backup", database, "--to", store),
            environment={"LITEKEEP_STATE": str(database.parent / "state")},
        )
        for database in databases
    ]
    for pid in pids:
        run = nursery.wait(pid)
        assert run.status == 0, run.errors
    points = nursery.litekeep("list", store, "--json").json()["restore_points"]
    assert len({point["name"] for point in points}) == host_count
    found = set()
    for number, point in enumerate(points):
        output = tmp_path / f"out-{number}.db"
        run = nursery.litekeep("restore", store, "--at", point["name"], "--output", output)
        assert run.status == 0, run.errors
        found |= set(nursery.call("read", str(output))["counts"])
    assert found == {f"host {host}" for host in range(host_count)}
