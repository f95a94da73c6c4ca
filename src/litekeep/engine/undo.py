"""
The files beside a target: its log and journal, and the undo copy that keeps the old file.

    app.db-wal  app.db-shm  app.db-journal     sidecars
    app.db.undo-20250908_120001                the undo copy: a second name of the old file
    app.db.undo-20250908_120001-wal            of its sidecar, where SQLite could not read it

An undo copy is a link, so it costs no room, and it is made before the old file loses its
own name.  A run that is killed in between leaves a second name of a file that is still in
place: that is no undo copy, and the next run drops it.
"""

from __future__ import annotations

import contextlib
import errno
import os
from datetime import datetime
from pathlib import Path

from litekeep import faults
from litekeep.errors import StoreError

SIDECARS = ("-wal", "-shm", "-journal")
UNDO_MARK = ".undo-"

_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


def sidecars(target: Path) -> list[Path]:
    """Return the sidecars that are there."""
    paths = (target.with_name(target.name + suffix) for suffix in SIDECARS)
    return [path for path in paths if path.exists()]


def undo_name(target: Path, time: datetime) -> Path:
    """Return a name that nothing has yet."""
    number = 0
    while True:
        suffix = f"-{number}" if number else ""
        undo = target.with_name(f"{target.name}{UNDO_MARK}{time:%Y%m%d_%H%M%S}{suffix}")
        if not any(Path(f"{undo}{end}").exists() for end in ("", *SIDECARS)):
            return undo
        number += 1


def undo_of(path: Path, target: Path, undo: Path) -> Path:
    """Return the undo name of *path*, which is the target or one of its sidecars."""
    return undo.with_name(undo.name + path.name.removeprefix(target.name))


def link(path: Path, undo: Path) -> None:
    """
    Give the file at *path* a second name.

    Raises:
        StoreError: This file system has no second names.
    """
    faults.reach(f"link {undo.name}")
    try:
        os.link(path, undo)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        raise StoreError(
            f"cannot keep {path} as {undo.name}: {error.strerror}",
            hint="This file system has no hard links: save a copy yourself, then use --no-undo.",
        ) from error


def drop_second_names(target: Path) -> None:
    """Remove undo names of files that are still in place: a run was killed, or failed."""
    for path in (target, *sidecars(target)):
        try:
            status = path.stat()
        except FileNotFoundError:
            continue
        if status.st_nlink < 2:
            continue
        for name in os.listdir(target.parent):
            undo = target.with_name(name)
            if name.startswith(target.name + UNDO_MARK) and _is_same(undo, status):
                faults.reach(f"unlink {name}")
                undo.unlink(missing_ok=True)


def _is_same(path: Path, status: os.stat_result) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samestat(path.lstat(), status)
    return False
