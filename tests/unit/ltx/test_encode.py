"""
What the encoder writes, and what it does not accept.
"""

from __future__ import annotations

import hashlib
import itertools
import random
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from litekeep.ltx import encode
from litekeep.ltx.checksum import FLAG, DatabaseChecksum
from litekeep.ltx.encode import Encoder
from litekeep.ltx.format import PAGE_SIZES, TAIL_SIZE, lock_page_number
from litekeep.ltx.frames import Form
from tests.writers.ltx import header, read, written

LOCK_PAGE = lock_page_number(65536)


@settings(deadline=None, max_examples=60)
@given(
    page_size=st.sampled_from(sorted(PAGE_SIZES)),
    numbers=st.frozensets(st.integers(1, 300), max_size=12).map(sorted),
    form=st.sampled_from(Form),
    seed=st.integers(0, 2**32),
    piece_size=st.integers(1, 3000),
)
def test_what_is_written_is_read(page_size, numbers, form, seed, piece_size):
    dice = random.Random(seed)
    pages = {
        number: dice.randbytes(page_size) if number % 2 else dice.randbytes(8) * (page_size // 8)
        for number in numbers
    }
    data, encoded = written(header(page_size, 300), pages, form=form)

    assert read(data, piece_size, encoded.sha256) == pages
    assert encoded.size == len(data)
    assert encoded.sha256 == hashlib.sha256(data).hexdigest()
    assert encoded.page_count == len(pages)
    assert encoded.index_offset + encoded.index_size + TAIL_SIZE == len(data)
    assert encoded.file_checksum == int.from_bytes(data[-8:], "big")


@given(cuts=st.lists(st.integers(0, 40), max_size=5), form=st.sampled_from(Form))
def test_it_does_not_matter_how_many_pages_come_at_once(cuts, form):
    pages = b"".join(bytes([number]) * 512 for number in range(1, 41))
    parts: list[bytes] = []
    encoder = Encoder(parts.append, header(commit=40), form=form)
    places = [0, *sorted(cuts), 40]
    for start, stop in itertools.pairwise(places):
        encoder.add_pages(range(start + 1, stop + 1), pages[start * 512 : stop * 512])
    encoded = encoder.finish()

    singly = {number: bytes([number]) * 512 for number in range(1, 41)}
    assert (b"".join(parts), encoded) == written(header(commit=40), singly, form=form)


def test_a_snapshot_around_the_lock_page_leaves_it_out():
    count = LOCK_PAGE + 1
    head = header(65536, count, min_txid=1)
    parts: list[bytes] = []
    encoder = Encoder(parts.append, head)
    for number in range(1, count + 1):
        encoder.add(number, bytes(65536))
    assert encoder.finish().page_count == count - 1

    numbers = list(read(b"".join(parts)))
    assert LOCK_PAGE not in numbers
    assert numbers[-2:] == [LOCK_PAGE - 1, LOCK_PAGE + 1]


def test_the_room_of_a_page_can_be_used_again_at_once():
    parts: list[bytes] = []
    room = bytearray(512)
    with Encoder(parts.append, header(commit=3)) as encoder:
        for number in (1, 2, 3):
            room[:] = bytes([number]) * 512
            encoder.add(number, room)
        encoder.finish()

    assert read(b"".join(parts)) == {number: bytes([number]) * 512 for number in (1, 2, 3)}


@pytest.mark.parametrize("numbers", [[2, 1], [1, 1], [4], [0], [1, 2, 4]], ids=str)
def test_pages_out_of_order_or_beyond_the_commit_are_refused(numbers):
    encoder = Encoder(lambda _: None, header(commit=3))
    with pytest.raises(ValueError, match="behind"):
        encoder.add_pages(numbers, bytes(512 * len(numbers)))


def test_pages_of_another_size_are_refused():
    encoder = Encoder(lambda _: None, header(commit=3))
    for numbers, size in (([1], 511), ([1], 1024), ([1, 2], 512), ([], 1)):
        with pytest.raises(ValueError, match="bytes for"):
            encoder.add_pages(numbers, bytes(size))


@pytest.mark.parametrize("numbers", [[], [1, 2], [1, 3], [2, 3]], ids=str)
def test_a_snapshot_that_lacks_pages_is_not_finished(numbers):
    with pytest.raises(ValueError, match="of the 3"):
        written(header(min_txid=1), dict.fromkeys(numbers, bytes(512)))


def test_database_checksums_are_written_where_the_header_keeps_them():
    pages = {number: bytes([number]) * 512 for number in (1, 2, 3)}
    checksum = DatabaseChecksum(512)
    checksum.add(1, b"".join(pages.values()))
    snapshot = header(min_txid=1, flags=0)

    data, encoded = written(snapshot, pages, post_apply_checksum=checksum.value)

    assert encoded.post_apply_checksum == checksum.value
    assert data[-16:-8] == checksum.value.to_bytes(8, "big")
    assert read(data) == pages
    for head, wrong in ((snapshot, 0), (snapshot, 5), (header(), FLAG)):
        with pytest.raises(ValueError, match="does not allow"):
            written(head, pages, post_apply_checksum=wrong)


@pytest.mark.parametrize("is_finished", [True, False])
def test_memory_does_not_grow_with_the_pages(monkeypatch, is_finished):
    """And an encoder that is left behind leaves no file open, which would be a warning."""
    monkeypatch.setattr(encode, "INDEX_SIZE_IN_MEMORY_MAX", 1 << 15)
    peaks = []
    for count in (10_000, 40_000):
        tracemalloc.start()
        with Encoder(lambda _: None, header(commit=count)) as encoder:
            for first in range(1, count, 1000):
                encoder.add_pages(range(first, first + 1000), bytes(512 * 1000))
            if is_finished:
                assert encoder.finish().index_size > 1 << 15
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 300_000
