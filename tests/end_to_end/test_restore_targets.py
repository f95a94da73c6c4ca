"""
What a restore does about targets that are odd: damaged in unusual ways, not of this user, in
use by somebody who cannot be seen, or no file at all.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import litekeep
from litekeep.engine import swap as swapping
from litekeep.engine.in_use import refuse_if_open
from litekeep.errors import DatabaseBusy, DatabaseUnusable, NotADatabase
from tests.end_to_end.test_restore_rules import (
    BUSY,
    IDLE,
    IS_CONFINED,
    Home,
    application,
    home_in,
)
from tests.interpreter import why_private

NOBODY = 65534
UNUSABLE = 14
_WHY_NOT = "only root may become another user" if os.geteuid() != 0 else why_private()
as_root = pytest.mark.skipif(_WHY_NOT is not None, reason=str(_WHY_NOT))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return home_in(tmp_path, "wal")


@pytest.fixture
def rollback_home(tmp_path: Path) -> Home:
    return home_in(tmp_path, "delete")


@pytest.fixture(params=["delete"])
def open_home(request: pytest.FixtureRequest) -> Iterator[Home]:
    """One that other users may enter: pytest closes its own folders to them."""
    with tempfile.TemporaryDirectory(prefix="litekeep-test-") as folder:
        home = home_in(Path(folder), request.param)
        home.folder.chmod(0o777)
        subprocess.run(["chmod", "-R", "a+rX", str(home.store)], check=True)
        yield home


# ------------------------------------------------------------------------- damage


def set_write_version(database: Path) -> None:
    with database.open("r+b") as file:
        file.seek(18)
        file.write(b"\x03")


def leave_a_dangling_log(database: Path) -> None:
    Path(f"{database}-wal").symlink_to("nowhere")


def leave_a_folder_as_journal(database: Path) -> None:
    Path(f"{database}-journal").mkdir()
    Path(f"{database}-journal", "note").write_text("kept")


ODD = [set_write_version, leave_a_dangling_log, leave_a_folder_as_journal]


@pytest.mark.parametrize("damage", ODD, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("journal_mode", ["wal", "delete"])
def test_whatever_is_wrong_with_the_old_file_it_is_replaced_and_kept(
    tmp_path: Path, journal_mode: str, damage: Any
):
    home = home_in(tmp_path, journal_mode)
    damage(home.database)
    before = home.database.read_bytes()
    run = home.restore()
    assert run.returncode == 0, run.stderr
    assert home.numbers() == [1]
    undo = next(p for p in tmp_path.iterdir() if ".undo-" in p.name and p.suffix[-1].isdigit())
    assert undo.read_bytes() == before
    if damage is leave_a_dangling_log and journal_mode == "wal":  # else SQLite needs no log
        assert os.readlink(f"{undo}-wal") == "nowhere"
    if damage is leave_a_folder_as_journal:
        assert Path(f"{undo}-journal", "note").read_text() == "kept"
    assert not any(os.path.lexists(f"{home.database}{s}") for s in ("-wal", "-journal"))
    assert not [name for name in home.litter() if ".undo-" not in name]


def test_a_disk_that_cannot_read_the_old_file_is_a_reason_to_restore(
    home: Home, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_: object, **__: object) -> None:
        raise DatabaseUnusable("disk I/O error")

    monkeypatch.setattr(swapping, "settled", fail)
    result = litekeep.restore(home.database, replace=True, assume_stopped=IS_CONFINED)
    assert home.numbers() == [1]
    assert result.undo is not None
    assert home.numbers(result.undo) == [1, 2]


def test_the_old_files_journal_mode_is_that_of_the_undo_copy(home: Home):
    before = home.database.read_bytes()
    assert home.restore().returncode == 0
    assert home.undo().read_bytes() == before
    assert home.numbers(home.undo()) == [1, 2]


# --------------------------------------------------------------------- who has it open


def test_a_process_that_goes_on_with_a_removed_database_is_named(rollback_home: Home):
    with application(rollback_home.database, IDLE) as process:
        rollback_home.database.unlink()
        for more in ([], ["--replace"]):
            run = rollback_home.litekeep(
                "restore", rollback_home.store, "--output", rollback_home.database, *more
            )
            assert run.returncode == BUSY
            assert f"(process {process.pid})" in run.stderr
    assert not rollback_home.database.exists()
    assert rollback_home.restore().returncode == 0


def run_as_nobody(home: Home, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a restore as a user without rights, who may not read the modules: they are loaded."""
    source = (
        "import os, sys\n"
        "from litekeep.cli import main, restore\n"
        "import litekeep.engine.restore, litekeep.sqlite.checking, encodings.idna, tomllib\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "sys.exit(main.run(sys.argv[1:]))\n"
    )
    return subprocess.run(
        [sys.executable, "-c", source, "restore", *map(str, words)],
        env=os.environ
        | {"LITEKEEP_STATE": str(home.folder / "state-of-nobody"), "HOME": str(home.folder)}
        | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        cwd=home.folder,
        capture_output=True,
        text=True,
        check=False,
    )


