"""
What a directory store does to single files and folders, and what their errors mean.

Errors of the file system become ours here and nowhere else: see `translated`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from litekeep import faults
from litekeep.clock import Clock
from litekeep.errors import AccessDenied, BlobNotFound, LitekeepError, NoSpace, StoreError
from litekeep.store.base import PIECE_SIZE_MAX, Blob
from litekeep.store.temporary import TEMPORARY_NAME, lock

LOCK_NAME = ".litekeep.lock"
NO_LINKS = (errno.EPERM, errno.EXDEV, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)

_NO_FAST_COPY = (errno.EXDEV, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EBADF)
_NO_FOLDER_FSYNC = (errno.EINVAL, errno.EOPNOTSUPP, errno.EBADF)


@contextlib.contextmanager
def translated(
    place: Path, *, missing: str | None = None, right: str = "read and write"
) -> Iterator[None]:
    """
    Turn an error of the file system into one of ours.

    Args:
        place: What was worked on, where the error itself does not say.

        missing: The message if there is no such file; it is about *place* if absent.

        right: What one must be allowed to do there.
    """
    try:
        yield
    except LitekeepError:
        raise
    except OSError as error:
        raise _translate(error, place, missing, right) from error


def _translate(error: OSError, place: Path, missing: str | None, right: str) -> StoreError:
    where = error.filename if isinstance(error.filename, str) else str(place)
    if TEMPORARY_NAME.fullmatch(os.path.basename(where)):
        where = os.path.dirname(where)  # a name of ours means nothing to anybody else
    reason = os.strerror(error.errno).lower() if error.errno else str(error)
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR | errno.ELOOP | errno.EISDIR | errno.ENXIO:
            return BlobNotFound(missing or f"{where}: {reason}")
        case errno.ENOSPC | errno.EDQUOT:
            return NoSpace(
                f"no space left while writing {where}",
                hint="Free some space, keep fewer local snapshots, or choose another folder.",
            )
        case errno.EACCES | errno.EPERM:
            return AccessDenied(
                f"{where}: {reason}",
                hint=f"Give user id {os.geteuid()} the right to {right} there.",
            )
        case errno.EROFS:
            return AccessDenied(
                f"{where} lies on a read-only file system",
                hint="Mount it for writing, or choose another folder.",
            )
    return StoreError(f"{where}: {reason}", hint="Look at the disk, and at what lies there.")


@contextlib.contextmanager
def locked(root: Path) -> Iterator[bool]:
    """Hold the lock of the store at *root*; yields False where there are no locks."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        is_locked = lock(descriptor, wait=True)
        if is_locked is None:  # NFS locks only what is open for writing
            os.close(descriptor)
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(root / LOCK_NAME, flags, 0o600)
            is_locked = lock(descriptor, wait=True)
        yield bool(is_locked)
    finally:
        os.close(descriptor)


def make_folders(folder: Path) -> list[Path]:
    """
    Make *folder* and its parents where they are missing, mode 0700, durably.

    Returns:
        Those that were made, outermost first.
    """
    if folder.is_dir():
        return []
    made = make_folders(folder.parent)
    faults.reach(f"mkdir {folder.name}")
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError as error:
        if not folder.is_dir():  # else somebody else has just made it
            raise StoreError(
                f"{folder} is a file, so no object can be stored below it",
                hint="Move it away, or choose another folder.",
            ) from error
    fsync_folder(folder.parent)
    return [*made, folder]


def fsync_folder(folder: Path) -> None:
    """Make the names in *folder* durable."""
    faults.reach(f"fsync {folder.name}/")
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot; they write through.
        if error.errno not in _NO_FOLDER_FSYNC:
            raise
    finally:
        os.close(descriptor)


def status_of(path: Path) -> os.stat_result:
    """Return the status of the blob at *path*; a link or folder there is none."""
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise FileNotFoundError(errno.ENOENT, "not a file", str(path))
    return status


def version_of(status: os.stat_result) -> str:
    """Return a text that changes with every put."""
    return f"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"


def blob_of(name: str, status: os.stat_result) -> Blob:
    """Return what is known of a blob without its metadata."""
    modified = datetime.fromtimestamp(status.st_mtime, UTC)
    return Blob(name, status.st_size, modified, version_of(status))


def write_all(file: BinaryIO, piece: bytes, name: str) -> None:
    """Write the whole *piece*; a full disk may take it only in part at first."""
    view = memoryview(piece)
    while len(view) > 0:
        faults.reach(f"write {name}")
        view = view[file.write(view[:PIECE_SIZE_MAX]) :]


def finish(file: BinaryIO, clock: Clock) -> None:
    """Give the file a time of its own, which makes its version, and make it durable."""
    instant = clock()
    time_ns = int(instant.timestamp()) * 10**9 + instant.microsecond * 1000
    os.utime(file.fileno(), ns=(time_ns, time_ns))
    os.fsync(file.fileno())


def copy_bytes(reader: BinaryIO, writer: BinaryIO, name: str) -> None:
    """Copy all bytes in the kernel, which shares the blocks where the file system can."""
    left = os.fstat(reader.fileno()).st_size
    try:
        while left > 0:
            copied = os.copy_file_range(reader.fileno(), writer.fileno(), left)
            if copied == 0:
                break
            left -= copied
    except OSError as error:
        if error.errno not in _NO_FAST_COPY:
            raise
        reader.seek(writer.tell())
    while piece := reader.read(PIECE_SIZE_MAX):
        write_all(writer, piece, name)
