"""
What a restore promises about the file it replaces, and when it refuses to.

Applications are processes of their own, with the interpreter's SQLite.
"""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from litekeep.host.processes import INITIAL_PID_NAMESPACE

BUSY, NOT_FOUND, EXISTS, CHECKSUM, FORMAT = 14, 11, 3, 21, 22
IS_CONFINED = os.stat("/proc/self/ns/pid").st_ino != INITIAL_PID_NAMESPACE


def sql(path: Path, *statements: str) -> list[Any]:
    """Run statements in a process of its own; return the rows of the last."""
    script = (
        "import json, sqlite3, sys\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "for statement in sys.argv[2:]:\n"
        "    rows = connection.execute(statement).fetchall()\n"
        "connection.close()\n"
        "print(json.dumps(rows))\n"
    )
    command = [sys.executable, "-c", script, str(path), *statements]
    return list(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))


@contextlib.contextmanager
def application(path: Path, script: str) -> Iterator[subprocess.Popen[str]]:
    """Run a program that has the database open until the context ends."""
    source = (
        f"import os, sqlite3, sys\npath = sys.argv[1]\n{script}\n"
        "print('ready', flush=True)\nsys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", source, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.communicate()


@dataclass(frozen=True)
class Home:
    """A folder with a database `app.db` and backups of it."""

    folder: Path

    @property
    def database(self) -> Path:
        return self.folder / "app.db"

    @property
    def store(self) -> Path:
        return self.folder / "app.db-backups"

    def litekeep(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        if words[0] == "restore" and IS_CONFINED:  # others might run outside the container
            words = (*words, "--assume-stopped")
        return subprocess.run(
            [sys.executable, "-m", "litekeep", *map(str, words)],
            env=os.environ | {"LITEKEEP_STATE": str(self.folder / "state")},
            capture_output=True,
            text=True,
            check=False,
        )

    def restore(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        return self.litekeep("restore", self.database, "--replace", *words)

    def numbers(self, path: Path | None = None) -> list[int]:
        return [row[0] for row in sql(path or self.database, "SELECT number FROM t ORDER BY 1")]

    def undo(self) -> Path:
        (copy,) = self.folder.glob("app.db.undo-*")
        return copy

    def litter(self) -> list[str]:
        known = ("app.db", "app.db-backups", "state", "app.db-wal", "app.db-shm")
        return [p.name for p in self.folder.iterdir() if p.name not in known]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """The snapshot holds number 1; the database 1 and 2."""
    return home_in(tmp_path, "wal")


@pytest.fixture(params=["wal", "delete"])
def each_home(request: pytest.FixtureRequest, tmp_path: Path) -> Home:
    """The same, in each kind of journal mode."""
    return home_in(tmp_path, request.param)


def home_in(folder: Path, journal_mode: str) -> Home:
    home = Home(folder)
    mode = f"PRAGMA journal_mode = {journal_mode}"
    sql(home.database, mode, "CREATE TABLE t(number)", "INSERT INTO t VALUES (1)")
    run = home.litekeep("backup", home.database)
    assert run.returncode == 0, run.stderr
    sql(home.database, "INSERT INTO t VALUES (2)")
    return home


IDLE = "connection = sqlite3.connect(path); connection.execute('SELECT * FROM t').fetchall()"
READING = f"{IDLE}; connection.execute('BEGIN'); connection.execute('SELECT * FROM t').fetchall()"
WRITING = f"{IDLE}; connection.execute('BEGIN IMMEDIATE')"
ONLY_A_DESCRIPTOR = "descriptor = os.open(path, os.O_RDONLY)"


@pytest.mark.parametrize(
    "script", [IDLE, READING, WRITING, ONLY_A_DESCRIPTOR], ids=["idle", "reading", "writing", "fd"]
)
def test_a_file_that_a_process_has_open_is_not_replaced(each_home: Home, script: str):
    with application(each_home.database, script) as process:
        run = each_home.restore()
        assert run.returncode == BUSY
        assert f"(process {process.pid})" in run.stderr
        assert "hint: Stop it" in run.stderr
    assert each_home.numbers() == [1, 2]
    assert each_home.litter() == []
    assert each_home.restore().returncode == 0
    assert each_home.numbers() == [1]


def test_a_log_that_a_process_has_open_counts_as_the_database(tmp_path: Path):
    home = Home(tmp_path)
    sql(home.database, "PRAGMA journal_mode = wal", "CREATE TABLE t(number)")
    assert home.litekeep("backup", home.database).returncode == 0
    wal = Path(f"{home.database}-wal")
    wal.touch()
    with application(wal, ONLY_A_DESCRIPTOR) as process:
        run = home.restore()
        assert run.returncode == BUSY
        assert str(process.pid) in run.stderr


def test_the_undo_copy_is_the_old_database_and_restores(each_home: Home):
    run = each_home.restore()
    assert run.returncode == 0, run.stderr
    assert each_home.numbers() == [1]
    undo = each_home.undo()
    assert str(undo) in run.stdout
    assert each_home.numbers(undo) == [1, 2]
    assert undo.stat().st_ino != each_home.database.stat().st_ino

    run = each_home.litekeep(
        "restore", undo, "--output", each_home.database, "--replace", "--no-undo"
    )
    assert run.returncode == 0, run.stderr
    assert each_home.numbers() == [1, 2]
    assert undo.exists()


def test_without_undo_nothing_is_kept(each_home: Home):
    assert each_home.restore("--no-undo").returncode == 0
    assert each_home.numbers() == [1]
    assert each_home.litter() == []


def test_a_target_that_is_there_needs_replace(home: Home):
    run = home.litekeep("restore", home.database)
    assert run.returncode == EXISTS
    assert "--replace" in run.stderr
    assert home.numbers() == [1, 2]


def test_owner_mode_and_attributes_are_kept(home: Home):
    if os.geteuid() != 0:
        pytest.skip("only root may give files away")
    os.chown(home.database, 12345, 54321)
    os.chmod(home.database, 0o640)
    os.setxattr(home.database, "user.note", b"kept")
    assert home.restore().returncode == 0
    status = home.database.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (12345, 54321, 0o640)
    assert os.getxattr(home.database, "user.note") == b"kept"


def test_the_label_of_selinux_is_kept(home: Home):
    label = b"system_u:object_r:container_file_t:s0:c1,c2\0"
    try:
        os.setxattr(home.database, "security.selinux", label)
    except OSError as error:
        pytest.skip(f"no label can be set here: {error.strerror}")
    assert home.restore().returncode == 0
    assert os.getxattr(home.database, "security.selinux") == label


def test_a_link_is_followed_and_stays_a_link(home: Home, tmp_path: Path):
    link = tmp_path / "elsewhere" / "link.db"
    link.parent.mkdir()
    link.symlink_to(home.database)
    run = home.litekeep("restore", home.store, "--output", link, "--replace")
    assert run.returncode == 0, run.stderr
    assert link.is_symlink()
    assert home.numbers() == [1]
    assert os.listdir(link.parent) == ["link.db"]


def test_a_folder_that_is_not_there_is_said_so(home: Home):
    run = home.litekeep("restore", home.store, "--output", home.folder / "no" / "such.db")
    assert run.returncode == NOT_FOUND
    assert "hint: Make it first" in run.stderr


def damage(store: Path) -> None:
    """Turn one bit in the middle of the newest snapshot."""
    (data,) = store.glob("20*/*/*.db.gz")
    with data.open("r+b") as file:
        file.seek(data.stat().st_size // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))


@pytest.fixture
def two_stores(tmp_path: Path) -> Home:
    """The configuration names two stores, each with the snapshot."""
    home = Home(tmp_path)
    stores = "".join(
        f'[[store]]\nname = "{name}"\nurl = "{tmp_path / name}"\n' for name in ("near", "far")
    )
    config = tmp_path / "litekeep.toml"
    config.write_text(f'{stores}[[database]]\nname = "app"\npath = "{home.database}"\n')
    sql(home.database, "CREATE TABLE t(number)", "INSERT INTO t VALUES (1)")
    run = home.litekeep("backup", "app", "--config", config)
    assert run.returncode == 0, run.stderr
    sql(home.database, "INSERT INTO t VALUES (2)")
    return home


def test_a_damaged_copy_is_passed_over_for_the_next_store(two_stores: Home):
    config = two_stores.folder / "litekeep.toml"
    damage(two_stores.folder / "near")
    run = two_stores.litekeep("restore", "app", "--config", config, "--replace", "--json")
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["source"] == str(two_stores.folder / "far")
    assert json.loads(run.stdout)["proved"] is True
    assert "near" in run.stderr, "the damage is told"
    assert two_stores.numbers() == [1]


def test_where_every_copy_is_damaged_the_target_stays(two_stores: Home):
    config = two_stores.folder / "litekeep.toml"
    before = two_stores.database.read_bytes()
    damage(two_stores.folder / "near")
    damage(two_stores.folder / "far")
    run = two_stores.litekeep("restore", "app", "--config", config, "--replace")
    assert run.returncode in (CHECKSUM, FORMAT), run.stderr
    assert two_stores.database.read_bytes() == before
    assert not [name for name in os.listdir(two_stores.folder) if ".litekeep-" in name]


def test_a_snapshot_of_a_shell_script_restores_and_is_marked_unproven(home: Home):
    """`sqlite3 .backup` and `gzip -6`, with the name that the script gives."""
    month = home.folder / "by-script" / "2025" / "09"
    month.mkdir(parents=True)
    copy = month / "app_20250908_120001.db"
    subprocess.run(["sqlite3", str(home.database), f".backup {copy}"], check=True)
    subprocess.run(["gzip", "-6", str(copy)], check=True)
    output = home.folder / "out.db"
    run = home.litekeep("restore", home.folder / "by-script", "--output", output, "--json")
    assert run.returncode == 0, run.stderr
    result = json.loads(run.stdout)
    assert result["proved"] is False
    assert result["restored"]["state"] == "foreign"
    assert home.numbers(output) == [1, 2]


@pytest.mark.parametrize("kind", ["gzip", "plain"])
def test_a_single_file_of_anybodys_restores(home: Home, kind: str):
    plain = home.folder / "copy.db"
    subprocess.run(["sqlite3", str(home.database), f".backup {plain}"], check=True)
    file = plain
    if kind == "gzip":
        file = home.folder / "copy.db.gz"
        file.write_bytes(gzip.compress(plain.read_bytes()))
    output = home.folder / "out.db"
    source = f"file://{file}" if kind == "plain" else file
    run = home.litekeep("restore", source, "--output", output)
    assert run.returncode == 0, run.stderr
    assert "Not proved" in run.stdout
    assert home.numbers(output) == [1, 2]


def test_a_single_file_that_is_cut_off_or_no_database_leaves_nothing(home: Home):
    file = home.folder / "cut.db.gz"
    file.write_bytes(gzip.compress(home.database.read_bytes())[:-9])
    noise = home.folder / "noise.db.gz"
    noise.write_bytes(gzip.compress(b"not a database" * 1000))
    for source in (file, noise):
        output = home.folder / "out.db"
        run = home.litekeep("restore", source, "--output", output)
        assert run.returncode == FORMAT, run.stderr
        assert not output.exists()
    assert not [name for name in os.listdir(home.folder) if ".litekeep-" in name]


def test_an_empty_database_restores_as_an_empty_database(tmp_path: Path):
    home = Home(tmp_path)
    home.database.touch()
    assert home.litekeep("backup", home.database).returncode == 0
    sql(home.database, "CREATE TABLE t(number)", "INSERT INTO t VALUES (1)")
    run = home.restore()
    assert run.returncode == 0, run.stderr
    assert home.database.stat().st_size == 0
    assert home.numbers(home.undo()) == [1]


def test_a_lock_held_by_another_process_is_named(home: Home):
    """A lock alone, as another container's application would show it."""
    script = (
        "import fcntl\nfile = open(path, 'r+b')\nfcntl.lockf(file, fcntl.LOCK_EX, 512, 0x40000000)"
    )
    with application(home.database, script) as process:
        run = home.restore()
        assert run.returncode == BUSY
        assert str(process.pid) in run.stderr
    assert home.numbers() == [1, 2]


def test_a_copy_that_changes_between_plan_and_fetch_is_noticed(home: Home):
    """The plan's manifest stays the measure, whatever the name leads to later."""
    import litekeep

    if IS_CONFINED:
        pytest.skip("the plan asks who has the file open, which cannot be seen here")
    plan = litekeep.plan(home.database, replace=True)
    (data,) = home.store.glob("20*/*/*.db.gz")
    data.write_bytes(gzip.compress(home.database.read_bytes()))
    from litekeep.engine.restore import restore

    before = home.database.read_bytes()
    with pytest.raises(litekeep.errors.ChecksumMismatch):
        restore(plan)
    assert home.database.read_bytes() == before
    assert home.litter() == []


def test_an_intent_that_is_out_of_date_does_not_touch_a_repaired_database(tmp_path: Path):
    """A restore was killed over a damaged file; then somebody put a good one there."""
    home = Home(tmp_path)
    sql(home.database, "CREATE TABLE t(number)", "INSERT INTO t VALUES (1)")
    assert home.litekeep("backup", home.database).returncode == 0
    ready = Path(f"{home.database}.restoring.db")
    shutil.copy(home.database, ready)
    mark = {"device": 1, "inode": 2, "versions": None}
    undo = "app.db.undo-20250101_000000"
    intent = {"old": mark, "new": mark, "undo": undo, "keeps_undo": True}
    Path(f"{home.database}.restoring").write_text(json.dumps(intent))
    sql(home.database, "INSERT INTO t VALUES (3)")
    run = home.restore()
    assert run.returncode == 0, run.stderr
    assert home.numbers(home.undo()) == [1, 3]
    assert not ready.exists()
    assert not Path(f"{home.database}.restoring").exists()


def test_a_second_restore_does_not_disturb_one_at_work(tmp_path: Path):
    """The prepared file is locked by the run that made it."""
    home = Home(tmp_path)
    sql(home.database, "CREATE TABLE t(number)")
    assert home.litekeep("backup", home.database).returncode == 0
    ready = Path(f"{home.database}.restoring.db")
    with ready.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        run = home.restore()
        assert run.returncode == BUSY
        assert "another restore" in run.stderr
        assert ready.exists()
