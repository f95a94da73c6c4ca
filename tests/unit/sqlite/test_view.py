"""
A view is one commit, whatever other processes do to the log meanwhile.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import apsw
import pytest

from litekeep.clock import monotonic
from litekeep.errors import CorruptionError, DatabaseBusy
from litekeep.sqlite import live as live_module
from litekeep.sqlite import logstate as logstate_module
from litekeep.sqlite.check import raw_reader
from litekeep.sqlite.connections import connect, prime
from litekeep.sqlite.live import take_view
from litekeep.sqlite.view import Pages, View
from tests.writers.application import Application
from tests.writers.reading import bytes_of, copy_of, log_salts, opened


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "app.db"


@pytest.fixture
def app(path: Path) -> Iterator[Application]:
    """An application in WAL mode that never checkpoints by itself."""
    with Application(path) as application:
        application.run(
            "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0;"
            "CREATE TABLE t(id INTEGER PRIMARY KEY, a, pad); INSERT INTO t VALUES (1, 0, '')"
        )
        application.run(
            "WITH n(i) AS (VALUES (2) UNION ALL SELECT i + 1 FROM n WHERE i < 200)"
            "INSERT INTO t SELECT i, 0, hex(randomblob(500)) FROM n"
        )
        yield application


def set_all(app: Application, value: int) -> None:
    """Commit a transaction that touches every page of the table."""
    app.run(f"UPDATE t SET a = {value}, pad = hex(randomblob(500))")


def values(data: bytes) -> set[int]:
    """Return the values of all rows: one, unless the copy is torn."""
    with opened(data) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("SELECT count(*) FROM t").fetchall() == [(200,)]
        return {row[0] for row in connection.execute("SELECT a FROM t")}


def test_frames_that_are_not_copied_back_belong_to_the_view(app, path):
    set_all(app, 1)

    with take_view(path) as live:
        assert live.view.frame_count > 0
        assert values(bytes_of(live)) == {1}


def test_a_log_that_is_all_copied_back_is_not_read(app, path):
    set_all(app, 1)
    app.checkpoint("FULL")

    with take_view(path) as live:
        assert live.view.frame_count == 0
        assert values(bytes_of(live)) == {1}


def test_a_restart_of_the_log_under_a_view_changes_no_byte_of_it(app, path):
    """All is copied back, so the view is the main file; then the log is begun anew."""
    set_all(app, 1)
    app.checkpoint("FULL")
    with take_view(path) as live:
        salts = log_salts(path)
        before = bytes_of(live)
        for value in range(2, 6):
            set_all(app, value)
            app.checkpoint("PASSIVE")

        assert log_salts(path) != salts, "the writer was to restart the log"
        assert bytes_of(live) == before
        assert values(before) == {1}
    assert values(copy_of(path)) == {5}


def test_checkpoints_by_others_under_a_view_with_frames_change_no_byte_of_it(app, path):
    """They copy back up to our mark; writers append behind it."""
    set_all(app, 1)
    app.checkpoint("FULL")
    set_all(app, 2)
    set_all(app, 3)
    with take_view(path) as live:
        frame_count = live.view.frame_count
        assert frame_count > 0
        before = bytes_of(live)
        assert app.checkpoint("PASSIVE") == [0, frame_count, frame_count]
        set_all(app, 4)
        _, log_count, copied_count = app.checkpoint("PASSIVE")

        assert log_count > frame_count == copied_count
        assert bytes_of(live) == before
        assert values(before) == {3}


def test_a_view_shows_no_commit_that_came_after_it_though_the_file_shrank(app, path):
    set_all(app, 1)
    with take_view(path) as live:
        before = bytes_of(live)
        app.run("DELETE FROM t WHERE id > 3; VACUUM")
        app.checkpoint("PASSIVE")
        app.run("INSERT INTO t VALUES (1000, 7, 'x')")

        assert bytes_of(live) == before
        assert values(before) == {1}


@pytest.mark.parametrize("mode", ["RESTART", "TRUNCATE"])
def test_a_checkpoint_that_waits_for_readers_gives_up_and_takes_nothing_from_the_view(
    app, path, mode
):
    set_all(app, 1)
    app.run("PRAGMA busy_timeout=50")
    with take_view(path) as live:
        before = bytes_of(live)
        assert app.checkpoint(mode)[0] == 1  # busy: we are in its way, and it says so
        set_all(app, 2)

        assert bytes_of(live) == before


def test_a_writer_killed_after_its_commit_frame_committed_nothing(app, path):
    """
    The frame is in the log, whole and with a right checksum; the wal-index ends before it.

    The application stays open, so nobody recovers: no connection will ever see it.
    """
    set_all(app, 1)
    with Application(path, is_deadly=True) as other:
        other.run("PRAGMA wal_autocheckpoint=0; SELECT * FROM t")
        size = os.path.getsize(f"{path}-wal")
        other.die_after_commit_frame("UPDATE t SET a = 2, pad = hex(randomblob(500))")
    assert os.path.getsize(f"{path}-wal") > size

    with take_view(path) as live:
        in_file = (os.path.getsize(f"{path}-wal") - 32) // live.view.frame_size
        assert live.view.frame_count < in_file
        assert values(bytes_of(live)) == {1} == {row[0] for row in app.run("SELECT a FROM t")}
    set_all(app, 3)
    assert values(copy_of(path)) == {3}


def test_where_nobody_is_left_the_killed_writers_commit_is_recovered_as_sqlite_does(app, path):
    set_all(app, 1)
    with Application(path, is_deadly=True) as other:
        other.run("PRAGMA wal_autocheckpoint=0; SELECT * FROM t")
        other.die_after_commit_frame("UPDATE t SET a = 2, pad = hex(randomblob(500))")
    app.kill()

    ours = values(copy_of(path))
    with Application(path) as last:
        assert ours == {row[0] for row in last.run("SELECT a FROM t")} == {2}


def test_a_view_waits_for_a_writer_that_is_held_up_in_the_middle_of_the_wal_index(app, path):
    """
    NOOP has no busy timeout: while the index header is half written it is refused.

    The half-written header is made by a process of its own, the write lock is real.
    """
    set_all(app, 1)
    app.run("BEGIN IMMEDIATE")
    script = (
        "import os, sys, time\n"
        "shm = os.open(sys.argv[1], os.O_RDWR)\n"
        "good = os.pread(shm, 4, 64)\n"
        "sys.stdin.readline(); os.pwrite(shm, bytes(4), 64); print('broken', flush=True)\n"
        "time.sleep(0.2); os.pwrite(shm, good, 64)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, f"{path}-shm"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as stopped:
        assert stopped.stdin is not None
        assert stopped.stdout is not None
        with contextlib.closing(connect(str(path), 5)) as probe:
            prime(probe)
            state = logstate_module.ask_noop(probe, 5)
            stopped.stdin.write(b"go\n")
            stopped.stdin.flush()
            stopped.stdout.readline()
            with pytest.raises(apsw.BusyError):
                logstate_module.ask_noop(probe, 0)
            started = monotonic()
            assert logstate_module.ask_noop(probe, 5) == state
            assert monotonic() - started < 5


class RestartsBetween:
    """
    A probe whose first answer is what NOOP says if a restart falls between its two reads.

    The window is some nanoseconds wide; what comes after it is real.
    """

    def __init__(self, probe: apsw.Connection, restart: Callable[[], None]) -> None:
        self._probe = probe
        self._restart: Callable[[], None] | None = restart

    def execute(self, sql: str) -> apsw.Cursor:
        return self._probe.execute(sql)

    def read(self, schema: str, which: int, offset: int, amount: int) -> tuple[bool, bytes]:
        return self._probe.read(schema, which, offset, amount)

    def wal_checkpoint(self, *, mode: int) -> tuple[int, int]:
        frame_count, copied_count = self._probe.wal_checkpoint(mode=mode)
        if self._restart is not None:
            self._restart()
            self._restart, copied_count = None, 0
        return frame_count, copied_count


def test_a_restart_between_the_two_numbers_of_noop_is_noticed(app, path):
    """
    Else the view would count frames of a log that is about to be overwritten.

    The writer that restarts the log dies before it writes the log's header, so that
    the salts in the file are the old ones for as long as it takes to look.
    """
    set_all(app, 1)
    app.checkpoint("FULL")
    real = str(path)
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(contextlib.closing(connect(real, 5)))
        connection.execute("BEGIN")
        prime(connection)
        probe = stack.enter_context(contextlib.closing(connect(real, 5)))
        prime(probe)
        header = live_module.header_of(connection, real)
        assert header is not None
        other = stack.enter_context(Application(path, is_deadly=True))
        salts = log_salts(path)
        torn = RestartsBetween(
            probe, lambda: other.die_before_log_header("UPDATE t SET a = 2 WHERE id = 1")
        )

        view, _ = live_module.take_wal(
            connection, cast("apsw.Connection", torn), real, os.stat(real), header, 5
        )

        assert log_salts(path) == salts
        assert probe.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP) == (0, 0)
        set_all(app, 3)
        assert log_salts(path) != salts
        pages = Pages(view, lambda *what: connection.read("main", *what)[1])
        assert values(b"".join(pages.pieces(1 << 20))) == {1}


def test_a_log_rewritten_without_locks_under_a_view_is_an_error_and_no_copy(app, path):
    set_all(app, 1)
    with take_view(path) as live:
        pages = live.pages()
        with open(f"{path}-wal", "r+b") as file:  # as a copy over the live file would
            file.seek(32)
            file.write(bytes(live.view.frame_size * live.view.frame_count))
        with pytest.raises(CorruptionError, match="rewritten under a held read mark") as caught:
            list(pages.pieces(1 << 20))
        assert "without SQLite's locks" in str(caught.value.hint)
        with pytest.raises(CorruptionError):
            live.pages()
        app.kill()


def test_pages_may_be_read_at_any_offset_and_length(app, path):
    set_all(app, 1)
    app.checkpoint("FULL")
    app.run("UPDATE t SET a = 2 WHERE id % 7 = 0")
    with take_view(path) as live:
        assert live.view.frame_count > 0
        whole = bytes_of(live)
        pages = live.pages()
        for offset, amount in ((0, 16), (24, 16), (4090, 10), (5000, 9000), (0, len(whole))):
            assert pages.at(offset, amount) == whole[offset : offset + amount]
        for size in (512, 1000, 4096, 5000, 1 << 20):
            assert b"".join(pages.pieces(size)) == whole


def test_a_child_process_reads_the_same_bytes_by_itself(app, path):
    set_all(app, 1)
    with take_view(path) as live:
        fields = dataclasses.asdict(live.view)
        script = (
            "import sys\n"
            "from litekeep.sqlite.check import raw_reader\n"
            "from litekeep.sqlite.view import Pages, View\n"
            f"view = View(**{fields!r})\n"
            "with raw_reader(view) as read:\n"
            "    for piece in Pages(view, read).pieces(1 << 16):\n"
            "        sys.stdout.buffer.write(piece)\n"
        )
        child = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
        assert child.stdout == bytes_of(live)


def test_a_reader_of_raw_files_refuses_a_file_that_was_replaced(app, path, tmp_path):
    set_all(app, 1)
    with take_view(path) as live:
        view: View = live.view
        live.refuse_changed()
        app.kill()
        os.rename(path, tmp_path / "old.db")
        with pytest.raises(DatabaseBusy, match="was removed while it was read"):
            live.refuse_changed()
        path.write_bytes(b"")
        with pytest.raises(DatabaseBusy, match="was replaced by another file"):
            live.refuse_changed()
        with (
            pytest.raises(DatabaseBusy, match="was replaced by another file"),
            raw_reader(view),
        ):
            pass
    (tmp_path / "old.db").unlink()
