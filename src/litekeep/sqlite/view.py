"""
A view: the database at one commit, as bytes.

While a read mark is held, the main file overlaid with every WAL frame up to
commit N is exactly the database at commit N:

    pages 1 .. page_count   from the main file, zeros past its end,
                            but from the newest frame <= N where there is one

INVARIANTS

  1. Frames count up to the wal-index's mxFrame and no further.  A writer killed
     between its commit frame and the wal-index leaves a valid commit frame that
     no connection ever sees.
  2. Where all frames were copied back when the view was taken (`frame_count` 0),
     the WAL is not read at all: a writer may restart it under us, but nobody can
     copy its new frames into the main file while our mark is held.
  3. Where some were not, nobody can overwrite the frames up to N.  Each frame
     that is read must still carry its page number and the salts of the view; if
     not, the mark was lost and the view is worth nothing.
  4. The lock page is read as it stands: SQLite leaves it as a hole.
  5. Where the main file alone is the view, nobody changes it while the mark is held;
     where frames belong to it, it only grows.  So a main file with another time or
     size than the view's, or shorter, was written to by somebody who asks for no lock.

A view is a plain value.  It is read through a `Read`, by the connection that
holds the mark or by a child process with descriptors of its own.  This module
opens nothing; `sqlite/live.py` takes views.
"""

from __future__ import annotations

import os
import struct
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from litekeep.errors import CorruptionError, DatabaseBusy
from litekeep.sqlite.wal import FRAME_HEADER_SIZE, WAL_HEADER_SIZE

if TYPE_CHECKING:
    from numpy import uint32
    from numpy.typing import NDArray

    Numbers = NDArray[uint32]

MAIN = 0
WAL = 1

_FRAME_HEADER = struct.Struct(">II8s")

#: (MAIN or WAL, offset, amount) -> that many bytes; `mark_lost` where the file ends before.
Read = Callable[[int, int, int], bytes]

#: Page numbers in order, and the index of each one's newest frame.
FrameIndex = tuple["array[int]", "array[int]"]


@dataclass(frozen=True, slots=True)
class View:
    """
    One commit of one database.

    `frame_count` is the number of WAL frames that belong to it, 0 where the main
    file alone is the view.  `main_size` and `main_time_ns` are the main file's size
    and time of change after the mark was taken.
    """

    path: str
    device: int
    inode: int
    is_wal: bool
    page_size: int
    page_count: int
    frame_count: int
    salts: bytes
    sqlite_version: str
    main_size: int
    main_time_ns: int

    @property
    def size(self) -> int:
        """The database's size in bytes."""
        return self.page_size * self.page_count

    @property
    def frame_size(self) -> int:
        """The size of a WAL frame in bytes."""
        return FRAME_HEADER_SIZE + self.page_size

    def refuse_changed(self, main: os.stat_result | None) -> None:
        """
        Raise unless *main* can be the main file of this view still.

        Args:
            main: What the path leads to by now; None if nothing is there.

        Raises:
            DatabaseBusy: It is gone, or another file.

            CorruptionError: Invariant 5 does not hold.
        """
        if main is None or (main.st_dev, main.st_ino) != (self.device, self.inode):
            what = "removed" if main is None else "replaced by another file"
            raise DatabaseBusy(
                f"{self.path} was {what} while it was read",
                hint="Run it again: this would have been a copy of the old file.",
            )
        if self.frame_count == 0:
            is_same = (main.st_size, main.st_mtime_ns) == (self.main_size, self.main_time_ns)
        else:
            is_same = main.st_size >= min(self.main_size, self.size)
        if not is_same:
            raise mark_lost(MAIN)


def view_at_rest(path: Path, status: os.stat_result, page_size: int, size: int) -> View:
    """Return the view of a whole database file of *size* bytes that nobody else has open."""
    return View(
        path=str(path),
        device=status.st_dev,
        inode=status.st_ino,
        is_wal=False,
        page_size=page_size,
        page_count=size // page_size,
        frame_count=0,
        salts=b"",
        sqlite_version="",
        main_size=status.st_size,
        main_time_ns=status.st_mtime_ns,
    )


