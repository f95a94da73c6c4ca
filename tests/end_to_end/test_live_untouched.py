"""
The source is untouched: what lies in its folder before a backup lies there after it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from litekeep.engine import events
from litekeep.engine.backup import backup
from litekeep.errors import DatabaseUnusable
from litekeep.sqlite.live import take_view
from litekeep.sqlite.settle import settled
from tests.end_to_end.test_live_writers import job_of
from tests.writers.application import ROOT, Application
from tests.writers.ledger import Habits, at_work, make_ledger
from tests.writers.reading import bytes_of, copy_of, opened
from tests.writers.shapes import make, make_hot_journal

NOBODY = 65534
FILL = (
    "WITH n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 300) "
    "INSERT INTO t SELECT i || hex(randomblob(200)) FROM n"
)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be several users")

Facts = dict[str, tuple[bytes, int, int, int, int, int]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def facts(folder: Path, *, but: str = "") -> Facts:
    """Return what can be known of each file: bytes, times, owner, mode, inode."""
    found: Facts = {}
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if but and entry.name.endswith(but):
            continue
        status = entry.stat()
        found[entry.name] = (
            Path(entry.path).read_bytes(),
            status.st_mtime_ns,
            status.st_uid,
            status.st_gid,
            status.st_mode,
            status.st_ino,
        )
    return found


@pytest.mark.parametrize("mode", ["DELETE", "TRUNCATE", "PERSIST", "MEMORY", "OFF", "WAL"])
@pytest.mark.parametrize("is_open", [False, True])
def test_nothing_in_the_folder_changes(folder, tmp_path, mode, is_open):
    """But for the `-shm` of an open application, where read marks are kept."""
    path = folder / "app.db"
    with Application(path) as app:
        app.run(f"PRAGMA journal_mode={mode}; CREATE TABLE t(a)")
        app.run(FILL)
        if not is_open:
            app.close()
            app.end()
        before = facts(folder, but="-shm")
        names = os.listdir(folder)
        assert ("app.db-wal" in names) == (is_open and mode == "WAL")

        result = backup(job_of(path, tmp_path))

        assert result.failure is None
        assert facts(folder, but="-shm") == before
        assert sorted(os.listdir(folder)) == sorted(names)


def test_a_log_that_a_crash_left_stays_as_it_is(folder, tmp_path):
    path = folder / "app.db"
    with Application(path) as app:
        app.run("PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; CREATE TABLE t(a)")
        app.run(FILL)
        app.kill()
    before = facts(folder, but="-shm")
    for _ in range(2):
        assert backup(job_of(path, tmp_path)).failure is None
        assert facts(folder, but="-shm") == before


#: Takes a view and is killed.
KILLED = """
import os, signal, sys
from pathlib import Path
from litekeep.sqlite.live import take_view
with take_view(Path(sys.argv[1])):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_run_of_ours_left_is_removed_by_the_next(folder):
    path = make(folder / "app.db", "PRAGMA journal_mode=WAL", "CREATE TABLE t(a)", FILL)
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    subprocess.run([sys.executable, "-c", KILLED, path], cwd=ROOT, env=environ, check=False)
    assert sorted(os.listdir(folder)) == ["app.db", "app.db-shm", "app.db-wal"]
    with take_view(path):
        pass
    assert os.listdir(folder) == ["app.db"]


def view_of(path: Path) -> None:
    with take_view(path):
        pass


def settling_of(path: Path) -> None:
    with settled(str(path), busy_timeout_seconds=0):
        pass


@pytest.mark.parametrize("read", [view_of, settling_of])
@pytest.mark.parametrize(("suffix", "mode"), [("-wal", "WAL"), ("-journal", "DELETE")])
def test_the_log_of_a_file_of_no_bytes_is_never_deleted(folder, read, suffix, mode):
    """SQLite takes it for the remnant of another database, and deletes it even when reading."""
    path = make(folder / "app.db", "CREATE TABLE t(a)", FILL)
    with Application(path) as app:
        app.run(f"PRAGMA journal_mode={mode}; PRAGMA wal_autocheckpoint=0")
        app.run("BEGIN IMMEDIATE; PRAGMA cache_size=1; UPDATE t SET a = a || 'x'")
        if mode == "WAL":
            app.run("COMMIT")
        app.kill()
    os.truncate(path, 0)
    before = facts(folder)
    assert len(before[f"app.db{suffix}"][0]) > 512
    with pytest.raises(DatabaseUnusable, match="is empty but its (log|journal) is not"):
        read(path)
    assert facts(folder) == before


