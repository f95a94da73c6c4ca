"""
What can go wrong around a live database: one test for each case that concerns a copy.

The cases that have files of their own: logs that are rewritten, killed writers
(`unit/sqlite/test_view.py`); shapes, hot journals, headers of another kind, the lock page
(`unit/sqlite/test_shapes.py`); what must stay as it was (`test_live_untouched.py`).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from litekeep.engine import events
from litekeep.engine.backup import backup
from litekeep.engine.source import refuse_unsafe
from litekeep.errors import CorruptionError, DatabaseBusy, UnsafeFileSystem
from litekeep.repository.layout import Repository
from litekeep.sqlite.live import take_view
from litekeep.store.base import Blob, Body
from litekeep.store.memory import MemoryStore
from tests.end_to_end.test_live_writers import job_of
from tests.writers.application import ROOT, Application
from tests.writers.reading import bytes_of, gunzipped, opened
from tests.writers.shapes import make

FILL = (
    "WITH n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 6000) "
    "INSERT INTO t SELECT hex(randomblob(200)) FROM n"
)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes root")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "app.db"


def in_wal_mode(app: Application) -> None:
    app.run("PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; CREATE TABLE t(a)")
    app.run(FILL)


def during(path: Path, folder: Path, act: Callable[[], None], *, is_checked: bool = True) -> None:
    """Back up, and do something once while the view is held and read."""
    acted = threading.Event()

    def report(event: events.Event) -> None:
        if isinstance(event, events.Progress) and event.stage == "read" and not acted.is_set():
            acted.set()
            act()

    backup(replace(job_of(path, folder), check=is_checked), report)
    assert acted.is_set()


def test_our_sqlite_has_the_fix_of_the_wal_reset_bug():
    """Row 1."""
    version = tuple(map(int, apsw.sqlite_lib_version().split(".")))
    assert version >= (3, 51, 3)


def test_the_mark_holds_until_the_last_byte_whatever_else_is_opened_and_closed(path, tmp_path):
    """Row 3: a plain open and close of the file in our process would drop our locks."""
    with Application(path) as app:
        in_wal_mode(app)
        app.run("PRAGMA busy_timeout=50")
        answers: list[list[int]] = []
        during(path, tmp_path, lambda: answers.append(app.checkpoint("TRUNCATE")))
        assert [answer[0] for answer in answers] == [1]  # busy: the mark was there
        assert app.checkpoint("TRUNCATE") == [0, 0, 0]  # and now it is not


def test_the_shared_lock_holds_until_the_last_byte_in_rollback_modes(path, tmp_path):
    """Rows 3 and 16."""
    make(path, "CREATE TABLE t(a)", FILL)
    with Application(path, busy_timeout_seconds=0.05) as app:
        refused: list[Exception] = []

        def write() -> None:
            try:
                app.run("DELETE FROM t")
            except Exception as error:
                refused.append(error)

        during(path, tmp_path, write)
        assert [str(error) for error in refused] == ["database is locked"]
        app.run("DELETE FROM t")


@pytest.mark.parametrize("library", ["sqlite3", "apsw"])
@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_a_process_that_has_the_database_open_itself_is_refused(path, tmp_path, library, mode):
    """Rows 4 and 19."""
    make(path, f"PRAGMA journal_mode={mode}", "CREATE TABLE t(a)")
    own = sqlite3.connect(path) if library == "sqlite3" else apsw.Connection(str(path))
    with contextlib.closing(own):
        with pytest.raises(DatabaseBusy, match=r"this process has .* open already") as caught:
            backup(job_of(path, tmp_path))
        assert "from a process of its own" in str(caught.value.hint)
    assert backup(job_of(path, tmp_path)).failure is None


class SlowStore(MemoryStore):
    """Takes nothing but claims until it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.is_asked = threading.Event()
        self.go_on = threading.Event()

    def put(
        self,
        name: str,
        body: Body,
        *,
        create: bool = False,
        metadata: Mapping[str, str] | None = None,
        size_max: int | None = None,
    ) -> Blob:
        if body != b"":
            self.is_asked.set()
            assert self.go_on.wait(60)
        return super().put(name, body, create=create, metadata=metadata, size_max=size_max)


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_the_view_is_let_go_while_a_store_is_still_slow(path, tmp_path, mode):
    """Rows 6 and 16: no log grows, and no writer waits, for a network."""
    store = SlowStore()
    job = replace(job_of(path, tmp_path), repositories=(Repository(store, "app"),))
    read: list[int] = []
    is_compressed = threading.Event()

    def report(event: events.Event) -> None:
        if isinstance(event, events.Compressed):
            is_compressed.set()

    with Application(path, busy_timeout_seconds=0.05) as app:
        app.run(f"PRAGMA journal_mode={mode}; CREATE TABLE t(a)")
        app.run(FILL)
        worker = threading.Thread(target=lambda: read.append(backup(job, report).size))
        worker.start()
        assert store.is_asked.wait(60)
        assert is_compressed.wait(60)
        app.run("DELETE FROM t")
        if mode == "WAL":
            assert app.checkpoint("TRUNCATE") == [0, 0, 0]
        store.go_on.set()
        worker.join(60)
    assert read[0] > 2 << 20


