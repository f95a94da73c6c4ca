"""
The units of systemd: a service and a timer for each task, and one that tells of failures.

    litekeep-backup.timer     when; made up for after the machine was off, spread at random
    litekeep-backup.service   what, in a sandbox: of the whole machine it may write to the
                              folders that the configuration names, and to nothing else
    litekeep-failed@.service  writes to the journal which of them failed, and tells those
                              whom the run could not tell itself, because it was killed

Text is made here, and nothing is read or written.

    1   A second run at the same time ends with 75, which is no failure; neither is 42, by
        which `status` says what it has told already.
    2   What lies where the sandbox hides everything (homes, /tmp) is bound back in by name.
    3   Root without capabilities is nobody: those kept are what it takes to read another
        user's database, and to give SQLite's -wal and -shm the owner that the database has.

See systemd.exec(5), systemd.timer(5); systemd.syntax(7) for the quoting.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from litekeep.errors import AlreadyRunning, Stale
from litekeep.host.filesystems import is_below
from litekeep.host.schedule import VARIABLES_FILE, Schedule, Task, head_of

FOLDER = Path("etc/systemd/system")
WANTS = FOLDER / "timers.target.wants"
#: Where systemd remembers when a persistent timer last fired.
STAMPS = Path("var/lib/systemd/timers")
STATE_DEFAULT = Path("/var/lib/litekeep")

FAILED = "litekeep-failed@.service"

#: Hidden by ProtectHome and PrivateTmp.
_HOMES = ("/home", "/root", "/run/user")
_TEMPORARY = ("/tmp", "/var/tmp")  # noqa: S108 (named, not used)
#: Where credentials are looked for, below root's home.
_CREDENTIALS = (Path("/root/.aws"), Path("/root/.config/gcloud"))

_WELL = {
    AlreadyRunning.exit_code: "another run of the same job is active (75)",
    Stale.exit_code: "backups are too old, which it has told (42)",
}

_SANDBOX = """\
NoNewPrivileges=yes
ProtectSystem=strict
PrivateTmp=yes
PrivateDevices=yes
ProtectHostname=yes
ProtectClock=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
UMask=0077
"""


def units(schedule: Schedule) -> dict[str, str]:
    """Return the text of each unit, by its file's name."""
    texts = {}
    for task in schedule.tasks:
        texts[f"{unit_of(task)}.service"] = _service(schedule, task)
        texts[f"{unit_of(task)}.timer"] = _timer(schedule, task)
    texts[FAILED] = _failed(schedule)
    return texts


def unit_of(task: Task) -> str:
    """Return the name of a task's units, without the ending."""
    return f"litekeep-{task.name}"


def timers(tasks: Sequence[Task]) -> tuple[str, ...]:
    """Return the names of the timers."""
    return tuple(f"{unit_of(task)}.timer" for task in tasks)


def calendar(task: Task) -> str:
    """
    Return when a task runs, as systemd writes it.

    >>> calendar(Task("verify", "", (), "daily", 2)), calendar(Task("drill", "", (), "weekly", 4))
    ('*-*-* 02:00:00', 'Sun *-*-* 04:00:00')
    """
    match task.when:
        case "daily":
            return f"*-*-* {task.hour:02}:00:00"
        case "weekly":
            return f"Sun *-*-* {task.hour:02}:00:00"
    return task.when


def quoted(text: str) -> str:
    r"""
    Return *text* as one word of a unit file.

    >>> print(quoted('/srv/my "app" 100%'))
    "/srv/my \"app\" 100%%"
    >>> quoted("/srv/app")
    '/srv/app'
    """
    text = text.replace("%", "%%")
    if text and not set(text) & set(" \t\"'\\;#"):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _service(schedule: Schedule, task: Task) -> str:
    folders = [*schedule.store_folders]
    if task.reads_databases:
        folders = [*schedule.database_folders, *folders]
    if schedule.state != STATE_DEFAULT:
        folders.append(schedule.state)
    writable = _outermost(folders)
    lines = [
        f"Description=Litekeep: {task.meaning}",
        "Wants=network-online.target",
        "After=network-online.target docker.service podman.socket",
    ]
    if task.reads_databases and schedule.database_folders:
        lines.append(f"RequiresMountsFor={_words(schedule.database_folders)}")
    lines += [
        "OnFailure=litekeep-failed@%n.service",
        "",
        "[Service]",
        "Type=oneshot",
        f"ExecStart={_command(schedule.command(task))}",
        f"# No failure: {'; '.join(_WELL[code] for code in task.well)}.",
        f"SuccessExitStatus={' '.join(map(str, task.well))}",
        "User=root",
        f"EnvironmentFile=-{VARIABLES_FILE}",
        *_environment(schedule),
        "# Its run has an id, by which a failure is told once.",
        "Environment=LITEKEEP_UNIT=%n",
        # A drill's scratch may be large: not into memory.
        "Environment=TMPDIR=/var/tmp",
        "TimeoutStartSec=24h",
        *(() if task.reads_databases else ("Nice=10", "IOSchedulingClass=idle")),
        "",
        "# Of the whole machine, what it may write to:",
    ]
    lines += _state(schedule, writable)
    lines += ["", *_hidden(writable, _readable(schedule, writable)), _SANDBOX.rstrip()]
    lines += [
        "CapabilityBoundingSet=CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER",
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
    ]
    return f"{head_of(schedule, 'systemd')}{_advice(task, 'service')}[Unit]\n" + _text(lines)


