"""`litekeep doctor`: what it says, in which form, and with which exit code."""

from __future__ import annotations

import contextlib
import json
import os
import re
from pathlib import Path
from typing import Any

import apsw
import pytest

from litekeep.doctor.findings import CHECKS
from tests.cli.conftest import Ran, Shell
from tests.servers.process import free_ports
from tests.servers.s3 import S3Server

#: Of a database with one local store.
EXPECTED = {
    *("configuration", "secrets", "library", "database", "file-system", "journal-mode"),
    *("wal-size", "sqlite-version", "permissions", "store", "delete", "conditions", "clock"),
    *("space-backup", "space-restore", "snapshot", "proof", "schedule", "image-secrets"),
}


@pytest.fixture
def app(shell: Shell) -> Path:
    """A database that a current SQLite has written, with a snapshot and a proof."""
    path = shell.folder / "app.db"
    with contextlib.closing(apsw.Connection(str(path))) as connection:
        connection.pragma("journal_mode", "wal")
        connection.execute("CREATE TABLE t(a); INSERT INTO t VALUES (1)")
    return path


@pytest.fixture
def kept(shell: Shell, app: Path) -> Path:
    assert shell.run("backup", app, "--quiet").code == 0
    assert shell.run("drill", app, "--quiet").code == 0
    return app


def checks(ran: Ran) -> list[dict[str, Any]]:
    assert set(ran.json) == {"checks"}
    found: list[dict[str, Any]] = ran.json["checks"]
    for each in found:
        assert set(each) == {"name", "state", "detail", "hint", "about"}
        assert each["state"] in ("ok", "warn", "fail")
        assert each["name"] in CHECKS
        assert each["detail"]
    return found


def not_ok(ran: Ran) -> set[str]:
    """What is not well, but for what this machine itself lacks."""
    names = {each["name"] for each in checks(ran) if each["state"] != "ok"}
    # A test may run in a container's own layer, and where nothing is scheduled.
    return names - {"schedule", "file-system"}


def test_a_database_that_is_kept_well_is_well(shell: Shell, kept: Path):
    ran = shell.run("doctor", kept, "--json")

    assert ran.code == 0
    assert not_ok(ran) == set()
    assert {each["name"] for each in checks(ran)} == EXPECTED
    assert [p.name for p in shell.folder.iterdir()] == ["app.db", "app.db-backups"]


def test_for_a_person_each_check_has_a_line_and_hints_stand_below(shell: Shell, kept: Path):
    kept.chmod(0o666)
    ran = shell.run("doctor", kept)

    assert ran.code == 0
    lines = ran.lines
    permissions = next(n for n, line in enumerate(lines) if " permissions " in line)
    assert lines[permissions].startswith("WARN  permissions     app: every user")
    assert lines[permissions + 1] == f"{'':22}hint: Take that right away: chmod o-w {kept}"
    shown = [line for line in lines if re.match(r"(OK  |WARN|FAIL)  [a-z-]+ +\S", line)]
    assert len(shown) == len(EXPECTED)
    assert re.fullmatch(r"19 checks: \d+ ok, \d+ warn, 0 fail", lines[-1])


def test_quiet_tells_what_is_not_well_and_nothing_else(shell: Shell, kept: Path):
    kept.chmod(0o666)
    ran = shell.run("doctor", kept, "--quiet")

    assert ran.out == ""
    assert "WARN  permissions" in ran.err
    assert "OK  " not in ran.err


def test_a_failure_ends_with_the_code_of_its_kind_and_hides_no_other(shell: Shell, kept: Path):
    (shell.folder / "broken.db").write_bytes(b"x" * 4096)
    ran = shell.run("doctor", "broken.db", "none.db", kept, "--json")

    assert ran.code == 14
    by_name = {(each["about"], each["name"]): each for each in checks(ran)}
    assert by_name["broken", "database"]["state"] == "fail"
    assert by_name["none", "database"]["detail"].startswith("no database at")
    assert by_name["none", "database"]["hint"] == "Check the path."
    assert by_name["none", "permissions"]["detail"] == "could not be checked: see database"
    assert by_name["app", "permissions"]["state"] == "ok"


