"""
What commits changed: the pages of the frames between two places in a log.

Every frame is checked, and of each page the newest is taken.  Frames of some MiB stay in
memory, so that a page is read and checked once; of a longer piece only page numbers and
places are kept, eight bytes a page, and each page is read again from the log when it is
asked for.

This module reads through a connection that holds a read mark; `sqlite/tail.py` says why
the log is still what it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import apsw

from litekeep.sqlite.view import WAL, mark_lost
from litekeep.sqlite.wal import FRAME_HEADER_SIZE, Checksum, WalEnd, WalHeader, check_frames

if TYPE_CHECKING:
    from numpy import uint32
    from numpy.typing import NDArray

    Numbers = NDArray[uint32]

#: Read and checked at once.
_PIECE_SIZE = 1 << 20
#: Frames that are kept in memory; of more, each page is read again.
_KEPT_SIZE_MAX = 16 << 20


class FrameReader:
    """Frames by their index, from memory where they are there, else from the log."""

    def __init__(self, connection: apsw.Connection, header: WalHeader, first: int) -> None:
        self._connection = connection
        self._header = header
        self._first = first
        self._kept: list[memoryview] = []
        #: How many frames each piece has that is kept, but for the last.
        self.piece_count = max(1, _PIECE_SIZE // header.frame_size)

    def keep(self, piece: bytes) -> None:
        """Have the frames behind those that are kept at hand too."""
        self._kept.append(memoryview(piece))

    def read(self, frame_index: int, count: int) -> bytes:
        """Return whole frames from the log."""
        offset = self._header.frame_offset(frame_index)
        size = count * self._header.frame_size
        is_complete, data = self._connection.read("main", WAL, offset, size)
        if not is_complete:
            raise mark_lost(WAL)
        return data

    def page(self, page_number: int, frame_index: int) -> memoryview:
        """Return the page in a frame."""
        frame_size = self._header.frame_size
        if self._kept:
            piece_index, index = divmod(frame_index - self._first, self.piece_count)
            start = index * frame_size
            return self._kept[piece_index][start + FRAME_HEADER_SIZE : start + frame_size]
        data = self.read(frame_index, 1)
        if int.from_bytes(data[:4], "big") != page_number or data[8:16] != self._header.salts:
            raise mark_lost(WAL)
        return memoryview(data)[FRAME_HEADER_SIZE:]


class Changes:
    """
    The pages that commits changed, each once, as it is after the last of them.

    `page_numbers` rise; none is above `page_count`, the size of the database in pages.
    `is_kept` says that all of them are in memory, so that the log may go.
    """

    def __init__(
        self,
        *,
        page_size: int,
        page_count: int,
        page_numbers: Numbers,
        frame_indexes: Numbers,
        commit_count: int,
        frame_count: int,
        frames: FrameReader,
        is_kept: bool,
    ) -> None:
        self.page_size = page_size
        self.page_count = page_count
        self.page_numbers = page_numbers
        self.commit_count = commit_count
        self.frame_count = frame_count
        self.is_kept = is_kept
        self._frame_indexes = frame_indexes
        self._frames = frames

    def pages(self) -> Iterator[tuple[int, memoryview]]:
        """
        Yield each page's number and bytes, in order.

        Raises:
            CorruptionError: The log was rewritten by somebody without SQLite's locks.
        """
        pairs = zip(self.page_numbers.tolist(), self._frame_indexes.tolist(), strict=True)
        for page_number, frame_index in pairs:
            yield page_number, self._frames.page(page_number, frame_index)


def read_changes(
    connection: apsw.Connection, header: WalHeader, first: int, end: int, start: Checksum
) -> tuple[Changes, Checksum]:
    """
    Read and check the frames from index *first* to *end*, left out, of which the last commits.

    Args:
        connection: What holds a read mark.

        header: That of the log.

        first: The index of the first frame.

        end: The index behind the last one.

        start: The running checksum before the first one.

    Returns:
        The changes, and the running checksum behind the last frame.

    Raises:
        CorruptionError: A frame is not what SQLite writes, under a held mark.
    """
    import numpy  # 50 ms, and only a stream needs it

    frames = FrameReader(connection, header, first)
    is_kept = end - first <= _KEPT_SIZE_MAX // header.frame_size
    batch = frames.piece_count
    numbers: list[Numbers] = []
    checksum = start
    commit_count = 0
    page_count = 0
    for index in range(first, end, batch):
        data = frames.read(index, min(batch, end - index))
        found = check_frames(data, header, checksum)
        if found.end is not WalEnd.CLEAN:
            raise mark_lost(WAL)
        checksum = found.checksum
        numbers.append(found.page_numbers)
        commit_count += int(numpy.count_nonzero(found.page_counts))
        page_count = int(found.page_counts[-1])
        if is_kept:
            frames.keep(data)
    if page_count == 0:
        raise mark_lost(WAL)
    newest_first = numpy.concatenate(numbers)[::-1]
    page_numbers, where = numpy.unique(newest_first, return_index=True)
    frame_indexes = (end - 1 - where).astype(numpy.uint32)
    is_inside = page_numbers <= page_count
    changes = Changes(
        page_size=header.page_size,
        page_count=page_count,
        page_numbers=page_numbers[is_inside],
        frame_indexes=frame_indexes[is_inside],
        commit_count=commit_count,
        frame_count=end - first,
        frames=frames,
        is_kept=is_kept,
    )
    return changes, checksum
