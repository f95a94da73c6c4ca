"""
Views and backups of a database that several processes write to all the while.

The writers keep invariants that a copy torn between two commits breaks
(`tests/writers/ledger.py`).  Each test also claims that the paths it is about were
taken: views with frames of the log, views of the main file alone, logs restarted
under a view.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from litekeep.clock import monotonic
from litekeep.engine import backup as backup_module
from litekeep.engine.backup import BackupJob, backup
from litekeep.engine.source import view_or_culprit
from litekeep.errors import DatabaseBusy
from litekeep.repository.layout import Repository, manifest_of
from litekeep.sqlite.live import LiveView, take_view
from litekeep.store.directory import DirectoryStore
from tests.writers.ledger import CHECKPOINTS, Habits, at_work, commit_number, make_ledger
from tests.writers.reading import (
    bytes_of,
    gunzipped,
    log_salts,
    opened,
    plain_checksum,
    sha256,
)

SECONDS = 3.0
TORTURE_SECONDS = 60.0
PATIENCE_SECONDS = 60.0
WAL_KINDS = ("frames", "main only", "restarted")
ROLLBACK_MODES = ("DELETE", "TRUNCATE", "PERSIST", "MEMORY")


def hostile(path: Path) -> list[Habits]:
    """Writers that do in a WAL database whatever a program can do."""
    return [
        Habits(str(path), 1, autocheckpoint=1, checkpoint_chance=0.3, vacuum_chance=0.03),
        Habits(str(path), 2, "sqlite3", autocheckpoint=30, pause_seconds=0.01),
        Habits(str(path), 3, autocheckpoint=1000, checkpoint_chance=0.05, pause_seconds=0.02),
    ]


def patient(path: Path) -> list[Habits]:
    """Writers that take turns by their busy timeouts."""
    return [
        Habits(str(path), 4, pause_seconds=0.004, vacuum_chance=0.01),
        Habits(str(path), 5, "sqlite3", pause_seconds=0.004),
    ]


class Ticking:
    """A clock that goes on by a second each time it is asked, so that no name is waited for."""

    def __init__(self) -> None:
        self._now = datetime(2025, 9, 8, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        self._now += timedelta(seconds=1)
        return self._now


def job_of(path: Path, folder: Path, name: str = "app") -> BackupJob:
    return BackupJob(
        database=path,
        name=name,
        repositories=(Repository(DirectoryStore(folder / "store"), name),),
        state=folder / "state",
        busy_timeout_seconds=60,
        alarm=None,  # the writers empty and fill their tables at will
        clock=Ticking(),
        sleep=lambda _: None,
    )


class Witness:
    """Looks over the shoulder of whoever takes views, and counts what kinds there were."""

    def __init__(self, path: Path) -> None:
        self.seen: Counter[str] = Counter()
        self._path = path

    @contextlib.contextmanager
    def take(self, path: Path, busy_timeout_seconds: float) -> Iterator[LiveView]:
        with view_or_culprit(path, busy_timeout_seconds) as live:
            salts = log_salts(self._path)
            yield live
            self.note(live, salts)

    def has_seen(self, wanted: Iterable[str]) -> bool:
        return all(self.seen[kind] for kind in wanted)

    def note(self, live: LiveView, salts: bytes) -> None:
        self.seen["frames" if live.view.frame_count else "main only"] += 1
        if log_salts(self._path) != salts:
            self.seen["restarted"] += 1


def look(path: Path, witness: Witness, seconds: float, wanted: Iterable[str]) -> int:
    """Take views until all the *wanted* kinds were seen; return the last commit's number."""
    last = 0
    started = monotonic()
    while monotonic() < started + seconds or not witness.has_seen(wanted):
        assert monotonic() < started + seconds + PATIENCE_SECONDS, witness.seen
        with take_view(path, busy_timeout_seconds=60) as live:
            salts = log_salts(path)
            pages = live.pages()
            half = live.view.size // 2
            data = pages.at(0, half)
            if live.view.is_wal:  # give writers time to do their worst: a restart, or 20 ms
                until = monotonic() + 0.02
                while log_salts(path) == salts and monotonic() < until:
                    os.sched_yield()
            data += pages.at(half, live.view.size - half)
            witness.note(live, salts)
        with opened(data) as connection:
            number = commit_number(connection)
        assert number >= last, "a later view shows an earlier commit"
        last = number
    return last


def keep(path: Path, folder: Path, seconds: float, is_enough: Callable[[], bool]) -> list[int]:
    """Back up again and again, judge each snapshot by stock tools; return the commits."""
    job = job_of(path, folder)
    store = Path(folder / "store")
    commits: list[int] = []
    started = monotonic()
    while monotonic() < started + seconds or not is_enough():
        assert monotonic() < started + seconds + PATIENCE_SECONDS, "not all was seen"
        result = backup(job)
        assert result.failure is None
        assert result.integrity == "ok"
        data_object = result.stores[0].object
        data = gunzipped(store / data_object)
        manifest = json.loads((store / manifest_of(data_object)).read_bytes())
        facts = manifest["database"]
        assert sha256(data) == facts["sha256"] == result.sha256
        assert len(data) == facts["size_bytes"] == facts["page_size"] * facts["page_count"]
        assert f"{plain_checksum(data, facts['page_size']):016x}" == facts["checksum"]
        stored = (store / data_object).read_bytes()
        assert manifest["stored"]["sha256"] == sha256(stored)
        assert (store / "latest.db.gz").read_bytes() == stored
        with opened(data) as connection:
            commits.append(commit_number(connection))
            counts = {
                name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]
                for name in ("clock", "leaf", "debit", "credit", "bulk")
            }
        assert manifest["row_counts"] == counts
    assert commits == sorted(commits)
    return commits