MOUNTED = """
import ctypes, os, sys
from litekeep.engine.source import refuse_unsafe
from litekeep.errors import UnsafeFileSystem
libc = ctypes.CDLL(None, use_errno=True)
kind, path = sys.argv[1:]
folder = os.path.dirname(path)
if kind == "single":
    done = libc.mount(path.encode(), path.encode(), None, 4096, None)  # MS_BIND
elif kind == "tmpfs":
    done = libc.mount(b"none", folder.encode(), b"tmpfs", 0, None)
else:
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,subtype={kind}"
    done = libc.mount(b"nobody", folder.encode(), b"fuse", 0, options.encode())
if done != 0:
    print("no mount:", os.strerror(ctypes.get_errno()), flush=True)
    sys.exit()
try:
    refuse_unsafe(path)
    print("fine", flush=True)
except UnsafeFileSystem as error:
    print(error.message, "/", error.hint, flush=True)
os._exit(0)
"""


def mounted(kind: str, path: Path) -> str:
    """Mount in a namespace that ends with its process, and say what we say of it."""
    ended = subprocess.run(
        ["unshare", "--mount", sys.executable, "-c", MOUNTED, kind, path],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        check=False,
        capture_output=True,
        text=True,
    )
    if ended.returncode != 0 or ended.stdout.startswith("no mount"):
        pytest.skip(f"cannot mount here: {ended.stdout.strip() or ended.stderr.strip()[-200:]}")
    return ended.stdout.strip()


@as_root
@pytest.mark.parametrize("kind", ["sshfs", "rclone", "s3fs"])
def test_a_network_file_system_is_refused(path, kind):
    """Row 9."""
    said = mounted(kind, path)
    assert f"{path} lies on fuse.{kind}" in said
    assert "locks and shared memory do not work" in said
    assert "--allow-unsafe-file-system" in said


@as_root
def test_a_file_that_is_mounted_alone_is_refused(path):
    """Row 9: its -wal would not be seen."""
    make(path, "CREATE TABLE t(a)")
    said = mounted("single", path)
    assert "is mounted alone" in said
    assert "Mount the folder" in said


@as_root
def test_a_file_system_of_this_kernel_is_fine(path):
    assert mounted("tmpfs", path) == "fine"


def test_an_unsafe_file_system_stops_a_backup_unless_it_is_allowed(path, tmp_path, monkeypatch):
    """Row 9, with the mounts as the system would tell them."""
    make(path, "CREATE TABLE t(a)")
    mounts = tmp_path / "mountinfo"
    point = os.path.realpath(tmp_path)
    mounts.write_text(
        "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
        f"99 22 0:50 / {point} rw shared:9 - nfs4 server:/export rw\n"
    )
    monkeypatch.setattr(
        "litekeep.engine.backup.refuse_unsafe",
        lambda real: refuse_unsafe(real, mountinfo=mounts),
    )
    job = job_of(path, tmp_path)
    with pytest.raises(UnsafeFileSystem, match="lies on nfs4") as caught:
        backup(job)
    assert caught.value.exit_code == 14
    assert backup(replace(job, allow_unsafe_file_system=True)).failure is None


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_a_second_name_of_a_file_is_refused_and_the_applications_is_not(path, tmp_path, mode):
    """Row 9, within one file system: the log lies beside the name that the file was opened by."""
    (tmp_path / "other").mkdir()
    other = tmp_path / "other/app.db"
    with Application(path) as app:
        app.run(f"PRAGMA journal_mode={mode}; CREATE TABLE t(a)")
        if mode == "WAL":
            app.checkpoint("TRUNCATE")
        os.link(path, other)
        with pytest.raises(UnsafeFileSystem, match="has another name too") as caught:
            backup(job_of(other, tmp_path))
        assert "--allow-unsafe-file-system" in str(caught.value.hint)
        job = replace(job_of(other, tmp_path), allow_unsafe_file_system=True)
        if mode == "WAL":
            assert backup(job_of(path, tmp_path)).failure is None  # its log is empty, but open
            app.run("INSERT INTO t VALUES (1)")
            with pytest.raises(UnsafeFileSystem, match="has another name too"):
                backup(job_of(other, tmp_path))
            assert backup(job_of(path, tmp_path)).failure is None
        assert backup(job).failure is None