def test_a_database_without_a_backup_is_a_failure(shell: Shell, app: Path):
    ran = shell.run("doctor", app, "--json")

    assert ran.code == 42
    assert not_ok(ran) >= {"snapshot", "proof", "store"}
    assert not (shell.folder / "app.db-backups").exists()


def test_nothing_to_check_is_told_with_a_hint(shell: Shell):
    ran = shell.run("doctor")

    assert ran.code == 0
    assert "WARN  configuration" in ran.out
    assert "litekeep init" in ran.out


def test_a_configuration_that_cannot_be_read_is_a_failure_and_the_rest_goes_on(shell: Shell):
    (shell.folder / "litekeep.toml").write_text("[[databas]]\n")
    ran = shell.run("doctor", "--json")

    assert ran.code == 2
    assert [each["name"] for each in checks(ran)] == ["configuration", "schedule", "image-secrets"]


def test_a_store_that_is_down_does_not_stop_the_others(
    shell: Shell, app: Path, seaweedfs: S3Server
):
    (port,) = free_ports(1)
    bucket = seaweedfs.new_bucket()
    (shell.folder / "litekeep.toml").write_text(
        f'[[store]]\nname = "down"\nurl = "s3://bucket/p"\nendpoint = "http://127.0.0.1:{port}"\n'
        'access_key_id = "x"\nsecret_access_key = { env = "KEY" }\nretry = "0s"\n'
        '[[store]]\nname = "unset"\nurl = "s3://bucket/q"\n'
        'access_key_id = "x"\nsecret_access_key = { env = "UNSET" }\n'
        f'[[store]]\nname = "up"\nurl = "s3://{bucket}/p"\nendpoint = "{seaweedfs.endpoint}"\n'
        f'access_key_id = "{seaweedfs.access_key}"\nsecret_access_key = {{ env = "KEY" }}\n'
        '[[store]]\nname = "local"\nurl = "backups"\n'
        '[[database]]\npath = "app.db"\n'
    )
    environ = {"KEY": seaweedfs.secret_key}
    assert shell.run("backup", "--quiet", **environ).code == 31
    ran = shell.run("doctor", "--json", **environ)

    stores = {each["about"]: each for each in checks(ran) if each["name"] == "store"}
    down, unset, up = (f"app in s3://{place}" for place in ("bucket/p", "bucket/q", f"{bucket}/p"))
    assert stores[down]["state"] == "fail"
    assert stores[unset]["detail"].endswith("UNSET, which holds a secret, is not set")
    assert stores[up]["state"] == "ok"
    assert stores[f"app in {shell.folder}/backups"]["state"] == "ok"
    buckets = [each for each in checks(ran) if each["name"] == "versioning"]
    assert [each["about"] for each in buckets] == [
        "s3://bucket/p",
        "s3://bucket/q",
        f"s3://{bucket}/p",
    ]
    assert [each["detail"] for each in buckets[:2]] == ["could not be checked: see store"] * 2
    assert ran.code == 31
    assert seaweedfs.secret_key not in ran.out


def test_secrets_in_the_build_context_of_this_folder_are_told(shell: Shell, kept: Path):
    (shell.folder / "Dockerfile").write_text("FROM app\nCOPY . .\n")
    (shell.folder / ".env").write_text("API_TOKEN=hunter2\n")

    assert not_ok(shell.run("doctor", kept, "--json")) == {"image-secrets"}


def nagios(shell: Shell, *arguments: object) -> tuple[int, str]:
    ran = shell.run("doctor", "--nagios", *arguments)
    assert ran.err == ""
    (line,) = ran.lines
    return ran.code, line