def _timer(schedule: Schedule, task: Task) -> str:
    lines = [
        f"Description=Litekeep: {task.meaning}, by the clock",
        "",
        "[Timer]",
        f"OnCalendar={calendar(task).replace('%', '%%')}",
        "# A run that was missed, because the machine was off, is made up for.",
        "Persistent=yes",
        f"RandomizedDelaySec={'30min' if task.when in ('daily', 'weekly') else '5min'}",
        "",
        "[Install]",
        "WantedBy=timers.target",
    ]
    return f"{head_of(schedule, 'systemd')}{_advice(task, 'timer')}[Unit]\n" + _text(lines)


def _failed(schedule: Schedule) -> str:
    script = (
        'echo "<3>$1 failed (${MONITOR_SERVICE_RESULT:-?} ${MONITOR_EXIT_STATUS:-});'
        ' see: journalctl -u $1"'
    ).replace("$", "$$")
    told = _command((*schedule.program, "--config", str(schedule.config)))
    writable = () if schedule.state == STATE_DEFAULT else (schedule.state,)
    lines = [
        "Description=Litekeep: tell that %i failed",
        "After=network-online.target",
        "",
        "[Service]",
        "Type=oneshot",
        f"ExecStart=/bin/sh -c '{script}' litekeep %i",
        f"ExecStart={told} notify failed %i",
        "SyslogIdentifier=litekeep-failed",
        "User=root",
        f"EnvironmentFile=-{VARIABLES_FILE}",
        *_environment(schedule),
        "TimeoutStartSec=5min",
        "",
        *_state(schedule, writable),
        *_hidden(writable, _readable(schedule, writable)),
        _SANDBOX.rstrip(),
        # To read secrets of its user's.
        "CapabilityBoundingSet=CAP_DAC_OVERRIDE",
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
        "ProtectProc=invisible",
    ]
    return f"{head_of(schedule, 'systemd')}[Unit]\n" + _text(lines)


def _command(words: Sequence[str]) -> str:
    program, *arguments = words
    return " ".join([quoted(program), *(quoted(word).replace("$", "$$") for word in arguments)])


def _environment(schedule: Schedule) -> list[str]:
    return [f"Environment={quoted(f'{name}={value}')}" for name, value in schedule.environment]


def _state(schedule: Schedule, writable: Sequence[Path]) -> list[str]:
    lines = []
    if schedule.state == STATE_DEFAULT:
        lines += ["StateDirectory=litekeep", "StateDirectoryMode=0700"]
    if writable:
        lines.append(f"ReadWritePaths={_words(writable, '-')}")
    return lines


def _readable(schedule: Schedule, writable: Sequence[Path]) -> list[Path]:
    """Return what is read, and lies where the sandbox hides it."""
    paths = _outermost([*schedule.readable, schedule.config, *_CREDENTIALS])
    return [path for path in paths if path not in writable]


def _advice(task: Task, kind: str) -> str:
    name = f"{unit_of(task)}.{kind}"
    return f"# To change it: systemctl edit {name}, which a new install leaves alone.\n"


def _hidden(writable: Sequence[Path], readable: Sequence[Path]) -> list[str]:
    """Return what hides homes, and what brings back the paths that lie in hidden places."""
    # Read-only, which ProtectHome=tmpfs is not where something is bound into it: what is
    # not bound must be refused, not written to memory and lost.
    lines = [f"TemporaryFileSystem={' '.join(f'{place}:ro' for place in _HOMES)}"]
    for key, paths in (("BindPaths", writable), ("BindReadOnlyPaths", readable)):
        bound = [path for path in paths if _is_in(path, (*_HOMES, *_TEMPORARY))]
        if bound:
            lines.append(f"{key}={_words(bound, '-')}")
    return lines


def _is_in(path: Path, places: Iterable[str]) -> bool:
    return any(is_below(str(path), place) for place in places)


def _outermost(paths: Iterable[Path]) -> list[Path]:
    """Return the paths that lie in no other of them, each once, in order."""
    unique = list(dict.fromkeys(paths))
    return [
        path
        for path in unique
        if not any(path != other and is_below(str(path), str(other)) for other in unique)
    ]


def _words(paths: Iterable[Path], mark: str = "") -> str:
    return " ".join(quoted(f"{mark}{path}") for path in paths)


def _text(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
