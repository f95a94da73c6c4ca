"""
A temporary file that a later run can tell dead from live.

    .litekeep-<16 hex digits>.tmp

While it is in use its owner holds an flock on it, which the kernel drops when
the owner dies, however that happens.  So the rule of `remove_dead` is: whoever
can take the lock may remove the file.

A file exists for an instant before it is locked; a cleaner may take it then.
The owner notices (the lock is held, or the file has no name any more) and
begins again with another name.

Where the file system has no flock (some network mounts), a temporary file is
dead when nobody has written to it for a day.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

from litekeep import faults
from litekeep.clock import Clock, now

TEMPORARY_NAME = re.compile(r"\.litekeep-[0-9a-f]{16}\.tmp")
AGE_WITHOUT_LOCKS = timedelta(days=1)
CREATE_ATTEMPTS_MAX = 100

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EBADF)


def temporary_name() -> str:
    """Return a new name that `remove_dead` knows."""
    return f".litekeep-{secrets.token_hex(8)}.tmp"


@contextlib.contextmanager
def temporary_file(folder: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """
    Open a new file in *folder*, mode 0600, locked while the context lasts.

    At the end the name is removed if it is still there: rename the file to keep
    it, or link it to another name.  The file is unbuffered.
    """
    path, descriptor = _create(folder)
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        try:
            yield path, file
        finally:
            # What cannot be removed is dead from now on: the next run removes it.
            with contextlib.suppress(OSError):
                if os.path.lexists(path):
                    faults.reach(f"unlink {path.name}")
                    path.unlink(missing_ok=True)


@contextlib.contextmanager
def temporary_folder(kind: str, parent: Path | None = None) -> Iterator[Path]:
    """
    Make a folder, locked while the context lasts, and remove it at the end.

    What killed runs of this user left of the same *kind* is removed first.  It lies in
    *parent*, by default where temporary files lie.
    """
    prefix = f"litekeep-{kind}-"
    parent = Path(tempfile.gettempdir()) if parent is None else parent
    for path in parent.glob(f"{prefix}*"):
        _remove_dead_folder(path)
    folder, descriptor = _create_folder(prefix, parent)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def _create_folder(prefix: str, parent: Path) -> tuple[Path, int]:
    for _ in range(CREATE_ATTEMPTS_MAX):
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(folder, _FOLDER)
            if lock(descriptor, wait=False) is not False and os.fstat(descriptor).st_nlink > 0:
                return folder, descriptor
            os.close(descriptor)
    raise AssertionError("every new temporary folder was removed at once")


def _remove_dead_folder(path: Path) -> None:
    try:
        descriptor = os.open(path, _FOLDER)
    except OSError:
        return
    try:
        # Without locks nobody knows: it stays.
        if os.fstat(descriptor).st_uid == os.geteuid() and lock(descriptor, wait=False):
            shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(descriptor)


def _create(folder: Path) -> tuple[Path, int]:
    for _ in range(CREATE_ATTEMPTS_MAX):
        path = folder / temporary_name()
        faults.reach(f"create {path.name}")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            if lock(descriptor, wait=False) is not False and os.fstat(descriptor).st_nlink > 0:
                return path, descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
    raise AssertionError("every new temporary file was removed at once")


def lock(descriptor: int, *, wait: bool) -> bool | None:
    """
    Take the exclusive flock.

    Returns:
        True if it is ours, False if another holds it, None if there are no locks
        on this file system.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return None
        raise
    return True


def remove_dead(path: Path, *, clock: Clock = now) -> bool:
    """
    Remove the temporary file at *path* unless it is in use; True if removed.

    One that this user may not open, or that is no file, is left to its owner.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        status = os.fstat(descriptor)
        locked = lock(descriptor, wait=False)
        age = clock().timestamp() - status.st_mtime
        is_dead = age > AGE_WITHOUT_LOCKS.total_seconds() if locked is None else locked
        if not is_dead or not stat.S_ISREG(status.st_mode):
            return False
        faults.reach(f"unlink {path.name}")
        with contextlib.suppress(PermissionError):
            path.unlink(missing_ok=True)
            return True
        return False
    finally:
        os.close(descriptor)
