"""Databases in Docker, on a real engine."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import docker
import pytest

from litekeep.host.docker import PROJECT_LABEL, SERVICE_LABEL, SWARM_LABEL, VOLUME_LABEL
from tests.cli.conftest import make_database
from tests.engine.conftest import VOLUME, start_application
from tests.interpreter import why_private
from tests.servers.docker import (
    DATABASE,
    INSTANCE,
    USER,
    Engine,
    rows_in,
    wait_for_rows,
    wait_until,
)

pytestmark = pytest.mark.engine

NAME = f"docker:{VOLUME}/{DATABASE}"


def reloaded(container):
    container.reload()
    return container


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


def test_the_application_is_started_again_though_the_swap_fails(engine, shell, application):
    """Somebody else has the file open: nothing is replaced, and the application is back."""
    wait_for_rows(application, 5)
    assert shell.run("backup", NAME).code == 0
    with (folder_of(engine) / DATABASE).open("rb"):
        ran = shell.run("restore", NAME, "--replace", "--stop", "manual-generator")

    assert ran.code == 14
    assert "is in use by" in ran.err
    application.reload()
    assert application.status == "running"
    wait_for_rows(application, rows_in(application) + 5)


def test_the_application_is_started_again_though_the_restore_is_ended_by_a_signal(
    engine, shell, application
):
    wait_for_rows(application, 5)
    assert shell.run("backup", NAME).code == 0
    # It stops slowly, so the signal comes while it is being stopped.
    arguments = [NAME, "--replace", "--stop", "slow", "--stop", "manual-generator"]
    slow = engine.run("app", ["sleep", "600"], name="slow", stop_signal="SIGTERM")
    process = shell.start("restore", *arguments, stdout=subprocess.PIPE)
    for event in engine.client.events(decode=True):
        if event.get("Action") == "kill":
            process.terminate()
            break

    assert process.communicate(timeout=60)
    assert process.returncode == 143
    for container in (slow, application):
        container.reload()
        assert container.status == "running"


def test_the_application_is_started_again_though_the_restore_is_killed(engine, shell, application):
    wait_for_rows(application, 5)
    assert shell.run("backup", NAME).code == 0
    events = engine.client.events(decode=True, filters={"event": "die"})
    process = shell.start("restore", NAME, "--replace", "--stop", "manual-generator")
    next(events)
    process.kill()

    assert process.wait(30) == -9
    assert wait_until(lambda: reloaded(application).status == "running")
    wait_for_rows(application, 10)


def test_an_application_that_does_not_come_up_is_said_with_what_was_done(
    engine, shell, application, tmp_path
):
    wait_for_rows(application, 5)
    assert shell.run("backup", NAME).code == 0
    needed = tmp_path / "needed"
    needed.mkdir()
    mounts = [docker.types.Mount("/needed", str(needed), type="bind")]
    engine.run("app", ["sleep", "600"], name="needy", mounts=mounts)
    needed.rmdir()

    ran = shell.run(
        *("restore", NAME, "--replace", "--stop", "needy", "--stop", "manual-generator", "--json")
    )

    assert ran.code == 10
    assert ran.json["error"]["message"].startswith(
        "the database is restored, and container needy could not be started again"
    )
    assert ran.json["error"]["hint"] == "Start it by hand: docker start needy."
    assert Path(ran.json["undo"]).is_file()
    assert wait_until(lambda: reloaded(application).status == "running")


def test_a_check_that_fails_in_the_container_fails_the_restore(engine, shell, application):
    wait_for_rows(application, 5)
    assert shell.run("backup", NAME).code == 0
    application.remove(force=True)
    other = start_application(engine, command=["sleep", "600"], user="0:0")
    lie = "rm /bin/sqlite3; printf '#!/bin/sh\\necho row 7 is missing\\n' > /bin/sqlite3"
    assert other.exec_run(["sh", "-c", f"{lie}; chmod 755 /bin/sqlite3"]).exit_code == 0

    ran = shell.run("restore", NAME, "--replace")

    assert ran.code == 23
    assert "integrity_check in container manual-generator failed: row 7 is missing" in ran.err


def test_a_container_that_did_not_run_stays_down_and_the_check_runs_beside(
    engine, shell, application
):
    wait_for_rows(application, 5)
    assert shell.run("backup", NAME).code == 0
    application.stop()

    ran = shell.run("restore", NAME, "--replace", "--stop", "manual-generator", "--json")

    assert ran.code == 0, ran.err
    assert ran.json["stopped"] == []
    assert ran.json["in_place"]["where"] == "beside the application"
    assert ran.json["in_place"]["result"] == "ok"
    application.reload()
    assert application.status == "exited"


def test_where_a_container_has_no_sqlite3_the_check_runs_beside(engine, shell, application):
    wait_for_rows(application, 5)
    assert shell.run("backup", NAME).code == 0
    application.remove(force=True)
    bare = start_application(engine, "bare", command=["sleep", "600"])

    ran = shell.run("restore", NAME, "--replace", "--stop", "manual-generator", "--json")

    assert ran.code == 0, ran.err
    assert ran.json["in_place"]["where"] == "beside the application"
    bare.reload()
    assert bare.status == "running"


def test_a_lost_file_comes_back_as_its_folders_owner_has_it(engine, shell, application):
    wait_for_rows(application, 5)
    assert shell.run("backup", NAME).code == 0
    application.stop()
    for path in folder_of(engine).iterdir():
        path.unlink()

    ran = shell.run("restore", NAME)

    assert ran.code == 0, ran.err
    assert (folder_of(engine) / DATABASE).stat().st_uid == USER
    application.start()
    wait_for_rows(application, 10)


def test_a_compose_service_is_stopped_with_all_its_containers(engine, shell, application):
    wait_for_rows(application, 5)
    assert shell.run("backup", NAME).code == 0
    application.remove(force=True)
    labels = {SERVICE_LABEL: "manual", PROJECT_LABEL: "demo"}
    both = [start_application(engine, name=f"demo_{n}", labels=labels) for n in (1, 2)]
    wait_for_rows(both[1], 10)
    by_service = f"docker:manual:{INSTANCE}/{DATABASE}"

    several = shell.run("backup", by_service)
    ran = shell.run("restore", NAME, "--replace", "--stop", "manual")

    assert several.code == 2
    assert "demo_1, demo_2" in several.err
    assert ran.code == 0, ran.err
    for name in ("demo_1", "demo_2"):
        assert f"[sqlite-restore] Stopped container {name}" in ran.lines
        assert f"[sqlite-restore] Started container {name}" in ran.lines
    assert "[sqlite-restore] integrity_check in container demo_1: ok" in ran.out.replace(
        "demo_2", "demo_1"
    )


def test_a_container_that_would_not_come_back_is_not_stopped(engine, shell, application):
    wait_for_rows(application, 5)
    assert shell.run("backup", NAME).code == 0
    passing = engine.run("app", ["sleep", "600"], name="passing", auto_remove=True)
    swarm = engine.run("app", ["sleep", "600"], name="swarm.1", labels={SWARM_LABEL: "shop_app"})

    for name, reason in ((passing.name, "--rm"), (swarm.name, "Swarm service shop_app")):
        ran = shell.run("restore", NAME, "--replace", "--stop", name)
        assert ran.code == 2
        assert reason in ran.err
    unknown = shell.run("restore", NAME, "--replace", "--stop", "nobody")
    assert unknown.code == 11
    assert "manual-generator" in unknown.err


def test_what_is_not_there_is_said_with_what_is(engine, shell, application):
    wait_for_rows(application, 1)
    engine.client.volumes.create("demo_data", labels={VOLUME_LABEL: "data"})

    for name, said, hint in (
        ("docker:nothing/a.db", "has no volume 'nothing'", VOLUME),
        ("docker:data/a.db", "has no volume 'data'", "docker:demo_data/a.db"),
        ("docker:manual-generator/a.db", "no volume", "docker:manual-generator:/path/in/it"),
        ("docker:nobody:/a.db", "has no container 'nobody'", "manual-generator"),
        (f"docker:{VOLUME}:/a.db", "no container", f"docker:{VOLUME}/FILE"),
        (f"docker:{VOLUME}/manual.db", "there is no file", f"Did you mean {DATABASE}?"),
        ("docker:manual-generator:/etc/a.db", "is in no volume", INSTANCE),
    ):
        ran = shell.run("backup", name)
        assert ran.code in (2, 11), name
        assert said in ran.err, name
        assert hint in ran.err, name


def test_what_could_only_do_harm_is_refused(engine, shell, tmp_path):
    make_database(tmp_path / "alone.db")
    engine.run(
        "app",
        ["sleep", "600"],
        name="holder",
        volumes={str(tmp_path / "alone.db"): {"bind": "/srv/alone.db"}},
        tmpfs={"/memory": ""},
    )
    create = engine.client.volumes.create
    create("far", driver_opts={"type": "nfs", "o": "addr=127.0.0.1,rw", "device": ":/export"})
    create("memory", driver_opts={"type": "tmpfs", "device": "tmpfs"})
    create("disk", driver_opts={"type": "ext4", "device": "/dev/nothing"})

    for name, said in (
        ("docker:holder:/srv/alone.db", "bound alone into the container"),
        ("docker:holder:/memory/a.db", "in memory"),
        ("docker:far/a.db", "on a network file system (nfs)"),
        ("docker:memory/a.db", "in memory"),
        ("docker:disk/a.db", "file system of its own (ext4)"),
    ):
        ran = shell.run("backup", name)
        assert ran.code in (2, 14), name
        assert said in ran.err, name


def test_a_link_out_of_the_volume_is_not_followed(engine, shell, application, tmp_path):
    """The application could show root any file of the host, to read or to replace."""
    wait_for_rows(application, 5)
    assert shell.run("backup", NAME).code == 0
    application.stop()
    secret = make_database(tmp_path / "secret.db")
    (folder_of(engine) / "link.db").symlink_to(secret)
    (folder_of(engine) / "inside.db").symlink_to(DATABASE)
    before = secret.read_bytes()

    for arguments in (
        ("backup", f"docker:{VOLUME}/link.db"),
        ("dump", f"docker:{VOLUME}/link.db"),
        ("restore", NAME, "--output", f"docker:{VOLUME}/link.db", "--replace"),
    ):
        ran = shell.run(*arguments)
        assert ran.code == 2, arguments
        assert "leads out of its volume" in ran.err
    assert secret.read_bytes() == before
    assert shell.run("backup", f"docker:{VOLUME}/inside.db").code == 0


def test_a_folder_bound_by_a_volume_or_a_container_is_found(engine, shell, tmp_path):
    for name in ("bound", "mounted"):
        make_database(tmp_path / name / "app.db")
    options = {"type": "none", "o": "bind", "device": str(tmp_path / "bound")}
    engine.client.volumes.create("bound", driver_opts=options)
    volumes = {"bound": {"bind": "/a"}, str(tmp_path / "mounted"): {"bind": "/b"}}
    container = engine.run("app", ["sleep", "600"], name="holder", volumes=volumes)

    for name, folder in (
        ("docker:bound/app.db", "bound"),
        ("docker:holder:/a/app.db", "bound"),
        (f"docker:{container.short_id}:/b/app.db", "mounted"),
    ):
        ran = shell.run("backup", name, "--json")
        assert ran.code == 0, ran.err
        assert ran.json["database"] == str(tmp_path / folder / "app.db")
        ran = shell.run("restore", name, "--replace", "--json")
        assert ran.code == 0, ran.err
        assert ran.json["in_place"]["where"] == "in container holder"


def test_drill_verify_dump_and_the_configuration_know_databases_in_docker(
    engine, shell, application
):
    wait_for_rows(application, 5)
    (shell.folder / "litekeep.toml").write_text(
        f'[[store]]\nname = "here"\nurl = "backups"\n[[database]]\npath = "{NAME}"\n'
    )

    for arguments in (("backup",), ("verify",), ("drill",), ("list",), ("dump", NAME)):
        ran = shell.run(*arguments)
        assert ran.code == 0, ran.err
    assert "CREATE TABLE entry" in ran.out


def test_a_lost_volume_does_not_take_its_backups_with_it(engine, shell, application, tmp_path):
    wait_for_rows(application, 5)
    assert shell.run("backup", NAME).code == 0
    engine.sweep()

    assert len(shell.run("list", NAME, "--json").json["restore_points"]) == 1
    assert shell.run("restore", NAME, "--output", tmp_path / "copy.db").code == 0
    assert shell.run("restore", NAME).code == 11
    engine.client.volumes.create(VOLUME)
    assert shell.run("restore", NAME).code == 0
    wait_for_rows(start_application(engine, user="0:0"), 10)


def as_nobody(shell, *arguments):
    """Run a command as a user without rights."""
    return subprocess.run(
        shell.command(*arguments),
        cwd="/",
        env={**shell.environ, "LITEKEEP_STATE": "/tmp"},
        user=65534,
        group=65534,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.skipif(why_private() is not None, reason=str(why_private()))
def test_who_may_not_use_the_socket_or_enter_the_volume_is_told_so(engine, shell, application):
    wait_for_rows(application, 1)
    socket_folder = engine.socket.parent
    socket_folder.chmod(0o755)

    closed = as_nobody(shell, "backup", NAME)
    os.chmod(engine.socket, 0o666)
    try:
        entered = as_nobody(shell, "backup", NAME)
    finally:
        os.chmod(engine.socket, 0o660)

    assert closed.returncode == 14
    assert f"user id 65534 may not use the socket of the container engine, {engine.socket}" in (
        closed.stderr
    )
    assert "as root" in closed.stderr
    assert entered.returncode == 14
    assert "which user id 65534 may not enter" in entered.stderr


def test_an_engine_of_another_machine_is_refused(shell):
    for host in ("tcp://127.0.0.1:2375", "ssh://root@host"):
        ran = shell.run("backup", NAME, DOCKER_HOST=host)
        assert ran.code == 2
        assert "another machine" in ran.err
