"""
Who has a file open, as far as this process can see.

Linux shows the open files of each process under /proc: of all processes to root,
of its own to another user, and none of those outside its PID namespace.  So an
answer says how much it could not see.

See proc_pid_fd(5) and proc_locks(5).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

#: The inode of the machine's first PID namespace (PROC_PID_INIT_INO in Linux).
INITIAL_PID_NAMESPACE = 0xEFFFFFFC

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Process:
    """A process, for a person."""

    id: int
    command: str

    def __str__(self) -> str:
        return f"{self.command} (process {self.id})"


@dataclass(frozen=True, slots=True)
class Openers:
    """
    Who has a file open.

    `unseen_count` is how many processes could not be looked into;
    `is_confined` says that there may be others outside this PID namespace;
    `is_supported` is False where the system does not tell at all.
    """

    processes: tuple[Process, ...]
    unseen_count: int
    is_confined: bool
    is_supported: bool = True


def openers(*paths: Path, proc: Path = PROC) -> Openers:
    """
    Find the processes that have a file at one of *paths* open, this one left out.

    Or a file that was removed from there, which they go on using.

    Args:
        paths: Need not exist.

        proc: Where the system tells about processes.
    """
    if not (proc / "self").exists():
        return Openers((), 0, is_confined=False, is_supported=False)
    wanted = _Wanted(
        frozenset(filter(None, map(_identity, paths))),
        frozenset(f"{path} (deleted)" for path in paths),
    )
    found, unseen_count = [], 0
    for process_id in _process_ids(proc):
        if process_id == os.getpid():
            continue
        try:
            if _has_open(proc / str(process_id) / "fd", wanted):
                found.append(Process(process_id, _command(process_id, proc)))
        except PermissionError:
            unseen_count += 1
        except OSError:
            continue  # it ended meanwhile
    return Openers(tuple(found), unseen_count, _is_confined(proc))


def lock_holders(path: Path, *, proc: Path = PROC) -> tuple[Process, ...]:
    """Return the processes that hold a POSIX lock on the file at *path*."""
    try:
        status = path.stat()
        lines = (proc / "locks").read_text().splitlines()
    except OSError:
        return ()
    place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    ids = {
        int(fields[4])
        for fields in map(str.split, lines)
        if len(fields) >= 6 and fields[1] == "POSIX" and fields[5] == place
    }
    return tuple(Process(i, _command(i, proc)) for i in sorted(ids) if i > 0 and i != os.getpid())


def is_locked(path: Path, *, proc: Path = PROC) -> bool | None:
    """
    Say whether a process holds a lock on the file at *path*, without taking one.

    The inode alone is compared: some file systems show another device there than `stat`.

    Returns:
        None where the system does not tell, or not of the processes outside this namespace.
    """
    try:
        lines = (proc / "locks").read_text().splitlines()
    except OSError:
        return None
    try:
        inode = str(path.stat().st_ino)
    except FileNotFoundError:
        return False
    fields = [line.split() for line in lines]
    if any(len(each) >= 6 and each[5].rpartition(":")[2] == inode for each in fields):
        return True
    return None if _is_confined(proc) else False


def named(names: Sequence[str], *, proc: Path = PROC) -> tuple[Process, ...]:
    """Return the processes whose program has one of *names*."""
    if not proc.is_dir():
        return ()
    found = (Process(i, _command(i, proc)) for i in _process_ids(proc))
    return tuple(process for process in found if process.command in names)


def _process_ids(proc: Path) -> Iterable[int]:
    return sorted(int(name) for name in os.listdir(proc) if name.isdecimal())


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Files by device and inode, and the links to those that lost their names."""

    files: frozenset[tuple[int, int]]
    links: frozenset[str]


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _has_open(folder: Path, wanted: _Wanted) -> bool:
    for name in os.listdir(folder):
        try:
            status = os.stat(folder / name)
            if (status.st_dev, status.st_ino) in wanted.files:
                return True
            if status.st_nlink == 0 and os.readlink(folder / name) in wanted.links:
                return True
        except OSError:
            continue  # closed meanwhile
    return False


def _command(process_id: int, proc: Path) -> str:
    try:
        return (proc / str(process_id) / "comm").read_text().strip()
    except OSError:
        return "?"


def _is_confined(proc: Path) -> bool:
    if not (proc / "1").exists():  # hidepid: those of other users are not even listed
        return True
    try:
        return (proc / "self/ns/pid").stat().st_ino != INITIAL_PID_NAMESPACE
    except OSError:
        return True
