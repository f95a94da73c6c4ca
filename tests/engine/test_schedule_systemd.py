"""
The schedule under systemd itself: PID 1 of a machine of its own, its timers, its sandbox.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import count_rows, make_database
from tests.servers.machine import Machine, machine, why_not
from tests.servers.receiver import Receiver, receiving

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]

#: A database in a home, which the sandbox hides, in a folder whose name wants quoting.
FOLDER = "home/app/my data 100%"
CONFIG = f"""
[[store]]
name = "local"
url = "/srv/backups"

[[store]]
name = "s3"
url = "s3://BUCKET/app"
region = "us-east-1"
endpoint = "ENDPOINT"
access_key_id = {{ env = "KEEP_ID" }}
secret_access_key = {{ env = "KEEP_SECRET" }}

[[database]]
path = "/{FOLDER}/app.db"
"""
#: What somebody puts there with `systemctl edit`.
AT_ONCE = "[Timer]\nRandomizedDelaySec=0\nAccuracySec=100ms\n"


@pytest.fixture(scope="module")
def booted(
    tmp_path_factory: pytest.TempPathFactory, seaweedfs: Any
) -> Iterator[tuple[Machine, str]]:
    with machine(tmp_path_factory.mktemp("machine")) as started:
        bucket = seaweedfs.new_bucket()
        text = CONFIG.replace("BUCKET", bucket).replace("ENDPOINT", seaweedfs.endpoint)
        (started.root / "etc/litekeep.toml").write_text(text)
        with (started.root / "etc/default/litekeep").open("a") as file:
            file.write(f"KEEP_ID={seaweedfs.access_key}\nKEEP_SECRET={seaweedfs.secret_key}\n")
        make_database(started.root / FOLDER / "app.db")
        yield started, bucket


@pytest.fixture
def host(booted: tuple[Machine, str]) -> Iterator[Machine]:
    """A machine with a database and a configuration, and no schedule."""
    started = booted[0]
    yield started
    started.litekeep("uninstall", "systemd")
    for folder in (started.root / "etc/systemd/system").glob("litekeep-*.d"):
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
    started.run("systemctl", "daemon-reload")


def edit(host: Machine, unit: str, text: str) -> None:
    folder = host.root / f"etc/systemd/system/{unit}.d"
    folder.mkdir()
    (folder / "override.conf").write_text(text)


def files_of(host: Machine) -> dict[str, str]:
    """All that a schedule could leave: names, with what they hold or where they lead."""
    found = {}
    for top in ("etc", "var/lib/systemd", "run/systemd/generator"):
        for folder, folders, names in os.walk(host.root / top):
            for name in (*folders, *names):
                path = Path(folder, name)
                if path.is_symlink():
                    found[str(path)] = os.readlink(path)
                elif path.is_file():
                    found[str(path)] = path.read_text(errors="replace")
                else:
                    found[str(path)] = "folder"
    return found


def snapshots(host: Machine) -> list[Path]:
    return sorted((host.root / "srv/backups").glob("*/*/app_*.db.gz"))


def test_a_timer_makes_up_for_a_missed_run_and_the_sandbox_lets_it_do_its_work(
    booted: tuple[Machine, str], host: Machine, seaweedfs: Any
):
    edit(host, "litekeep-backup.timer", AT_ONCE)
    before = len(snapshots(host))
    stamp = host.root / "var/lib/systemd/timers/stamp-litekeep-backup.timer"
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.touch()
    two_hours_ago = time.time() - 7200
    os.utime(stamp, (two_hours_ago, two_hours_ago))

    host.litekeep("install", "systemd")
    last = "[sqlite-backup] Backup completed successfully"
    host.wait(lambda: last in host.messages("litekeep-backup.service"), about=last)

    said = host.messages("litekeep-backup.service")
    assert said[0] == "[sqlite-backup] Integrity: ok"
    assert said[-1] == last
    assert len(snapshots(host)) == before + 1
    keys = [
        item["Key"] for item in seaweedfs.client().list_objects_v2(Bucket=booted[1])["Contents"]
    ]
    assert "app/latest.db.gz" in keys
    host.wait(lambda: host.property("litekeep-backup.service", "ActiveState") == "inactive")
    assert host.property("litekeep-backup.service", "Result") == "success"
    assert host.property("litekeep-backup.timer", "ActiveState") == "active"


def test_each_task_does_its_work_in_its_sandbox(host: Machine):
    host.litekeep("install", "systemd")
    wanted = {
        "backup": "Backup completed successfully",
        "verify": ": ok",
        "prune": "pruned",
        "drill": "Drill: pass",
    }
    for task, line in wanted.items():
        host.run("systemctl", "start", f"litekeep-{task}.service", code=None)

        said = host.messages(f"litekeep-{task}.service")
        assert host.property(f"litekeep-{task}.service", "Result") == "success", said
        assert not [each for each in said if "warning" in each or "error" in each], said
        assert line in said[-1], said


def test_nothing_outside_the_folders_of_the_configuration_can_be_written_to(host: Machine):
    host.litekeep("install", "systemd")
    places = (f"/{FOLDER}", "/srv/backups", "/var/lib/litekeep", "/srv", "/etc", "/root", "/home")
    script = "; ".join(f'touch "{place}/touched" && echo "wrote {place}"' for place in places)
    edit(
        host,
        "litekeep-backup.service",
        f"[Service]\nExecStart=\nExecStart=/bin/sh -c '{script.replace('%', '%%')}; true'\n",
    )
    host.run("systemctl", "daemon-reload")

    host.run("systemctl", "start", "litekeep-backup.service")

    said = host.messages("litekeep-backup.service")
    wrote = {line.removeprefix("wrote ") for line in said if line.startswith("wrote ")}
    for place in wrote & set(places[:3]):
        (host.root / place[1:] / "touched").unlink()
    assert wrote == set(places[:3])


def test_a_failure_is_told_of_in_the_journal(host: Machine):
    host.litekeep("install", "systemd")
    hidden = host.root / FOLDER / "app.db"
    hidden.rename(hidden.with_name("elsewhere"))
    try:
        host.run("systemctl", "start", "litekeep-backup.service", code=1)
    finally:
        hidden.with_name("elsewhere").rename(hidden)

    host.wait(lambda: bool(host.journal("SYSLOG_IDENTIFIER=litekeep-failed")), about="the report")
    (told,) = host.journal("SYSLOG_IDENTIFIER=litekeep-failed")
    assert told["MESSAGE"].startswith("litekeep-backup.service failed (exit-code 11)")
    assert told["MESSAGE"].endswith("journalctl -u litekeep-backup.service")
    assert told["PRIORITY"] == "3"
    assert any("error: no database" in line for line in host.messages("litekeep-backup.service"))


@pytest.fixture
def pinged(booted: tuple[Machine, str]) -> Iterator[Receiver]:
    """Who hears of each backup."""
    variables = booted[0].root / "etc/default/litekeep"
    before = variables.read_text()
    with receiving() as receiver:
        variables.write_text(f"{before}LITEKEEP_PING_URL={receiver.url}/backup\n")
        yield receiver
    variables.write_text(before)


def end_of_report(host: Machine) -> None:
    """Wait until the handler of failures has done its work."""
    unit = "litekeep-failed@litekeep-backup.service.service"
    host.wait(lambda: host.property(unit, "ActiveState") == "inactive", about=unit)
    assert host.property(unit, "Result") == "success"


def test_a_run_that_was_killed_is_told_of_by_its_unit(host: Machine, pinged: Receiver):
    host.litekeep("install", "systemd")
    kill = "ExecStart=/bin/sh -c 'kill -KILL $$$$'"
    edit(host, "litekeep-backup.service", f"[Service]\nExecStart=\n{kill}\n")
    host.run("systemctl", "daemon-reload")

    host.run("systemctl", "start", "litekeep-backup.service", code=1)
    host.wait(lambda: pinged.got != [], about="the ping")
    end_of_report(host)

    (got,) = pinged.got
    assert got.path == "/backup/fail"
    assert b"litekeep-backup.service ended: signal, KILL" in got.body
    invocation = host.property("litekeep-backup.service", "InvocationID")
    assert got.rid.replace("-", "") == invocation


def test_what_a_run_told_itself_is_not_told_twice(host: Machine, pinged: Receiver):
    host.litekeep("install", "systemd")
    hidden = host.root / FOLDER / "app.db"
    hidden.rename(hidden.with_name("elsewhere"))
    told = len(host.journal("SYSLOG_IDENTIFIER=litekeep-failed"))
    try:
        host.run("systemctl", "start", "litekeep-backup.service", code=1)
    finally:
        hidden.with_name("elsewhere").rename(hidden)
    host.wait(lambda: len(host.journal("SYSLOG_IDENTIFIER=litekeep-failed")) == told + 1)
    end_of_report(host)

    (got,) = pinged.got
    assert b"no database at" in got.body
    host.run("systemctl", "start", "litekeep-backup.service")
    assert pinged.paths == ["/backup/fail", "/backup/start", "/backup"]


def test_backups_that_are_too_old_are_told_once_and_their_unit_has_not_failed(
    host: Machine, pinged: Receiver
):
    variables = host.root / "etc/default/litekeep"
    with variables.open("a") as file:
        file.write(f"LITEKEEP_WEBHOOK_URL={pinged.url}/hook\n")
    config = host.root / "etc/litekeep.toml"
    before = config.read_text()
    config.write_text(f'{before}\n[status]\nsnapshot_within = "0s"\n')
    try:
        host.litekeep("install", "systemd")
        told = len(host.journal("SYSLOG_IDENTIFIER=litekeep-failed"))
        for _ in range(2):
            host.run("systemctl", "start", "litekeep-status.service")
    finally:
        config.write_text(before)

    assert host.property("litekeep-status.service", "ExecMainStatus") == "42"
    assert host.property("litekeep-status.service", "Result") == "success"
    (got,) = pinged.got
    assert got.path == "/hook"
    assert got.json["outcome"] == "stale"
    assert len(host.journal("SYSLOG_IDENTIFIER=litekeep-failed")) == told
    assert host.property("litekeep-status.timer", "ActiveState") == "active"


def test_a_second_run_at_the_same_time_is_no_failure_and_says_so_once(host: Machine):
    host.litekeep("install", "systemd")
    host.run("systemctl", "start", "litekeep-backup.service")
    told = len(host.journal("SYSLOG_IDENTIFIER=litekeep-failed"))
    begun = len(host.messages("litekeep-backup.service"))
    locks = (host.root / "var/lib/litekeep").glob("app-*.lock")
    (lock,) = (path for path in locks if path.name.count(".") == 1)  # the others are of other tasks
    with lock.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)

        host.run("systemctl", "start", "litekeep-backup.service")

    said = host.messages("litekeep-backup.service")[begun:]
    assert len([line for line in said if "is running" in line]) == 1, said
    assert host.property("litekeep-backup.service", "ExecMainStatus") == "75"
    assert host.property("litekeep-backup.service", "Result") == "success"
    assert len(host.journal("SYSLOG_IDENTIFIER=litekeep-failed")) == told


def test_installing_twice_changes_nothing(host: Machine):
    first = host.litekeep("install", "systemd")
    before = files_of(host)
    since = host.property("litekeep-backup.timer", "ActiveEnterTimestampMonotonic")

    second = host.litekeep("install", "systemd")

    assert "Wrote /etc/systemd/system/litekeep-backup.timer" in first
    assert "Nothing had to be changed." in second
    assert files_of(host) == before
    assert host.property("litekeep-backup.timer", "ActiveEnterTimestampMonotonic") == since


def test_a_task_that_is_turned_off_is_stopped_and_its_units_go(host: Machine):
    host.litekeep("install", "systemd")

    host.litekeep("install", "systemd", "--drill", "off", "--backup", "*:0/15")

    assert host.property("litekeep-drill.timer", "LoadState") == "not-found"
    assert host.property("litekeep-drill.timer", "ActiveState") == "inactive"
    assert "*:0/15" in host.property("litekeep-backup.timer", "TimersCalendar") or (
        "*-*-* *:00/15:00" in host.property("litekeep-backup.timer", "TimersCalendar")
    )


def test_uninstalling_leaves_nothing(host: Machine):
    before = files_of(host)
    host.litekeep("install", "systemd")
    host.run("systemctl", "start", "litekeep-backup.service")
    assert files_of(host) != before

    host.litekeep("uninstall", "systemd")

    assert files_of(host) == before
    units = host.run("systemctl", "list-units", "--all", "--plain", "--no-legend", "litekeep-*")
    assert units.stdout == ""


def test_what_was_backed_up_by_the_timer_is_restored(host: Machine):
    host.litekeep("install", "systemd")
    host.run("systemctl", "start", "litekeep-backup.service")

    # In a container nobody can see who has the file open.
    host.litekeep("restore", "app", "--output", "/srv/restored.db", "--assume-stopped")

    restored = host.root / "srv/restored.db"
    assert count_rows(restored) == 3
    restored.unlink()