def final_commit(path: Path) -> int:
    """Return the commit that the writers ended with; nobody uses the database any more."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return commit_number(connection)


def run_views(
    path: Path, writers: list[Habits], seconds: float, wanted: Iterable[str]
) -> Counter[str]:
    witness = Witness(path)
    with at_work(writers) as did:
        last = look(path, witness, seconds, wanted)
    assert did["commits"] == final_commit(path) >= last > 0
    return did


def run_wal_backups(
    path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    make_ledger(path, auto_vacuum=1)
    witness = Witness(path)
    monkeypatch.setattr(backup_module, "view_or_culprit", witness.take)
    with at_work(hostile(path)) as did:
        commits = keep(path, folder, seconds, lambda: witness.has_seen(WAL_KINDS))
    assert did["commits"] == final_commit(path) >= commits[-1] > commits[0]


def test_every_view_under_hostile_writers_is_one_commit(tmp_path):
    path = tmp_path / "app.db"
    make_ledger(path)
    did = run_views(path, hostile(path), SECONDS, WAL_KINDS)
    assert did["RESTART"] + did["TRUNCATE"] > 0


def test_every_snapshot_under_hostile_writers_is_one_commit(tmp_path, monkeypatch):
    run_wal_backups(tmp_path / "app.db", tmp_path, monkeypatch, SECONDS)


@pytest.mark.parametrize("mode", ROLLBACK_MODES)
def test_every_view_in_a_rollback_mode_is_one_commit(tmp_path, mode):
    path = tmp_path / "app.db"
    make_ledger(path, journal_mode=mode)
    did = run_views(path, patient(path), 1.0, ["main only"])
    assert did["busy"] == 0, "a writer with a busy timeout waits for us and goes on"


def test_every_snapshot_in_a_rollback_mode_is_one_commit(tmp_path):
    path = tmp_path / "app.db"
    make_ledger(path, journal_mode="DELETE")
    with at_work(patient(path)) as did:
        commits = keep(path, tmp_path, SECONDS / 2, lambda: True)
    assert did["commits"] == final_commit(path) >= commits[-1] > 0
    assert did["busy"] == 0


@pytest.mark.torture
@pytest.mark.timeout(600)
@pytest.mark.parametrize("page_size", [512, 4096, 65536])
def test_every_view_is_one_commit_for_a_minute(tmp_path, page_size):
    path = tmp_path / "app.db"
    make_ledger(path, page_size=page_size, auto_vacuum=2)
    did = run_views(path, hostile(path), TORTURE_SECONDS, WAL_KINDS)
    assert all(did[kind] for kind in (*CHECKPOINTS, "vacuums"))


@pytest.mark.torture
@pytest.mark.timeout(600)
def test_every_snapshot_is_one_commit_for_a_minute(tmp_path, monkeypatch):
    run_wal_backups(tmp_path / "app.db", tmp_path, monkeypatch, TORTURE_SECONDS)


@pytest.mark.torture
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mode", ROLLBACK_MODES)
def test_every_snapshot_in_each_rollback_mode_is_one_commit_for_a_while(tmp_path, mode):
    path = tmp_path / "app.db"
    make_ledger(path, journal_mode=mode)
    with at_work(patient(path)) as did:
        commits = keep(path, tmp_path, TORTURE_SECONDS / 3, lambda: True)
    assert did["commits"] == final_commit(path) >= commits[-1] > commits[0]


def test_a_copy_without_a_mark_is_torn_and_the_invariants_say_so(tmp_path):
    """The proof of the proof: reading the files as `cp` does breaks what the writers keep."""
    path = tmp_path / "app.db"
    make_ledger(path)
    deadline = monotonic() + 20
    is_torn = False
    with at_work(hostile(path)):
        while not is_torn and monotonic() < deadline:
            data = path.read_bytes()  # no connection of ours is open: no lock is lost
            if len(data) % 4096:
                continue
            try:
                with opened(data) as connection:
                    commit_number(connection)
            except (AssertionError, sqlite3.DatabaseError):
                is_torn = True
    assert is_torn


def test_a_process_that_has_the_database_open_is_told_so_and_no_other_is_blamed(tmp_path):
    path = tmp_path / "app.db"
    make_ledger(path)
    with at_work(hostile(path)[:1]), take_view(path) as live:
        before = bytes_of(live)
        with pytest.raises(DatabaseBusy, match=r"this process has .* open already"):
            backup(job_of(path, tmp_path))
        assert bytes_of(live) == before
