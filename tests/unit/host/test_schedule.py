"""The texts of a schedule: what systemd and cron are told, as they themselves read it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from litekeep.cli.main import COMMANDS
from litekeep.errors import UserError
from litekeep.host import cron, systemd
from litekeep.host.schedule import TASKS, Schedule, refuse_unwritable, tasks_of

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)
#: Also what is installed only where anybody is told.
ALL = {"status": "hourly"}
STRANGE = Path('/srv/a "b" 100% $HOME \\ ; データ')


def schedule(
    *,
    program: tuple[str, ...] = ("/bin/true",),
    folder: Path = Path("/srv/app"),
    config: Path = Path("/etc/litekeep.toml"),
    state: Path = systemd.STATE_DEFAULT,
) -> Schedule:
    return Schedule(
        program=program,
        config=config,
        tasks=tasks_of(ALL),
        database_folders=(folder,),
        store_folders=(folder / "backups",),
        state=state,
        readable=(Path("/root/venv"),),
    )


def written(folder: Path, units: dict[str, str]) -> list[Path]:
    paths = []
    for name, text in units.items():
        path = folder / name.replace("@.", "@x.")
        path.write_text(text)
        paths.append(path)
    return paths


def test_every_task_is_a_command():
    for task in TASKS:
        assert task.name == task.arguments[0] and task.name in COMMANDS


def test_a_schedule_of_nothing_is_refused():
    with pytest.raises(UserError, match="all tasks are off"):
        tasks_of({task.name: "off" for task in TASKS})


@needs_systemd
@pytest.mark.parametrize("folder", [Path("/srv/app"), STRANGE, Path("/home/app/data")])
def test_systemd_finds_no_fault_in_the_units(tmp_path: Path, folder: Path):
    found = schedule(folder=folder, config=folder / "litekeep.toml", state=folder / "state")
    paths = written(tmp_path, systemd.units(found))

    done = subprocess.run(
        ["systemd-analyze", "verify", *paths], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@needs_systemd
def test_the_units_are_as_closed_as_systemd_calls_ok(tmp_path: Path):
    for path in written(tmp_path, systemd.units(schedule())):
        if path.suffix == ".service":
            done = subprocess.run(
                ["systemd-analyze", "security", "--offline=true", "--threshold=30", path],
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{path.name}: {done.stdout}{done.stderr}"


@needs_systemd
@pytest.mark.parametrize("when", ["hourly", "daily", "weekly"])
def test_the_words_are_times_that_systemd_knows(when: str):
    for task in tasks_of({"backup": when}):
        subprocess.run(["systemd-analyze", "calendar", systemd.calendar(task)], check=True)


def test_a_task_may_write_only_to_what_it_needs():
    units = systemd.units(schedule())

    assert "ReadWritePaths=-/srv/app\n" in units["litekeep-backup.service"]
    for task in ("verify", "status"):
        assert "ReadWritePaths=-/srv/app/backups\n" in units[f"litekeep-{task}.service"]


def test_that_backups_are_too_old_is_told_by_the_run_and_no_failure_of_its_unit():
    units = systemd.units(schedule())

    assert "SuccessExitStatus=42 75\n" in units["litekeep-status.service"]
    assert "SuccessExitStatus=75\n" in units["litekeep-backup.service"]


def test_what_lies_in_a_hidden_place_is_bound_into_it():
    unit = systemd.units(schedule(folder=Path("/home/app")))["litekeep-backup.service"]

    assert "BindPaths=-/home/app\n" in unit
    assert "BindReadOnlyPaths=-/root/venv " in unit


def test_a_state_folder_of_ones_own_may_be_written_to():
    unit = systemd.units(schedule(state=Path("/srv/state")))["litekeep-verify.service"]

    assert "/srv/state" in unit and "StateDirectory" not in unit


def test_a_path_that_no_line_can_hold_is_refused():
    with pytest.raises(UserError, match="cannot stand in a schedule"):
        refuse_unwritable(schedule(folder=Path("/srv/a\nb")))


def lines_of(table: str) -> dict[str, str]:
    """The commands of a table as cron gives them to the shell, by task."""
    lines = [line for line in table.splitlines() if " root " in line]
    commands = [line.split(" root ", 1)[1].replace("\\%", "%") for line in lines]
    return {task.name: command for task, command in zip(tasks_of(ALL), commands, strict=True)}


def fake(folder: Path, code: int) -> Path:
    program = folder / f"program {code}%"
    program.write_text(f'#!/bin/sh\necho "said $*"\nexit {code}\n')
    program.chmod(0o755)
    return program


@pytest.mark.parametrize(
    ("task", "code", "mailed"),
    [
        *(("verify", 0, ""), ("verify", 75, ""), ("verify", 11, "litekeep verify failed")),
        ("verify", 42, "litekeep verify failed"),
        # Which it has told itself.
        *(("status", 42, ""), ("status", 75, ""), ("status", 31, "litekeep status failed")),
    ],
)
def test_cron_is_told_of_a_failure_and_of_nothing_else(
    tmp_path: Path, task: str, code: int, mailed: str
):
    log = tmp_path / "it's a log"
    found = schedule(program=(str(fake(tmp_path, code)),), config=tmp_path / "100%.toml")
    command = lines_of(cron.table(found, "seed", log=log))[task]

    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False)

    assert done.stdout.strip() == (f"{mailed}: see {log}" if mailed else "")
    assert done.stderr == ""
    head, said = log.read_text().splitlines()
    assert head.endswith(f" litekeep {task}")
    arguments = "verify --sample 10%" if task == "verify" else task
    assert said == f"said --config {tmp_path}/100%.toml {arguments}"


def test_every_percent_sign_is_escaped_for_cron():
    for line in cron.table(schedule(folder=STRANGE), "seed").splitlines():
        assert "%" not in line.replace("\\%", ""), line


def test_two_machines_do_not_ask_in_the_same_minute_and_one_always_in_the_same():
    tables = {cron.table(schedule(), seed) for seed in ("a", "b", "a")}

    assert len(tables) == 2


def test_a_file_of_variables_that_no_shell_can_read_is_a_failure(tmp_path: Path, monkeypatch):
    variables = tmp_path / "variables"
    variables.write_text("LITEKEEP_PING_URL=https://example.com/(key\n")
    monkeypatch.setattr(cron, "VARIABLES_FILE", variables)
    found = schedule(program=(str(fake(tmp_path, 0)),))
    command = lines_of(cron.table(found, "seed", log=tmp_path / "log"))["backup"]

    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False)

    assert done.stdout.startswith("litekeep backup failed: see ")


@pytest.mark.parametrize(
    "when",
    [
        *("@hourly", "30 2 * * *", "*/5 0-6 1,15 jan mon-fri", "0  0 * * *", "59 23 31 12 7"),
        *("*/90 * * * *", "*,5 * * * *", "* * * JAN Mon", "0-30/10 * * * 1,sat"),
    ],
)
def test_an_expression_of_crons_own_is_passed_on(when: str, tmp_path: Path):
    (task, *_) = tasks_of({"backup": when})

    assert cron.expression(task, "seed") == when
    assert is_taken(when, tmp_path) is not False


@pytest.mark.parametrize(
    "when",
    [
        *("*-*-* 02:30", "30 2 * *", "1 2 3 4 5 rm -rf /", "@reboot\n*", "1 2 3\n4 5"),
        *("60 * * * *", "* 24 * * *", "* * 0 * *", "* * 32 * *", "* * * 13 *", "* * * * 8"),
        *("5/15 * * * *", "*/0 * * * *", "1,,2 * * * *", "1- * * * *", "mon * * * *"),
        *("* * * * monday", "\u0661 * * * *", "-1 * * * *"),
    ],
)
def test_what_is_no_time_of_cron_is_refused(when: str, tmp_path: Path):
    (task, *_) = tasks_of({"backup": when})

    with pytest.raises(UserError, match="no time that cron knows"):
        cron.expression(task, "seed")
    assert "rm" in when or is_taken(when, tmp_path) is not True


@pytest.mark.parametrize("when", ["10-5 * * * *", "* * * * fri-sun"])
def test_what_cron_would_take_and_never_run_is_refused(when: str):
    (task, *_) = tasks_of({"backup": when})

    with pytest.raises(UserError, match="no time that cron knows"):
        cron.expression(task, "seed")


def is_taken(when: str, folder: Path) -> bool | None:
    """Ask the real cron, as Debian has it, whether it takes an expression; change nothing."""
    program = shutil.which("crontab")
    if program is None:
        return None
    file = folder / "table"
    file.write_text(f"{when} true\n")
    done = subprocess.run([program, "-n", file], capture_output=True, text=True, check=False)
    return None if "usage" in done.stderr else done.returncode == 0


def test_a_line_that_cron_would_cut_is_refused():
    with pytest.raises(UserError, match="longer than cron reads"):
        cron.table(schedule(config=Path("/" + "a" * 900)), "seed")


@pytest.mark.skipif(shutil.which("/usr/sbin/logrotate") is None, reason="no logrotate here")
def test_logrotate_finds_no_fault_in_its_file(tmp_path: Path):
    file = tmp_path / "rotation"
    file.write_text(cron.rotation(schedule()))

    done = subprocess.run(
        ["/usr/sbin/logrotate", "--debug", file], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0 and "error" not in done.stderr, done.stderr
