"""
The page index of an LTX file: where the frame of each page stands.

    for each page, ascending:  uvarint page number, uvarint offset, uvarint frame size
    0x00

An uvarint has seven bits in each byte, the lowest first, and the high bit set in all but
the last.  Frames follow each other without room between them, from the end of the header
on, so an index that does not say so is wrong.

All is done for many pages at once: a loop in Python would cost more than LZ4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy
import numpy.typing

from litekeep.errors import FormatError
from litekeep.ltx.format import HEADER_SIZE, Header, lock_page_number
from litekeep.ltx.frames import FRAME_HEADER_SIZE, frame_size_max

#: Ends the entries, as a page number that no page has.
END_OF_INDEX = b"\0"
_UVARINT_SIZE_MAX = 10
#: So many that numpy's price for each call does not count.
_ENTRIES_AT_ONCE = 4096

Integers = numpy.typing.NDArray[numpy.uint64]


@dataclass(frozen=True, slots=True, eq=False)
class Index:
    """The pages of one file: numbers ascending, and for each its frame's offset and size."""

    numbers: Integers
    offsets: Integers
    sizes: Integers

    def __len__(self) -> int:
        return len(self.numbers)

    def find(self, page_number: int) -> int | None:
        """Return the position of a page's entry, or None if the file does not have the page."""
        position = int(numpy.searchsorted(self.numbers, page_number))
        is_there = position < len(self) and int(self.numbers[position]) == page_number
        return position if is_there else None

    def span(self, start: int, stop: int) -> tuple[int, int]:
        """Return offset and size of the bytes that hold the frames of these positions."""
        first = int(self.offsets[start])
        return first, int(self.offsets[stop - 1] + self.sizes[stop - 1]) - first


class IndexEncoder:
    """
    Encodes an index as its pages come, and keeps only the last of them.

    Args:
        write: Takes the bytes of the index, in order.
    """

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._numbers: list[int] = []
        self._sizes: list[int] = []
        self._offset = HEADER_SIZE
        self.size = 0

    def add(self, page_numbers: Iterable[int], frame_sizes: Iterable[int]) -> None:
        """Add frames that follow those added before."""
        self._numbers += page_numbers
        self._sizes += frame_sizes
        if len(self._numbers) >= _ENTRIES_AT_ONCE:
            self._flush()

    def finish(self) -> None:
        """Write what is left, and the end."""
        self._flush()
        self._put(END_OF_INDEX)

    def _flush(self) -> None:
        self._put(encode_entries(self._numbers, self._offset, self._sizes))
        self._offset += sum(self._sizes)
        self._numbers.clear()
        self._sizes.clear()

    def _put(self, data: bytes) -> None:
        self.size += len(data)
        self._write(data)


def encode_entries(numbers: Sequence[int], offset: int, sizes: Sequence[int]) -> bytes:
    """
    Return the entries of frames that follow each other from *offset* on.

    >>> encode_entries([1, 300], 100, [40, 200]).hex()
    '016428ac028c01c801'
    """
    fields = numpy.empty((len(numbers), 3), numpy.uint64)
    fields[:, 0] = numbers
    fields[:, 2] = sizes
    fields[:, 1] = numpy.cumsum(fields[:, 2]) - fields[:, 2] + numpy.uint64(offset)
    values = fields.ravel()
    lengths = numpy.ones(len(values), numpy.intp)
    for count in range(1, _UVARINT_SIZE_MAX):
        is_longer = values >= numpy.uint64(1 << 7 * count)
        if not is_longer.any():
            break
        lengths += is_longer
    starts = numpy.cumsum(lengths) - lengths
    encoded = numpy.empty(int(lengths.sum()), numpy.uint8)
    for place in range(int(lengths.max(initial=0))):
        at = numpy.flatnonzero(lengths > place)
        low = (values[at] >> numpy.uint64(7 * place)).astype(numpy.uint8) & numpy.uint8(0x7F)
        encoded[starts[at] + place] = low | (lengths[at] > place + 1) * numpy.uint8(0x80)
    return encoded.tobytes()


def parse_index(data: bytes | memoryview, header: Header, index_offset: int) -> Index:
    """
    Return the index that is all of *data*, its ending 0 included.

    Args:
        data: The bytes from the end of the frames to the index's size.

        header: What the pages are held to.

        index_offset: Where *data* begins in the file.

    Raises:
        FormatError: It is no index of that file.
    """
    if not data or data[-1] != 0:
        raise FormatError("the index of the LTX file does not end with a zero")
    values = _decode_uvarints(numpy.frombuffer(data, numpy.uint8)[:-1])
    if len(values) % 3:
        raise FormatError("the index of the LTX file ends within an entry")
    numbers, offsets, sizes = (numpy.ascontiguousarray(part) for part in values.reshape(-1, 3).T)
    lock_page = lock_page_number(header.page_size)
    # The sizes first: only what is bounded can be added up.
    if len(sizes) and int(sizes.max()) > frame_size_max(header.page_size):
        raise FormatError(f"the index of the LTX file gives a frame of {int(sizes.max())} bytes")
    ends = numpy.uint64(HEADER_SIZE) + numpy.cumsum(sizes, dtype=numpy.uint64)
    if not numpy.array_equal(offsets, ends - sizes):
        raise FormatError("the index of the LTX file has frames that do not follow each other")
    end = int(ends[-1]) if len(ends) else HEADER_SIZE
    if end + FRAME_HEADER_SIZE != index_offset:
        raise FormatError(
            f"the index of the LTX file begins at {index_offset}, its frames end at {end}"
        )
    if (numbers[1:] <= numbers[:-1]).any() or lock_page in numbers:
        raise FormatError("the index of the LTX file has pages out of order, or the lock page")
    if len(numbers) and not 1 <= int(numbers[0]) <= int(numbers[-1]) <= header.commit:
        raise FormatError(
            f"the index of the LTX file has pages {int(numbers[0])} to {int(numbers[-1])} "
            f"of {header.commit}"
        )
    return Index(numbers, offsets, sizes)


def _decode_uvarints(data: numpy.typing.NDArray[numpy.uint8]) -> Integers:
    """Return the numbers that are all of *data*."""
    last = numpy.flatnonzero(data < 0x80)
    if len(data) and (not len(last) or last[-1] != len(data) - 1):
        raise FormatError("the index of the LTX file ends within a number")
    first = numpy.concatenate(([0], last[:-1] + 1)) if len(last) else last
    lengths = last - first + 1
    length_max = int(lengths.max(initial=0))
    if length_max >= _UVARINT_SIZE_MAX or (data[last[lengths > 1]] == 0).any():
        raise FormatError("the index of the LTX file has a number that is longer than it must be")
    values = numpy.zeros(len(last), numpy.uint64)
    for place in range(length_max):
        at = numpy.flatnonzero(lengths > place)
        low = (data[first[at] + place] & 0x7F).astype(numpy.uint64)
        values[at] |= low << numpy.uint64(7 * place)
    return values
