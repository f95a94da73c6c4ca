"""
Runs whose clocks or speeds differ: what is newest stays what is newest.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from litekeep.clock import now
from litekeep.engine import events
from litekeep.engine.backup import BackupJob, backup
from litekeep.engine.plan import plan_restore
from litekeep.engine.restore import restore
from litekeep.repository.layout import Layout, Repository
from litekeep.store.directory import DirectoryStore
from tests.cli.conftest import Shell
from tests.end_to_end.test_live_writers import job_of
from tests.writers.reading import gunzipped, opened
from tests.writers.shapes import make

NOON = datetime(2025, 9, 30, 12, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return make(tmp_path / "app.db", "CREATE TABLE t(a)")


def keep(job: BackupJob, value: str, time: datetime) -> list[str]:
    """Commit a value, back up at *time*, return the warnings."""
    make(job.database, f"INSERT INTO t VALUES ('{value}')")
    said: list[events.Event] = []
    assert backup(replace(job, clock=clock_at(time)), said.append).failure is None
    return [event.message for event in said if isinstance(event, events.Warned)]


def clock_at(time: datetime) -> Callable[[], datetime]:
    return lambda: time


def newest(data: bytes) -> str:
    with opened(data) as copy:
        return str(copy.execute("SELECT a FROM t ORDER BY rowid DESC").fetchone()[0])


def test_a_run_that_captured_earlier_does_not_move_latest_back(path, tmp_path):
    job = job_of(path, tmp_path)
    keep(job, "newer", NOON + timedelta(seconds=10))
    keep(replace(job, state=tmp_path / "other state"), "slow", NOON)
    assert newest(gunzipped(tmp_path / "store/latest.db.gz")) == "newer"


@pytest.mark.parametrize("layout", ["dated", "flat"])
@pytest.mark.parametrize("ahead", [timedelta(hours=1), timedelta(days=1), timedelta(days=400)])
def test_a_snapshot_in_the_future_is_told_and_passed_over(path, tmp_path, layout: Layout, ahead):
    repository = Repository(DirectoryStore(tmp_path / "store"), "app", layout)
    job = replace(job_of(path, tmp_path), repositories=(repository,))
    assert keep(job, "old", NOON + ahead) == []
    (warning,) = keep(job, "new", NOON)
    assert "lies in the future" in warning
    if layout == "dated":
        assert newest(gunzipped(tmp_path / "store/latest.db.gz")) == "new"

    said: list[events.Event] = []
    target = tmp_path / "out.db"
    plan = plan_restore([repository], target, clock=clock_at(NOON + timedelta(minutes=1)))
    restore(plan, said.append)
    assert newest(target.read_bytes()) == "new"
    assert "it lies in the future" in str(said)


def test_snapshots_that_all_lie_in_the_future_are_restored_with_a_warning(path, tmp_path):
    job = job_of(path, tmp_path)
    keep(job, "old", NOON)
    keep(job, "new", NOON + timedelta(days=1))
    plan = plan_restore(
        job.repositories, tmp_path / "out.db", clock=clock_at(NOON - timedelta(days=9))
    )
    assert plan.point is not None
    assert plan.point.time == NOON + timedelta(days=1)
    assert [warned.message for warned in plan.warnings] == [f"{plan.point.name} lies in the future"]


def test_clocks_that_differ_a_little_are_no_reason_to_warn(path, tmp_path):
    job = job_of(path, tmp_path)
    keep(job, "old", NOON + timedelta(minutes=4))
    assert keep(job, "new", NOON) == []


def test_list_says_which_points_lie_in_the_future(path, tmp_path):
    job = job_of(path, tmp_path)
    keep(job, "a", now() + timedelta(days=1))
    keep(job, "b", now())
    shown = Shell(tmp_path, dict(os.environ)).run("list", tmp_path / "store")
    assert shown.code == 0
    assert shown.err.count("lies in the future") == 1
    assert len(shown.lines) == 3


def test_a_snapshot_in_the_future_does_not_make_latest_look_stale(path, tmp_path):
    job = job_of(path, tmp_path)
    keep(job, "a", now() + timedelta(days=1))
    keep(job, "b", now())
    shown = Shell(tmp_path, dict(os.environ)).run("verify", tmp_path / "store")
    assert shown.code == 0, shown.err