def test_nagios_gets_one_line_and_its_own_codes(shell: Shell, app: Path):
    code, line = nagios(shell)
    assert (code, line) == (3, "LITEKEEP UNKNOWN - no database is named or configured")

    code, line = nagios(shell, app)
    assert code == 2
    assert re.match(r"LITEKEEP CRITICAL - 19 checks: \d+ ok, \d+ warn, 1 fail; snapshot: ", line)

    (shell.folder / "a|b.db").write_bytes(b"x" * 100)
    code, line = nagios(shell, "a|b.db")
    assert code == 2
    assert "|" not in line

    assert shell.run("backup", app, "--quiet").code == 0
    code, line = nagios(shell, app)
    assert code == 1
    assert line.startswith("LITEKEEP WARNING - ")
    assert "proof: app: no drill has proved a snapshot" in line


def test_nagios_gets_ok_where_all_is_well(
    shell: Shell, kept: Path, monkeypatch: pytest.MonkeyPatch
):
    from litekeep.cli import doctor
    from litekeep.cli.main import run
    from litekeep.doctor.examine import Examination
    from litekeep.doctor.findings import ok

    well = Examination((ok("store", "app", "well"),), has_database=True)
    monkeypatch.setattr(doctor, "examine", lambda *_: well)

    assert run(["doctor", "--nagios", os.fspath(kept)]) == 0


def test_what_is_left_out_is_neither_shown_nor_counted_and_may_make_it_ok(shell: Shell, kept: Path):
    kept.chmod(0o666)
    skips = ("--skip", "schedule", "--skip", "file-system", "--skip", "permissions")
    code, line = nagios(shell, kept, *skips)

    left_out = "file-system, permissions, schedule"
    well = f"LITEKEEP OK - 16 checks: 16 ok, 0 warn, 0 fail (left out: {left_out})"
    assert (code, line) == (0, well)
    ran = shell.run("doctor", kept, "--json", *skips)
    assert {each["name"] for each in checks(ran)} == EXPECTED - {*skips[1::2]}
    assert nagios(shell, kept)[0] == 1


def test_no_test_object_is_written_where_nothing_asks_for_it(shell: Shell, kept: Path):
    folder = shell.folder / "app.db-backups"
    skips = [f"--skip={name}" for name in ("store", "delete", "conditions", "clock")]
    before = folder.stat().st_mtime_ns

    assert shell.run("doctor", kept, *skips).code == 0
    assert folder.stat().st_mtime_ns == before
    assert shell.run("doctor", kept, *skips[1:]).code == 0
    assert folder.stat().st_mtime_ns > before


def test_what_is_no_check_cannot_be_left_out(shell: Shell, kept: Path):
    ran = shell.run("doctor", kept, "--skip", "versionning")
    assert ran.code == 2
    assert "no check is called 'versionning'" in ran.err
    assert "Did you mean versioning? There are: configuration, secrets, " in ran.err
    code, line = nagios(shell, kept, "--skip", "versionning")
    assert (code, line) == (3, "LITEKEEP UNKNOWN - no check is called 'versionning'")


def test_a_name_or_a_file_that_means_nothing_fails_whatever_is_left_out(shell: Shell, kept: Path):
    (shell.folder / "litekeep.toml").write_text("[[database]]\npath = 'app.db'\n")
    strange = shell.run("doctor", "strange", "--skip", "database", "--json")
    assert strange.code == 11
    (shell.folder / "litekeep.toml").write_text("[[databas]]\n")
    unread = shell.run("doctor", "--skip", "configuration", "--json")
    assert unread.code == 2
    assert checks(unread)[0]["name"] == "configuration"


def test_nagios_and_json_exclude_each_other(shell: Shell):
    ran = shell.run("doctor", "--nagios", "--json")

    assert ran.code == 2
    assert json.loads(ran.out)["error"]["hint"] == "Give one of them."
