"""
An LTX file read by ranges: its header, index and trailer, and single pages.

    read the end  ->  trailer, size of the index, mostly the index and often the whole file
    read the rest of the index, and the header, where they lie further in front
    read the frames that are wanted, neighbours with one request

The file checksum cannot be proved in this way, and a page in block form has none of its
own (frames.py).  Who reads single pages compares the database checksum at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from litekeep.errors import FormatError
from litekeep.ltx.format import (
    HEADER_SIZE,
    INDEX_SIZE_SIZE,
    TAIL_SIZE,
    Header,
    Trailer,
    page_count_of,
    parse_header,
    parse_trailer,
)
from litekeep.ltx.frames import FRAME_HEADER_SIZE, unpack_run
from litekeep.ltx.index import Index, parse_index

#: Returns the bytes at an offset, as many as asked for; they lie within the file.
ReadAt = Callable[[int, int], bytes]

FILE_SIZE_MIN = HEADER_SIZE + FRAME_HEADER_SIZE + 1 + TAIL_SIZE
#: Holds the index of five thousand pages.
TAIL_READ_SIZE = 64 << 10
_PAGES_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Outline:
    """All of a file but its pages."""

    header: Header
    index: Index
    trailer: Trailer


def read_outline(
    read_at: ReadAt, file_size: int, *, tail_read_size: int = TAIL_READ_SIZE
) -> Outline:
    """
    Return what a file says of itself, with one to three reads.

    Args:
        read_at: Reads a range of the file.

        file_size: The size of the file, which bounds all that it says.

        tail_read_size: How much of the end is read at first.

    Raises:
        FormatError: It is no LTX file, or cut short.
    """
    if file_size < FILE_SIZE_MIN:
        raise FormatError(f"the LTX file has {file_size} bytes, the smallest has {FILE_SIZE_MIN}")
    tail_offset = max(0, file_size - max(tail_read_size, TAIL_SIZE))
    tail = _read(read_at, tail_offset, file_size - tail_offset)
    index_size = int.from_bytes(tail[-TAIL_SIZE:][:INDEX_SIZE_SIZE], "big")
    index_offset = file_size - TAIL_SIZE - index_size
    if index_offset < 0:
        raise FormatError(f"the LTX file of {file_size} bytes gives an index of {index_size}")
    if index_offset < tail_offset:
        tail = _read(read_at, index_offset, tail_offset - index_offset) + tail
        tail_offset = index_offset
    header = parse_header(tail if tail_offset == 0 else _read(read_at, 0, HEADER_SIZE))
    trailer = parse_trailer(tail[-TAIL_SIZE:][INDEX_SIZE_SIZE:], header)
    index = parse_index(
        memoryview(tail)[index_offset - tail_offset : -TAIL_SIZE], header, index_offset
    )
    if header.is_snapshot and len(index) != page_count_of(header):
        raise FormatError(
            f"the LTX snapshot has {len(index)} pages, its database {page_count_of(header)}"
        )
    return Outline(header, index, trailer)


def read_page(read_at: ReadAt, outline: Outline, page_number: int) -> bytes | None:
    """
    Return one page, with one read, or None if the file does not have it.

    Raises:
        FormatError: What lies there is not that page.
    """
    position = outline.index.find(page_number)
    if position is None:
        return None
    data = _read(read_at, *outline.index.span(position, position + 1))
    return next(unpack_span(data, outline, position, position + 1))[1]


def unpack_span(
    data: bytes, outline: Outline, start: int, stop: int
) -> Iterator[tuple[int, bytes]]:
    """
    Yield number and page for these positions of the index.

    Args:
        data: The bytes of `outline.index.span(start, stop)`.

        outline: Of the file.

        start: The first position.

        stop: The position behind the last.

    Raises:
        FormatError: What lies there are not those pages.
    """
    page_size = outline.header.page_size
    expected = outline.index.numbers[start:stop].tolist()
    sizes = outline.index.sizes[start:stop].tolist()
    offset, position = 0, 0
    while position < len(expected):
        run = unpack_run(data, offset, len(data), page_size, _PAGES_AT_ONCE)
        next_position = position + max(1, len(run.numbers))
        if (run.numbers, run.sizes) != (
            expected[position:next_position],
            sizes[position:next_position],
        ):
            raise FormatError(
                f"where the index of the LTX file has pages from {expected[position]} on, "
                f"{sizes[position]} bytes long, lie {run.numbers[:1]} of {run.sizes[:1]}"
            )
        yield from zip(run.numbers, run.pages, strict=True)
        offset, position = run.end, next_position


def _read(read_at: ReadAt, offset: int, size: int) -> bytes:
    data = read_at(offset, size)
    if len(data) != size:
        raise FormatError(f"the LTX file ends at {offset + len(data)}, not at {offset + size}")
    return data
