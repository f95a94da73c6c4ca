"""`litekeep backup`."""

from __future__ import annotations

import contextlib
import gzip
import re
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

from litekeep.engine.job import exclusive_job
from tests.cli.conftest import make_database


def test_the_plain_lines_are_the_guides(shell, app):
    ran = shell.run("backup", "app.db")

    assert ran.code == 0
    assert ran.err == ""
    (data,) = (shell.folder / "app.db-backups").glob("*/*/*.db.gz")
    assert re.fullmatch(r"app_\d{8}_\d{6}\.db\.gz", data.name)
    assert ran.lines == [
        "[sqlite-backup] Integrity: ok",
        f"[sqlite-backup] Compressed size: {data.stat().st_size} bytes",
        f"[sqlite-backup] Local saved: {data}",
        "[sqlite-backup] Updated latest marker",
        "[sqlite-backup] Backup completed successfully",
    ]


def test_the_guides_environment_gives_the_guides_output_to_the_letter(shell, app, seaweedfs):
    bucket = seaweedfs.new_bucket()
    local = shell.folder / "app_backups/sqlite"

    ran = shell.run(
        "backup",
        "app.db",
        S3_BUCKET=bucket,
        LOCAL_BACKUP_DIR=str(local),
        AWS_ENDPOINT_URL=seaweedfs.endpoint,
        AWS_ACCESS_KEY_ID=seaweedfs.access_key,
        AWS_SECRET_ACCESS_KEY=seaweedfs.secret_key,
        AWS_REGION="us-east-1",
    )

    assert ran.code == 0, ran.err
    (data,) = local.glob("*.db.gz")
    year, month = data.name[4:8], data.name[8:10]
    assert ran.lines == [
        "[sqlite-backup] Integrity: ok",
        f"[sqlite-backup] Compressed size: {data.stat().st_size} bytes",
        f"[sqlite-backup] Local saved: {data}",
        f"[sqlite-backup] Uploaded to s3://{bucket}/sqlite-backup/{year}/{month}/{data.name}",
        "[sqlite-backup] Updated latest marker",
        "[sqlite-backup] Backup completed successfully",
    ]
    stored = seaweedfs.client().get_object(Bucket=bucket, Key="sqlite-backup/latest.db.gz")
    assert gzip.decompress(stored["Body"].read()) == app.read_bytes()


def test_latest_is_said_once_behind_the_last_store(shell, app):
    """With a bucket and the folder beside the database, as with any two stores."""
    for other in ("two", "app.db/below"):  # the second fails, and latest of the first moved
        ran = shell.run("backup", "app.db", "--to", "one", "--to", other)

        moved = [n for n, line in enumerate(ran.lines) if "Updated latest marker" in line]
        places = [n for n, line in enumerate(ran.lines) if " saved: " in line or "Failed: " in line]
        assert len(moved) == 1
        assert len(places) == 2
        assert moved[0] > max(places)


def test_json_is_one_object_in_the_contracts_shape(shell, app):
    found = shell.run("backup", "app.db", "--json", "--label", "before the update").json

    assert found["database"] == str(app)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", found["time"])
    assert re.fullmatch(r"app_\d{8}_\d{6}", found["name"])
    assert (found["integrity"], found["format"]) == ("ok", "gzip")
    assert found["size_bytes"] == app.stat().st_size
    assert 0 < found["stored_size_bytes"] < found["size_bytes"]
    assert re.fullmatch(r"[0-9a-f]{64}", found["sha256"])
    assert re.fullmatch(r"[0-9a-f]{16}", found["database_checksum"])
    assert found["seconds"] >= 0
    (store,) = found["stores"]
    assert store["url"] == f"{app}-backups"
    assert (app.parent / "app.db-backups" / store["object"]).exists()
    assert (store["ok"], store["error"]) == (True, None)
    (point,) = shell.run("list", "app.db", "--json").json["restore_points"]
    assert point["label"] == "before the update"


def test_quiet_says_nothing(shell, app):
    ran = shell.run("backup", "app.db", "--quiet")

    assert (ran.code, ran.out, ran.err) == (0, "", "")


