"""
Whether a schedule is alive: what systemd and cron say of the jobs that back up.

    timers       those of `litekeep install systemd` and of the guide, as systemd knows them
    cron lines   in the system's tables, its folders of scripts and every user's own table

A timer that is installed may be stopped, and a table may be there without a daemon that
reads it: both are silent.  Nothing is changed here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from litekeep import workers
from litekeep.host import systemd
from litekeep.host.processes import PROC, named
from litekeep.host.schedule import TASKS
from litekeep.host.scheduler import BOOTED, TOP
from litekeep.paths import is_file, is_folder

#: Of the guide, by which its script is run.
GUIDE_TIMER = "sqlite-backup.timer"
#: Those that make backups; the others check them.
BACKUP_TIMERS = ("litekeep-backup.timer", GUIDE_TIMER)

_SECONDS_MAX = 20.0
_TABLE_SIZE_MAX = 1 << 20
_TABLES = (
    *("etc/crontab", "etc/cron.d/*", "etc/cron.hourly/*", "etc/cron.daily/*"),
    *("var/spool/cron/*", "var/spool/cron/crontabs/*", "var/spool/cron/tabs/*"),
)
_DAEMONS = ("cron", "crond", "fcron")
_JOB = re.compile(r"^(?!\s*#).*(?:\blitekeep\b.*\bbackup\b|backup_sqlite_to_s3)", re.MULTILINE)
_TIMER_FACTS = "Id,LoadState,ActiveState,SubState,NextElapseUSecRealtime,Unit"
_SERVICE_FACTS = "Id,ActiveState,Result,ExecMainStatus,ExecMainExitTimestamp"


@dataclass(frozen=True, slots=True)
class TimerUnit:
    """
    A timer that systemd knows.

    `next` is when it fires, and empty if it never will; `last` when its service last ended,
    and empty if it never ran; `result` is systemd's word for how, with the exit code.
    """

    unit: str
    is_active: bool
    is_running: bool
    next: str
    last: str
    result: str
    code: int

    @property
    def is_alive(self) -> bool:
        """Whether it will fire."""
        return self.is_active and (self.is_running or bool(self.next))

    @property
    def has_failed(self) -> bool:
        """Whether its service's last run was no success."""
        return self.result not in ("", "success")

    @property
    def service(self) -> str:
        """The unit that it starts, by its usual name."""
        return f"{self.unit.removesuffix('.timer')}.service"


@dataclass(frozen=True, slots=True)
class CronTables:
    """The tables and scripts that name a backup; `unread` may not be read, so they may too."""

    found: tuple[Path, ...]
    unread: tuple[Path, ...]
    is_daemon_running: bool


def is_booted(top: Path = TOP) -> bool:
    """Say whether systemd runs this machine."""
    return is_folder(top / BOOTED)


def unit_files(top: Path = TOP) -> tuple[Path, ...]:
    """Return the files of timers that are installed, running or not."""
    places = (top / systemd.FOLDER / name for name in _timer_names())
    return tuple(path for path in places if is_file(path))


def timers() -> tuple[TimerUnit, ...] | None:
    """Return the timers that systemd has loaded; None where it does not answer."""
    facts = _show(_timer_names(), _TIMER_FACTS)
    if facts is None:
        return None
    loaded = [each for each in facts if each.get("LoadState") == "loaded"]
    if not loaded:
        return ()
    services = _show([each.get("Unit", "") for each in loaded], _SERVICE_FACTS)
    by_name = {each.get("Id", ""): each for each in services or ()}
    return tuple(_timer(each, by_name.get(each.get("Unit", ""), {})) for each in loaded)


def cron_tables(top: Path = TOP, *, proc: Path = PROC) -> CronTables:
    """Return what cron is told to do about backups."""
    found: list[Path] = []
    unread: list[Path] = []
    for path in _tables(top, unread):
        try:
            with path.open("rb") as file:
                text = file.read(_TABLE_SIZE_MAX).decode(errors="replace")
        except OSError:
            unread.append(path)
        else:
            if _JOB.search(text):
                found.append(path)
    return CronTables(tuple(found), tuple(unread), named(_DAEMONS, proc=proc) != ())


def _timer_names() -> list[str]:
    return [*systemd.timers(TASKS), GUIDE_TIMER]


def _tables(top: Path, unread: list[Path]) -> Iterator[Path]:
    for pattern in _TABLES:
        folder, _, name = pattern.rpartition("/")
        place = top / folder
        try:
            entries = sorted(place.iterdir()) if name == "*" else [place / name]
        except FileNotFoundError:
            continue
        except OSError:
            unread.append(place)
            continue
        for path in entries:
            # A link that leads nowhere, a folder: cron does not read them either.
            if path.is_file():
                yield path


def _timer(facts: dict[str, str], service: dict[str, str]) -> TimerUnit:
    code = service.get("ExecMainStatus", "")
    coming = facts.get("NextElapseUSecRealtime", "")
    return TimerUnit(
        unit=facts.get("Id", ""),
        is_active=facts.get("ActiveState") == "active",
        is_running=facts.get("SubState") == "running",
        next="" if coming in ("0", "n/a", "infinity") else coming,
        last=service.get("ExecMainExitTimestamp", "").removeprefix("n/a"),
        result=service.get("Result", ""),
        code=int(code) if code.isdecimal() else 0,
    )


def _show(units: Sequence[str], facts: str) -> list[dict[str, str]] | None:
    """Return properties of units; systemd separates the units by blank lines."""
    told = workers.run_program(
        ["systemctl", "show", f"--property={facts}", "--", *units], seconds_max=_SECONDS_MAX
    )
    if told is None or told.code != 0:
        return None
    blocks = told.output.strip().split("\n\n")
    return [dict(line.split("=", 1) for line in b.splitlines() if "=" in line) for b in blocks]
