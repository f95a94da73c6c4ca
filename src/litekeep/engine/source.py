"""
The live database as a source: is it safe to open here, and who is in the way if not.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from litekeep.errors import DatabaseBusy, UnsafeFileSystem
from litekeep.host.filesystems import MOUNTINFO, mount_of
from litekeep.host.processes import lock_holders
from litekeep.sqlite.live import LiveView, take_view


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
