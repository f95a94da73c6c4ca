"""
What became of an LTX file's bytes is an error with a name, or is proved harmless.

What the file checksum does not cover is stated by `test_every_flipped_bit`: bits of what
is compressed, and only where it inflates to the very same page.  With the SHA-256 that is
kept beside a file no changed bit passes at all.
"""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from litekeep.errors import CorruptionError, FormatError
from litekeep.ltx.format import MAGIC
from litekeep.ltx.frames import BLOCK_HEADER_SIZE, FRAME_HEADER_SIZE, Form
from litekeep.ltx.outline import ReadAt, read_outline, read_page
from tests.writers.ltx import decoder_of, header, read, read_in_every_way, written

DICE = random.Random(4)
PAGES = {
    1: b"litekeep" * 64,
    3: DICE.randbytes(512),
    4: bytes(512),
    200: DICE.randbytes(200) + bytes(312),
}
HEAD_SIZES = {Form.BLOCK: BLOCK_HEADER_SIZE, Form.FRAME: FRAME_HEADER_SIZE}


def small_file(form: Form) -> tuple[bytes, str]:
    data, encoded = written(header(commit=200), PAGES, form=form)
    return data, encoded.sha256


def reader_of(data: bytes) -> ReadAt:
    """Return a reader of ranges, of which none may go beyond the end."""

    def read_at(offset: int, size: int) -> bytes:
        assert 0 <= offset <= offset + size <= len(data)
        return data[offset : offset + size]

    return read_at


def compressed_bytes(data: bytes, form: Form) -> set[int]:
    """Return the offsets of what is compressed: all payloads of frames."""
    index = read_outline(reader_of(data), len(data)).index
    return {
        place
        for offset, size in zip(index.offsets.tolist(), index.sizes.tolist(), strict=True)
        for place in range(offset + HEAD_SIZES[form], offset + size)
    }


@pytest.mark.parametrize("form", Form)
def test_every_truncation_is_an_error(form: Form):
    data, _ = small_file(form)
    for size in range(len(data)):
        with pytest.raises(FormatError):
            read(data[:size])
        with pytest.raises(FormatError):
            read_outline(reader_of(data[:size]), size)


@pytest.mark.parametrize("form", Form)
def test_bytes_behind_the_end_are_an_error(form: Form):
    data, _ = small_file(form)
    for more in (b"\0", b"x" * 100, data):
        with pytest.raises(FormatError, match="trailer"):
            read(data + more)


@pytest.mark.parametrize("form", Form)
def test_every_flipped_bit_is_an_error_or_changes_no_page(form: Form):
    data, sha256 = small_file(form)
    harmless = set()
    for bit in range(len(data) * 8):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            found = read(bytes(damaged))
        except CorruptionError:
            pass
        else:
            harmless.add(bit // 8)
            assert found == PAGES
        with pytest.raises(CorruptionError):
            read(bytes(damaged), sha256=sha256)

    # There are such bits: the claim above is not one about nothing.
    assert harmless <= compressed_bytes(data, form)
    assert harmless


@settings(max_examples=300, deadline=None)
@given(
    form=st.sampled_from(Form),
    changes=st.lists(st.tuples(st.integers(min_value=0), st.integers(0, 255)), max_size=6),
    cuts=st.tuples(st.integers(min_value=0), st.integers(0, 40)),
    piece_size=st.sampled_from([1, 7, 1 << 20]),
)
def test_damage_is_an_error_or_changes_no_page(form, changes, cuts, piece_size):
    data, sha256 = small_file(form)
    damaged = bytearray(data)
    for place, value in changes:
        damaged[place % len(damaged)] = value
    start = cuts[0] % len(damaged)
    del damaged[start : start + cuts[1]]

    try:
        assert read(bytes(damaged), piece_size) == PAGES
    except CorruptionError:
        assert damaged != data
    if damaged != data:
        with pytest.raises(CorruptionError):
            read(bytes(damaged), piece_size, sha256)


@settings(max_examples=300, deadline=None)
@given(
    form=st.sampled_from(Form),
    changes=st.lists(st.tuples(st.integers(min_value=0), st.integers(0, 255)), max_size=6),
    tail_read_size=st.sampled_from([0, 30, 200, 1 << 16]),
)
def test_ranges_of_a_damaged_file_are_errors_or_pages(form, changes, tail_read_size):
    """A page in block form may be another: see outline.py.  It is one page all the same."""
    damaged = bytearray(small_file(form)[0])
    for place, value in changes:
        damaged[place % len(damaged)] = value

    read_at = reader_of(bytes(damaged))
    try:
        outline = read_outline(read_at, len(damaged), tail_read_size=tail_read_size)
        for number in outline.index.numbers.tolist():
            page = read_page(read_at, outline, number)
            assert page is not None and len(page) == outline.header.page_size
    except CorruptionError:
        pass


@settings(max_examples=300, deadline=None)
@given(noise=st.binary(max_size=300), kind=st.integers(0, 2))
def test_noise_is_an_error_and_never_a_crash(noise, kind):
    data = (b"", MAGIC, header().encode())[kind] + noise
    read_in_every_way(data)
    with pytest.raises(CorruptionError):
        for _ in decoder_of(data).pages():
            pass


@settings(max_examples=300, deadline=None)
@given(data=st.data(), form=st.sampled_from(Form))
def test_whatever_is_read_from_its_start_is_read_from_its_end(data, form):
    damaged = bytearray(small_file(form)[0])
    for _ in range(data.draw(st.integers(0, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    read_in_every_way(bytes(damaged))
