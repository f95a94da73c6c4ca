"""
Making a database from a replica of Litestream 0.3: a snapshot, then logs over it.

The segments of one index, inflated and joined, are a write-ahead log.  Its frames are checked
here, and their pages put in their places in order; at the end of the log the file is cut, or
made longer, to the size that its last commit names.  That is what a checkpoint by SQLite
does, and gives the same bytes.  SQLite itself is not asked, as Litestream does: it takes a
log up to the first frame that is not right and says nothing, so that a damaged segment
would give an older database without a word.  Here it is an error that names the object.

1. Only whole commits are applied: frames behind the last commit wait, in memory up to 8 MiB and
   then in a file without a name, for the commit that they belong to.
2. Each frame must have the salts of its log and the running checksum.  Litestream copies
   frames only once they are committed, so anything else is damage, and no end of the log.
3. What is proved: the LZ4 checksums of the segments and the checksums of frames.  Of the
   database as a whole Litestream 0.3 keeps no checksum.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from litekeep.errors import (
    ChecksumMismatch,
    CorruptionError,
    FormatError,
    GapFound,
    NotADatabase,
)
from litekeep.sqlite.header import HEADER_SIZE, PAGE_COUNT_MAX, read_header
from litekeep.sqlite.wal import (
    FRAME_HEADER_SIZE,
    WAL_HEADER_SIZE,
    Checksum,
    WalEnd,
    WalHeader,
    check_frames,
    read_wal_header,
)
from litekeep.store.base import Store
from litekeep.stream.generations import OldBranch, OldSnapshot, Segment
from litekeep.stream.inflate import inflate
from litekeep.stream.rebuild import Resize, Write

_BATCH_SIZE = 1 << 20
#: Of frames without their commit, before they go to a file.
_WAITING_SIZE_MAX = 8 << 20


@dataclass(frozen=True, slots=True)
class OldApplied:
    """What the files made."""

    page_size: int
    size: int
    bytes_fetched: int
    request_count: int


def apply_branch(
    branch: OldBranch,
    *,
    write: Write,
    resize: Resize,
    scratch: Path,
    report: Callable[[int], object] = lambda _: None,
) -> OldApplied:
    """
    Make the database of a branch.

    Args:
        branch: What makes it.

        write: Where pages go.

        resize: What makes the file as long as the database.

        scratch: A folder for frames that wait for their commit, if they are many.

        report: Is told how many bytes were fetched.

    Raises:
        CorruptionError: A file is damaged, or not the one that must follow.

        BlobNotFound: One is gone: somebody pruned it since it was listed.

        StoreError: The store does not answer.
    """
    store, fetched = branch.place.store, branch.snapshot.size
    page_size = size = 0
    for piece in snapshot_pieces(store, branch.snapshot):
        page_size = page_size or page_size_of(piece, branch.snapshot)
        write(size, piece)
        size += len(piece)
    report(fetched)
    for log in logs_of(store, branch.segments):
        page_count = 0
        with tempfile.SpooledTemporaryFile(_WAITING_SIZE_MAX, dir=str(scratch)) as waiting:
            for frames in log.frames(page_size):
                if frames.committed_size:
                    waiting.seek(0)
                    while held := waiting.read(_BATCH_SIZE // log.frame_size * log.frame_size):
                        _put(held, page_size, write)
                    waiting.seek(0)
                    waiting.truncate()
                    _put(frames.data[: frames.committed_size], page_size, write)
                    page_count = frames.page_count
                waiting.write(frames.data[frames.committed_size :])
                report(fetched + log.bytes_fetched)
        fetched += log.bytes_fetched
        if page_count:
            size = page_count * page_size
            resize(size)
    return OldApplied(page_size, size, fetched, 1 + len(branch.segments))


def snapshot_pieces(store: Store, snapshot: OldSnapshot) -> Iterator[bytes]:
    """
    Yield the database file of a snapshot, its beginning in one piece.

    Raises:
        FormatError: It is no whole LZ4 frame, or no whole number of pages of a database.

        StoreError: The store does not answer, or it is gone.
    """
    head, size, page_size = b"", 0, 0
    for piece in inflate(store.get(snapshot.object), snapshot.object):
        head += piece
        if not page_size and len(head) < HEADER_SIZE:
            continue
        page_size = page_size or page_size_of(head, snapshot)
        size += len(head)
        if size > page_size * PAGE_COUNT_MAX:
            raise FormatError(f"{snapshot.object} is larger than any database")
        yield head
        head = b""
    if head or not page_size or size % page_size:
        raise FormatError(f"{snapshot.object} holds no whole number of pages of a database")


def page_size_of(head: bytes, snapshot: OldSnapshot) -> int:
    """Return the page size of the database that begins so."""
    try:
        return read_header(head).page_size
    except NotADatabase as error:
        raise FormatError(f"{snapshot.object}: {error.message}") from error


def logs_of(store: Store, segments: Sequence[Segment]) -> Iterator[OldLog]:
    """Yield the logs that *segments* make, one for each index."""
    for _, found in groupby(segments, key=lambda segment: segment.index):
        yield OldLog(store, tuple(found))


@dataclass(frozen=True, slots=True)
class CheckedFrames:
    """
    Whole frames, one behind the other, that are right.

    The first `committed_size` bytes end with a commit, which names `page_count`.
    """

    data: bytes
    committed_size: int
    page_count: int


class OldLog:
    """The log of one index, read once: its segments, inflated, joined and checked."""

    def __init__(self, store: Store, segments: Sequence[Segment]) -> None:
        self.segments = segments
        self.bytes_fetched = 0
        #: Known once the first frames are.
        self.frame_size = 0
        self._store = store

    def frames(self, page_size: int | None = None) -> Iterator[CheckedFrames]:
        """
        Yield its frames in batches.

        Args:
            page_size: Of the database; None where that is not known.

        Raises:
            GapFound: A segment is missing between two others.

            FormatError, ChecksumMismatch: A segment is damaged.

            StoreError: The store does not answer, or one is gone.
        """
        data, position = b"", 0
        header: WalHeader | None = None
        checksum = (0, 0)
        for segment in self.segments:
            if segment.offset != position:
                raise GapFound(
                    f"{segment.object} does not begin where the segment before it ends, at "
                    f"{position:08x}",
                    hint="A segment is missing: restore a moment before it.",
                )
            for piece in inflate(self._store.get(segment.object), segment.object):
                position += len(piece)
                data += piece
                if header is None:
                    if len(data) < WAL_HEADER_SIZE:
                        continue
                    header, data = self._header(data, page_size), data[WAL_HEADER_SIZE:]
                    checksum, self.frame_size = header.checksum, header.frame_size
                count = len(data) // header.frame_size
                if count:
                    size = count * header.frame_size
                    found, checksum = _checked(data[:size], header, checksum, segment)
                    yield found
                    data = data[size:]
            self.bytes_fetched += segment.size
        if data or header is None:
            raise FormatError(f"{self.segments[-1].object} ends in the middle of a frame")

    def _header(self, data: bytes, page_size: int | None) -> WalHeader:
        name = self.segments[0].object
        try:
            header = read_wal_header(data)
        except CorruptionError as error:
            raise type(error)(f"{name}: {error.message}") from error
        if page_size not in (None, header.page_size):
            raise FormatError(
                f"{name} has pages of {header.page_size} bytes, its database of {page_size}"
            )
        return header


def _checked(
    data: bytes, header: WalHeader, start: Checksum, segment: Segment
) -> tuple[CheckedFrames, Checksum]:
    found = check_frames(data, header, start)
    if found.end is not WalEnd.CLEAN:
        raise ChecksumMismatch(
            f"{segment.object}: in frame {len(found.page_numbers)} {found.end.value}"
        )
    committed = found.committed_count
    page_count = int(found.page_counts[committed - 1]) if committed else 0
    return CheckedFrames(data, committed * header.frame_size, page_count), found.checksum


def _put(frames: bytes, page_size: int, write: Write) -> None:
    """Write the pages of whole frames to their places, in order."""
    frame_size = page_size + FRAME_HEADER_SIZE
    for at in range(0, len(frames), frame_size):
        number = int.from_bytes(frames[at : at + 4])
        page = frames[at + FRAME_HEADER_SIZE : at + frame_size]
        write((number - 1) * page_size, page)
