"""
What a schedule runs, and what that may touch: the same for systemd and for cron.

    task      backup   verify   prune   drill    status
    default   hourly   daily    daily   weekly   off; hourly where it tells anybody

Each day's and week's task has an hour of its own, so that none waits for another.  An
expression that is none of the words is the scheduler's own, and passed on as it is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from litekeep.errors import AlreadyRunning, Stale, UserError

WORDS = ("hourly", "daily", "weekly")
OFF = "off"

#: Where a schedule finds variables that are not in its files, such as credentials.
VARIABLES_FILE = Path("/etc/default/litekeep")


@dataclass(frozen=True, slots=True)
class Task:
    """
    One thing that a schedule runs.

    `arguments` are those of litekeep; `when` is a word or an expression of the scheduler;
    `hour` is that of the day for what is not hourly; `reads_databases` says that it opens
    the live files, so that it needs their folders; `well` are exit codes that are no failure
    of the run.
    """

    name: str
    meaning: str
    arguments: tuple[str, ...]
    when: str
    hour: int
    reads_databases: bool = False
    well: tuple[int, ...] = (AlreadyRunning.exit_code,)


@dataclass(frozen=True, slots=True)
class Schedule:
    """
    What is run, and what it needs.

    `database_folders`, `store_folders` and `state` are written to; `readable` is what the
    program itself consists of, and files that the configuration names; `environment` is
    set for it.
    """

    program: tuple[str, ...]
    config: Path
    tasks: tuple[Task, ...]
    database_folders: tuple[Path, ...]
    store_folders: tuple[Path, ...]
    state: Path
    readable: tuple[Path, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()

    def command(self, task: Task) -> tuple[str, ...]:
        """Return the program and the arguments of *task*."""
        return (*self.program, "--config", str(self.config), *task.arguments)


TASKS = (
    Task("backup", "make a snapshot of each database", ("backup",), "hourly", 1, True),
    Task("verify", "compare stored bytes", ("verify", "--sample", "10%"), "daily", 2),
    Task("prune", "apply retention", ("prune",), "daily", 3),
    Task("drill", "restore into scratch and check", ("drill",), "weekly", 4),
    # Where backups are too old it has done its work, and has told so: no failed unit beside it.
    Task(
        "status",
        "tell of backups that are too old",
        ("status",),
        OFF,
        5,
        well=(Stale.exit_code, AlreadyRunning.exit_code),
    ),
)


def tasks_of(changes: Mapping[str, str | None]) -> tuple[Task, ...]:
    """
    Return what is to be run, and when.

    Args:
        changes: Task names, each with a word, an expression, ``off``, or None for the default.

    Raises:
        UserError: All are off.

    >>> [(task.name, task.when) for task in tasks_of({"backup": "daily", "drill": "off"})]
    [('backup', 'daily'), ('verify', 'daily'), ('prune', 'daily')]
    """
    tasks = []
    for task in TASKS:
        when = changes.get(task.name) or task.when
        if when != OFF:
            tasks.append(dataclasses.replace(task, when=when))
    if not tasks:
        raise UserError(
            "nothing is to be run: all tasks are off",
            hint="Leave one of them on, or remove the schedule with litekeep uninstall.",
        )
    return tuple(tasks)


def head_of(schedule: Schedule, kind: str) -> str:
    """Return the first lines of each file: whose it is, and what it was made from."""
    return (
        f"# Written by litekeep install {kind}; litekeep uninstall {kind} removes it.\n"
        f"# Configuration: {schedule.config}\n"
    )


def refuse_unwritable(schedule: Schedule) -> None:
    """
    Raise where a path cannot stand in a line of text.

    Raises:
        UserError: It holds a control character, or bytes that are no text.
    """
    paths = (*schedule.database_folders, *schedule.store_folders, schedule.state, schedule.config)
    for text in (*map(str, paths), *schedule.program):
        if not text.isprintable():
            raise UserError(
                f"the path {text!r} cannot stand in a schedule",
                hint="Reach it by a link whose name is plain text.",
            )
