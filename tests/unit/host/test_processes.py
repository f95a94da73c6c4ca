"""
Who has a file open, and who holds a lock on it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from litekeep.host import processes
from litekeep.host.processes import Process, lock_holders, openers
from tests.writers.application import Application
from tests.writers.shapes import make


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return make(tmp_path / "app.db", "CREATE TABLE t(a)")


def test_nobody_has_a_closed_file_open(path):
    assert openers(path).processes == ()
    assert lock_holders(path) == ()


def test_a_process_that_has_it_open_is_named(path):
    with Application(path) as app:
        app.run("SELECT * FROM t")
        found = openers(path)
        assert [process.id for process in found.processes] == [app.id]
        assert str(found.processes[0]).endswith(f"(process {app.id})")
        assert lock_holders(path) == ()
        app.close()
        assert openers(path).processes == ()


def test_a_link_and_another_name_lead_to_the_same_file(path, tmp_path):
    (tmp_path / "link.db").symlink_to(path)
    os.link(path, tmp_path / "hard.db")
    with Application(path) as app:
        app.run("SELECT * FROM t")
        for name in ("link.db", "hard.db"):
            assert [process.id for process in openers(tmp_path / name).processes] == [app.id]


def test_who_goes_on_with_a_removed_file_is_named(path, tmp_path):
    with Application(path) as app:
        app.run("SELECT * FROM t")
        path.unlink()
        assert [process.id for process in openers(path).processes] == [app.id]
        make(path, "CREATE TABLE other(a)")
        assert [process.id for process in openers(path).processes] == [app.id]
        assert openers(tmp_path / "other.db").processes == ()


@pytest.mark.parametrize("sql", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE", "BEGIN; SELECT * FROM t"])
def test_a_process_that_holds_a_lock_is_named(path, sql):
    with Application(path) as app:
        app.run(sql)
        assert [process.id for process in lock_holders(path)] == [app.id]
        app.run("COMMIT")
        assert lock_holders(path) == ()


def test_this_process_is_left_out(path):
    with path.open("rb"):
        assert openers(path).processes == ()


def test_a_file_that_is_not_there_is_open_nowhere(tmp_path):
    assert openers(tmp_path / "nothing").processes == ()
    assert lock_holders(tmp_path / "nothing") == ()


def fake_proc(folder: Path, path: Path) -> Path:
    """A /proc with one process, so that what root never meets can be shown."""
    (folder / "self/ns").mkdir(parents=True)
    (folder / "self/ns/pid").touch()
    (folder / "4711/fd").mkdir(parents=True)
    (folder / "4711/comm").write_text("gunicorn\n")
    (folder / "4711/fd/3").symlink_to(path)
    (folder / "4712").mkdir()
    return folder


def test_a_process_is_called_by_its_command(path, tmp_path):
    found = openers(path, proc=fake_proc(tmp_path / "proc", path))
    assert found.processes == (Process(4711, "gunicorn"),)
    assert str(found.processes[0]) == "gunicorn (process 4711)"
    assert found.is_confined  # another namespace of processes than the machine's first


def test_what_could_not_be_seen_is_counted(path, tmp_path, monkeypatch):
    proc = fake_proc(tmp_path / "proc", path)
    listdir = os.listdir

    def refuse(folder: Path) -> list[str]:
        if Path(folder).parts[-2:] == ("4711", "fd"):
            raise PermissionError(folder)
        return listdir(folder)

    monkeypatch.setattr(os, "listdir", refuse)
    found = openers(path, proc=proc)
    assert (found.processes, found.unseen_count) == ((), 1)


def test_where_the_first_process_is_hidden_others_may_be_too(path, tmp_path, monkeypatch):
    """/proc mounted with hidepid=2, and in the machine's own namespace of processes."""
    proc = fake_proc(tmp_path / "proc", path)
    number = (proc / "self/ns/pid").stat().st_ino
    monkeypatch.setattr(processes, "INITIAL_PID_NAMESPACE", number)
    assert openers(path, proc=proc).is_confined
    (proc / "1/fd").mkdir(parents=True)
    assert not openers(path, proc=proc).is_confined


def test_a_system_that_does_not_tell_is_said_to_be_one(path, tmp_path):
    found = openers(path, proc=tmp_path / "nothing")
    assert not found.is_supported
    assert lock_holders(path, proc=tmp_path / "nothing") == ()
