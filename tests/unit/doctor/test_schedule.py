"""
Whether a schedule is seen to be alive, with a program in systemctl's place and tables of cron.

Real timers are asked by tests/engine/test_doctor_systemd.py.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from litekeep.doctor import schedule as checks
from litekeep.doctor.findings import Finding
from litekeep.host.liveness import cron_tables
from litekeep.host.processes import named
from tests.unit.doctor.users import NOBODY, acting_as, as_root

#: As `systemctl show` writes; the service's last run stands behind it.
TIMER = """\
Id={name}.timer
LoadState=loaded
ActiveState={active}
SubState={sub}
NextElapseUSecRealtime={next}
Unit={name}.service
"""
SERVICE = """\
Id={name}.service
ActiveState=inactive
Result={result}
ExecMainStatus={code}
ExecMainExitTimestamp={last}
"""
GONE = "Id=litekeep-drill.timer\nLoadState=not-found\nActiveState=inactive\n"


@pytest.fixture
def top(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a machine that systemd runs; it has the programs that a test puts there."""
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    return tmp_path


def systemd(
    top: Path,
    *,
    name: str = "litekeep-backup",
    active: str = "active",
    sub: str = "waiting",
    next: str = "Wed 2026-11-25 19:00:00 UTC",
    result: str = "success",
    code: int = 0,
    last: str = "Wed 2026-11-25 18:00:00 UTC",
) -> None:
    facts = {"name": name, "active": active, "sub": sub, "next": next}
    (top / "timers").write_text(TIMER.format(**facts) + "\n" + GONE)
    (top / "services").write_text(SERVICE.format(name=name, result=result, code=code, last=last))
    program = top / "bin/systemctl"
    program.write_text(
        f"#!/bin/sh\ncase $2 in *LoadState*) cat {top}/timers;; *) cat {top}/services;; esac\n"
    )
    program.chmod(0o755)


def found(top: Path) -> list[Finding]:
    return [*checks.schedule(top=top)]


@pytest.mark.parametrize("name", ["litekeep-backup", "sqlite-backup"])
def test_a_timer_that_will_fire_and_fired_well_is_well(top: Path, name: str):
    systemd(top, name=name)

    (one,) = found(top)
    assert one.state == "ok"
    assert f"{name}.timer: next Wed 2026-11-25 19:00:00 UTC" in one.detail


def test_a_timer_that_runs_its_job_now_has_no_next_time_and_is_well(top: Path):
    systemd(top, sub="running", next="", last="")

    (one,) = found(top)
    assert (one.state, "it runs now; not run yet" in one.detail) == ("ok", True)


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"active": "inactive", "sub": "dead", "next": ""}, "is stopped"),
        ({"next": "n/a"}, "has no next time"),
        ({"next": "infinity"}, "has no next time"),
        ({"result": "exit-code", "code": 31}, "failed (exit-code, 31)"),
        ({"result": "timeout"}, "failed (timeout"),
    ],
)
def test_a_timer_that_is_dead_or_whose_job_fails_is_a_failure(top: Path, facts, said: str):
    systemd(top, **facts)

    (one,) = found(top)
    assert (one.state, one.code) == ("fail", 1)
    assert said in one.detail
    assert "litekeep-backup" in one.hint


def test_a_schedule_that_makes_no_backups_is_told(top: Path):
    systemd(top, name="litekeep-prune")

    assert [one.state for one in found(top)] == ["ok", "warn"]


def test_a_systemd_that_does_not_answer_is_not_taken_for_well(top: Path):
    program = top / "bin/systemctl"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)

    (one,) = found(top)
    assert (one.state, one.detail) == ("warn", "could not be checked: systemd does not answer")


def test_units_that_are_installed_where_systemd_does_not_run_are_told(tmp_path: Path):
    unit = tmp_path / "etc/systemd/system/litekeep-backup.timer"
    unit.parent.mkdir(parents=True)
    unit.touch()

    (one,) = found(tmp_path)
    assert (one.state, "does not run this machine" in one.detail) == ("warn", True)


def test_no_schedule_at_all_is_a_warning_that_says_how_to_get_one(tmp_path: Path):
    (one,) = found(tmp_path)

    assert (one.state, "litekeep install systemd" in one.hint) == ("warn", True)


@pytest.mark.parametrize(
    ("place", "line", "is_found"),
    [
        ("etc/cron.d/litekeep", "5 * * * * root /opt/litekeep/bin/litekeep backup >> log", True),
        ("var/spool/cron/crontabs/root", "0 * * * * /srv/backup_sqlite_to_s3.sh >> log", True),
        ("etc/crontab", "0 * * * * root litekeep --config x backup", True),
        ("etc/cron.daily/backup", "#!/bin/sh\nexec litekeep backup app.db\n", True),
        ("etc/cron.d/litekeep", "# 0 * * * * root litekeep backup", False),
        ("etc/cron.d/other", "0 * * * * root litekeep prune", False),
        ("etc/cron.weekly/other", "litekeep backup", False),
    ],
)
def test_a_table_that_names_a_backup_is_found(tmp_path: Path, place, line: str, is_found: bool):
    path = tmp_path / place
    path.parent.mkdir(parents=True)
    path.write_text(f"SHELL=/bin/sh\n{line}\n")

    assert cron_tables(tmp_path).found == ((path,) if is_found else ())


@pytest.mark.parametrize(("program", "state"), [("cron", "ok"), ("crond", "ok"), ("sh", "fail")])
def test_a_table_needs_a_daemon_that_reads_it(tmp_path: Path, program: str, state: str):
    table = tmp_path / "etc/cron.d/litekeep"
    table.parent.mkdir(parents=True)
    table.write_text("5 * * * * root litekeep backup\n")
    process = tmp_path / "proc/123"
    process.mkdir(parents=True)
    (process / "comm").write_text(f"{program}\n")

    (one,) = checks.schedule(top=tmp_path, proc=tmp_path / "proc")
    assert one.state == state
    assert str(table) in one.detail


@as_root
def test_what_may_not_be_read_is_not_taken_for_nothing():
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        top.chmod(0o755)
        closed = top / "var/spool/cron/crontabs"
        closed.mkdir(parents=True)
        closed.chmod(0o700)
        with acting_as(NOBODY):
            (one,) = found(top)

    assert one.detail == f"could not be checked: none was found, and {closed} may not be read"
    assert one.hint.startswith("Look as root.")


def test_a_process_is_found_by_its_programs_name():
    command = Path("/proc/self/comm").read_text().strip()

    assert os.getpid() in [process.id for process in named((command,))]
    assert named(("no-such-program",)) == ()
    assert named((command,), proc=Path("/nonexistent")) == ()