@pytest.mark.parametrize(("name", "suffix"), [("zstd", ".db.zst"), ("none", ".db")])
def test_the_format_is_chosen(shell, app, name, suffix):
    found = shell.run("backup", "app.db", "--format", name, "--json").json

    assert found["format"] == name
    assert found["stores"][0]["object"].endswith(suffix)


def test_no_check_is_said(shell, app):
    assert "[sqlite-backup] Integrity: skipped" in shell.run("backup", "app.db", "--no-check").lines


def test_each_store_fails_alone(shell, app):
    """The good one keeps the snapshot; the exit code tells of the other."""
    (shell.folder / "file").touch()

    ran = shell.run("backup", "app.db", "--to", "good", "--to", "file/below", "--json")

    good, bad = sorted(ran.json["stores"], key=lambda store: not store["ok"])
    assert ran.code == bad["error"]["code"] == 30 or ran.code in range(30, 40)
    assert good["url"] == str(shell.folder / "good")
    assert (shell.folder / "good" / good["object"]).exists()
    plain = shell.run("backup", "app.db", "--to", "good", "--to", "file/below")
    assert any(line.startswith("[sqlite-backup] Failed: ") for line in plain.lines)
    assert "[sqlite-backup] Backup completed successfully" not in plain.lines
    assert plain.err.startswith("error: ")


def test_a_failed_check_is_exit_23_and_latest_stays(shell, app):
    shell.run("backup", "app.db")
    latest = shell.folder / "app.db-backups/latest.db.gz"
    before = latest.read_bytes()
    connection = sqlite3.connect(app)
    connection.execute("INSERT INTO t(a) VALUES (NULL)")
    connection.execute("PRAGMA writable_schema=ON")
    connection.execute("UPDATE sqlite_master SET sql=replace(sql, ', a', ', a NOT NULL')")
    connection.commit()
    connection.close()

    ran = shell.run("backup", "app.db")

    assert ran.code == 23
    assert "[sqlite-backup] Integrity: failed" in ran.lines
    assert "[sqlite-backup] Updated latest marker" not in ran.lines
    assert "error: quick_check failed" in ran.err
    assert "If the next backup fails too" in ran.err
    assert latest.read_bytes() == before
    points = shell.run("list", "app.db", "--json").json["restore_points"]
    assert [point["state"] for point in points] == ["failed", "ok"]

    again = shell.run("backup", "app.db")

    assert again.code == 23
    assert "[sqlite-backup] Integrity: failed" in again.lines
    failed, good = (point["name"] for point in points)
    assert f"{failed} failed too: the file is damaged" in again.err
    assert f"litekeep restore brings back {good}, " in again.err
    assert "litekeep dump saves what can still be read" in again.err
    assert latest.read_bytes() == before


def test_where_no_snapshot_is_good_a_check_that_fails_again_points_to_dump(shell, app):
    with app.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * 100)
    shell.run("backup", "app.db")

    again = shell.run("backup", "app.db")

    assert again.code == 23
    assert "no snapshot is good: litekeep dump saves what can still be read" in again.err


def test_another_run_of_the_same_job_is_exit_75_at_once(shell, app, tmp_path):
    with exclusive_job(tmp_path / "state", "app", str(app)):
        ran = shell.run("backup", "app.db")

    assert ran.code == 75


@pytest.mark.parametrize(("other", "code"), [("missing.db", 11), ("other.db", 75)])
def test_a_run_that_is_active_hides_no_failure_of_another_database(
    shell, app, tmp_path, other, code
):
    """A schedule takes 75 for a success."""
    make_database(shell.folder / "other.db")
    (shell.folder / "litekeep.toml").write_text(
        f'[[database]]\npath = "app.db"\n[[database]]\npath = "{other}"\n'
    )
    state = tmp_path / "state"
    with (
        exclusive_job(state, "app", str(app)),
        exclusive_job(state, "other", str(shell.folder / "other.db")),
    ):
        ran = shell.run("backup")

    assert ran.code == code
    assert ran.err.count("another backup of") == (2 if code == 75 else 1)


