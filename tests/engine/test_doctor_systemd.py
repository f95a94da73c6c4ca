"""
Whether a doctor sees a dead schedule: timers of systemd as PID 1, and a real cron.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import make_database
from tests.documentation import TOP
from tests.servers.machine import Machine, machine, program, why_not

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]

CONFIG = '[[store]]\nname = "local"\nurl = "/srv/backups"\n[[database]]\npath = "/srv/app.db"\n'
GUIDE = ("sqlite-backup.service", "sqlite-backup.timer")
UNITS = Path("etc/systemd/system")


@pytest.fixture(scope="module")
def booted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine(tmp_path_factory.mktemp("machine")) as started:
        (started.root / "etc/litekeep.toml").write_text(CONFIG)
        make_database(started.root / "srv/app.db")
        yield started


@pytest.fixture
def host(booted: Machine) -> Iterator[Machine]:
    yield booted
    for kind in ("systemd", "cron"):
        booted.litekeep("uninstall", kind)


def schedule_of(host: Machine) -> list[tuple[str, str]]:
    """What the check finds: states and details."""
    ran = host.run(program(), "doctor", "--json", code=None)
    checks = json.loads(ran.stdout)["checks"]
    return [(each["state"], each["detail"]) for each in checks if each["name"] == "schedule"]


def test_no_schedule_an_installed_one_and_a_dead_one_are_told_apart(host: Machine):
    ((state, detail),) = schedule_of(host)
    assert (state, detail) == ("warn", "nothing makes backups by itself here")

    host.litekeep("install", "systemd")
    found = schedule_of(host)
    assert [state for state, _ in found] == ["ok"] * 4, found
    assert any(d.startswith("litekeep-backup.timer: next ") for _, d in found), found
    assert any("not run yet" in d for _, d in found), found

    host.run("systemctl", "start", "litekeep-backup.service")
    found = schedule_of(host)
    assert any("litekeep-backup.timer" in d and "last run well, " in d for _, d in found), found

    host.run("systemctl", "stop", "litekeep-backup.timer")
    found = schedule_of(host)
    assert ("fail", "litekeep-backup.timer is stopped, so it never fires") in found


def test_a_job_that_failed_is_told(host: Machine):
    host.litekeep("install", "systemd")
    hidden = host.root / "srv/app.db"
    hidden.rename(hidden.with_name("elsewhere"))
    try:
        host.run("systemctl", "start", "litekeep-backup.service", code=1)
    finally:
        hidden.with_name("elsewhere").rename(hidden)

    assert ("fail", "the last run of litekeep-backup.service failed (exit-code, 11)") in (
        schedule_of(host)
    )


def test_the_guides_own_timer_is_known(host: Machine):
    for name in GUIDE:
        (host.root / UNITS / name).write_text((TOP / "infra/systemd" / name).read_text())
    host.run("systemctl", "daemon-reload")
    host.run("systemctl", "enable", "--now", GUIDE[1])
    try:
        ((state, detail),) = schedule_of(host)
        host.run("systemctl", "disable", "--now", GUIDE[1])
        ((dead, said),) = schedule_of(host)
    finally:
        for name in GUIDE:
            (host.root / UNITS / name).unlink()
        host.run("systemctl", "daemon-reload")

    assert (state, detail.partition(":")[0]) == ("ok", "sqlite-backup.timer")
    assert (dead, said) == ("fail", "sqlite-backup.timer is stopped, so it never fires")


@pytest.mark.skipif(not Path("/usr/sbin/cron").exists(), reason="not installed: cron")
def test_a_table_of_cron_needs_a_cron_that_runs(host: Machine):
    host.litekeep("install", "cron")
    ((state, detail),) = schedule_of(host)
    assert (state, detail) == (
        "fail",
        "/etc/cron.d/litekeep names a backup, and no cron runs",
    )

    host.run("systemd-run", "--unit=cron-of-test", "/usr/sbin/cron", "-f")
    try:
        ((state, _),) = schedule_of(host)
    finally:
        host.run("systemctl", "stop", "cron-of-test.service")
    assert state == "ok"
