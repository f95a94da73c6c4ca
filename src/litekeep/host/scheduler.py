"""
The schedulers of the machine: what installing into them and removing from them takes.

    plan     folders, files and links, with the commands before and after them
    apply    the same, done

    1   systemd is told only where it runs this machine, and the files go to its root.
    2   Timers are stopped before their files go, and started after theirs are there.
    3   What an earlier install wrote and this one does not want goes.
    4   Folders of stores are made, because a sandbox opens only what is there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from litekeep import workers
from litekeep.errors import LitekeepError, NotFound, UserError
from litekeep.host import cron, placing, systemd
from litekeep.host.placing import Step
from litekeep.host.schedule import TASKS, WORDS, Schedule
from litekeep.paths import is_file, is_folder

KINDS = ("systemd", "cron")
TOP = Path("/")
#: There while systemd runs the machine; see sd_booted(3).
BOOTED = Path("run/systemd/system")

_SECONDS_MAX = 90.0
_MACHINE_ID = Path("etc/machine-id")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is done: commands, steps, commands; and what a person should know of it."""

    before: tuple[tuple[str, ...], ...]
    steps: tuple[Step, ...]
    after: tuple[tuple[str, ...], ...]
    warnings: tuple[str, ...] = ()

    @property
    def is_change(self) -> bool:
        """Whether any file changes."""
        return any(step.is_change for step in self.steps)


def install_plan(kind: str, schedule: Schedule, top: Path = TOP) -> Plan:
    """
    Return what installing takes.

    Args:
        kind: ``"systemd"`` or ``"cron"``.

        schedule: What shall run.

        top: The root of the system that it is for.

    Raises:
        NotFound: There is no such scheduler.

        UserError: A time is none that it knows.

        TargetExists: A file is in the way.
    """
    if kind == "systemd":
        return _install_systemd(schedule, top)
    return _install_cron(schedule, top)


def uninstall_plan(kind: str, top: Path = TOP) -> Plan:
    """Return what removing takes; nothing where nothing is installed."""
    if kind == "cron":
        return Plan((), placing.removal_steps((top / cron.FILE, top / cron.ROTATION)), ())
    found = placing.removal_steps(_units_known(top))
    stamps = [Step("remove", path) for path in _stamps(top) if is_file(path)]
    is_told = bool(found) and _is_running(top)
    return Plan(
        _stop(found) if is_told else (),
        (*found, *(stamps if found else ())),
        (
            ("systemctl", "daemon-reload"),
            ("systemctl", "reset-failed", "litekeep-*"),
        )
        if is_told
        else (),
        _left_behind(top) if found else (),
    )


def apply(plan: Plan) -> None:
    """
    Do it.

    Raises:
        StoreError: A file could not be written; its kinds say why.

        LitekeepError: systemd refused.
    """
    _run(plan.before)
    placing.apply(plan.steps)
    _run(plan.after)


def _install_systemd(schedule: Schedule, top: Path) -> Plan:
    if not is_folder(top / systemd.FOLDER.parent):
        raise NotFound(
            f"there is no systemd here: no folder {top / systemd.FOLDER.parent}",
            hint="Use cron: litekeep install cron.",
        )
    for task in schedule.tasks:
        _check_calendar(systemd.calendar(task))
    wanted = {top / systemd.FOLDER / name: text for name, text in systemd.units(schedule).items()}
    names = systemd.timers(schedule.tasks)
    steps = [placing.folder_step(path) for path in schedule.store_folders]
    steps += [placing.file_step(path, text) for path, text in wanted.items()]
    steps += [placing.link_step(top / systemd.WANTS / name, f"../{name}") for name in names]
    kept = {step.path for step in steps}
    gone = placing.removal_steps(path for path in _units_known(top) if path not in kept)
    is_change = any(step.is_change for step in (*steps, *gone))
    before: tuple[tuple[str, ...], ...] = ()
    after: tuple[tuple[str, ...], ...] = ()
    warnings = []
    if _is_running(top):
        before = _stop(gone)
        # A second install restarts nothing, but what somebody stopped runs again.
        start = ("systemctl", "restart" if is_change else "start", *names)
        after = (("systemctl", "daemon-reload"), start) if is_change else (start,)
    elif top == TOP:
        warnings.append("systemd does not run here: the timers start when it does")
    if placing.is_ours(top / cron.FILE):
        warnings.append("cron has a schedule too: litekeep uninstall cron")
    return Plan(before, (*steps, *gone), after, tuple(warnings))