class Pages:
    """Reads a view's bytes."""

    def __init__(self, view: View, read: Read) -> None:
        self.view = view
        self._read = read
        self._frames = index_frames(view, read)

    def at(self, offset: int, amount: int) -> bytes:
        """Return *amount* bytes from *offset*; both may lie inside pages."""
        page_size = self.view.page_size
        data: bytes | bytearray = self._main(offset, amount)
        numbers, frames = self._frames
        end = offset + amount
        first = bisect_left(numbers, offset // page_size + 1)
        last = bisect_right(numbers, (end - 1) // page_size + 1)
        for index in range(first, last):
            if isinstance(data, bytes):
                data = bytearray(data)
            page_number = numbers[index]
            start = (page_number - 1) * page_size
            page = self._frame(page_number, frames[index])
            low, high = max(start, offset), min(start + page_size, end)
            data[low - offset : high - offset] = page[low - start : high - start]
        return bytes(data)

    def pieces(self, size: int) -> Iterator[bytes]:
        """Yield the whole database in pieces of *size* bytes, the last one shorter."""
        for offset in range(0, self.view.size, size):
            yield self.at(offset, min(size, self.view.size - offset))

    def _main(self, offset: int, amount: int) -> bytes:
        """Read the main file, as long as it was when the view was taken; then zeros."""
        there = min(amount, self.view.main_size - offset)
        if there == amount:
            return self._read(MAIN, offset, amount)
        return (self._read(MAIN, offset, there) if there > 0 else b"").ljust(amount, b"\0")

    def _frame(self, page_number: int, frame_index: int) -> bytes:
        frame_offset = WAL_HEADER_SIZE + frame_index * self.view.frame_size
        data = self._read(WAL, frame_offset, self.view.frame_size)
        found, _, salts = _FRAME_HEADER.unpack_from(data)
        if found != page_number or salts != self.view.salts:
            raise mark_lost(WAL)
        return data[FRAME_HEADER_SIZE:]


def index_frames(view: View, read: Read) -> FrameIndex:
    """
    Return which pages have a frame in the view, in order, and the newest frame of each.

    Eight bytes a page, whatever the log's length: a log may be larger than the memory.
    """
    if view.frame_count == 0:
        return array("I"), array("I")
    import numpy  # 50 ms, and the main file alone needs none of it

    frame_size = view.frame_size
    batch = max(1, (1 << 20) // frame_size)
    salts = numpy.frombuffer(view.salts, numpy.uint8)
    numbers = numpy.empty(0, numpy.uint32)
    frames = numpy.empty(0, numpy.uint32)
    waiting: list[tuple[Numbers, Numbers]] = []
    for first in range(0, view.frame_count, batch):
        count = min(batch, view.frame_count - first)
        data = read(WAL, WAL_HEADER_SIZE + first * frame_size, count * frame_size)
        rows = numpy.frombuffer(data, numpy.uint8).reshape(count, frame_size)
        if not (rows[:, 8:16] == salts).all():
            raise mark_lost(WAL)
        found = rows[:, :4].copy().view(">u4").ravel().astype(numpy.uint32)
        waiting.append((found, numpy.arange(first, first + count, dtype=numpy.uint32)))
        is_last = first + count == view.frame_count
        if is_last or sum(len(each) for each, _ in waiting) >= max(1 << 16, len(numbers)):
            numbers, frames = _newest([(numbers, frames), *waiting])
            waiting = []
    return array("I", numbers.tobytes()), array("I", frames.tobytes())


def _newest(parts: list[tuple[Numbers, Numbers]]) -> tuple[Numbers, Numbers]:
    """Return the pages of all parts, each once and in order, with its last frame."""
    import numpy

    numbers = numpy.concatenate([part[0] for part in parts])[::-1]
    frames = numpy.concatenate([part[1] for part in parts])[::-1]
    unique, where = numpy.unique(numbers, return_index=True)  # where each comes first
    return unique, frames[where]


def mark_lost(which: int) -> CorruptionError:
    """Say that invariant 3 or 5 does not hold of the WAL or the main file."""
    what = "write-ahead log" if which == WAL else "database file"
    return CorruptionError(
        f"the {what} was rewritten under a held read mark",
        hint="Something works on the files without SQLite's locks (a copy over the live file, "
        "a network file system, another SQLite in one process). Look at the database, then "
        "run it again.",
    )
