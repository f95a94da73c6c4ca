"""
The page map: the checksum of every page of a database as it was last captured.

    Offset  Size  Field                       All integers are little-endian.
    0       8     "LKPMAP1\\n"
    8       4     page size
    12      4     page count
    16      8     txid that it stands for
    24      8     database checksum
    32      8     time of that txid, milliseconds since 1970
    40      8     CRC-64/GO-ISO of the 40 bytes before
    64      8*n   the checksum of each page, as in LTX; 0 for the lock page

It says what changed without asking anybody: a page whose checksum differs.  Two MiB for a
gigabyte of database, mapped into memory.

Order of writing: the pages' checksums, fdatasync, the header.  So the header never claims
more than is there.  A kill in between leaves checksums that are newer than the header: the
captured file of the next txid is in the spool still (it is removed only once the header is
durable), and applying it again gives the same.

It is never made from the live file, which would forget what was captured and what was not.

Room on the disk is taken before it is mapped: a write to memory without room behind it would
end the process.  One thread changes the map; others may ask its state, or make it durable.
"""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy
from fastcrc import crc64

from litekeep import faults
from litekeep.errors import BlobNotFound
from litekeep.ltx.checksum import FLAG, changed
from litekeep.ltx.format import PAGE_SIZES
from litekeep.store.files import translated

if TYPE_CHECKING:
    from numpy import uint64
    from numpy.typing import NDArray

    Checksums = NDArray[uint64]

_MAGIC = b"LKPMAP1\n"
_FIELDS = struct.Struct("<8sIIQQq")
_CRC = struct.Struct("<Q")
_ENTRIES_OFFSET = 64
_ENTRY_SIZE = 8
#: Room is made for this many more pages at a time.
_GROWTH = 1 << 16


class PageMap:
    """A page map in a file; `create` and `load` make it."""

    def __init__(self, path: Path, descriptor: int, page_size: int) -> None:
        self.page_size = page_size
        self.page_count = 0
        self.txid = 0
        self.checksum = FLAG
        self.time_ms = 0
        self._path = path
        self._descriptor = descriptor
        self._is_closed = False
        self._lock = threading.Lock()
        self._entries: Checksums = numpy.empty(0, numpy.uint64)
        with translated(path):
            self._map()

    @property
    def checksums(self) -> Checksums:
        """The checksum of each page, the first page's first."""
        return self._entries[: self.page_count]

    def state(self) -> tuple[int, int]:
        """Return the txid that it stands for and the database checksum, of one moment."""
        with self._lock:
            return self.txid, self.checksum

    def checksum_after(self, page_numbers: Sequence[int], sums: Checksums, page_count: int) -> int:
        """Return the database checksum once these pages are applied."""
        numbers = numpy.asarray(page_numbers, numpy.int64)
        old = self._entries[numbers[numbers <= self.page_count] - 1]
        cut = self._entries[page_count : self.page_count]
        # Of a page that is cut off and among the numbers there is none: they are within.
        return changed(changed(self.checksum, old, sums), cut, cut[:0])

    def apply(
        self,
        page_numbers: Sequence[int],
        sums: Checksums,
        *,
        page_count: int,
        checksum: int,
        txid: int,
        time_ms: int,
    ) -> None:
        """Stand for *txid*, in which these pages became these and the size this."""
        with translated(self._path):
            self._reserve(page_count)
            faults.reach("write page map")
            if page_count < self.page_count:
                self._entries[page_count : self.page_count] = 0
            self._entries[numpy.asarray(page_numbers, numpy.int64) - 1] = sums
            faults.reach("fsync page map entries")
            self._sync_entries()
            faults.reach("write page map header")
            with self._lock:
                self.page_count, self.checksum = page_count, checksum
                self.txid, self.time_ms = txid, time_ms
                self._write_header()

    def fill(self, sums: Checksums, *, checksum: int, txid: int, time_ms: int) -> None:
        """Stand for *txid*, at which these were the checksums of all pages."""
        numbers = range(1, len(sums) + 1)
        self.apply(
            numbers, sums, page_count=len(sums), checksum=checksum, txid=txid, time_ms=time_ms
        )

    def sync(self, txid: int) -> bool:
        """
        Make the header durable: only then may the spool forget what led to it.

        Returns:
            Whether it stands for *txid* or a later one; False also once it is closed.
        """
        with self._lock, translated(self._path):
            if self._is_closed or self.txid < txid:
                return False
            faults.reach("fsync page map")
            os.fdatasync(self._descriptor)
            return True

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._is_closed = True
            self._entries = self._entries[:0]
            os.close(self._descriptor)

    def _sync_entries(self) -> None:
        base = self._entries.base
        assert isinstance(base, numpy.memmap)
        base.flush()

    def _write_header(self) -> None:
        fields = _FIELDS.pack(
            _MAGIC, self.page_size, self.page_count, self.txid, self.checksum, self.time_ms
        )
        os.pwrite(self._descriptor, fields + _CRC.pack(crc64.go_iso(fields)), 0)

    def _reserve(self, page_count: int) -> None:
        if page_count > len(self._entries):
            self._sync_entries()
            self._take_room(_ENTRIES_OFFSET + (page_count + _GROWTH) * _ENTRY_SIZE)
            self._map()

    def _take_room(self, size: int) -> None:
        faults.reach("write page map room")
        os.posix_fallocate(self._descriptor, 0, size)

    def _map(self) -> None:
        size = os.fstat(self._descriptor).st_size
        if size < _ENTRIES_OFFSET + _GROWTH * _ENTRY_SIZE:
            size = _ENTRIES_OFFSET + _GROWTH * _ENTRY_SIZE
            self._take_room(size)
        count = (size - _ENTRIES_OFFSET) // _ENTRY_SIZE
        mapped = numpy.memmap(
            self._path, numpy.uint64, mode="r+", offset=_ENTRIES_OFFSET, shape=(count,)
        )
        self._entries = mapped.view(numpy.ndarray)

    def read_header(self) -> bool:
        """Take over what the file's header says; False if it says nothing to rely on."""
        data = os.pread(self._descriptor, _FIELDS.size + _CRC.size, 0)
        if len(data) < _FIELDS.size + _CRC.size:
            return False
        fields, crc = data[: _FIELDS.size], _CRC.unpack(data[_FIELDS.size :])[0]
        magic, page_size, page_count, txid, checksum, time_ms = _FIELDS.unpack(fields)
        if magic != _MAGIC or crc != crc64.go_iso(fields) or page_size not in PAGE_SIZES:
            return False
        if page_count > len(self._entries):
            return False
        self.page_size, self.page_count = page_size, page_count
        self.txid, self.checksum, self.time_ms = txid, checksum, time_ms
        return True


def create_page_map(path: Path, page_size: int) -> PageMap:
    """Make an empty one, in place of any that is there; it stands for txid 0."""
    with translated(path):
        faults.reach("unlink page map")
        path.unlink(missing_ok=True)
        faults.reach("create page map")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    return _opened(path, descriptor, page_size)


def load_page_map(path: Path) -> PageMap | None:
    """Return the one that lies there; None if there is none that can be relied on."""
    try:
        with translated(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except BlobNotFound:
        return None
    loaded = _opened(path, descriptor, min(PAGE_SIZES))
    if loaded.read_header():
        return loaded
    loaded.close()
    return None


def _opened(path: Path, descriptor: int, page_size: int) -> PageMap:
    try:
        return PageMap(path, descriptor, page_size)
    except BaseException:
        os.close(descriptor)
        raise