@pytest.mark.parametrize("name", ["app.db.undo-20250908_120001", ".litekeep-0123456789abcdef.tmp"])
def test_the_second_name_that_a_killed_restore_left_is_no_reason_to_refuse(path, tmp_path, name):
    make(path, "CREATE TABLE t(a)")
    os.link(path, tmp_path / name)
    assert backup(job_of(path, tmp_path)).failure is None


@pytest.mark.parametrize(
    "sql",
    [
        "PRAGMA locking_mode=EXCLUSIVE; CREATE TABLE t(a)",
        "PRAGMA journal_mode=WAL; PRAGMA locking_mode=EXCLUSIVE; CREATE TABLE t(a)",
        "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; CREATE TABLE t(a)",
        "CREATE TABLE t(a); BEGIN EXCLUSIVE",
    ],
)
def test_a_process_that_keeps_everybody_out_is_named(path, tmp_path, sql):
    """Row 17."""
    with Application(path) as app:
        app.run(sql)
        job = replace(job_of(path, tmp_path), busy_timeout_seconds=0.1)
        with pytest.raises(DatabaseBusy, match=rf"is locked by .*\(process {app.id}\)") as caught:
            backup(job)
        assert "EXCLUSIVE" in str(caught.value.hint)
    assert backup(job).failure is None


def test_a_writer_that_ends_in_time_is_waited_for(path, tmp_path):
    """Row 16: a write transaction of some milliseconds is no reason to fail."""
    make(path, "CREATE TABLE t(a)")
    with Application(path) as app:
        app.run("BEGIN EXCLUSIVE; INSERT INTO t VALUES (1)")
        timer = threading.Timer(0.3, lambda: app.run("COMMIT"))
        timer.start()
        result = backup(job_of(path, tmp_path))
        timer.join()
    with opened(gunzipped(tmp_path / "store" / result.stores[0].object)) as copy:
        assert copy.execute("SELECT count(*) FROM t").fetchall() == [(1,)]


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_a_file_that_is_replaced_while_it_is_read_gives_no_snapshot(path, tmp_path, mode):
    """Row 19."""
    make(path, f"PRAGMA journal_mode={mode}", "CREATE TABLE t(a)", FILL)
    (tmp_path / "new").mkdir()
    make(tmp_path / "new/app.db", "CREATE TABLE u(a)")
    before = (tmp_path / "new/app.db").read_bytes()
    with pytest.raises(DatabaseBusy, match="was replaced by another file"):
        during(path, tmp_path, lambda: os.replace(tmp_path / "new/app.db", path))
    assert path.read_bytes() == before
    stored = [name for _, _, names in os.walk(tmp_path / "store") for name in names]
    assert [name for name in stored if ".db" in name] == []


def shortened(path: Path) -> None:
    os.truncate(path, 4096)


