"""`litekeep dump`, of a live database and of restore points."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import subprocess

import pytest

from tests.cli.conftest import count_rows, make_database


def load(text, path):
    subprocess.run(["sqlite3", "-bail", path], input=text, text=True, check=True)


def test_the_live_database_is_dumped(shell, app, tmp_path):
    ran = shell.run("dump", "app.db")

    assert (ran.code, ran.err) == (0, "")
    load(ran.out, tmp_path / "copy.db")
    assert count_rows(tmp_path / "copy.db") == 3


def test_a_restore_point_is_dumped_from_wherever_it_lies(shell, app, tmp_path):
    shell.run("backup", "app.db")
    live = shell.run("dump", "app.db").out
    connection = sqlite3.connect(app)
    connection.execute("DELETE FROM t")
    connection.commit()
    connection.close()
    (data,) = (shell.folder / "app.db-backups").glob("*/*/*.db.gz")

    for arguments in (
        ["app.db", "--at", "latest"],
        [f"file://{app}-backups"],
        [data],
    ):
        assert shell.run("dump", *arguments).out == live


def test_a_file_appears_whole_and_is_not_overwritten_by_accident(shell, app):
    ran = shell.run("dump", "app.db", "--output", "app.sql", "--json")

    assert ran.json["bytes"] == (shell.folder / "app.sql").stat().st_size
    assert ran.json["damaged"] == []
    assert shell.run("dump", "app.db", "-o", "app.sql").code == 3
    assert shell.run("dump", "app.db", "-o", "app.sql", "--replace").code == 0
    assert sorted(path.name for path in shell.folder.iterdir()) == ["app.db", "app.sql"]


@pytest.mark.parametrize("what", ["app.db", "link.db", "other.db", "app.db-journal", "empty.db"])
def test_no_database_is_overwritten_by_its_text(shell, app, what):
    make_database(shell.folder / "other.db")
    (shell.folder / "link.db").symlink_to("app.db")
    (shell.folder / "empty.db").touch()
    (shell.folder / "app.db-journal").touch()
    source = "empty.db" if what == "empty.db" else "app.db"
    before = (shell.folder / what).read_bytes()

    ran = shell.run("dump", source, "--output", what, "--replace")

    assert ran.code == 2
    assert "is a database or belongs to one, and is not overwritten" in ran.err
    assert (shell.folder / what).read_bytes() == before


def test_a_stored_object_is_not_overwritten_by_text(shell, app):
    shell.run("backup", "app.db")
    for path in (shell.folder / "app.db-backups").rglob("*.*"):
        before = path.read_bytes()
        if path.name.startswith("."):
            continue  # of the store itself: no object

        ran = shell.run("dump", "app.db", "--output", path, "--replace")

        assert (ran.code, path.read_bytes()) == (2, before)
        assert "is an object of a store" in ran.err


def test_a_killed_dump_leaves_nothing_that_the_next_does_not_remove(shell, app, tmp_path):
    shell.run("backup", "app.db")
    left = tmp_path / "litekeep-dump-killed"
    living = tmp_path / "litekeep-dump-living"
    for folder in (left, living):
        folder.mkdir()
        (folder / "restored.db").write_bytes(b"x")
    descriptor = os.open(living, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        assert shell.run("dump", "app.db", "--at", "latest", TMPDIR=str(tmp_path)).code == 0
    finally:
        os.close(descriptor)

    assert [path.name for path in tmp_path.glob("litekeep-*")] == [living.name]


def test_json_and_text_do_not_share_standard_output(shell, app):
    assert shell.run("dump", "app.db", "--json").code == 2


def test_a_damaged_database_gives_what_it_can_and_exit_20(shell):
    path = make_database(shell.folder / "hurt.db", rows=20_000)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2 // 4096 * 4096)
        file.write(b"\x55" * 4096)

    ran = shell.run("dump", "hurt.db")

    assert ran.code == 20
    assert "error: the database is damaged" in ran.err
    load(ran.out, shell.folder / "copy.db")
    assert 19_000 < count_rows(shell.folder / "copy.db") < 20_000


def test_a_reader_that_goes_away_ends_the_dump_in_silence(shell):
    make_database(shell.folder / "app.db", rows=100_000)
    with shell.start("dump", "app.db", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read(100)
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait(10) == 141