def test_a_database_that_is_just_being_made_is_an_empty_one(folder):
    """Its journal holds no page: there was none."""
    path = folder / "app.db"
    with Application(path) as app:
        app.run("PRAGMA journal_mode=PERSIST; BEGIN; CREATE TABLE t(a)")
        assert (folder / "app.db-journal").stat().st_size > 0
        with take_view(path) as live:
            assert live.view.size == 0
        app.run("COMMIT")


def test_a_hot_journal_is_the_exception_and_is_told(folder, tmp_path):
    path = folder / "app.db"
    before = make_hot_journal(path)
    said: list[events.Event] = []

    assert backup(job_of(path, tmp_path), said.append).failure is None

    assert path.read_bytes() == before
    assert os.listdir(folder) == ["app.db"]
    assert any("hot journal" in event.text for event in said if isinstance(event, events.Note))


def test_an_application_that_comes_and_goes_during_a_view_loses_nothing(folder):
    """Its close is not the last one, so its commits stay in the log."""
    path = folder / "app.db"
    make(path, "PRAGMA journal_mode=WAL", "CREATE TABLE t(a)", FILL)
    main = path.read_bytes()
    with take_view(path) as live:
        with Application(path) as app:
            app.run("INSERT INTO t VALUES ('during')")
            app.close()
        assert bytes_of(live) == main
        assert path.read_bytes() == main
    assert sorted(os.listdir(folder)) == ["app.db", "app.db-shm", "app.db-wal"]
    with opened(copy_of(path)) as copy:
        assert copy.execute("SELECT count(*) FROM t WHERE a = 'during'").fetchall() == [(1,)]
    with Application(path) as app:
        assert app.run("SELECT count(*) FROM t WHERE a = 'during'") == [[1]]
        app.close()
    assert os.listdir(folder) == ["app.db"]


def test_an_application_that_stays_keeps_its_log(folder):
    path = folder / "app.db"
    make(path, "PRAGMA journal_mode=WAL", "CREATE TABLE t(a)")
    with Application(path) as app:
        with take_view(path):
            app.run("SELECT * FROM t")
        assert sorted(os.listdir(folder)) == ["app.db", "app.db-shm", "app.db-wal"]
        app.run("INSERT INTO t VALUES (1)")
        assert app.run("SELECT * FROM t") == [[1]]


def test_a_writer_without_patience_never_meets_us_in_wal_mode(folder, tmp_path):
    path = folder / "app.db"
    make_ledger(path)
    impatient = Habits(str(path), 9, busy_timeout_seconds=0, autocheckpoint=100)
    views = 0
    with at_work([impatient]) as did:
        for _ in range(3):
            assert backup(job_of(path, tmp_path)).failure is None
        while views < 60:
            with take_view(path) as live:
                live.pages().at(0, 4096)
            views += 1
    assert did["busy"] == 0
    assert did["commits"] > 50


def test_how_long_writers_were_held_off_is_told_in_rollback_modes(folder, tmp_path):
    path = folder / "app.db"
    make(path, "CREATE TABLE t(a)", FILL)
    said: list[events.Event] = []
    result = backup(job_of(path, tmp_path), said.append)
    assert 0 < result.held_seconds <= result.seconds
    texts = [event.text for event in said if isinstance(event, events.Note)]
    assert any(text.startswith("writers were held off for") for text in texts)

    make(path, "PRAGMA journal_mode=WAL")
    said.clear()
    backup(job_of(path, tmp_path, "other"), said.append)
    assert not [event for event in said if isinstance(event, events.Note)]


