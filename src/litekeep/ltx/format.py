"""
The fixed parts of an LTX file, and its name.

    header   page frames ...   6 zero bytes   page index   index size (u64)   trailer

    Header, 100 bytes                          All integers are big-endian.
    0    4   "LTX1", in versions 1 to 3 alike
    4    4   flags: 2 says that no database checksum is kept, others are not known
    8    4   page size, 512 to 65536
    12   4   commit: the database's size in pages once this file is applied
    16   8   min txid, from 1
    24   8   max txid
    32   8   timestamp, milliseconds since 1970, signed
    40   8   database checksum before; 0 if none is kept, or the file is a snapshot
    48   8   offset in the log that it was taken from
    56   8   size in that log
    64   4   salt 1 of that log
    68   4   salt 2
    72   8   node id
    80   20  zero

    Trailer, 16 bytes
    0    8   database checksum after; 0 if none is kept
    8    8   file checksum: header || for each page its frame's header and the page as it
             was before compression || all that follows, up to here

1. A file whose min txid is 1 is a snapshot: it has every page from 1 to `commit`.
2. The lock page is in no file.
3. A `Header` or `Trailer` that exists is valid; what is not, is an error when it is made.

Frames stand in frames.py, the index in index.py.  See https://github.com/superfly/ltx.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from litekeep.errors import FormatError

MAGIC = b"LTX1"
HEADER_SIZE = 100
TRAILER_SIZE = 16
INDEX_SIZE_SIZE = 8
CHECKSUM_SIZE = 8
#: Where the index's size stands, from the end of the file.
TAIL_SIZE = INDEX_SIZE_SIZE + TRAILER_SIZE

#: The flag of a file without database checksums; Litestream restores no others.
NO_CHECKSUM = 2
CHECKSUM_FLAG = 1 << 63
LOCK_BYTE_OFFSET = 0x40000000
PAGE_SIZES = frozenset(512 << shift for shift in range(8))
TXID_MAX = 2**64 - 1

_HEADER = struct.Struct(">4sIIIQQqQqqIIQ20s")
_TRAILER = struct.Struct(">QQ")
assert _HEADER.size == HEADER_SIZE
assert _TRAILER.size == TRAILER_SIZE
_NAME = re.compile(r"([0-9a-f]{16})-([0-9a-f]{16})\.ltx")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_TIMESTAMP_MIN = (datetime(1, 1, 1, tzinfo=UTC) - _EPOCH) // _MILLISECOND
_TIMESTAMP_MAX = (datetime(9999, 12, 31, tzinfo=UTC) - _EPOCH) // _MILLISECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What an LTX file says of itself before its pages."""

    page_size: int
    commit: int
    min_txid: int
    max_txid: int
    timestamp_ms: int
    flags: int = NO_CHECKSUM
    pre_apply_checksum: int = 0
    wal_offset: int = 0
    wal_size: int = 0
    wal_salt1: int = 0
    wal_salt2: int = 0
    node_id: int = 0

    def __post_init__(self) -> None:
        for is_wrong, what in (
            (self.page_size not in PAGE_SIZES, f"a page size of {self.page_size}"),
            (self.flags & ~NO_CHECKSUM != 0, f"flags {self.flags:#x}"),
            (not 0 <= self.commit < 1 << 32, f"a commit of {self.commit} pages"),
            (
                not 1 <= self.min_txid <= self.max_txid <= TXID_MAX,
                f"txids {self.min_txid} to {self.max_txid}",
            ),
            (
                not _TIMESTAMP_MIN <= self.timestamp_ms <= _TIMESTAMP_MAX,
                f"a timestamp of {self.timestamp_ms}",
            ),
            (
                not is_checksum(
                    self.pre_apply_checksum, self.has_checksum and not self.is_snapshot
                ),
                f"a database checksum of {self.pre_apply_checksum:#x} before it",
            ),
            (self.wal_offset < 0 or self.wal_size < 0, "a place in the log below 0"),
            (
                not self.wal_offset and bool(self.wal_size or self.wal_salt1 or self.wal_salt2),
                "a size or salts of a log, and no offset in it",
            ),
        ):
            if is_wrong:
                raise FormatError(f"the header of the LTX file gives {what}")

    @property
    def has_checksum(self) -> bool:
        """Whether the file keeps the database checksums before and after it."""
        return not self.flags & NO_CHECKSUM

    @property
    def is_snapshot(self) -> bool:
        """Whether it has every page, and needs no file before it."""
        return self.min_txid == 1

    @property
    def timestamp(self) -> datetime:
        """When the newest commit in it was captured."""
        return _EPOCH + self.timestamp_ms * _MILLISECOND

    def encode(self) -> bytes:
        """Return the 100 bytes."""
        return _HEADER.pack(
            *(MAGIC, self.flags, self.page_size, self.commit, self.min_txid, self.max_txid),
            *(self.timestamp_ms, self.pre_apply_checksum, self.wal_offset, self.wal_size),
            *(self.wal_salt1, self.wal_salt2, self.node_id, bytes(20)),
        )


