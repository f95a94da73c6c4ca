"""A backup of a database that lost much, and `litekeep accept`."""

from __future__ import annotations

import gzip
import sqlite3
from pathlib import Path

import pytest

from tests.cli.conftest import Shell, make_database


@pytest.fixture
def app(shell: Shell) -> Path:
    path = make_database(shell.folder / "app.db", rows=1000)
    assert shell.run("backup", "app.db").code == 0
    return path


def lose(path: Path, rows: int = 900) -> None:
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM t WHERE id <= ?", (rows,))
    connection.commit()
    connection.close()


def states(shell: Shell) -> list[str]:
    points = shell.run("list", "app.db", "--json").json["restore_points"]
    return [point["state"] for point in points]


def test_a_database_that_lost_its_rows_is_kept_as_suspect(shell, app):
    whole = app.read_bytes()
    lose(app)
    ran = shell.run("backup", "app.db")

    assert ran.code == 23
    assert "is suspect: t has 100 rows, and had 1000" in ran.err
    assert "Updated latest marker" not in ran.out
    assert "completed" not in ran.out
    assert states(shell) == ["suspect", "ok"]
    latest = (shell.folder / "app.db-backups/latest.db.gz").read_bytes()
    assert gzip.decompress(latest) == whole


def test_it_stays_suspect_run_after_run_and_a_restore_takes_the_last_good_one(shell, app):
    lose(app)
    assert [shell.run("backup", "app.db", "--quiet").code for _ in range(2)] == [23, 23]

    assert states(shell) == ["suspect", "suspect", "ok"]
    assert shell.run("restore", "app.db", "-o", "back.db").code == 0
    connection = sqlite3.connect(shell.folder / "back.db")
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (1000,)
    connection.close()
    assert "suspect" in shell.run("prune", "app.db", "--keep", "last=1").out


def test_what_is_accepted_is_latest_and_the_next_backup_is_compared_with_it(shell, app):
    lose(app)
    shell.run("backup", "app.db")
    ran = shell.run("accept", "app.db")

    assert ran.code == 0, ran.err
    assert states(shell) == ["ok", "ok"]
    latest = (shell.folder / "app.db-backups/latest.db.gz").read_bytes()
    assert gzip.decompress(latest) == app.read_bytes()
    assert shell.run("backup", "app.db").code == 0
    assert shell.run("accept", "app.db").code == 11


def test_an_empty_database_where_the_old_one_was_is_suspect(shell, app):
    app.unlink()
    app.touch()
    ran = shell.run("backup", "app.db", "--json")

    assert ran.code == 23
    assert ran.json["stores"][0]["ok"] is True
    assert states(shell) == ["suspect", "ok"]


def test_the_alarm_can_be_turned_off_or_told_what_may_be_lost(shell, app):
    config = shell.folder / "litekeep.toml"
    config.write_text('[damage]\nignore = ["t"]\n')
    lose(app)
    assert shell.run("backup", "app.db").code == 0

    lose(app, 990)
    config.write_text("[damage]\nalarm = false\n")
    assert shell.run("backup", "app.db").code == 0


def test_a_dry_run_says_what_would_be_accepted_and_changes_nothing(shell, app):
    lose(app)
    name = shell.run("backup", "app.db", "--json").json["name"]
    kept = shell.folder / "app.db-backups"
    before = {path: path.read_bytes() for path in kept.rglob("*") if path.is_file()}

    ran = shell.run("accept", "app.db", "--dry-run")
    said = f"Would accept {name} in {kept}; nothing was changed (--dry-run)."
    assert (ran.code, ran.out.strip()) == (0, said)
    found = shell.run("accept", "app.db", "--dry-run", "--json").json
    assert found["dry_run"] is True
    assert [(point["name"], point["state"]) for point in found["accepted"]] == [(name, "suspect")]
    assert {path: path.read_bytes() for path in kept.rglob("*") if path.is_file()} == before
    assert states(shell) == ["suspect", "ok"]
    assert shell.run("accept", "app.db").code == 0
    assert shell.run("accept", "app.db", "--dry-run").code == 11