def _install_cron(schedule: Schedule, top: Path) -> Plan:
    if not is_folder(top / cron.FILE.parent):
        raise NotFound(
            f"there is no cron here: no folder {top / cron.FILE.parent}",
            hint="Install it (on Debian and Ubuntu: apt-get install cron), or use systemd: "
            "litekeep install systemd.",
        )
    steps = [placing.folder_step(path) for path in schedule.store_folders]
    text = cron.table(schedule, machine_seed(top))
    warnings = []
    # The log is rotated before anything writes to it.
    if is_folder(top / cron.ROTATION.parent):
        steps.append(placing.file_step(top / cron.ROTATION, cron.rotation(schedule)))
    else:
        warnings.append(f"there is no logrotate here: {cron.LOG} grows for ever")
    steps.append(placing.file_step(top / cron.FILE, text))
    if placing.removal_steps(_units_known(top)):
        warnings.append("systemd has a schedule too: litekeep uninstall systemd")
    return Plan((), tuple(steps), (), tuple(warnings))


def machine_seed(top: Path = TOP) -> str:
    """Return what differs from machine to machine and stays the same on one."""
    try:
        return (top / _MACHINE_ID).read_text().strip()
    except OSError:
        return ""


def texts_of(plan: Plan) -> Mapping[Path, str]:
    """Return the files that are written or kept, with what they hold."""
    return {step.path: step.text for step in plan.steps if step.text}


def _units_known(top: Path) -> Iterator[Path]:
    """Yield where files of any version of ours could be, links first: they lead to files."""
    names = [f"{systemd.unit_of(task)}.{kind}" for task in TASKS for kind in ("timer", "service")]
    for name in names:
        yield top / systemd.WANTS / name
    for name in (*names, systemd.FAILED):
        yield top / systemd.FOLDER / name


def _stamps(top: Path) -> Iterator[Path]:
    for name in systemd.timers(TASKS):
        yield top / systemd.STAMPS / f"stamp-{name}"


def _left_behind(top: Path) -> tuple[str, ...]:
    """Name what `systemctl edit` made: it is the administrator's own."""
    folders = sorted((top / systemd.FOLDER).glob("litekeep-*.d"))
    return tuple(f"left there, because it is yours: {folder}" for folder in folders)


def _stop(steps: tuple[Step, ...]) -> tuple[tuple[str, ...], ...]:
    names = {step.path.name for step in steps if step.path.suffix == ".timer"}
    return (("systemctl", "stop", *sorted(names)),) if names else ()


def _is_running(top: Path) -> bool:
    return top == TOP and is_folder(top / BOOTED)


def _check_calendar(text: str) -> None:
    told = workers.run_program(("systemd-analyze", "calendar", text), seconds_max=_SECONDS_MAX)
    # Where it is not here, systemd itself will say it.
    if told is not None and told.code != 0:
        reason = told.output.strip().splitlines()[-1:] or [""]
        raise UserError(
            f"{text!r} is no time that systemd knows: {reason[0]}",
            hint=f'Give {", ".join(WORDS)}, off, or an expression like "*-*-* 02:30".',
        )


def _run(commands: tuple[tuple[str, ...], ...]) -> None:
    for command in commands:
        told = workers.run_program(command, seconds_max=_SECONDS_MAX)
        if told is None or told.code != 0:
            reason = f"ended with {told.code}: {told.output.strip()}" if told else "did not end"
            raise LitekeepError(
                f"{' '.join(command)} {reason}",
                hint="Files that were written stay. Mend what it says, and do the same again.",
            )
