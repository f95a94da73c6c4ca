"""
Replacing what SQLite cannot read, by an intent that outlives a kill.

    <target>.restoring.db     the restored file, whole, proved, fsynced
    <target>.restoring        the intent: which file it replaces, and the undo name

    1  link the target and its -wal, -shm, -journal to undo names
    2  link READY to <target>.restoring.db
    3  write <target>.restoring
    4  unlink -wal, -shm, -journal      first: a stale log would damage the new file
    5  rename <target>.restoring.db over the target
    6  unlink the intent

A kill before 3 leaves what was there.  One between 3 and 6 is completed by `complete`,
which the next run calls: each step is done only where it is not done yet.  If somebody
has put something else at the target meanwhile, the intent is dropped instead.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from litekeep import faults
from litekeep.engine.undo import drop_second_names, link, sidecars, undo_of
from litekeep.errors import DatabaseBusy, UserError
from litekeep.store.files import fsync_folder
from litekeep.store.temporary import lock, temporary_file

INTENT_SUFFIX = ".restoring"
READY_SUFFIX = ".restoring.db"
_SIZE_MAX = 64 * 1024


@dataclass(frozen=True, slots=True)
class Intent:
    """What is to be replaced; `undo` is a name of the same folder, None to keep nothing."""

    device: int
    inode: int
    undo: str | None


def replace_unreadable(ready: Path, target: Path, undo: Path | None) -> None:
    """
    Put *ready* in the place of the file at *target*, and keep that with its sidecars.

    Raises:
        DatabaseBusy: Another restore is at it.
    """
    prepared, path = _ready_of(target), _intent_of(target)
    status = target.stat()
    intent = Intent(status.st_dev, status.st_ino, undo.name if undo else None)
    try:
        _keep(target, undo)
        _prepare(ready, prepared)
    except BaseException:
        drop_second_names(target)
        raise
    try:
        with temporary_file(target.parent) as (temporary, file):
            faults.reach("write intent")
            file.write(json.dumps(asdict(intent)).encode())
            faults.reach("fsync intent")
            os.fsync(file.fileno())
            faults.reach("rename intent")
            temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            prepared.unlink()
        drop_second_names(target)
        raise
    fsync_folder(target.parent)
    _finish(prepared, target, path)


def is_pending(target: Path) -> bool:
    """
    Say whether a swap over *target* was cut short and waits for `complete`.

    Where only the intent is left, step 5 is done: the new database is in place.
    """
    return _intent_of(target).exists() and _ready_of(target).exists()


def complete(target: Path) -> bool:
    """
    Complete a replacement that a kill cut short, or drop it if it is out of date.

    Returns:
        Whether one was completed.

    Raises:
        DatabaseBusy: Another restore is at it.
    """
    path, prepared = _intent_of(target), _ready_of(target)
    if not prepared.exists():
        is_done = path.exists()  # killed between 5 and 6
        if is_done:
            _forget(path)
        drop_second_names(target)
        return is_done
    descriptor = os.open(prepared, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if lock(descriptor, wait=False) is False:
            raise DatabaseBusy(f"another restore of {target} is running", hint="Wait for it.")
        intent = _read(path) if path.exists() else None
        if intent is not None and _is_current(intent, target):
            _finish(prepared, target, path)
            return True
        if intent is not None:
            _forget(path)
        faults.reach("unlink ready")
        prepared.unlink()
        drop_second_names(target)
        return False
    finally:
        os.close(descriptor)


def _keep(target: Path, undo: Path | None) -> None:
    if undo is None:
        return
    for path in (target, *sidecars(target)):
        link(path, undo_of(path, target, undo))
    fsync_folder(target.parent)


def _prepare(ready: Path, prepared: Path) -> None:
    """Give READY the name that `complete` looks for; its own is removed by its owner."""
    faults.reach("link ready")
    try:
        os.link(ready, prepared)
    except FileExistsError as error:
        raise DatabaseBusy("another restore is running", hint="Wait for it.") from error
    except OSError:  # no links on this file system
        if prepared.exists():
            raise
        ready.rename(prepared)


def _finish(prepared: Path, target: Path, intent: Path) -> None:
    """Steps 4 to 6; may be done again."""
    for sidecar in sidecars(target):
        faults.reach(f"unlink {sidecar.name}")
        sidecar.unlink(missing_ok=True)
    fsync_folder(target.parent)
    faults.reach("rename target")
    prepared.replace(target)
    fsync_folder(target.parent)
    _forget(intent)


def _forget(intent: Path) -> None:
    faults.reach("unlink intent")
    intent.unlink(missing_ok=True)
    fsync_folder(intent.parent)


def _is_current(intent: Intent, target: Path) -> bool:
    """Tell whether what the intent was about is still all that lies at the target."""
    try:
        status = target.stat()
    except FileNotFoundError:
        return False
    if (status.st_dev, status.st_ino) != (intent.device, intent.inode):
        return False
    if intent.undo is None:
        return True
    undo = target.with_name(intent.undo)
    kept = [undo_of(path, target, undo) for path in sidecars(target)]
    return all(
        copy.exists() and copy.samefile(path)
        for copy, path in zip(kept, sidecars(target), strict=True)
    )


def _intent_of(target: Path) -> Path:
    return target.with_name(target.name + INTENT_SUFFIX)


def _ready_of(target: Path) -> Path:
    return target.with_name(target.name + READY_SUFFIX)


def _read(path: Path) -> Intent:
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(_SIZE_MAX))
        undo = found["undo"]
        intent = Intent(int(found["device"]), int(found["inode"]), undo)
        if undo is not None and (not isinstance(undo, str) or "/" in undo or not undo):
            raise ValueError("it names no file of its folder")
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not readable", hint="Remove it, then restore again.") from error
    return intent