def test_of_two_runs_at_once_the_second_ends_with_75_and_says_so_once(shell, app):
    """The first waits for a writer; it goes on as if the second had not been."""
    with contextlib.closing(sqlite3.connect(app, isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        first = shell.start("backup", "app.db", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        state = Path(shell.environ["LITEKEEP_STATE"])
        deadline = time.monotonic() + 30
        while not list(state.glob("app-*.lock")) and time.monotonic() < deadline:
            time.sleep(0.02)  # nothing tells when another process takes a lock

        second = shell.run("backup", "app.db")
        writer.execute("ROLLBACK")
    out, err = first.communicate(timeout=60)

    assert second.code == 75
    assert second.out == ""
    assert second.err.splitlines() == [
        f"error: another backup of {app} is running",
        "hint: Wait for it to end; a schedule may ignore exit code 75.",
    ]
    assert (first.returncode, err) == (0, b"")
    assert b"Backup completed successfully" in out


def test_a_dry_run_changes_nothing(shell, app):
    ran = shell.run("backup", "app.db", "--to", "there", "--dry-run")

    assert ran.lines == [
        f"would back up {app} as app, gzip, to",
        f"  {shell.folder / 'there'}",
    ]
    assert sorted(path.name for path in shell.folder.iterdir()) == ["app.db"]
    plan = shell.run("backup", "app.db", "--to", "there", "--dry-run", "--json").json["plan"]
    assert plan[0]["stores"] == [str(shell.folder / "there")]


def test_one_database_that_fails_does_not_keep_the_others_from_their_backup(shell):
    for name in ("a", "c"):
        make_database(shell.folder / f"{name}.db")
    (shell.folder / "litekeep.toml").write_text(
        "".join(f'[[database]]\npath = "{name}.db"\n' for name in "abc")
    )

    ran = shell.run("backup")
    as_json = shell.run("backup", "--json")

    assert ran.code == as_json.code == 11
    assert "error: b: no database at " in ran.err
    assert [backup.get("name", "")[:2] for backup in as_json.json["backups"]] == ["a_", "", "c_"]
    assert len(shell.run("list", "c", "--json").json["restore_points"]) == 2


def test_a_wrong_configuration_names_its_line(shell, app):
    (shell.folder / "litekeep.toml").write_text('[snapshot]\nformat = "zip"\n')

    ran = shell.run("backup", "app.db")

    assert ran.code == 2
    assert 'litekeep.toml, line 2: snapshot.format is "zip"' in ran.err
    assert 'hint: Allowed: "gzip" or "zstd" or "none".' in ran.err


def test_secrets_of_the_configuration_are_not_shown(shell, app):
    """Not in errors, not in JSON, not with everything told."""
    (shell.folder / "litekeep.toml").write_text(
        '[[store]]\nname = "s3"\nurl = "s3://bucket/x"\nendpoint = "http://127.0.0.1:9"\n'
        'access_key_id = "AKIDAKIDAKID"\nretry = "0s"\nsecret_access_key = { env = "KEY" }\n'
    )

    for arguments in (["backup", "app.db", "--verbose"], ["backup", "app.db", "--json"]):
        ran = shell.run(*arguments, KEY="hunter2hunter2")
        assert 30 < ran.code < 40, ran.err
        assert "hunter2" not in ran.out + ran.err


def test_without_an_engine_a_database_in_docker_is_refused_with_the_socket(shell):
    socket = shell.folder / "docker.sock"
    ran = shell.run("backup", S3_BUCKET="bucket", DOCKER_HOST=f"unix://{socket}")

    assert ran.code == 14
    assert f"the container engine is down: nobody answers at {socket}" in ran.err
    assert "systemctl start docker" in ran.err


def test_an_engine_that_is_down_keeps_no_other_database_from_its_backup(shell, app):
    (shell.folder / "litekeep.toml").write_text(
        '[[database]]\npath = "docker:v/a.db"\n[[database]]\npath = "app.db"\n'
    )
    ran = shell.run("backup", DOCKER_HOST=f"unix://{shell.folder}/docker.sock")

    assert ran.code == 14
    assert "[sqlite-backup] Backup completed successfully" in ran.lines
