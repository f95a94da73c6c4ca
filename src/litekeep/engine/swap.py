"""
Putting a finished database file in the place of another.

READY is a whole, proved, fsynced file in the target's folder.

The target can be read by SQLite:

    1  nobody has it open               looked up among all processes
    2  bring it to rest                 sqlite/settle.py: locked, and whole without its log
    3  look again                       a program may have opened it before the lock
    4  lock READY                       whoever opens it in step 6 waits for 7
    5  unlink -wal, -shm, -journal,     empty or unneeded by now: the old file is whole
       link the old file to its undo    no bytes are copied
       name
    6  rename READY over the target     *the* moment: before it the old, after it the new
    7  look who has the old file open   nobody: done.  Somebody, who waits for our lock:
                                        the old file gets its name back, and we refuse

    A kill before 6 leaves the whole old database, a kill after 6 the whole new one.
    After 6 nothing is removed by name, so what an application makes the moment it sees
    the new file is safe.

    Why 7: an application that opened the old file between 3 and 6 would get our lock
    as soon as we let go, and in WAL mode write its commits to `<target>-wal`: by name,
    so into the log of the *new* file, which they would damage.

The target is there but unreadable: `intent.py`.

Only its -wal, -shm or -journal are left: they get undo names and go; then as below.

There is no target: READY is linked to its name, which fails if somebody took it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from litekeep import faults
from litekeep.engine import intent
from litekeep.engine.intent import replace_unreadable
from litekeep.engine.staging import write_failed
from litekeep.engine.undo import (
    drop_second_names,
    link,
    sidecars,
    undo_name,
    undo_of,
)
from litekeep.errors import (
    CorruptionError,
    DatabaseBusy,
    LitekeepError,
    NotADatabase,
    StoreError,
    TargetExists,
)
from litekeep.host.processes import Openers, lock_holders, openers
from litekeep.sqlite.settle import barred, settled, spoil
from litekeep.store.files import fsync_folder
from litekeep.store.temporary import temporary_name

LOCK_SECONDS = 2.0


def swap(
    ready: Path,
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
        if not target.exists():
            undo = undo_name(target, time) if keep_undo and sidecars(target) else None
            _put_sidecars_aside(target, undo)
            _place_new(ready, target)
            return undo
        undo = undo_name(target, time) if keep_undo else None
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(settled(str(target), busy_timeout_seconds=LOCK_SECONDS))
            except DatabaseBusy as error:
                raise _busy(target, error) from error
            except (CorruptionError, NotADatabase):
                pass  # below, once SQLite has let go of the file
            else:
                refuse_if_open(target, assume_stopped=assume_stopped)
                stack.enter_context(barred(ready))
                _replace_settled(ready, target, undo)
                return undo
        replace_unreadable(ready, target, undo)
        return undo


def refuse_if_open(target: Path, *, assume_stopped: bool) -> None:
    """
    Raise if any process has the target or its log open, or if that cannot be known.

    Raises:
        DatabaseBusy: Names the processes.
    """
    for path in (target, *sidecars(target)):
        found = openers(path)
        if found.processes:
            names = ", ".join(map(str, found.processes))
            raise DatabaseBusy(
                f"{target} is in use by {names}",
                hint="Stop it, then restore again; nothing was changed.",
            )
        if not assume_stopped and _is_uncertain(found):
            raise DatabaseBusy(
                f"it cannot be seen from here whether a process has {target} open",
                hint="Stop what uses it, then give --assume-stopped; or run this outside "
                "of the container.",
            )


def _is_uncertain(found: Openers) -> bool:
    return found.is_confined or not found.is_supported


def complete(target: Path, *, assume_stopped: bool = False) -> bool:
    """
    Tidy up after a swap that a kill cut short, and complete it where that was begun.

    Returns:
        Whether one was completed.

    Raises:
        DatabaseBusy: Somebody has the target open.
    """
    with _translated(target):
        refuse_if_open(target, assume_stopped=assume_stopped)
        return intent.complete(target)


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


def _put_sidecars_aside(target: Path, undo: Path | None) -> None:
    """Keep and remove a log without a database: left there, it would damage the new one."""
    for sidecar in sidecars(target):
        if undo is not None:
            link(sidecar, undo_of(sidecar, target, undo))
            fsync_folder(target.parent)
        if target.exists():
            drop_second_names(target)
            raise _appeared(target)
        faults.reach(f"unlink {sidecar.name}")
        sidecar.unlink(missing_ok=True)
        fsync_folder(target.parent)


def _replace_settled(ready: Path, target: Path, undo: Path | None) -> None:
    """Steps 5 to 7 over a database at rest."""
    for sidecar in sidecars(target):
        faults.reach(f"unlink {sidecar.name}")
        sidecar.unlink(missing_ok=True)
    fsync_folder(target.parent)
    aside = undo or target.with_name(temporary_name())
    try:
        with contextlib.suppress(*(() if undo else (StoreError,))):
            link(target, aside)
            fsync_folder(target.parent)
        faults.reach("rename target")
        ready.replace(target)
        fsync_folder(target.parent)
        if aside.exists() and (found := openers(aside).processes):
            _take_back(target, aside)
            names = ", ".join(map(str, found))
            raise DatabaseBusy(
                f"{target} was opened meanwhile by {names}",
                hint="Stop it, then restore again; nothing was changed.",
            )
    finally:
        drop_second_names(target)  # of the old file, where it is in place
        if undo is None:
            faults.reach(f"unlink {aside.name}")
            aside.unlink(missing_ok=True)


def _take_back(target: Path, aside: Path) -> None:
    """Give the old file its name again; who opened the new one meanwhile gets an error."""
    with target.open("r+b") as new:
        faults.reach("rename undo")
        aside.replace(target)
        fsync_folder(target.parent)
        spoil(new)


def _busy(target: Path, error: DatabaseBusy) -> DatabaseBusy:
    holders = lock_holders(target)
    if not holders:
        return error
    names = ", ".join(map(str, holders))
    return DatabaseBusy(
        f"{target} is locked by {names}", hint="Stop it, then restore again; nothing was changed."
    )


@contextlib.contextmanager
def _translated(target: Path) -> Iterator[None]:
    try:
        yield
    except LitekeepError:
        raise
    except OSError as error:
        raise write_failed(error, target) from error
