"""
Reading an LTX file from its start to its end, everything verified.

    decoder = Decoder(pieces_of(file))
    for number, page in decoder.pages():
        ...                                       nothing is proved
    decoder.trailer                               now all is

1. What is yielded is proved only once the iteration has ended without an error.
2. Page numbers rise and lie within the commit; a snapshot has them all; the index says
   what the frames were; nothing follows the trailer; the file checksum is right.
3. Memory is bounded: by one piece, a batch of pages and what LZ4 needs for one page.

The file checksum does not cover compressed bytes.  Where it is known what the file's
SHA-256 must be, that is compared too; then no changed bit passes.  Without it these pass,
and change no page: bits of an LZ4 block or LZ4 frame that inflates to the same page.
"""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Iterable, Iterator
from functools import partial
from typing import IO

from fastcrc import crc64

from litekeep.errors import ChecksumMismatch, FormatError
from litekeep.ltx.checksum import DatabaseChecksum
from litekeep.ltx.format import (
    CHECKSUM_FLAG,
    CHECKSUM_SIZE,
    HEADER_SIZE,
    INDEX_SIZE_SIZE,
    TRAILER_SIZE,
    Trailer,
    lock_page_number,
    page_count_of,
    parse_header,
    parse_trailer,
)
from litekeep.ltx.frames import END_OF_FRAMES, Run, frame_size_max, unpack_run
from litekeep.ltx.index import IndexEncoder

_PIECE_SIZE = 256 << 10
#: Of pages that are yielded together.
_BATCH_SIZE = 256 << 10