@dataclass(frozen=True, slots=True)
class Trailer:
    """What an LTX file says of itself behind its pages."""

    post_apply_checksum: int
    file_checksum: int

    def encode(self) -> bytes:
        """Return the 16 bytes."""
        return _TRAILER.pack(self.post_apply_checksum, self.file_checksum)


def parse_header(data: bytes | memoryview) -> Header:
    """
    Return the header at the start of *data*.

    Raises:
        FormatError: *data* is short, or not the start of an LTX file of version 3.
    """
    if len(data) < HEADER_SIZE:
        raise FormatError(f"the LTX file ends in its header, after {len(data)} bytes")
    fields = _HEADER.unpack_from(data)
    magic, flags, page_size, commit, min_txid, max_txid, timestamp_ms, checksum = fields[:8]
    wal_offset, wal_size, salt1, salt2, node_id, rest = fields[8:]
    if magic != MAGIC:
        raise FormatError(f"the file begins with {magic!r}, an LTX file with {MAGIC!r}")
    if any(rest):
        raise FormatError("the last 20 bytes of the LTX file's header are not zero")
    return Header(
        page_size=page_size,
        commit=commit,
        min_txid=min_txid,
        max_txid=max_txid,
        timestamp_ms=timestamp_ms,
        flags=flags,
        pre_apply_checksum=checksum,
        wal_offset=wal_offset,
        wal_size=wal_size,
        wal_salt1=salt1,
        wal_salt2=salt2,
        node_id=node_id,
    )


def parse_trailer(data: bytes | memoryview, header: Header) -> Trailer:
    """
    Return the trailer, which is all of *data*.

    Raises:
        FormatError: It is not 16 bytes, or its checksums cannot be.
    """
    if len(data) != TRAILER_SIZE:
        raise FormatError(f"the trailer of the LTX file has {len(data)} bytes, not {TRAILER_SIZE}")
    post_apply_checksum, file_checksum = _TRAILER.unpack(data)
    if not is_checksum(post_apply_checksum, header.has_checksum):
        raise FormatError(
            f"the trailer of the LTX file gives a database checksum of {post_apply_checksum:#x}"
        )
    if not is_checksum(file_checksum, True):
        raise FormatError(
            f"the trailer of the LTX file gives a file checksum of {file_checksum:#x}"
        )
    return Trailer(post_apply_checksum, file_checksum)


def is_checksum(value: int, is_kept: bool) -> bool:
    """
    Return whether *value* can stand where a checksum does, or where none is kept.

    >>> is_checksum(1 << 63, True), is_checksum(0, False), is_checksum(1, True)
    (True, True, False)
    """
    return CHECKSUM_FLAG <= value < CHECKSUM_FLAG << 1 if is_kept else value == 0


def lock_page_number(page_size: int) -> int:
    """
    Return the number of the page that SQLite locks and never writes.

    >>> lock_page_number(4096)
    262145
    """
    return LOCK_BYTE_OFFSET // page_size + 1


def page_count_of(header: Header) -> int:
    """
    Return how many pages a snapshot with this header has: all but the lock page.
    """
    return header.commit - (header.commit >= lock_page_number(header.page_size))


def format_name(min_txid: int, max_txid: int) -> str:
    """
    Return the name of the file with these txids.

    >>> format_name(1, 255)
    '0000000000000001-00000000000000ff.ltx'
    """
    return f"{min_txid:016x}-{max_txid:016x}.ltx"


def parse_name(name: str) -> tuple[int, int]:
    """
    Return min and max txid of a file's name, which has no folder before it.

    Raises:
        FormatError: It is not the name of an LTX file.

    >>> parse_name("0000000000000001-00000000000000ff.ltx")
    (1, 255)
    """
    match = _NAME.fullmatch(name)
    min_txid, max_txid = (int(match[1], 16), int(match[2], 16)) if match else (0, 0)
    if not 1 <= min_txid <= max_txid:
        raise FormatError(
            f"{name!r} is not the name of an LTX file",
            hint="Names are two numbers of 16 hexadecimal digits each, like "
            f"{format_name(1, 255)}, the second not below the first.",
        )
    return min_txid, max_txid
