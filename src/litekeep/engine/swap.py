"""
Putting a finished database file in the place of another.

READY is a whole, proved, fsynced file in the target's folder.

There is a target:

    1  nobody has it open           looked up among all processes
    2  bring it to rest             sqlite/settle.py: locked, and whole without its log.
       or, if it cannot be read,    locked by SQLite's own locks
    3  look again                   a program may have opened it before the lock
    4  replace it                   replace.py, steps a to f: READY takes the name
    5  let go of the locks, and     step g
       set the undo copy right

    A kill before the rename in 4 leaves the old file, a kill after it the new database.
    Which small things a kill leaves undone is told there, and `complete.py` does them.

Only its -wal, -shm or -journal are left: they get undo names and go; then as below.

There is no target: READY is linked to its name, which fails if somebody took it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from litekeep import faults
from litekeep.engine.complete import complete_swap
from litekeep.engine.in_use import in_use, refuse_if_open, refuse_if_seen
from litekeep.engine.intent import Intent
from litekeep.engine.replace import (
    Replacement,
    conclude,
    open_for_locks,
    replace_settled,
    replace_unreadable,
)
from litekeep.engine.staging import write_failed
from litekeep.engine.undo import (
    drop_second_names,
    link,
    put_away,
    sidecars,
    undo_name,
    undo_of,
)
from litekeep.errors import (
    CorruptionError,
    DatabaseBusy,
    DatabaseUnusable,
    LitekeepError,
    TargetExists,
)
from litekeep.host.processes import lock_holders
from litekeep.sqlite.settle import barred, settled
from litekeep.store.files import fsync_folder

LOCK_SECONDS = 2.0


def swap(
    ready: Path,
    new: BinaryIO,
    target: Path,
    *,
    time: datetime,
    replaces: bool = True,
    keep_undo: bool = True,
    assume_stopped: bool = False,
) -> Path | None:
    """
    Make *ready* the file at *target*, whatever lies there.

    Args:
        ready: Whole and fsynced, in the same folder; its name may be left, and the
            caller removes it.

        new: That file, open.

        target: A real path, links followed.

        time: Names the undo copy.

        replaces: Whether anything may lie there at all.

        keep_undo: Keep the old file under another name.

        assume_stopped: The caller vouches that nobody has the target open, where
            that cannot be seen.

    Returns:
        The undo copy, None where there is none.

    Raises:
        DatabaseBusy: Somebody has the target open, or that cannot be known.

        TargetExists: It appeared meanwhile.
    """
    with _translated(target):
        if target.exists() and not replaces:
            raise _appeared(target)
        refuse_if_open(target, assume_stopped=assume_stopped)
        undo = undo_name(target, time)
        if not target.exists():
            has_undo = keep_undo and bool(sidecars(target))
            _put_sidecars_aside(target, undo, keep_undo=keep_undo)
            _place_new(ready, target)
            return undo if has_undo else None
        with open_for_locks(target) as old:
            intent = _replace(Replacement(target, ready, new, old, undo, keep_undo))
        conclude(target, intent, assume_stopped=assume_stopped)
        return undo if keep_undo else None


def _replace(job: Replacement) -> Intent:
    """Steps 2 to 4."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(settled(str(job.target), busy_timeout_seconds=LOCK_SECONDS))
        except DatabaseBusy as error:
            raise _busy(job.target, error) from error
        except (CorruptionError, DatabaseUnusable):
            pass  # below, once SQLite has let go of the file
        else:
            refuse_if_seen(job.target)
            return replace_settled(job)
    with barred(job.old):
        refuse_if_seen(job.target)
        return replace_unreadable(job)


def complete(target: Path, *, assume_stopped: bool = False) -> bool:
    """
    Tidy up after a swap that a kill cut short, and complete it where that was begun.

    Returns:
        Whether one was completed.

    Raises:
        DatabaseBusy: Somebody has the target open.
    """
    with _translated(target):
        return complete_swap(target, assume_stopped=assume_stopped)


def _place_new(ready: Path, target: Path) -> None:
    faults.reach("link target")
    try:
        os.link(ready, target)
    except FileExistsError as error:
        raise _appeared(target) from error
    except OSError as error:  # no links on this file system
        if target.exists():
            raise _appeared(target) from error
        ready.rename(target)
    fsync_folder(target.parent)


def _appeared(target: Path) -> TargetExists:
    return TargetExists(f"{target} appeared meanwhile", hint="Look at it first.")


def _put_sidecars_aside(target: Path, undo: Path, *, keep_undo: bool) -> None:
    """Keep and remove a log without a database: left there, it would damage the new one."""
    for sidecar in sidecars(target):
        kept = undo_of(sidecar, target, undo)
        if keep_undo:
            link(sidecar, kept)
            fsync_folder(target.parent)
        if target.exists():
            drop_second_names(target)
            raise _appeared(target)
        put_away(sidecar, kept)
        fsync_folder(target.parent)


def _busy(target: Path, error: DatabaseBusy) -> DatabaseBusy:
    holders = lock_holders(target)
    if not holders:
        return error
    return in_use(target, holders, "is locked")


@contextlib.contextmanager
def _translated(target: Path) -> Iterator[None]:
    try:
        yield
    except LitekeepError:
        raise
    except OSError as error:
        raise write_failed(error, target) from error