def overwritten(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(os.urandom(8192))


def written_past_its_end(path: Path) -> None:
    with path.open("ab") as file:
        file.write(bytes(8192))


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
@pytest.mark.parametrize("act", [shortened, overwritten, written_past_its_end])
@pytest.mark.parametrize("is_checked", [True, False])
def test_a_file_that_is_rewritten_in_place_gives_no_snapshot(path, tmp_path, mode, act, is_checked):
    """Row 3, by others: `cp` over the live file, `rsync --inplace`; the check may be through."""
    make(path, f"PRAGMA journal_mode={mode}", "CREATE TABLE t(a)", FILL)
    with pytest.raises(CorruptionError, match="rewritten under a held read mark"):
        during(path, tmp_path, lambda: act(path), is_checked=is_checked)
    stored = [name for _, _, names in os.walk(tmp_path / "store") for name in names]
    assert [name for name in stored if ".db" in name] == []


def test_a_file_that_is_cut_off_below_its_log_gives_no_snapshot(path, tmp_path):
    """Pages that are in the log alone read as zeros in the file, and those of the file do not."""
    with Application(path) as app:
        in_wal_mode(app)
        app.checkpoint("TRUNCATE")
        app.run("INSERT INTO t VALUES ('in the log')")
        with pytest.raises(CorruptionError, match="rewritten under a held read mark"):
            during(path, tmp_path, lambda: os.truncate(path, 1 << 20))


def test_an_application_that_checkpoints_under_a_view_changes_nothing_in_it(path):
    """Invariant 5: the main file may grow, and get another time, by the frames of the log."""
    with Application(path) as app:
        in_wal_mode(app)
        with take_view(path) as live:
            assert live.view.frame_count > 0
            before = bytes_of(live)
            app.checkpoint("PASSIVE")
            assert path.stat().st_size > live.view.main_size
            assert bytes_of(live) == before
            live.refuse_changed()


def test_a_log_that_sqlite_uses_counts_whatever_the_header_says(path, tmp_path):
    """A log that was made to persist outlives its journal mode, and SQLite goes on using it."""
    with contextlib.closing(apsw.Connection(str(path))) as connection:
        connection.execute("PRAGMA journal_mode=WAL; CREATE TABLE t(a)").fetchall()
        is_wanted = ctypes.c_int(1)
        connection.file_control("main", apsw.SQLITE_FCNTL_PERSIST_WAL, ctypes.addressof(is_wanted))
        connection.execute("PRAGMA journal_mode=DELETE").fetchall()
    assert path.read_bytes()[18:20] == b"\1\1"
    with Application(path, library="sqlite3") as app:
        app.run("INSERT INTO t VALUES (1)")
        assert app.run("PRAGMA journal_mode") == [["wal"]]
        with take_view(path) as live:
            assert live.view.is_wal
            assert live.view.frame_count > 0
        result = backup(job_of(path, tmp_path))
    with opened(gunzipped(tmp_path / "store" / result.stores[0].object)) as copy:
        assert copy.execute("SELECT * FROM t").fetchall() == [(1,)]


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_a_file_that_is_removed_while_it_is_read_gives_no_snapshot(path, tmp_path, mode):
    """Row 19."""
    make(path, f"PRAGMA journal_mode={mode}", "CREATE TABLE t(a)", FILL)
    with pytest.raises(DatabaseBusy, match="was removed while it was read"):
        during(path, tmp_path, path.unlink)
    stored = [name for _, _, names in os.walk(tmp_path / "store") for name in names]
    assert [name for name in stored if ".db" in name] == []


def test_the_journal_mode_cannot_change_under_a_view(path):
    """Row 14: the application is told that the database is locked, and nothing is torn."""
    with Application(path, busy_timeout_seconds=0.05) as app:
        in_wal_mode(app)
        with take_view(path) as live:
            with contextlib.suppress(Exception):
                app.run("PRAGMA journal_mode=DELETE")
            assert app.run("PRAGMA journal_mode") == [["wal"]]
            assert live.view.frame_count > 0
        assert app.run("PRAGMA journal_mode=DELETE") == [["delete"]]


def test_a_failed_check_keeps_the_snapshot_marks_it_and_leaves_latest(path, tmp_path):
    """Row 21: damage is no reason to lose the last good copy."""
    make(path, "CREATE TABLE t(a)", FILL)
    job = job_of(path, tmp_path)
    good = backup(job)
    latest = (tmp_path / "store/latest.db.gz").read_bytes()
    with path.open("r+b") as file:
        file.seek(4096 * 5)
        file.write(b"\xa5" * 100)

    bad = backup(job)

    assert (good.integrity, bad.integrity) == ("ok", "failed")
    assert bad.failure is not None
    assert bad.failure.exit_code == 23
    assert gunzipped(tmp_path / "store" / bad.stores[0].object) == path.read_bytes()
    assert (tmp_path / "store/latest.db.gz").read_bytes() == latest


def test_an_empty_file_is_kept_and_comes_back_in_every_format(path, tmp_path):
    path.write_bytes(b"")
    readers = {"gzip": ["gzip", "-dc"], "zstd": ["zstd", "-dcq"], "none": ["cat"]}
    for name, reader in readers.items():
        result = backup(replace(job_of(path, tmp_path / name), format=name))
        assert result.failure is None
        assert result.size == 0
        stored = (tmp_path / name / "store" / result.stores[0].object).read_bytes()
        assert subprocess.run(reader, input=stored, check=True, capture_output=True).stdout == b""
