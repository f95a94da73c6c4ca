"""
The files of cron: one in /etc/cron.d, and the rotation of the log that it writes.

Text is made here, and nothing is read or written.

    1   cron looks into few folders, so every path is written out.
    2   In a command `%` begins its input: each one is escaped.
    3   Output goes to the log.  Only a failure says something to cron itself, which mails
        it to root; 75 (another run is active) is none, and neither is 42, by which `status`
        says what it has told already.
    4   cron has no delay at random.  The minute is made from a seed, the machine's, so that
        a thousand machines do not ask a store at once, and a second install changes nothing.
    5   The log has a line with the time for each run.
    6   A field that cron does not understand makes it pass over the whole table, with a line
        in its own log: so each is looked at here.
    7   The file of variables is read by a shell of its own: one that ends there, of a
        bracket in the file, is a failure like any other.

See crontab(5), cron(8) for the names that it reads, and logrotate(8).
"""

from __future__ import annotations

import re
import shlex
import zlib
from pathlib import Path

from litekeep.errors import UserError
from litekeep.host.schedule import VARIABLES_FILE, WORDS, Schedule, Task, head_of

FILE = Path("etc/cron.d/litekeep")
ROTATION = Path("etc/logrotate.d/litekeep")
LOG = Path("/var/log/litekeep.log")

#: cron's own bound is 998; some have less.
_LINE_LENGTH_MAX = 990
_WORD = re.compile(r"@(?:hourly|daily|weekly|monthly|midnight)")
_VALUE = r"[0-9]{1,3}|[a-z]{3}"
_PART = re.compile(
    rf"(?:\*|(?P<first>{_VALUE})(?:-(?P<last>{_VALUE}))?)(?:/(?P<step>[0-9]{{1,3}}))?", re.ASCII
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
#: Minute, hour, day of the month, month, day of the week: the least, the most, and their names.
_FIELDS = ((0, 59, ()), (0, 23, ()), (1, 31, ()), (1, 12, _MONTHS), (0, 7, _DAYS))


def table(schedule: Schedule, seed: str, *, user: str | None = "root", log: Path = LOG) -> str:
    """
    Return the text of the table.

    Args:
        schedule: What is run.

        seed: What the minutes are made from.

        user: Who runs it; None for a user's own crontab, whose lines name none.

        log: Where output goes.

    Raises:
        UserError: An expression is none of cron's, or a line is longer than cron reads.
    """
    lines = [
        "SHELL=/bin/sh",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "",
    ]
    for task in schedule.tasks:
        line = " ".join(filter(None, [expression(task, seed), user, _command(schedule, task, log)]))
        if len(line.encode()) > _LINE_LENGTH_MAX:
            raise UserError(
                f"the line of {task.name} is longer than cron reads",
                hint="Reach the configuration and the program by shorter paths.",
            )
        lines += [f"# {task.name}: {task.meaning}", line]
    return head_of(schedule, "cron") + "".join(f"{line}\n" for line in lines)


def rotation(schedule: Schedule) -> str:
    """Return logrotate's file for the log."""
    return head_of(schedule, "cron") + (
        f"{LOG} {{\n"
        "    weekly\n"
        "    rotate 8\n"
        "    maxsize 50M\n"
        "    compress\n"
        "    delaycompress\n"
        "    missingok\n"
        "    notifempty\n"
        "}\n"
    )


def expression(task: Task, seed: str) -> str:
    """
    Return when a task runs, as cron writes it.

    >>> expression(Task("drill", "", (), "weekly", 4), "a")
    '29 4 * * 0'

    Raises:
        UserError: It is neither a word nor an expression.
    """
    if task.when in WORDS:
        minute = zlib.crc32(f"{task.name} {seed}".encode()) % 60
        hour = "*" if task.when == "hourly" else str(task.hour)
        day = "0" if task.when == "weekly" else "*"
        return f"{minute} {hour} * * {day}"
    if not _is_expression(task.when):
        raise UserError(
            f"{task.when!r} is no time that cron knows",
            hint=f'Give {", ".join(WORDS)}, off, or five fields like "30 2 * * *".',
        )
    return task.when


def _is_expression(text: str) -> bool:
    """
    Say whether cron understands *text*, and runs it some time.

    >>> [_is_expression(text) for text in ("*/5 0-6 1,15 jan mon-fri", "61 * * * *", "* * * *")]
    [True, False, False]
    """
    fields = text.split()
    if "\n" in text:  # the end of the line
        return False
    if _WORD.fullmatch(text):
        return True
    return len(fields) == len(_FIELDS) and all(map(_is_field, fields, _FIELDS))


def _is_field(text: str, field: tuple[int, int, tuple[str, ...]]) -> bool:
    least, most, names = field
    numbers = {name: least + index for index, name in enumerate(names)}
    for part in text.lower().split(","):
        match = _PART.fullmatch(part)
        if match is None:
            return False
        first, last, step = match["first"], match["last"], match["step"]
        if step is not None and (int(step) == 0 or (first is not None and last is None)):
            return False
        ends = [
            numbers.get(end, int(end) if end.isdecimal() else -1) for end in (first, last) if end
        ]
        if ends != sorted(ends) or not all(least <= end <= most for end in ends):
            return False
    return True


def _command(schedule: Schedule, task: Task, log: Path) -> str:
    variables = "".join(f"{name}={shlex.quote(value)} " for name, value in schedule.environment)
    program = variables + shlex.join(schedule.command(task))
    log_text = shlex.quote(str(log))
    read = f"set -a; if [ -r {VARIABLES_FILE} ]; then . {VARIABLES_FILE}; fi; set +a"
    shown, well = f"litekeep {task.name}", "|".join(map(str, task.well))
    command = (
        f'({read}; echo "$(date -Is) {shown}"; {program}) >> {log_text} 2>&1'
        f' || case $? in {well}) ;; *) echo "{shown} failed: see "{log_text};; esac'
    )
    return command.replace("%", "\\%")
