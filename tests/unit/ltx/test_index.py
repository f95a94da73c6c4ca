"""
The page index, against a plain reading of the format.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from litekeep.errors import FormatError
from litekeep.ltx.format import HEADER_SIZE
from litekeep.ltx.frames import FRAME_HEADER_SIZE, frame_size_max
from litekeep.ltx.index import END_OF_INDEX, Index, IndexEncoder, encode_entries, parse_index
from tests.writers.ltx import header

COMMIT = 2**32 - 1
HEAD = header(4096, COMMIT)

entries = st.dictionaries(
    st.integers(1, COMMIT).filter(lambda number: number != 262145)
    | st.sampled_from([1, 127, 128, 16383, 16384, COMMIT]),
    st.integers(11, frame_size_max(4096)),
    max_size=40,
).map(lambda sizes: dict(sorted(sizes.items())))


def uvarint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def plainly(sizes: dict[int, int], offset: int) -> bytes:
    encoded = b""
    for number, size in sizes.items():
        encoded += uvarint(number) + uvarint(offset) + uvarint(size)
        offset += size
    return encoded


def parsed(data: bytes, sizes: dict[int, int], commit: int = COMMIT) -> Index:
    return parse_index(
        data, header(4096, commit), HEADER_SIZE + sum(sizes.values()) + FRAME_HEADER_SIZE
    )


@settings(deadline=None)
@given(sizes=entries, offset=st.integers(100, 2**63 - 1))
def test_entries_are_as_the_format_says(sizes, offset):
    assert encode_entries(list(sizes), offset, list(sizes.values())) == plainly(sizes, offset)


@settings(deadline=None)
@given(sizes=entries, data=st.data())
def test_an_index_comes_back_and_finds_each_page(sizes, data):
    parts: list[bytes] = []
    encoder = IndexEncoder(parts.append)
    cut = data.draw(st.integers(0, len(sizes)))
    encoder.add(list(sizes)[:cut], list(sizes.values())[:cut])
    encoder.add(list(sizes)[cut:], list(sizes.values())[cut:])
    encoder.finish()
    stored = b"".join(parts)
    index = parsed(stored, sizes)

    assert stored == plainly(sizes, HEADER_SIZE) + END_OF_INDEX
    assert encoder.size == len(stored)
    assert index.numbers.tolist() == list(sizes)
    assert index.sizes.tolist() == list(sizes.values())
    assert [index.find(number) for number in sizes] == list(range(len(sizes)))
    for number in (0, 262145, 2**32, *(number + 1 for number in sizes if number + 1 not in sizes)):
        assert index.find(number) is None
    for start in range(len(sizes)):
        offset, size = index.span(start, len(sizes))
        assert offset == HEADER_SIZE + sum(list(sizes.values())[:start])
        assert offset + size == HEADER_SIZE + sum(sizes.values())


def test_an_index_of_many_entries_is_encoded_in_parts():
    sizes = {number: 11 + number % 4000 for number in range(1, 10001)}
    parts: list[bytes] = []
    encoder = IndexEncoder(parts.append)
    for number, size in sizes.items():
        encoder.add([number], [size])
    assert len(parts) == 2, "kept until there are many, then written"
    encoder.finish()

    assert b"".join(parts) == plainly(sizes, HEADER_SIZE) + END_OF_INDEX


@pytest.mark.parametrize(
    ("stored", "named"),
    [
        (b"", "does not end"),
        (b"\x01\x64\x14", "does not end"),
        (b"\x01\x64\0", "within an entry"),
        (b"\x01\x64\x14\x81\0", "within a number"),
        (b"\x81\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01\x64\x14\0", "longer than it must"),
        (b"\x01\x64\x94\x00\0", "longer than it must"),
        (b"\x01\x64\x94", "does not end"),
        (b"\x01\x63\x14\0", "do not follow"),
        (b"\x01\x64\x13\0", "begins at"),
        (b"\x01\x64\xff\xff\x7f\0", "frame of 2097151 bytes"),
        (b"\x02\x64\x0a\x01\x6e\x0a\0", "out of order"),
        (b"\x01\x64\x0a\x01\x6e\x0a\0", "out of order"),
        (plainly({262145: 20}, 100) + b"\0", "lock page"),
        (plainly({COMMIT: 20}, 100) + b"\0", "of 300000"),
        (b"\0\x64\x14\0", "pages 0"),
    ],
)
def test_what_is_no_index_is_refused(stored, named):
    with pytest.raises(FormatError, match=named) as caught:
        parsed(stored, {1: 20}, 300_000)
    assert caught.value.hint


def test_offsets_that_only_fit_modulo_2_to_64_are_refused():
    """Sums of sizes from a file cannot run over: each is bounded before."""
    huge = (1 << 63) - 101
    stored = uvarint(1) + uvarint(100) + uvarint(huge) + uvarint(2) + uvarint(100 + huge)
    with pytest.raises(FormatError, match=f"frame of {huge}"):
        parsed(stored + uvarint(20) + b"\0", {1: 20})
