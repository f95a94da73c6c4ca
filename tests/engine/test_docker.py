"""Databases in Docker, on a real engine."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tests.engine.conftest import VOLUME
from tests.servers.docker import DATABASE, INSTANCE, USER, Engine, rows_in, wait_for_rows

pytestmark = pytest.mark.engine

NAME = f"docker:{VOLUME}/{DATABASE}"


def folder_of(engine: Engine, volume: str = VOLUME) -> Path:
    return Path(engine.client.volumes.get(volume).attrs["Mountpoint"])


def test_a_database_that_is_written_is_backed_up_damaged_restored_and_written_again(
    engine, shell, application
):
    wait_for_rows(application, 50)
    environ = {"DB_FILE_NAME": DATABASE, "LOCAL_BACKUP_DIR": "backups"}
    backed_up = shell.run("backup", **environ)
    assert backed_up.code == 0, backed_up.err
    assert backed_up.lines[0] == "[sqlite-backup] Integrity: ok"
    assert backed_up.lines[-1] == "[sqlite-backup] Backup completed successfully"
    listed = shell.run("list", "--json", **environ).json["restore_points"]
    assert len(listed) == 1
    written = wait_for_rows(application, rows_in(application) + 20)

    application.stop()
    file = folder_of(engine) / DATABASE
    os.chmod(file, 0o640)
    os.truncate(file, 6000)
    application.start()
    ran = shell.run("restore", "--replace", "--stop", "manual-generator", "--json", **environ)

    assert ran.code == 0, ran.err
    assert ran.json["stopped"] == ["manual-generator"]
    assert ran.json["in_place"] == {
        "where": "in container manual-generator",
        "result": "ok",
        "detail": "",
    }
    assert rows_in(application) >= 50
    wait_for_rows(application, written)
    after = file.stat()
    assert (after.st_uid, after.st_gid, stat.S_IMODE(after.st_mode)) == (USER, USER, 0o640)
    assert Path(ran.json["undo"]).is_file()


def test_a_database_in_use_is_not_replaced_and_its_containers_are_named(shell, application):
    wait_for_rows(application, 5)
    assert shell.run("backup", NAME).code == 0

    ran = shell.run("restore", NAME, "--replace")

    assert ran.code == 14
    assert f"{NAME} is used by the container manual-generator" in ran.err
    assert "--stop manual-generator" in ran.err
    wait_for_rows(application, rows_in(application) + 5)


def test_a_path_in_a_container_is_the_file_in_its_volume(engine, shell, application):
    wait_for_rows(application, 5)

    ran = shell.run("backup", f"docker:manual-generator:{INSTANCE}/{DATABASE}", "--json")

    assert ran.code == 0, ran.err
    assert ran.json["database"] == str(folder_of(engine) / DATABASE)