@pytest.mark.parametrize(
    ("mode", "level", "is_warned"), [("DELETE", 7, True), ("DELETE", 6, False), ("WAL", 19, False)]
)
def test_a_level_for_which_writers_would_wait_long_is_told_first(
    folder, tmp_path, mode, level, is_warned
):
    path = make(folder / "app.db", f"PRAGMA journal_mode={mode}", "CREATE TABLE t(a)", FILL)
    said: list[events.Event] = []
    backup(replace(job_of(path, tmp_path), format="zstd", level=level), said.append)
    told = [event for event in said if isinstance(event, events.Warned)]
    assert [f"writers wait until all is compressed at level {level}" in str(told)] == [is_warned]
    if is_warned:
        assert said.index(told[0]) == 0


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that other users reach."""
    folder = Path(tempfile.mkdtemp(prefix="litekeep-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@as_root
def test_what_we_make_as_root_beside_anothers_database_is_theirs_while_it_lasts(shared):
    path = make(shared / "app.db", "PRAGMA journal_mode=WAL", "CREATE TABLE t(a)")
    for each in (shared, path):
        os.chown(each, NOBODY, NOBODY)
    path.chmod(0o600)
    with take_view(path):
        assert sorted(os.listdir(shared)) == ["app.db", "app.db-shm", "app.db-wal"]
        for entry in os.scandir(shared):
            assert (entry.stat().st_uid, entry.stat().st_mode & 0o777) == (NOBODY, 0o600)
    assert os.listdir(shared) == ["app.db"]


#: Takes a view as another user, who could not even start this interpreter.
AS_NOBODY = f"""
import os, sys
from pathlib import Path
from litekeep.errors import LitekeepError
from litekeep.sqlite.live import take_view
import encodings.idna
os.setgroups([]); os.setegid({NOBODY}); os.seteuid({NOBODY})
try:
    with take_view(Path(sys.argv[1]), busy_timeout_seconds=0.2) as live:
        print("ok", live.view.page_count)
except LitekeepError as error:
    print(type(error).__name__, error.message, "/", error.hint)
"""


def as_nobody(path: Path) -> str:
    return subprocess.run(
        [sys.executable, "-c", AS_NOBODY, path],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout.strip()


@as_root
def test_a_user_who_may_only_read_can_copy_in_rollback_modes(shared):
    path = make(shared / "app.db", "CREATE TABLE t(a)")
    path.chmod(0o644)
    assert as_nobody(path) == "ok 2"
    assert os.listdir(shared) == ["app.db"]


@as_root
@pytest.mark.parametrize("folder_mode", [0o755, 0o777])
def test_a_user_who_may_only_read_leaves_nothing_that_would_lock_the_application_out(
    shared, folder_mode
):
    """SQLite would make a -wal and -shm that are this user's, and could not remove them."""
    path = make(shared / "app.db", "PRAGMA journal_mode=WAL", "CREATE TABLE t(a)")
    path.chmod(0o644)
    shared.chmod(folder_mode)
    said = as_nobody(path)
    assert said.startswith("DatabaseUnusable")
    assert "takes permission to write to it and to its folder" in said
    assert "application's user or as root" in said
    assert os.listdir(shared) == ["app.db"]


@as_root
def test_a_user_who_may_not_write_to_an_open_log_is_told_what_it_takes(shared):
    path = shared / "app.db"
    with Application(path) as app:
        app.run("PRAGMA journal_mode=WAL; CREATE TABLE t(a); INSERT INTO t VALUES (1)")
        path.chmod(0o644)
        said = as_nobody(path)
        assert said.startswith("DatabaseUnusable")
        assert "in WAL mode to write to its -wal and -shm" in said


@as_root
def test_a_user_who_may_write_leaves_nothing(shared):
    path = make(shared / "app.db", "PRAGMA journal_mode=WAL", "CREATE TABLE t(a)")
    path.chmod(0o666)
    shared.chmod(0o777)
    assert as_nobody(path) == "ok 2"
    assert os.listdir(shared) == ["app.db"]


@as_root
@pytest.mark.parametrize(("mode", "folder_mode"), [(0o644, 0o755), (0o666, 0o755)])
def test_a_hot_journal_that_may_not_be_rolled_back_is_told_and_not_copied(
    shared, mode, folder_mode
):
    path = shared / "app.db"
    make_hot_journal(path)
    for entry in os.scandir(shared):
        os.chmod(entry.path, mode)
    shared.chmod(folder_mode)
    said = as_nobody(path)
    assert said.startswith("DatabaseUnusable")
    assert "hot journal" in said
    assert "a user who may write" in said
    assert sorted(os.listdir(shared)) == ["app.db", "app.db-journal"]


@as_root
def test_a_file_that_may_not_be_read_is_told(shared):
    path = make(shared / "app.db", "CREATE TABLE t(a)")
    path.chmod(0o600)
    said = as_nobody(path)
    assert said.startswith("DatabaseUnusable")
    assert "Reading takes permission to read the file" in said
