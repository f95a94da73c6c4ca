"""
What is seen of a database's file, its log, its rights, and the room around it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from litekeep.config.settings import DatabaseSettings
from litekeep.doctor import database as checks
from litekeep.doctor.database import Seen, look_at
from litekeep.doctor.findings import Finding, guarded
from litekeep.doctor.permissions import permissions
from litekeep.doctor.space import space_for_backup, space_for_restore
from litekeep.engine.intent import intent_of, prepared_of
from litekeep.engine.undo import UNDO_MARK
from litekeep.errors import (
    DatabaseUnusable,
    LitekeepError,
    NoSpace,
    NotADatabase,
    NotFound,
    UnsafeFileSystem,
)
from litekeep.repository.layout import Repository
from litekeep.sources import Database
from litekeep.store.directory import DirectoryStore
from litekeep.store.memory import MemoryStore
from tests.unit.doctor.users import NOBODY, acting_as, as_root


def make(path: Path, mode: str = "wal") -> Path:
    """Make a database; nobody has it open afterwards."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA journal_mode={mode}")
        connection.execute("CREATE TABLE t(a)")
        connection.commit()
    return path


def named(path: Path, *, is_unsafe_allowed: bool = False) -> Database:
    listed = DatabaseSettings(path=path, name="app", allow_unsafe_file_system=is_unsafe_allowed)
    return Database("app", path, (), listed)


def seen(path: Path) -> Seen:
    return look_at(named(path), {})


def one(found: Iterator[Finding]) -> Finding:
    (finding,) = found
    return finding


