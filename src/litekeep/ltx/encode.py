"""
Writing an LTX file, page by page.

    encoder = Encoder(file.write, header)
    encoder.add_pages([1, 2, 7], three_pages)
    encoded = encoder.finish()

1. Pages come in the order of their numbers.  The lock page is passed over.
2. The same pages and header give the same bytes with the same LZ4 library, and other
   bytes with another: the file checksum does not cover what is compressed.  So the
   SHA-256 of the bytes as written is returned as well, to be kept beside the file.
3. Memory does not grow with the number of pages: the index goes to a temporary file once
   it is large.

A file that was not finished is no file; who writes it, removes it.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import operator
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO, Self

from fastcrc import crc64

from litekeep.ltx.format import (
    CHECKSUM_FLAG,
    CHECKSUM_SIZE,
    INDEX_SIZE_SIZE,
    Header,
    Trailer,
    is_checksum,
    lock_page_number,
    page_count_of,
)
from litekeep.ltx.frames import END_OF_FRAMES, Form, block_head, pack_run
from litekeep.ltx.index import IndexEncoder

#: Of the index, in memory; that of a database of five gigabytes.
INDEX_SIZE_IN_MEMORY_MAX = 16 << 20
#: Of pages, before they are written.
_BATCH_SIZE = 128 << 10
_COPY_SIZE = 1 << 20


@dataclass(frozen=True, slots=True)
class Encoded:
    """What was written."""

    size: int
    sha256: str
    page_count: int
    index_offset: int
    index_size: int
    file_checksum: int
    post_apply_checksum: int


class Encoder:
    """
    Writes one file.

    Args:
        write: Takes the bytes of the file, in order.

        header: Is written at once.

        form: Of the pages.  Only Litestream before 0.5.16 needs the older one.
    """

    def __init__(
        self, write: Callable[[bytes], object], header: Header, *, form: Form = Form.BLOCK
    ) -> None:
        self._write = write
        self._header = header
        self._form = form
        self._lock_page = lock_page_number(header.page_size)
        self._batch_count = max(1, _BATCH_SIZE // header.page_size)
        self._last_number = 0
        self._page_count = 0
        self._size = 0
        self._sha256 = hashlib.sha256()
        self._file_crc = crc64.go_iso(b"")
        self._index: IO[bytes] = io.BytesIO()
        self._entries = IndexEncoder(self._keep)
        self._numbers: list[int] = []
        self._sizes: list[int] = []
        self._stored: list[bytes] = []
        self._put(header.encode())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._index.close()

    def add(self, page_number: int, page: bytes | memoryview) -> None:
        """Add one page."""
        self.add_pages((page_number,), page)

    def add_pages(self, page_numbers: Sequence[int], pages: bytes | memoryview) -> None:
        """
        Add pages that lie one after the other in *pages*.

        Raises:
            ValueError: The numbers do not rise, are beyond the commit, or are not as many
                as the pages.
        """
        page_size, form, view = self._header.page_size, self._form, memoryview(pages).cast("B")
        if len(view) != len(page_numbers) * page_size:
            raise ValueError(f"{len(view)} bytes for {len(page_numbers)} pages of {page_size}")
        for start in range(0, len(page_numbers), self._batch_count):
            numbers = list(page_numbers[start : start + self._batch_count])
            places = range(start * page_size, len(view), page_size)
            singly = [view[place : place + page_size] for place in places[: len(numbers)]]
            if self._lock_page in numbers:
                at = numbers.index(self._lock_page)
                del numbers[at], singly[at]
            self._check(numbers)
            heads, payloads = pack_run(numbers, singly, form)
            # Summed now, and not with the batch: the caller may use the room of the pages again.
            self._sum(heads, singly)
            self._hold(numbers, heads, payloads)

    def add_blocks(
        self,
        page_numbers: list[int],
        blocks: Sequence[bytes | memoryview],
        pages: Sequence[bytes],
    ) -> None:
        """
        Add pages that are LZ4 blocks already, as `Decoder.runs` yields them.

        Raises:
            ValueError: As in `add_pages`.
        """
        self._check(page_numbers)
        heads = list(map(block_head, page_numbers, map(len, blocks)))
        self._sum(heads, pages)
        self._hold(page_numbers, heads, list(map(bytes, blocks)))

    def finish(self, post_apply_checksum: int = 0) -> Encoded:
        """
        Write what follows the pages, and return what the file is.

        Args:
            post_apply_checksum: Of the database with this file applied, if the header has
                no flag against it; else 0.

        Raises:
            ValueError: A snapshot lacks pages, or the checksum does not fit the header.
        """
        header = self._header
        if not is_checksum(post_apply_checksum, header.has_checksum):
            raise ValueError(f"the header does not allow the checksum {post_apply_checksum:#x}")
        self._flush()
        if header.is_snapshot and self._page_count != page_count_of(header):
            raise ValueError(
                f"{self._page_count} pages of the {page_count_of(header)} that there are"
            )
        self._put(END_OF_FRAMES)
        index_offset = self._size
        self._entries.finish()
        self._index.seek(0)
        while piece := self._index.read(_COPY_SIZE):
            self._put(piece)
        self._index.close()
        self._put(self._entries.size.to_bytes(INDEX_SIZE_SIZE, "big"))
        post_apply = post_apply_checksum.to_bytes(CHECKSUM_SIZE, "big")
        file_checksum = CHECKSUM_FLAG | crc64.go_iso(post_apply, self._file_crc)
        self._put(Trailer(post_apply_checksum, file_checksum).encode())
        return Encoded(
            size=self._size,
            sha256=self._sha256.hexdigest(),
            page_count=self._page_count,
            index_offset=index_offset,
            index_size=self._entries.size,
            file_checksum=file_checksum,
            post_apply_checksum=post_apply_checksum,
        )

    def _check(self, numbers: list[int]) -> None:
        """Refuse pages that may not stand here."""
        following = [self._last_number, *numbers]
        if (
            any(map(operator.ge, following, numbers))
            or following[-1] > self._header.commit
            or self._lock_page in numbers
        ):
            raise ValueError(
                f"pages {numbers[:1]} to {numbers[-1:]} behind {self._last_number}, "
                f"of {self._header.commit}"
            )
        self._last_number = following[-1]

    def _sum(self, heads: list[bytes], pages: Sequence[bytes | memoryview]) -> None:
        summed = itertools.chain.from_iterable(zip(heads, pages, strict=True))
        self._file_crc = crc64.go_iso(b"".join(summed), self._file_crc)

    def _hold(self, numbers: list[int], heads: list[bytes], payloads: list[bytes]) -> None:
        """Keep what is to be written until it is worth a call."""
        self._numbers += numbers
        self._sizes += map(operator.add, map(len, heads), map(len, payloads))
        self._stored += itertools.chain.from_iterable(zip(heads, payloads, strict=True))
        if len(self._numbers) >= self._batch_count:
            self._flush()

    def _flush(self) -> None:
        """Write the pages of this batch."""
        if not self._numbers:
            return
        self._entries.add(self._numbers, self._sizes)
        self._emit(b"".join(self._stored))
        self._page_count += len(self._numbers)
        for held in (self._numbers, self._sizes, self._stored):
            held.clear()

    def _keep(self, entries: bytes) -> None:
        """Put entries of the index aside, until the pages have ended."""
        self._index.write(entries)
        if isinstance(self._index, io.BytesIO) and self._index.tell() > INDEX_SIZE_IN_MEMORY_MAX:
            # Closed by `finish`, or at the end of `with`.
            file = tempfile.TemporaryFile()  # noqa: SIM115
            file.write(self._index.getbuffer())
            self._index = file

    def _put(self, data: bytes) -> None:
        """Write what the file checksum covers as it is."""
        self._file_crc = crc64.go_iso(data, self._file_crc)
        self._emit(data)

    def _emit(self, data: bytes) -> None:
        self._sha256.update(data)
        self._size += len(data)
        self._write(data)
