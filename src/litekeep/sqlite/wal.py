"""
The write-ahead log, as bytes.

A WAL is a 32-byte header and then frames.  A frame is a 24-byte header and one
page.  All integers are 32-bit big-endian.

    WAL header                          Frame header
    Offset  Field                       Offset  Field
    0       magic, 0x377f0682 or ..83   0       page number
    4       format version, 3007000     4       database size in pages after
    8       page size                           this commit; 0 if not a commit
    12      checkpoint sequence         8       salt 1
    16      salt 1                      12      salt 2
    20      salt 2                      16      checksum 1
    24      checksum 1                  20      checksum 2
    28      checksum 2

The checksum runs from frame to frame.  Over the words x0 x1 x2 ... it is, modulo 2^32,

    s1 += x0 + s2       s2 += x1 + s1       and so on, two words a step

which is linear: what a frame adds is a dot product of its words with fixed
coefficients, and what it does to the sum before it a matrix of two rows.  So many frames
are checked at once, each against the sum that is stored in the one before (0.3 us a
frame; word by word in Python 107 us).

INVARIANTS

  1. A frame counts only if its salts equal the header's, its page number is not 0
     and its running checksum matches.
  2. That is needed and not enough: a log ends where the wal-index says, at mxFrame,
     which these bytes do not hold.  A writer that was killed between its commit frame
     and the wal-index leaves a frame that passes all checks and never was a commit.
     So the caller says how many frames to check, and no frame beyond is looked at.
  3. Nothing here opens a file or a connection.

See https://www.sqlite.org/fileformat2.html#the_write_ahead_log.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from litekeep.errors import ChecksumMismatch, FormatError

if TYPE_CHECKING:
    from numpy import uint32
    from numpy.typing import NDArray

    Words = NDArray[uint32]

WAL_HEADER_SIZE = 32
FRAME_HEADER_SIZE = 24
WAL_VERSION = 3007000
MAGIC_LITTLE_ENDIAN = 0x377F0682
MAGIC_BIG_ENDIAN = 0x377F0683

_WAL_HEADER = struct.Struct(">8I")
_WORD_MAX = 0xFFFFFFFF

Checksum = tuple[int, int]


class WalEnd(enum.Enum):
    """Why no more frames were taken."""

    CLEAN = "all frames that were given are good"
    STALE = "the salts are of another use of this file"
    BAD_CHECKSUM = "the salts match and the checksum does not"


@dataclass(frozen=True, slots=True)
class WalHeader:
    """
    The first 32 bytes, already checked.

    `byte_order` is that of the words that the checksum adds up, ``"<"`` or ``">"``; what is
    stored is big-endian whichever it is.
    """

    page_size: int
    checkpoint_sequence: int
    salts: bytes
    checksum: Checksum
    byte_order: str

    @property
    def frame_size(self) -> int:
        """The size of a frame in bytes."""
        return FRAME_HEADER_SIZE + self.page_size

    def frame_offset(self, frame_index: int) -> int:
        """Return where in the log this frame begins; frames count from 0 here."""
        return WAL_HEADER_SIZE + frame_index * self.frame_size


@dataclass(frozen=True, slots=True)
class Frames:
    """
    The good frames at the start of some bytes.

    `page_numbers` and `page_counts` have an entry for each; a page count is not 0 in the
    frame that ends a commit.  `checksum` is the running one after the last of them.
    """

    page_numbers: Words
    page_counts: Words
    checksum: Checksum
    end: WalEnd

    @property
    def committed_count(self) -> int:
        """How many frames lie up to the last that ends a commit."""
        commits = self.page_counts.nonzero()[0]
        return int(commits[-1]) + 1 if len(commits) else 0


def wal_checksum(data: bytes, start: Checksum, byte_order: str) -> Checksum:
    """
    Return SQLite's running checksum of *data*, continued from *start*, a word at a time.

    Args:
        data: A multiple of eight bytes.

        start: The result for the bytes before *data*; ``(0, 0)`` at the start.

        byte_order: ``"<"`` or ``">"``, from the magic number.

    >>> wal_checksum(b"\\x00\\x00\\x00\\x01\\x00\\x00\\x00\\x02", (0, 0), ">")
    (1, 3)
    """
    sum_1, sum_2 = start
    words = struct.unpack(f"{byte_order}{len(data) // 4}I", data)
    for index in range(0, len(words), 2):
        sum_1 = (sum_1 + words[index] + sum_2) & _WORD_MAX
        sum_2 = (sum_2 + words[index + 1] + sum_1) & _WORD_MAX
    return sum_1, sum_2


def read_wal_header(data: bytes) -> WalHeader:
    """
    Return the WAL header at the start of *data*.

    Raises:
        FormatError: *data* is short, or is no WAL this package can read.

        ChecksumMismatch: The header was half written.  SQLite treats such a log as empty.
    """
    if len(data) < WAL_HEADER_SIZE:
        raise FormatError(f"the log has {len(data)} bytes, and its header {WAL_HEADER_SIZE}")
    magic, version, page_size, sequence, _, _, *checksum = _WAL_HEADER.unpack_from(data)
    if magic not in (MAGIC_LITTLE_ENDIAN, MAGIC_BIG_ENDIAN):
        raise FormatError(f"the log begins with {magic:#010x}, which is not SQLite's")
    if version != WAL_VERSION:
        raise FormatError(f"the log is of version {version}; only {WAL_VERSION} is known")
    if not 512 <= page_size <= 65536 or page_size & (page_size - 1):
        raise FormatError(f"the log gives a page size of {page_size}")
    byte_order = ">" if magic == MAGIC_BIG_ENDIAN else "<"
    found = wal_checksum(data[:24], (0, 0), byte_order)
    if found != tuple(checksum):
        raise ChecksumMismatch("the header of the log does not have its checksum")
    return WalHeader(page_size, sequence, bytes(data[16:24]), found, byte_order)


def check_frames(data: bytes, header: WalHeader, start: Checksum) -> Frames:
    """
    Return the good frames at the start of *data*.

    Args:
        data: Whole frames, one behind the other.

        header: The log's.

        start: The running checksum of the frame before the first one; the header's, if
            the first one is the log's first.
    """
    import numpy  # 50 ms, and only a stream needs it

    frame_size = header.frame_size
    count = len(data) // frame_size
    assert count * frame_size == len(data)
    big = numpy.frombuffer(data, ">u4").reshape(count, frame_size // 4)
    head = big[:, :6].astype(numpy.uint32)
    salts = numpy.frombuffer(header.salts, ">u4").astype(numpy.uint32)
    is_ours = (head[:, 2:4] == salts).all(axis=1) & (head[:, 0] != 0)
    stored = head[:, 4:6]
    before = numpy.empty_like(stored)
    before[:1] = start
    before[1:] = stored[:-1]
    words = big if header.byte_order == ">" else numpy.frombuffer(data, "<u4").reshape(big.shape)
    coefficients, step = _coefficients(frame_size)
    is_right = numpy.ones(count, bool)
    for which in (0, 1):
        added = numpy.einsum("ij,j->i", words, coefficients[which])
        carried = before[:, 0] * step[which, 0] + before[:, 1] * step[which, 1]
        is_right &= added + carried == stored[:, which]
    is_good = is_ours & is_right
    good_count = count if is_good.all() else int(is_good.argmin())
    end = WalEnd.CLEAN
    if good_count < count:
        end = WalEnd.BAD_CHECKSUM if is_ours[good_count] else WalEnd.STALE
    last = stored[good_count - 1] if good_count else start
    checksum = int(last[0]), int(last[1])
    return Frames(head[:good_count, 0].copy(), head[:good_count, 1].copy(), checksum, end)


@lru_cache(maxsize=8)
def _coefficients(frame_size: int) -> tuple[Words, Words]:
    """
    Return what each word of a frame counts in the two sums, and what the sums before count.

    With M = [[1, 1], [1, 2]] a step of two words is s = M s + [[1, 0], [1, 1]] x.  Of a frame
    the first two words count, then the page's; the salts and the checksum do not.
    """
    import numpy

    coefficients = numpy.zeros((2, frame_size // 4), numpy.uint32)
    power = numpy.array([[1, 0], [0, 1]], numpy.uint32)
    matrix = numpy.array([[1, 1], [1, 2]], numpy.uint32)
    of_words = numpy.array([[1, 0], [1, 1]], numpy.uint32)
    counted = [0, *range(FRAME_HEADER_SIZE // 4, frame_size // 4, 2)]
    for word_index in reversed(counted):
        coefficients[:, word_index : word_index + 2] = power @ of_words
        power = power @ matrix
    return coefficients, power