def set_version(path: Path, number: int) -> None:
    with path.open("r+b") as file:
        file.seek(96)
        file.write(number.to_bytes(4, "big"))


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that every user may enter, unlike those of pytest."""
    folder = Path(tempfile.mkdtemp(prefix="lk-doctor-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_a_database_in_wal_mode_is_well(tmp_path: Path):
    it = seen(make(tmp_path / "app.db"))

    found = one(checks.is_that_file(named(it.path), it))
    assert (found.state, found.name) == ("ok", "database")
    assert str(it.path) in found.detail
    assert one(checks.journal_mode(named(it.path), it)).detail.startswith("WAL")
    assert one(checks.wal_size(named(it.path), it)).detail == "no log"


@pytest.mark.parametrize(
    ("content", "error"),
    [(None, NotFound), (b"x" * 4096, NotADatabase), (b"short", NotADatabase)],
)
def test_what_is_no_database_is_said(tmp_path: Path, content: bytes | None, error: type):
    path = tmp_path / "app.db"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(error):
        seen(path)


def test_an_empty_file_is_worth_a_look_and_one_whose_log_is_not_empty_a_failure(tmp_path: Path):
    path = tmp_path / "app.db"
    path.touch()
    assert one(checks.is_that_file(named(path), seen(path))).state == "warn"

    (tmp_path / "app.db-wal").write_bytes(b"x" * 100)
    with pytest.raises(DatabaseUnusable, match="its log is not"):
        seen(path)


def test_a_restore_that_was_cut_short_is_a_failure(tmp_path: Path):
    path = make(tmp_path / "app.db")
    intent_of(path).touch()
    assert seen(path)  # the target is whole
    prepared_of(path).touch()

    with pytest.raises(DatabaseUnusable, match="cut short"):
        seen(path)


def test_the_log_that_would_be_deleted_by_sqlite_is_left_as_it_is(tmp_path: Path):
    path = make(tmp_path / "app.db")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO t VALUES (1)")
        connection.commit()
        before = {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.suffix != ".db-shm"}
        it = seen(path)
        assert it.wal_size > 0
        one(checks.wal_size(named(path), it))
        after = {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.suffix != ".db-shm"}
        # And no lock of the application's is lost by it.
        connection.execute("BEGIN IMMEDIATE")
        other = sqlite3.connect(path, timeout=0)
        with contextlib.closing(other), pytest.raises(sqlite3.OperationalError):
            other.execute("BEGIN IMMEDIATE")
    assert before == after


def test_a_second_name_is_refused_as_a_backup_refuses_it(tmp_path: Path):
    path = make(tmp_path / "app.db")
    os.link(path, tmp_path / "other.db")

    with pytest.raises(UnsafeFileSystem, match="another name"):
        list(checks.is_that_file(named(path), seen(path)))
    allowed = one(checks.is_that_file(named(path, is_unsafe_allowed=True), seen(path)))
    assert allowed.state == "warn"


def test_an_undo_copy_is_no_second_name(tmp_path: Path):
    path = make(tmp_path / "app.db")
    os.link(path, tmp_path / f"app.db{UNDO_MARK}20260101_000000")

    assert one(checks.is_that_file(named(path), seen(path))).state == "ok"


def test_a_rollback_mode_is_told_with_a_hint(tmp_path: Path):
    path = make(tmp_path / "app.db", "delete")

    found = one(checks.journal_mode(named(path), seen(path)))
    assert found.state == "ok"
    assert "rollback" in found.detail
    assert "journal_mode=WAL" in found.hint


@pytest.mark.parametrize(("size", "state"), [(64 << 20, "ok"), ((64 << 20) + 1, "warn")])
def test_a_log_that_only_grows_is_told(tmp_path: Path, size: int, state: str):
    path = make(tmp_path / "app.db")
    with open(f"{path}-wal", "wb") as file:
        file.truncate(size)

    found = one(checks.wal_size(named(path), seen(path)))
    assert found.state == state
    assert (state == "ok") == ("checkpoints do not come" not in found.detail)


@pytest.mark.parametrize(
    ("number", "mode", "state", "said"),
    [
        (3040001, "wal", "warn", "3.40.1"),
        (3051002, "wal", "warn", "no proof"),
        (3040001, "delete", "ok", "does not matter"),
        (3051003, "wal", "ok", "3.51.3"),
        (3050007, "wal", "ok", "3.50.7"),
        (0, "wal", "warn", "could not be checked"),
    ],
)
def test_the_version_of_the_header_is_held_against_the_reset_bug(
    tmp_path: Path, number: int, mode: str, state: str, said: str
):
    path = make(tmp_path / "app.db", mode)
    set_version(path, number)

    found = one(checks.sqlite_version(named(path), seen(path)))
    assert found.state == state
    assert said in found.detail


@pytest.mark.parametrize(
    ("kind", "state", "said"),
    [
        ("ext4", "ok", "ext4"),
        ("overlay", "warn", "lost with the container"),
        ("tmpfs", "warn", "memory"),
        ("nfs4", "fail", "nfs4"),
    ],
)
def test_the_file_system_is_told(tmp_path: Path, kind: str, state: str, said: str):
    path = make(tmp_path / "app.db")
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(f"21 1 254:1 / / rw - {kind} /dev/vda1 rw\n")
    it = seen(path)

    (found,) = guarded(
        ["file-system"], "app", lambda: checks.file_system(named(path), it, mountinfo=mountinfo)
    )
    assert found.state == state
    assert said in found.detail
    if state == "fail":
        allowed = checks.file_system(named(path, is_unsafe_allowed=True), it, mountinfo=mountinfo)
        assert one(allowed).state == "warn"


def test_a_system_that_does_not_tell_its_mounts_is_not_taken_for_well(tmp_path: Path):
    path = make(tmp_path / "app.db")

    found = one(checks.file_system(named(path), seen(path), mountinfo=tmp_path / "none"))
    assert (found.state, found.detail[:20]) == ("warn", "could not be checked")


def test_rights_that_suffice_are_well(tmp_path: Path):
    found = one(permissions("app", seen(make(tmp_path / "app.db"))))

    assert found.state == "ok"
    assert "mode 0644" in found.detail


@as_root
def test_who_may_only_read_is_told_that_he_cannot_restore(shared: Path):
    path = make(shared / "app.db", "delete")
    it = seen(path)
    with acting_as(NOBODY):
        found = one(permissions("app", it))

    assert found.state == "warn"
    assert f"user id {NOBODY}" in found.detail
    assert str(shared) in found.detail


@as_root
def test_who_may_not_read_a_wal_database_that_nobody_has_open_is_told_so(shared: Path):
    it = seen(make(shared / "app.db"))

    with acting_as(NOBODY), pytest.raises(DatabaseUnusable, match="permission to write"):
        list(permissions("app", it))


@as_root
def test_a_file_that_may_not_be_read_is_a_failure_that_names_the_user(shared: Path):
    path = make(shared / "app.db")
    path.chmod(0o600)

    with acting_as(NOBODY), pytest.raises(DatabaseUnusable) as raised:
        seen(path)
    assert "cannot be read" in raised.value.message
    assert str(NOBODY) in (raised.value.hint or "")


@as_root
def test_a_log_of_another_owner_is_told(shared: Path):
    path = make(shared / "app.db")
    os.chown(path, NOBODY, NOBODY)
    Path(f"{path}-wal").touch()

    found = [*permissions("app", seen(path))]
    assert any("app.db-wal belongs to root" in each.detail for each in found)
    assert all(each.state == "warn" for each in found)


def test_what_every_user_may_write_to_is_told(tmp_path: Path):
    path = make(tmp_path / "app.db")
    path.chmod(0o666)

    found = one(permissions("app", seen(path)))
    assert found.state == "warn"
    assert "every user" in found.detail
    assert found.hint.endswith(f"chmod o-w {path}")


def backup_space(it: Seen, *stores, state: Path, last: int | None) -> list[Finding]:
    repositories = [Repository(store, "app") for store in stores]
    return [*space_for_backup("app", it, repositories, state, last)]


def test_there_is_room_for_a_small_database(tmp_path: Path):
    it = seen(make(tmp_path / "app.db"))

    (found,) = backup_space(it, DirectoryStore(tmp_path / "b"), state=tmp_path, last=None)
    assert (found.state, found.name) == ("ok", "space-backup")
    assert one(space_for_restore("app", it)).state == "ok"


def test_a_snapshot_that_does_not_fit_is_a_failure_and_one_that_may_not_fit_a_warning(
    tmp_path: Path,
):
    it = seen(make(tmp_path / "app.db"))
    room = os.statvfs(tmp_path)
    free = room.f_bavail * room.f_frsize
    local = DirectoryStore(tmp_path / "not" / "there")

    with pytest.raises(NoSpace, match="as the last snapshot"):
        backup_space(it, local, state=tmp_path, last=2 * free)
    (tight,) = backup_space(it, local, state=tmp_path, last=int(free * 0.4))
    assert tight.state == "warn"  # a folder of dates has a copy as latest
    (well,) = backup_space(it, local, state=tmp_path, last=int(free * 0.1))
    assert well.state == "ok"


def test_what_goes_to_distant_stores_alone_takes_room_in_the_state_folder(tmp_path: Path):
    it = seen(make(tmp_path / "app.db"))

    (found,) = backup_space(it, MemoryStore(), state=tmp_path / "state", last=None)
    assert found.detail.startswith(f"{tmp_path} has")


def test_two_stores_on_one_disk_take_the_room_of_both(tmp_path: Path):
    it = seen(make(tmp_path / "app.db"))
    stores = [DirectoryStore(tmp_path / name) for name in "ab"]

    (found,) = backup_space(it, *stores, state=tmp_path, last=1000)
    assert "takes 3.9 KiB" in found.detail


def test_a_restore_that_does_not_fit_is_a_failure(tmp_path: Path):
    it = seen(make(tmp_path / "app.db"))
    room = os.statvfs(tmp_path)
    large = Seen(it.path, it.header, room.f_bavail * room.f_frsize + 1, 0)

    with pytest.raises(NoSpace, match="the database needs"):
        list(space_for_restore("app", large))


def test_every_failure_says_what_to_do(tmp_path: Path):
    with pytest.raises(LitekeepError) as raised:
        seen(tmp_path / "none.db")
    assert raised.value.hint
