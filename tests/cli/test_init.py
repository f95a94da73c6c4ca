"""`litekeep init`."""

from __future__ import annotations

import os
import stat

import pytest

from tests.cli.conftest import make_database


def test_what_is_found_is_written_and_then_backed_up(shell):
    make_database(shell.folder / "instance/app.db")
    make_database(shell.folder / "data/app.db")

    ran = shell.run("init", "--to", "backups", "--timezone", "Europe/Berlin")

    assert ran.lines == ["Wrote litekeep.toml: 2 databases.", "Next: litekeep backup"]
    file = shell.folder / "litekeep.toml"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    found = shell.run("backup", "--json").json["backups"]
    assert sorted(item["name"].rpartition("_")[0].rpartition("_")[0] for item in found) == [
        "app",
        "app-2",
    ]
    assert {item["stores"][0]["url"] for item in found} == {
        str(shell.folder / "backups/app"),
        str(shell.folder / "backups/app-2"),
    }


def test_a_file_that_is_there_is_not_overwritten(shell, app):
    (shell.folder / "litekeep.toml").write_text("# mine\n")

    ran = shell.run("init")

    assert ran.code == 3
    assert (shell.folder / "litekeep.toml").read_text() == "# mine\n"
    assert shell.run("init", "--force").code == 0
    assert "# mine" not in (shell.folder / "litekeep.toml").read_text()


@pytest.mark.parametrize("what", ["app.db", "app.db-wal"])
def test_a_database_is_never_overwritten(shell, app, what):
    (shell.folder / "app.db-wal").write_bytes(b"commits that only the log has")
    before = (shell.folder / what).read_bytes()

    ran = shell.run("init", "--output", what, "--force")

    assert ran.code == 2
    assert f"{what} is a database or belongs to one" in ran.err
    assert (shell.folder / what).read_bytes() == before


def test_what_is_overwritten_appears_whole(shell, app):
    file = shell.folder / "litekeep.toml"
    file.write_text("# mine\n")
    before = file.stat().st_ino

    assert shell.run("init", "--force", "--database", "app.db").code == 0

    assert file.stat().st_ino != before  # another file was renamed over it
    assert sorted(path.name for path in shell.folder.iterdir()) == ["app.db", "litekeep.toml"]


def test_a_dry_run_prints_the_file(shell, app):
    ran = shell.run("init", "--dry-run", "--database", "app.db")

    assert f'path = "{app}"' in ran.lines
    assert not (shell.folder / "litekeep.toml").exists()


def test_nothing_found_is_an_error_that_says_what_to_do(shell):
    ran = shell.run("init")

    assert ran.code == 11
    assert "--database" in ran.err


def test_a_wrong_zone_is_refused(shell, app):
    assert shell.run("init", "--timezone", "Mars/Base").code == 2


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--to", "foo://x"], 2, "foo:// is not a kind of store"),
        (["--to", "s3://me:hunter2@b/x"], 2, "holds a user or a password"),
        (["--to", "s3://b?regoin=x"], 2, "regoin is not a parameter"),
        (["--to", ""], 2, "is empty"),
        (["--database", "none.db"], 11, "no database at none.db"),
        (["--database", "text.db"], 14, "text.db is no SQLite database"),
    ],
)
def test_what_cannot_work_is_not_written(shell, app, arguments, code, message):
    (shell.folder / "text.db").write_text("just text\n" * 100)

    ran = shell.run("init", *arguments)

    assert ran.code == code
    assert message in ran.err
    assert "hunter2" not in ran.err
    assert not (shell.folder / "litekeep.toml").exists()


def test_a_name_that_is_no_text_is_left_out_with_a_warning(shell, app):
    """The others are worth a configuration; a file of UTF-8 cannot name this one."""
    odd = os.fsdecode(b"caf\xe9.db")
    os.rename(make_database(shell.folder / "odd.db"), shell.folder / odd)

    ran = shell.run("init")

    assert ran.code == 0
    assert "warning: left out " in ran.err
    assert "caf\\udce9.db" in ran.err
    assert (shell.folder / "litekeep.toml").read_text().count("[[database]]") == 1
    assert shell.run("init", "--force", "--database", odd).code == 2
