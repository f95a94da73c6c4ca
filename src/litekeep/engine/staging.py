"""
The compressed snapshot on its way: a file that grows while stores read it.

The view must never wait for a network, and no store for another.  So compression
writes to a temporary file, as fast as the disk takes it, and each store follows the
file at a speed of its own.  The file lies in the folder of a local store, which
then only links it, or in the spool where there is none.  It is removed in the end;
what a killed run leaves, the next one removes (`store/temporary.py`).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from litekeep import faults
from litekeep.errors import AccessDenied, NoSpace, StoreError
from litekeep.store.base import PIECE_SIZE_MAX
from litekeep.store.files import make_folders
from litekeep.store.temporary import temporary_file

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class Staging:
    """
    A growing file, a `store.base.Body` for any number of readers.

    Each iteration reads from the start, waits for what is not yet written, and
    raises what `fail` was given.
    """

    def __init__(self, path: Path, file: BinaryIO, *, size_max: int | None = None) -> None:
        self.path = path
        self.size = 0
        self._file = file
        self._size_max = size_max
        self._sha256 = hashlib.sha256()
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self._is_finished = False

    def write(self, data: bytes) -> None:
        """
        Append *data*.

        Raises:
            NoSpace: The disk is full, or the bound of the spool is reached.
        """
        if self._size_max is not None and self.size + len(data) > self._size_max:
            raise NoSpace(
                f"the spool would hold more than {self._size_max} bytes",
                hint="Raise spool_size_max, or add a local store with more room.",
            )
        view = memoryview(data)
        try:
            faults.reach("write staging")
            while len(view) > 0:
                view = view[self._file.write(view) :]
        except OSError as error:
            raise write_failed(error, self.path) from error
        self._sha256.update(data)
        with self._changed:
            self.size += len(data)
            self._changed.notify_all()

    def finish(self) -> None:
        """Say that all is written."""
        with self._changed:
            self._is_finished = True
            self._changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """Let every reader raise *error*, now and later."""
        with self._changed:
            self._error = error
            self._changed.notify_all()

    def wait_finished(self) -> None:
        """Wait until all is written; raise what `fail` was given."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_finished or self._error)
            if self._error is not None:
                raise self._error

    @property
    def sha256(self) -> str:
        """SHA-256 of what is written, in hex digits."""
        return self._sha256.hexdigest()

    def __iter__(self) -> Iterator[bytes]:
        offset = 0
        with self.path.open("rb", buffering=0) as file:
            while piece_size := self._wait_beyond(offset):
                piece = os.pread(file.fileno(), piece_size, offset)
                offset += len(piece)
                yield piece

    def _wait_beyond(self, offset: int) -> int:
        """Wait for more than *offset* bytes; return how many to read, 0 at the end."""
        with self._changed:
            self._changed.wait_for(
                lambda: self.size - offset >= PIECE_SIZE_MAX or self._is_finished or self._error
            )
            if self._error is not None:
                raise self._error
            return min(PIECE_SIZE_MAX, self.size - offset)


@contextlib.contextmanager
def opened_in(folder: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """
    Open a temporary file in *folder* for the time of a ``with`` block.

    Raises:
        StoreError: The folder cannot be written to, or is full.
    """
    with contextlib.ExitStack() as stack:
        try:
            opened = stack.enter_context(temporary_file(folder))
        except OSError as error:
            raise write_failed(error, folder / "a temporary file") from error
        yield opened


@contextlib.contextmanager
def opened_in_first(folders: Sequence[Path]) -> Iterator[tuple[Path, BinaryIO]]:
    """
    Open a temporary file in the first of *folders* that takes one, made if it is missing.

    A local store that cannot be written to must not keep the others from their copy.

    Raises:
        StoreError: None can be written to; the first one's error.
    """
    errors: list[StoreError] = []
    with contextlib.ExitStack() as stack:
        for folder in folders:
            try:
                _make(folder)
                opened = stack.enter_context(opened_in(folder))
            except StoreError as error:
                errors.append(error)
            else:
                break
        else:
            raise errors[0]
        yield opened


def _make(folder: Path) -> None:
    try:
        make_folders(folder)
    except OSError as error:
        raise write_failed(error, folder) from error


def write_failed(error: OSError, path: Path) -> StoreError:
    """Return our error for a failed write of a local file."""
    if error.errno in NO_ROOM:
        return NoSpace(
            f"no space left on the disk of {path.parent}",
            hint="Free some space, or choose another folder.",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return AccessDenied(
            f"cannot write {path}: {error.strerror}",
            hint=f"Give user id {os.geteuid()} the right to write there.",
        )
    return StoreError(
        f"cannot write {path}: {error.strerror}", hint="Look at the disk, or choose another folder."
    )
