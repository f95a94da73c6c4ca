"""
The live database as a source: is it safe to open here, and who is in the way if not.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from litekeep.engine.undo import UNDO_MARK
from litekeep.errors import DatabaseBusy, UnsafeFileSystem
from litekeep.host.filesystems import MOUNTINFO, mount_of
from litekeep.host.processes import lock_holders, openers
from litekeep.sqlite.live import LiveView, take_view
from litekeep.store.temporary import TEMPORARY_NAME


def refuse_unsafe(real: str, *, mountinfo: Path = MOUNTINFO) -> None:
    """
    Raise if SQLite's locks or its log would not work where the database lies.

    Args:
        real: The database file itself.

        mountinfo: Where the system tells about mounts.

    Raises:
        UnsafeFileSystem: It lies on a network file system, or is mounted alone.
    """
    mount = mount_of(real, mountinfo=mountinfo)
    if mount is None:
        return
    if mount.is_foreign_kernel:
        raise UnsafeFileSystem(
            f"{real} lies on {mount.type}, where SQLite's locks and shared memory do not work "
            "between machines",
            hint="Run Litekeep on the machine that holds the disk; if only this machine uses the "
            "file, allow_unsafe_file_system = true (or --allow-unsafe-file-system) overrides this.",
        )
    if mount.point == real:
        raise UnsafeFileSystem(
            f"{real} is mounted alone, so its -wal and -journal are not seen here",
            hint="Mount the folder that holds the database instead of the single file.",
        )


def refuse_second_name(real: str) -> None:
    """
    Raise if the file has another name, by which an application may use it.

    SQLite finds the log by the name that the file was opened by.  So a file of two names
    has two logs, and only the one beside the application's name counts.

    Raises:
        UnsafeFileSystem: There is another name, and no log beside this one.
    """
    if has_other_name(real) and not _has_log(real):
        raise UnsafeFileSystem(
            f"{real} has another name too (a hard link), and no log beside this one: what was "
            "committed may stand in the log beside the other",
            hint="Give the name that the application uses, or make this one a file of its own; "
            "allow_unsafe_file_system = true (or --allow-unsafe-file-system) overrides this.",
        )


def has_other_name(real: str) -> bool:
    """Say whether a file has another name; those that a restore gives are used by nobody."""
    status = os.stat(real)
    if status.st_nlink < 2:
        return False
    folder, own = os.path.split(real)
    ours = 0
    for entry in os.scandir(folder):
        if entry.name.startswith(own + UNDO_MARK) or TEMPORARY_NAME.fullmatch(entry.name):
            with contextlib.suppress(OSError):
                ours += os.path.samestat(entry.stat(follow_symlinks=False), status)
    return status.st_nlink > 1 + ours


def _has_log(real: str) -> bool:
    """Say whether the log or the journal of this name holds something, or is in use."""
    for log in (Path(f"{real}-wal"), Path(f"{real}-journal")):
        with contextlib.suppress(OSError):
            if log.stat().st_size > 0 or openers(log).processes:
                return True
    return False


@contextlib.contextmanager
def view_or_culprit(path: Path, busy_timeout_seconds: float) -> Iterator[LiveView]:
    """
    Take a view; where a lock is in the way, name who holds it.

    Raises:
        DatabaseBusy: As `take_view`, with the processes in the message.
    """
    with contextlib.ExitStack() as stack:
        try:
            live = stack.enter_context(take_view(path, busy_timeout_seconds=busy_timeout_seconds))
        except DatabaseBusy as error:
            holders = lock_holders(path)
            is_locked = error.__cause__ is not None  # else it is this process that is in the way
            if not is_locked or not holders:
                raise
            raise DatabaseBusy(
                f"{path} is locked by {', '.join(map(str, holders))}", hint=error.hint
            ) from error
        yield live