def pieces_of(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the bytes of an open file, from where it stands."""
    return iter(partial(file.read, _PIECE_SIZE), b"")


class Decoder:
    """
    Reads one file, once.  Its `header` is there at once, its `trailer` behind the last page.

    Args:
        pieces: The bytes of the file, cut anywhere.

        sha256: What the bytes' SHA-256 must be, in hexadecimal, if it is known.

    Raises:
        FormatError: It does not begin as an LTX file.
    """

    def __init__(self, pieces: Iterable[bytes], *, sha256: str | None = None) -> None:
        self._pieces = iter(pieces)
        self._data = b""
        self._offset = 0
        self._has_ended = False
        self._sha256_expected = sha256
        self._sha256 = hashlib.sha256()
        self._size = 0
        head = self._take(HEADER_SIZE)
        self.header = parse_header(head)
        self.trailer: Trailer | None = None
        self._file_crc = crc64.go_iso(head)
        self._index_sum = hashlib.sha256()
        self._entries = IndexEncoder(self._index_sum.update)
        self._page_count = 0
        self._database = DatabaseChecksum(self.header.page_size)
        # Of another file than a snapshot only the pages that it changes are here.
        self._is_database_proved = self.header.has_checksum and self.header.is_snapshot

    def pages(self) -> Iterator[tuple[int, bytes]]:
        """
        Yield number and bytes of each page.

        Raises:
            FormatError: The bytes are not those of an LTX file.
            ChecksumMismatch: They are, but not those that were written.
        """
        for run in self.runs():
            yield from zip(run.numbers, run.pages, strict=True)

    def runs(self) -> Iterator[Run]:
        """
        Yield the pages in batches, with the LZ4 blocks that they are stored as.

        Raises:
            FormatError: As in `pages`.
            ChecksumMismatch: As in `pages`.
        """
        page_size, last_number = self.header.page_size, 0
        needed_size = frame_size_max(page_size)
        count_max = max(1, _BATCH_SIZE // page_size)
        is_last = False
        while not is_last:
            self._fill(needed_size)
            data, offset = self._data, self._offset
            # A frame that begins in front of this is at hand as a whole.
            limit = len(data) if self._has_ended else len(data) - needed_size + 1
            run = unpack_run(data, offset, limit, page_size, count_max)
            is_last, self._offset = run.is_last, run.end
            if run.numbers:
                self._add(run, last_number)
                last_number = run.numbers[-1]
                yield run
            elif not is_last:
                raise FormatError("the LTX file ends before the end of its pages")
        self._end()

    def _add(self, run: Run, last_number: int) -> None:
        """Take pages into the sums, if they may stand here."""
        header, numbers = self.header, run.numbers
        if (
            numbers[0] <= last_number
            or any(map(operator.ge, numbers, numbers[1:]))
            or numbers[-1] > header.commit
            or lock_page_number(header.page_size) in numbers
        ):
            raise FormatError(
                f"the LTX file has pages out of order, beyond its commit of {header.commit}, or "
                f"the lock page, between {last_number} and {numbers[-1]}"
            )
        self._page_count += len(numbers)
        self._file_crc = crc64.go_iso(b"".join(run.summed), self._file_crc)
        self._entries.add(numbers, run.sizes)
        if self._is_database_proved:
            for number, page in zip(numbers, run.pages, strict=True):
                self._database.add(number, page)

    def _end(self) -> None:
        """Read what follows the pages, and prove it all."""
        header = self.header
        if header.is_snapshot and self._page_count != page_count_of(header):
            raise FormatError(
                f"the LTX snapshot has {self._page_count} pages, its database "
                f"{page_count_of(header)}"
            )
        self._file_crc = crc64.go_iso(END_OF_FRAMES, self._file_crc)
        self._entries.finish()
        index_size = self._entries.size
        found = hashlib.sha256()
        for start in range(0, index_size, _PIECE_SIZE):
            piece = self._take(min(_PIECE_SIZE, index_size - start))
            self._file_crc = crc64.go_iso(piece, self._file_crc)
            found.update(piece)
        stored_size = self._take(INDEX_SIZE_SIZE)
        self._file_crc = crc64.go_iso(stored_size, self._file_crc)
        if found.digest() != self._index_sum.digest() or int.from_bytes(stored_size) != index_size:
            raise FormatError("the index of the LTX file does not say what its frames are")
        tail = self._take(TRAILER_SIZE)
        self._file_crc = crc64.go_iso(tail[:CHECKSUM_SIZE], self._file_crc)
        self._fill(1)
        if self._offset < len(self._data):
            raise FormatError("more bytes follow the trailer of the LTX file")
        self._compare(parse_trailer(tail, header))

    def _compare(self, trailer: Trailer) -> None:
        """Hold what the bytes were to what they should be."""
        for what, stored, computed in (
            ("file checksum", trailer.file_checksum, CHECKSUM_FLAG | self._file_crc),
            (
                "database checksum",
                trailer.post_apply_checksum,
                self._database.value if self._is_database_proved else trailer.post_apply_checksum,
            ),
        ):
            if stored != computed:
                raise ChecksumMismatch(
                    f"the LTX file's {what} is {computed:016x}, not {stored:016x}"
                )
        found = self._sha256.hexdigest()
        if self._sha256_expected not in {None, found}:
            raise ChecksumMismatch(
                f"the LTX file's SHA-256 is {found}, not {self._sha256_expected}"
            )
        self.trailer = trailer

    def _fill(self, size: int) -> None:
        """See to it that this many bytes are at hand, or all that there are."""
        if len(self._data) - self._offset >= size or self._has_ended:
            return
        parts = [self._data[self._offset :]]
        held_size = len(parts[0])
        while held_size < size:
            piece = next(self._pieces, None)
            if piece is None:
                self._has_ended = True
                break
            if self._sha256_expected is not None:
                self._sha256.update(piece)
            parts.append(piece)
            held_size += len(piece)
            self._size += len(piece)
        self._data, self._offset = b"".join(parts), 0

    def _take(self, size: int) -> bytes:
        """Return the next bytes."""
        self._fill(size)
        taken = self._data[self._offset : self._offset + size]
        if len(taken) != size:
            raise FormatError(f"the LTX file ends after {self._size} bytes")
        self._offset += size
        return taken