@as_root
def test_another_users_idle_application_is_noticed(open_home: Home):
    """It holds no lock, and /proc hides it; its owner may ask the kernel."""
    home = open_home
    os.chown(home.database, NOBODY, NOBODY)
    words = (home.store, "--output", home.database, "--replace")
    with application(home.database, IDLE):
        run = run_as_nobody(home, *words)
        assert run.returncode == BUSY, run.stdout
        assert "in use by a process that cannot be seen from here" in run.stderr
    assert home.numbers() == [1, 2]
    run = run_as_nobody(home, *words)
    assert run.returncode == 0, run.stderr
    assert home.numbers() == [1]


@as_root
def test_where_another_users_processes_cannot_be_known_the_user_must_vouch(open_home: Home):
    home = open_home
    home.database.chmod(0o666)
    words = (home.store, "--output", home.database, "--replace")
    run = run_as_nobody(home, *words)
    assert run.returncode == BUSY, run.stdout
    assert "it cannot be seen from here whether a process has" in run.stderr
    assert "--assume-stopped" in run.stderr
    assert home.numbers() == [1, 2]
    run = run_as_nobody(home, *words, "--assume-stopped")
    assert run.returncode == 0, run.stderr
    assert "will belong to user 65534 instead of 0 and group 65534 instead of 0" in run.stdout


@as_root
def test_a_file_of_another_group_is_said_to_lose_its_group_alone(open_home: Home):
    home = open_home
    os.chown(home.database, NOBODY, 12345)
    run = run_as_nobody(home, home.store, "--output", home.database, "--replace")
    assert run.returncode == 0, run.stderr
    assert f"{home.database} will belong to group 65534 instead of 12345" in run.stdout


@as_root
@pytest.mark.parametrize("open_home", ["wal", "delete"], indirect=True)
def test_a_users_own_read_only_database_is_replaced(open_home: Home):
    home = open_home
    os.chown(home.database, NOBODY, NOBODY)
    home.database.chmod(0o444)
    run = run_as_nobody(home, home.store, "--output", home.database, "--replace")
    assert run.returncode == 0, run.stderr
    assert home.database.stat().st_mode & 0o777 == 0o444
    assert home.numbers() == [1]


@as_root
def test_a_second_name_that_linux_refuses_is_not_blamed_on_the_file_system(open_home: Home):
    home = open_home
    if Path("/proc/sys/fs/protected_hardlinks").read_text() != "1\n":
        pytest.skip("Linux lets everybody link everything here")
    home.database.chmod(0o644)
    words = (home.store, "--output", home.database, "--replace", "--assume-stopped")
    run = run_as_nobody(home, *words)
    assert run.returncode != 0
    assert "protected_hardlinks" in run.stderr
    assert "has no hard links" not in run.stderr
    assert home.numbers() == [1, 2]


@pytest.mark.parametrize("kind", ["nfs4", "virtiofs"])
def test_where_other_machines_may_have_it_open_the_user_must_vouch(
    home: Home, tmp_path: Path, kind: str
):
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(f"1 0 0:1 / {tmp_path} rw - {kind} server:/share rw\n")
    with pytest.raises(DatabaseBusy, match=f"lies on {kind}") as found:
        refuse_if_open(home.database, mountinfo=mountinfo)
    assert "--assume-stopped" in str(found.value.hint)
    refuse_if_open(home.database, assume_stopped=True, mountinfo=mountinfo)
    mountinfo.write_text(f"1 0 0:1 / {tmp_path} rw - ext4 /dev/sda rw\n")
    refuse_if_open(home.database, assume_stopped=IS_CONFINED, mountinfo=mountinfo)


# --------------------------------------------------------------------- what is no file


def test_a_target_that_is_no_regular_file_is_refused_as_such(home: Home):
    pipe = home.folder / "pipe"
    os.mkfifo(pipe)
    for more in ([], ["--replace"]):
        run = home.litekeep("restore", home.store, "--output", pipe, *more)
        assert run.returncode == UNUSABLE
        assert "is not a regular file" in run.stderr
    folder = home.folder / "folder"
    folder.mkdir()
    for replace in (False, True):
        with pytest.raises(NotADatabase, match="is not a regular file"):
            litekeep.restore(str(home.store), folder, replace=replace)


def test_a_target_whose_name_sqlite_cannot_be_told_is_refused(home: Home):
    target = os.fsdecode(os.fsencode(home.folder) + b"/\xff.db")
    run = home.litekeep("restore", home.store, "--output", target)
    assert run.returncode == UNUSABLE, run.stderr
    assert "is not UTF-8" in run.stderr
