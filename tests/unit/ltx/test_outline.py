"""
A file read by ranges: how many reads it takes, and what they may find.
"""

from __future__ import annotations

import pytest

from litekeep.errors import FormatError
from litekeep.ltx.encode import Encoder
from litekeep.ltx.frames import Form
from litekeep.ltx.outline import ReadAt, read_outline, read_page, unpack_span
from tests.writers.ltx import header, written

PAGES = {number: bytes([number % 251]) * 4096 for number in range(1, 400, 3)}


class Ranges:
    """Reads ranges of bytes, and notes them."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.asked: list[tuple[int, int]] = []

    def __call__(self, offset: int, size: int) -> bytes:
        assert 0 <= offset <= offset + size <= len(self.data)
        self.asked.append((offset, size))
        return self.data[offset : offset + size]


def stored(form: Form = Form.BLOCK) -> tuple[Ranges, int]:
    data, encoded = written(header(4096, 400), PAGES, form=form)
    return Ranges(data), encoded.index_offset


def test_a_small_file_takes_one_read():
    ranges, _ = stored()
    outline = read_outline(ranges, len(ranges.data))

    assert ranges.asked == [(0, len(ranges.data))]
    assert outline.header == header(4096, 400)
    assert outline.index.numbers.tolist() == list(PAGES)
    assert outline.trailer.encode() == ranges.data[-16:]


def test_a_large_file_takes_its_end_and_its_header():
    ranges, index_offset = stored()
    size = len(ranges.data)
    read_outline(ranges, size, tail_read_size=size - index_offset)

    assert ranges.asked == [(index_offset, size - index_offset), (0, 100)]


def test_an_index_that_is_longer_takes_one_read_more():
    ranges, index_offset = stored()
    size = len(ranges.data)
    read_outline(ranges, size, tail_read_size=0)

    assert ranges.asked == [
        (size - 24, 24),
        (index_offset, size - 24 - index_offset),
        (0, 100),
    ]


@pytest.mark.parametrize("form", Form)
def test_one_page_takes_one_read_of_its_frame(form: Form):
    ranges, _ = stored(form)
    outline = read_outline(ranges, len(ranges.data))
    ranges.asked.clear()

    for number, page in PAGES.items():
        assert read_page(ranges, outline, number) == page
    assert len(ranges.asked) == len(PAGES)
    assert sum(size for _, size in ranges.asked) == sum(outline.index.sizes.tolist())
    assert read_page(ranges, outline, 2) is None
    assert len(ranges.asked) == len(PAGES)


@pytest.mark.parametrize("form", Form)
def test_neighbours_come_with_one_read(form: Form):
    ranges, _ = stored(form)
    outline = read_outline(ranges, len(ranges.data))

    for start, stop in ((0, len(PAGES)), (5, 6), (60, 130)):
        data = ranges(*outline.index.span(start, stop))
        assert list(unpack_span(data, outline, start, stop)) == list(PAGES.items())[start:stop]


def test_another_page_where_the_index_has_one_is_refused():
    ranges, _ = stored()
    outline = read_outline(ranges, len(ranges.data))
    data = ranges(*outline.index.span(3, 5))

    for start, stop in ((2, 4), (4, 6), (3, 6)):
        with pytest.raises(FormatError, match="index"):
            list(unpack_span(data, outline, start, stop))
    with pytest.raises(FormatError):
        list(unpack_span(data[:-1], outline, 3, 5))
    with pytest.raises(FormatError, match="ends at"):
        read_page(lambda offset, size: ranges(offset, size)[1:], outline, 1)


@pytest.mark.parametrize("size", [0, 1, 100, 130])
def test_what_is_too_short_is_refused_without_a_read(size: int):
    def never(offset: int, size: int) -> bytes:
        raise AssertionError

    reader: ReadAt = never
    with pytest.raises(FormatError, match="the smallest has 131"):
        read_outline(reader, size)


def test_the_smallest_file_is_read():
    data, encoded = written(header(commit=0), {})
    assert encoded.size == len(data) == 131
    assert len(read_outline(Ranges(data), 131).index) == 0


@pytest.mark.parametrize("index_size", [0, 2**64 - 1, 2**63, 10_000])
def test_an_index_that_cannot_be_is_not_read(index_size: int):
    ranges, _ = stored()
    data = bytearray(ranges.data)
    data[-24:-16] = index_size.to_bytes(8, "big")
    damaged = Ranges(bytes(data))

    with pytest.raises(FormatError, match="index"):
        read_outline(damaged, len(data), tail_read_size=0)
    assert sum(size for _, size in damaged.asked) <= len(data) + 124


def test_a_snapshot_whose_index_lacks_pages_is_refused():
    data = bytearray(written(header(commit=3, min_txid=2), dict.fromkeys((1, 3), bytes(512)))[0])
    data[16:24] = (1).to_bytes(8, "big")

    with pytest.raises(FormatError, match="has 2 pages, its database 3"):
        read_outline(Ranges(bytes(data)), len(data))


def test_an_index_of_a_hundred_thousand_pages_is_read_at_once():
    parts: list[bytes] = []
    with Encoder(parts.append, header(512, 100_000)) as encoder:
        encoder.add_pages(range(1, 100_001), bytes(512 * 100_000))
        encoder.finish()
    ranges = Ranges(b"".join(parts))
    outline = read_outline(ranges, len(ranges.data))

    assert len(ranges.asked) == 3
    assert outline.index.find(77_777) == 77_776
