"""
A tail finds every commit and nothing else, whatever the application does with its log.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from litekeep.clock import now
from litekeep.sqlite import changes as changes_module
from litekeep.sqlite.changes import Changes
from litekeep.sqlite.tail import Lost, Tail, follow
from tests.writers.application import Application
from tests.writers.reading import copy_of, opened
from tests.writers.replica import Replica

CHECKPOINTS = ("PASSIVE", "FULL", "RESTART", "TRUNCATE")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "app.db"


@pytest.fixture
def app(path: Path) -> Iterator[Application]:
    with Application(path) as application:
        application.run(
            "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; PRAGMA busy_timeout=50;"
            "CREATE TABLE t(id INTEGER PRIMARY KEY, a)"
        )
        yield application


@contextlib.contextmanager
def followed(path: Path, help_size: int | None = None) -> Iterator[tuple[Tail, Replica]]:
    clock = lambda: now() + timedelta(seconds=10)  # noqa: E731 (every change is settled)
    with follow(path, help_size=help_size, clock=clock) as tail:
        assert tail is not None
        yield tail, Replica(tail.first)


def found(tail: Tail) -> Changes:
    changes = tail.look()
    assert isinstance(changes, Changes), changes
    return changes


def rows(data: bytes | bytearray) -> list[int]:
    with opened(bytes(data)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return [a for (a,) in connection.execute("SELECT a FROM t ORDER BY id")]


def add(app: Application, value: int) -> None:
    app.run(f"INSERT INTO t(a) VALUES ({value})")


def test_each_commit_is_found_once(app, path):
    add(app, 1)
    with followed(path) as (tail, replica):
        assert tail.look() is None
        for value in (2, 3):
            add(app, value)
            changes = found(tail)
            assert changes.commit_count == 1
            replica.apply(changes)
            assert tail.look() is None
        assert rows(replica.data) == [1, 2, 3]
        assert bytes(replica.data) == copy_of_other(path)


def copy_of_other(path: Path) -> bytes:
    """Return the database as another program sees it: we have it open, so in a copy."""
    copy = path.with_name("copy.db")
    with Application(path) as other:
        copy.unlink(missing_ok=True)
        shutil.copyfile(path, copy)
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(f"{path}-wal", f"{copy}-wal")
        assert other.run("SELECT 1") == [[1]]
    return copy_of(copy)


def test_many_commits_are_found_together_each_page_once(app, path):
    with followed(path) as (tail, replica):
        for value in range(20):
            add(app, value)
        changes = found(tail)
        assert changes.commit_count == 20
        numbers = changes.page_numbers.tolist()
        assert numbers == sorted(set(numbers))
        assert len(numbers) < changes.frame_count
        replica.apply(changes)
        assert rows(replica.data) == list(range(20))


def test_a_commit_that_never_was_is_not_found(app, path):
    """A writer killed between its commit frame and the wal-index left a valid frame."""
    add(app, 1)
    with Application(path, is_deadly=True) as deadly, followed(path) as (tail, replica):
        deadly.die_after_commit_frame("INSERT INTO t(a) VALUES (2)")
        assert tail.look() is None
        add(app, 3)
        replica.apply(found(tail))
        assert rows(replica.data) == [1, 3]


def test_an_open_transaction_is_not_found(app, path):
    with followed(path) as (tail, replica):
        app.run("PRAGMA cache_size=5; PRAGMA cache_spill=1")
        app.run(
            "BEGIN; INSERT INTO t(a) SELECT randomblob(3000) FROM "
            "(WITH n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 60) "
            "SELECT i FROM n)"
        )
        assert Path(f"{path}-wal").stat().st_size > 100_000
        assert tail.look() is None
        app.run("ROLLBACK")
        assert tail.look() is None
        add(app, 7)
        replica.apply(found(tail))
        assert rows(replica.data) == [7]


@pytest.mark.parametrize("mode", CHECKPOINTS)
def test_a_checkpoint_by_the_application_loses_nothing(app, path, mode):
    with followed(path) as (tail, replica):
        for value in range(12):
            add(app, value)
            if value % 3 == 0:
                app.checkpoint(mode)
            if value % 4 == 0:
                replica.apply(found(tail))
            if value % 5 == 0:
                tail.look()
                changes = tail.look()
                assert not isinstance(changes, Lost)
                app.checkpoint(mode)
        last = tail.look()
        if isinstance(last, Changes):
            replica.apply(last)


@pytest.mark.parametrize("mode", CHECKPOINTS)
def test_a_log_that_is_restarted_is_followed(app, path, mode):
    """And the claim that it was restarted: the salts of the log are others."""
    with followed(path) as (tail, replica):
        restarts = 0
        for value in range(30):
            before = Path(f"{path}-wal").read_bytes()[16:24]
            add(app, value)
            restarts += Path(f"{path}-wal").read_bytes()[16:24] != before
            replica.apply(found(tail))
            app.checkpoint(mode)
            tail.look()  # moves the mark to the main file, so the next writer may restart
            app.checkpoint(mode)
            assert rows(replica.data) == list(range(value + 1))
        assert restarts > 10


def test_the_log_of_a_writer_that_never_rests_is_begun_anew(app, path):
    """Without help it would grow for ever: a commit is always behind our mark."""
    app.run("PRAGMA wal_autocheckpoint=1")
    with followed(path, help_size=50_000) as (tail, replica):
        for value in range(200):
            add(app, value)
            replica.apply(found(tail))
        assert tail.helped_count > 5
        assert Path(f"{path}-wal").stat().st_size < 100_000
        assert rows(replica.data) == list(range(200))


def test_help_that_is_in_a_writers_way_is_put_off(app, path):
    with followed(path, help_size=1) as (tail, replica):
        add(app, 1)
        replica.apply(found(tail))
        app.run("BEGIN IMMEDIATE; INSERT INTO t(a) VALUES (2)")
        assert tail.look() is None
        app.run("COMMIT")
        replica.apply(found(tail))
        assert rows(replica.data) == [1, 2]


def test_a_vacuum_and_a_shrunk_database_are_followed(app, path):
    app.run(
        "WITH n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 200) "
        "INSERT INTO t(a) SELECT randomblob(3000) FROM n"
    )
    with followed(path) as (tail, replica):
        app.run("DELETE FROM t WHERE id > 3; UPDATE t SET a = id")
        app.run("VACUUM")
        changes = found(tail)
        assert changes.page_count < 10
        replica.apply(changes)
        assert rows(replica.data) == [1, 2, 3]
        app.run("INSERT INTO t(a) VALUES (4)")
        replica.apply(found(tail))
        assert rows(replica.data) == [1, 2, 3, 4]


def test_more_than_is_kept_in_memory_is_read_from_the_log(app, path, monkeypatch):
    monkeypatch.setattr(changes_module, "_KEPT_SIZE_MAX", 40_000)
    with followed(path) as (tail, replica):
        app.run(
            "WITH n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 200) "
            "INSERT INTO t(a) SELECT i FROM n"
        )
        app.run("UPDATE t SET a = a + 1; CREATE TABLE u AS SELECT randomblob(100000) AS b")
        changes = found(tail)
        assert not changes.is_kept
        app.checkpoint("RESTART")
        add(app, 999)
        replica.apply(changes)
        assert rows(replica.data) == list(range(2, 202))
        replica.apply(found(tail))
        assert rows(replica.data) == [*range(2, 202), 999]


def test_a_file_that_was_replaced_is_lost(app, path):
    with followed(path) as (tail, _):
        other = path.with_name("other.db")
        with Application(other) as maker:
            maker.run("CREATE TABLE t(id INTEGER PRIMARY KEY, a)")
        os.replace(other, path)
        lost = tail.look()
        assert isinstance(lost, Lost)
        assert "replaced" in lost.reason


def test_a_log_that_was_rewritten_without_locks_is_lost(app, path):
    with followed(path) as (tail, _):
        add(app, 1)
        with open(f"{path}-wal", "r+b") as log:
            log.seek(-100, os.SEEK_END)
            log.write(b"damage")
        assert isinstance(tail.look(), Lost)


def test_a_database_without_a_log_has_no_tail(path):
    with Application(path) as app:
        app.run("CREATE TABLE t(a)")
        with follow(path) as tail:
            assert tail is None
        app.run("INSERT INTO t VALUES (1)")


def test_nothing_of_ours_stays_behind(path):
    with Application(path) as app:
        app.run("PRAGMA journal_mode=WAL; CREATE TABLE t(a)")
        app.close()
    before = path.read_bytes()
    with follow(path) as tail:
        assert tail is not None
        assert tail.look() is None
    assert sorted(each.name for each in path.parent.iterdir()) == ["app.db"]
    assert path.read_bytes() == before


def test_an_idle_database_costs_one_connection_and_no_questions(app, path, monkeypatch):
    add(app, 1)
    with followed(path) as (tail, _):

        def descriptors() -> int:
            names = [
                os.readlink(f"/proc/self/fd/{n}")
                for n in os.listdir("/proc/self/fd")
                if os.path.islink(f"/proc/self/fd/{n}")
            ]
            return sum(name.startswith(str(path)) for name in names)

        assert tail.look() is None
        assert tail.look() is None
        monkeypatch.setattr("litekeep.sqlite.tail.stable_log", None)  # it would be asked of
        assert [tail.look() for _ in range(10)] == [None] * 10
        assert descriptors() <= 4
