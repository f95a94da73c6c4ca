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
from litekeep.errors import NotADatabase, StoreError
from litekeep.sqlite.header import HEADER_SIZE, read_header
from litekeep.store.files import fsync_folder

SIDECARS = ("-wal", "-shm", "-journal")
UNDO_MARK = ".undo-"

_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


def sidecars(target: Path) -> list[Path]:
    """Return the sidecars that are there."""
    paths = (target.with_name(target.name + suffix) for suffix in SIDECARS)
    return [path for path in paths if os.path.lexists(path)]


def undo_name(target: Path, time: datetime) -> Path:
    """Return a name that nothing has yet."""
    number = 0
    while True:
        suffix = f"-{number}" if number else ""
        undo = target.with_name(f"{target.name}{UNDO_MARK}{time:%Y%m%d_%H%M%S}{suffix}")
        if not any(os.path.lexists(f"{undo}{end}") for end in ("", *SIDECARS)):
            return undo
        number += 1


def undo_of(path: Path, target: Path, undo: Path) -> Path:
    """Return the undo name of *path*, which is the target or one of its sidecars."""
    return undo.with_name(undo.name + path.name.removeprefix(target.name))


def can_be_restored(undo: Path) -> bool:
    """
    Say whether `litekeep restore` can take an undo copy.

    It cannot take what needs the log beside it, nor what does not begin as a database or
    is no whole number of pages: SQLite could not read the old file, and it was kept as it
    was.  Nor is there one where only sidecars lay.
    """
    if not undo.is_file() or logs_beside(undo):
        return False
    size = undo.stat().st_size
    if size == 0:
        return True
    try:
        with undo.open("rb") as file:
            return size % read_header(file.read(HEADER_SIZE)).page_size == 0
    except NotADatabase:
        return False


def logs_beside(database: Path) -> list[Path]:
    """Return the log and the journal beside a database that are not empty."""
    logs = (Path(f"{database}{suffix}") for suffix in SIDECARS if suffix != "-shm")
    return [path for path in logs if path.exists() and path.stat().st_size > 0]


def link(path: Path, undo: Path) -> None:
    """
    Give the file at *path* a second name; a folder has but one, see `put_away`.

    Raises:
        StoreError: It cannot have one here.
    """
    if _is_folder(path):
        return
    faults.reach(f"link {undo.name}")
    try:
        os.link(path, undo, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        raise StoreError(
            f"cannot keep {path} as {undo.name}: {error.strerror}", hint=_why_no_link(path, error)
        ) from error


def _why_no_link(path: Path, error: OSError) -> str:
    is_others = os.geteuid() not in (0, path.lstat().st_uid)
    if error.errno == errno.EPERM and is_others:
        return (
            "Linux lets only its owner and root give a file that others may not write a second "
            "name (fs.protected_hardlinks): run this as one of them."
        )
    return "This file system has no hard links: save a copy yourself, then use --no-undo."


def is_kept(path: Path, undo: Path) -> bool:
    """Say whether *path* can be put away without loss: it has its undo name, or is a folder."""
    return _is_folder(path) or (os.path.lexists(path) and _is_same(undo, path.lstat()))


def put_away(path: Path, undo: Path) -> None:
    """Take its name from a sidecar; a folder in a sidecar's place is only renamed."""
    if _is_folder(path):
        faults.reach(f"rename {path.name}")
        path.rename(undo)
    else:
        faults.reach(f"unlink {path.name}")
        path.unlink(missing_ok=True)


def put_sidecars_back(target: Path, undo: Path) -> None:
    """Give the sidecars that were put away their names again, where those are free."""
    for suffix in SIDECARS:
        path, kept = Path(f"{target}{suffix}"), Path(f"{undo}{suffix}")
        if os.path.lexists(path) or not os.path.lexists(kept):
            continue
        if _is_folder(kept):
            faults.reach(f"rename {kept.name}")
            kept.rename(path)
        else:
            faults.reach(f"link {path.name}")
            os.link(kept, path, follow_symlinks=False)
    fsync_folder(target.parent)


def remove_undo(undo: Path) -> None:
    """Remove an undo copy that was not asked for; a folder of anybody's stays."""
    for suffix in ("", *SIDECARS):
        path = Path(f"{undo}{suffix}")
        if os.path.lexists(path) and not _is_folder(path):
            faults.reach(f"unlink {path.name}")
            path.unlink(missing_ok=True)


def drop_second_names(target: Path) -> None:
    """Remove undo names of files that are still in place: a run was killed, or failed."""
    for path in (target, *sidecars(target)):
        try:
            status = path.lstat()
        except FileNotFoundError:
            continue
        if status.st_nlink < 2 or _is_folder(path):
            continue
        for name in os.listdir(target.parent):
            undo = target.with_name(name)
            if name.startswith(target.name + UNDO_MARK) and _is_same(undo, status):
                faults.reach(f"unlink {name}")
                undo.unlink(missing_ok=True)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _is_same(path: Path, status: os.stat_result) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samestat(path.lstat(), status)
    return False
