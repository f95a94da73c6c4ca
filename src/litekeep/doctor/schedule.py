"""
Whether backups come by themselves: `schedule`.

A schedule that is installed and dead is worse than none, for nobody looks any more.  So
each timer has to have a next time and a last run that went well, and a table of cron a
daemon that reads it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from litekeep.doctor.findings import Finding, fail, ok, unknown, warn
from litekeep.errors import LitekeepError
from litekeep.host.liveness import (
    BACKUP_TIMERS,
    CronTables,
    TimerUnit,
    cron_tables,
    is_booted,
    timers,
    unit_files,
)
from litekeep.host.processes import PROC
from litekeep.host.scheduler import TOP

NAME = "schedule"
_INSTALL_HINT = "litekeep install systemd (or cron) makes one; see Schedules."


def schedule(*, top: Path = TOP, proc: Path = PROC) -> Iterator[Finding]:
    """Check the schedules of the machine whose root is *top* and whose processes are in *proc*."""
    found: list[Finding] = []
    if is_booted(top):
        known = timers()
        if known is None:
            hint = "Look yourself: systemctl list-timers."
            found.append(unknown(NAME, "", "systemd does not answer", hint))
        else:
            found += [_timer(each) for each in known]
            found += _without_backup(known)
    elif files := unit_files(top):
        shown = f"{files[0].name} is installed, and systemd does not run this machine"
        found.append(warn(NAME, "", shown, "Use cron instead: litekeep install cron."))
    tables = cron_tables(top, proc=proc)
    found += _cron(tables)
    if not found:
        found.append(_none(tables))
    yield from found


def _timer(timer: TimerUnit) -> Finding:
    if not timer.is_alive:
        state = "has no next time" if timer.is_active else "is stopped"
        return fail(
            NAME,
            "",
            LitekeepError(
                f"{timer.unit} {state}, so it never fires",
                hint=f"Start it, and at each boot: systemctl enable --now {timer.unit}.",
            ),
        )
    if timer.has_failed:
        return fail(
            NAME,
            "",
            LitekeepError(
                f"the last run of {timer.service} failed ({timer.result}, {timer.code})",
                hint=f"See what it said: journalctl -u {timer.service}.",
            ),
        )
    coming = f"next {timer.next}" if timer.next else "it runs now"
    last = f"last run well, {timer.last}" if timer.last else "not run yet"
    return ok(NAME, "", f"{timer.unit}: {coming}; {last}")


def _without_backup(known: tuple[TimerUnit, ...]) -> Iterator[Finding]:
    if known and not any(timer.unit in BACKUP_TIMERS for timer in known):
        yield warn(NAME, "", "no timer of systemd makes backups", _INSTALL_HINT)


def _cron(tables: CronTables) -> Iterator[Finding]:
    for path in tables.found:
        if tables.is_daemon_running:
            yield ok(NAME, "", f"cron runs, and {path} names a backup")
        else:
            hint = "Start it, for instance: systemctl enable --now cron."
            error = LitekeepError(f"{path} names a backup, and no cron runs", hint=hint)
            yield fail(NAME, "", error)


def _none(tables: CronTables) -> Finding:
    if tables.unread:
        hint = f"Look as root. {_INSTALL_HINT}"
        return unknown(NAME, "", f"none was found, and {tables.unread[0]} may not be read", hint)
    return warn(NAME, "", "nothing makes backups by itself here", _INSTALL_HINT)
