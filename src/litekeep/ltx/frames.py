"""
One page of an LTX file, compressed: its frame, in both forms.

    Block form, since Litestream 0.5.16         Frame form, Litestream 0.5.0 to 0.5.15
    0   4   page number                         0   4   page number
    4   2   flags: 1                            4   2   flags: 0
    6   4   size of the block                   6       one LZ4 frame with a checksum
    10      an LZ4 block                                of its content

1. Nothing inflates to more than one page: the room for it is all that LZ4 is given.
2. No frame is longer than `frame_size_max`: no length from a file makes us read more.  A
   block that is longer than the page could become holds more than the page.

A page in block form has no checksum of its own: bytes of a block can change and it
inflates to another page.  The file checksum finds that, and a single page that was read
by its place in the index is proved by nothing but the database checksum.

See https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import lz4.block
import lz4.frame

from litekeep.errors import FormatError

FRAME_HEADER_SIZE = 6
#: Ends the frames.
END_OF_FRAMES = bytes(FRAME_HEADER_SIZE)
BLOCK_FLAG = 1

_HEAD = struct.Struct(">IH")
_BLOCK_HEAD = struct.Struct(">IHI")
BLOCK_HEADER_SIZE = _BLOCK_HEAD.size
_LZ4_MAGIC = b"\x04\x22\x4d\x18"
#: Of the descriptor's first byte: version 01, and a checksum of the content.
_LZ4_FLAGS_MASK, _LZ4_FLAGS = 0b1100_0100, 0b0100_0100
#: Magic, descriptor with a content size, block size, end mark and checksum.
_LZ4_FRAME_ROOM = 4 + 15 + 4 + 4 + 4


class Form(enum.Enum):
    """How a page is compressed."""

    BLOCK = "block"
    FRAME = "frame"


def block_size_max(page_size: int) -> int:
    """Return the size of the largest block that a page can become, as LZ4 defines it."""
    return page_size + page_size // 255 + 16


def frame_size_max(page_size: int) -> int:
    """Return the size of the largest frame of a page, header and all, of either form."""
    return BLOCK_HEADER_SIZE + block_size_max(page_size) + _LZ4_FRAME_ROOM


@dataclass(frozen=True, slots=True)
class Run:
    """
    Neighbouring frames, unpacked: the same position in each list is one page.

    `blocks` has None for a page in frame form.  `summed` is what the file checksum covers
    of them, in order.
    """

    numbers: list[int]
    pages: list[bytes]
    blocks: list[memoryview | None]
    sizes: list[int]
    summed: list[bytes]
    #: Where the frame behind the last begins.
    end: int
    #: Whether what stands there is the end of all frames.
    is_last: bool


def block_head(number: int, block_size: int) -> bytes:
    """Return the header of a frame in block form."""
    return _BLOCK_HEAD.pack(number, BLOCK_FLAG, block_size)


def pack_run(
    numbers: Sequence[int], pages: Sequence[bytes | memoryview], form: Form
) -> tuple[list[bytes], list[bytes]]:
    """Return headers and payloads of the pages' frames."""
    if form is Form.BLOCK:
        deflate, head = lz4.block.compress, _BLOCK_HEAD.pack
        blocks: list[bytes] = [deflate(page, store_size=False) for page in pages]
        return [head(n, BLOCK_FLAG, len(b)) for n, b in zip(numbers, blocks, strict=True)], blocks
    return [_HEAD.pack(number, 0) for number in numbers], [
        lz4.frame.compress(
            page,
            content_checksum=True,
            block_linked=False,
            store_size=False,
            block_size=lz4.frame.BLOCKSIZE_MAX64KB,
        )
        for page in pages
    ]


def unpack_run(data: bytes, offset: int, limit: int, page_size: int, count_max: int) -> Run:
    """
    Return the frames from *offset* on.

    This loop is where a restore spends its time, so what it calls is LZ4 and little else.

    Args:
        data: Part of a file.

        offset: Where the first frame begins.

        limit: No frame that begins here or behind is looked at.  In front of it
            `frame_size_max` bytes are at hand, or the file ends where *data* ends.

        page_size: What each payload must inflate to.

        count_max: So many frames at most.

    Raises:
        FormatError: What lies there is no frame of one page, or is cut short.
    """
    view, number = memoryview(data), 0
    inflate, head_at = lz4.block.decompress, _BLOCK_HEAD.unpack_from
    numbers: list[int] = []
    pages: list[bytes] = []
    blocks: list[memoryview | None] = []
    sizes: list[int] = []
    summed: list[bytes] = []
    is_last = False
    try:
        while offset < limit and len(numbers) < count_max:
            # What ends the frames is shorter, but other things follow it.
            number, flags, size = head_at(data, offset)
            if flags == BLOCK_FLAG and number:
                start = offset + BLOCK_HEADER_SIZE
                end = start + size
                block = view[start:end]
                if len(block) != size:
                    raise FormatError(f"the file ends in the {size} bytes of page {number}")
                page = inflate(block, uncompressed_size=page_size)
                blocks.append(block)
            elif flags == 0 and number:
                start = offset + FRAME_HEADER_SIZE
                page, size = _inflate_frame(view[start:][: frame_size_max(page_size)], page_size)
                end = start + size
                blocks.append(None)
            elif flags == 0:
                offset += FRAME_HEADER_SIZE
                is_last = True
                break
            else:
                raise FormatError(f"the frame of page {number} has flags {flags:#x}")
            if len(page) != page_size:
                raise FormatError(f"page {number} inflates to {len(page)} bytes, not {page_size}")
            numbers.append(number)
            pages.append(page)
            sizes.append(end - offset)
            summed.append(data[offset:start])
            summed.append(page)
            offset = end
    except struct.error as error:
        raise FormatError("the LTX file ends in the header of a frame") from error
    except lz4.block.LZ4BlockError as error:
        raise FormatError(f"the LZ4 block of page {number} does not inflate to a page") from error
    except RuntimeError as error:  # all that lz4.frame raises
        raise FormatError(f"the LZ4 frame of page {number} does not inflate to a page") from error
    return Run(numbers, pages, blocks, sizes, summed, offset, is_last)


def _inflate_frame(data: memoryview, page_size: int) -> tuple[bytes, int]:
    """Return what the LZ4 frame at the start of *data* inflates to, and its size."""
    if data[:4] != _LZ4_MAGIC or len(data) < 5 or data[4] & _LZ4_FLAGS_MASK != _LZ4_FLAGS:
        raise FormatError("a page is in no LZ4 frame with a checksum of its content")
    context = lz4.frame.create_decompression_context()
    page, size, has_ended = lz4.frame.decompress_chunk(context, data, max_length=page_size)
    if not has_ended:
        raise FormatError(
            f"the LZ4 frame of a page has no end within {len(data)} bytes, or two pages"
        )
    return page, size
