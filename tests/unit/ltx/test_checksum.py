"""
The database checksum is the one that the LTX format defines, page by page.
"""

from __future__ import annotations

import random

import pytest
from fastcrc import crc64
from hypothesis import given, settings
from hypothesis import strategies as st

from litekeep.ltx.checksum import FLAG, DatabaseChecksum, changed, page_checksums
from tests.writers.reading import plain_checksum

PAGE_SIZES = [512 << shift for shift in range(8)]


def checksum_of(data: bytes, page_size: int, pages_at_once: int = 3) -> int:
    checksum = DatabaseChecksum(page_size)
    step = page_size * pages_at_once
    for offset in range(0, len(data), step):
        checksum.add(offset // page_size + 1, data[offset : offset + step])
    return checksum.value


def test_the_vectors_of_the_format():
    assert checksum_of(b"1" * 512, 512) == 0xEB1A999231044DDD
    assert checksum_of(b"2" * 1024 + b"3" * 1024, 1024) == 0xE1899B6D587AAAAA


def test_no_pages_are_the_flag_alone():
    assert DatabaseChecksum(4096).value == FLAG == plain_checksum(b"", 4096)


@settings(max_examples=150, deadline=None)
@given(
    page_size=st.sampled_from(PAGE_SIZES),
    count=st.integers(0, 20),
    at_once=st.integers(1, 9),
    seed=st.integers(0, 1 << 32),
)
def test_it_equals_a_plain_loop_over_pages(page_size, count, at_once, seed):
    data = random.Random(seed).randbytes(page_size * count)
    assert checksum_of(data, page_size, at_once) == plain_checksum(data, page_size)


@settings(max_examples=50, deadline=None)
@given(order=st.permutations(range(8)), seed=st.integers(0, 1 << 32))
def test_the_order_of_pages_does_not_matter(order, seed):
    pages = [random.Random(seed + index).randbytes(512) for index in range(8)]
    checksum = DatabaseChecksum(512)
    for index in order:
        checksum.add(index + 1, pages[index])
    assert checksum.value == checksum_of(b"".join(pages), 512)


@settings(max_examples=100, deadline=None)
@given(bit=st.integers(0, 8 * 512 * 5 - 1), seed=st.integers(0, 1 << 32))
def test_every_flipped_bit_changes_it(bit, seed):
    data = bytearray(random.Random(seed).randbytes(512 * 5))
    before = checksum_of(bytes(data), 512)
    data[bit // 8] ^= 1 << bit % 8
    assert checksum_of(bytes(data), 512) != before


@pytest.mark.parametrize("page_size", PAGE_SIZES)
@pytest.mark.parametrize("first", [-2, -1, 0, 1])
def test_the_lock_page_is_left_out(page_size, first):
    lock_page = 0x40000000 // page_size + 1
    pages = [random.Random(index).randbytes(page_size) for index in range(3)]
    start = lock_page + first
    with_lock = DatabaseChecksum(page_size)
    with_lock.add(start, b"".join(pages))
    without = DatabaseChecksum(page_size)
    for index, page in enumerate(pages):
        if start + index != lock_page:
            without.add(start + index, page)
    assert with_lock.value == without.value
    assert (first in (-2, -1, 0)) == (start <= lock_page < start + 3)


def test_two_pages_that_change_places_are_not_noticed():
    """A limit of the format that the module tells of: SHA-256 stands beside it."""
    pages = [b"a" * 512, b"b" * 512, b"c" * 512]
    swapped = [pages[0], pages[2], pages[1]]
    assert checksum_of(b"".join(pages), 512) == checksum_of(b"".join(swapped), 512)
    assert plain_checksum(b"".join(pages), 512) == plain_checksum(b"".join(swapped), 512)


@settings(max_examples=60, deadline=None)
@given(
    page_size=st.sampled_from(PAGE_SIZES),
    numbers=st.lists(st.integers(1, 2**32 - 1), max_size=9),
    seed=st.integers(0, 1 << 32),
)
def test_the_checksums_of_many_pages_are_those_of_each(page_size, numbers, seed):
    numbers.append(0x40000000 // page_size + 1)
    pages = [random.Random(seed + index).randbytes(page_size) for index in range(len(numbers))]
    found = page_checksums(numbers, b"".join(pages), page_size).tolist()

    assert found == [
        FLAG | crc64.go_iso(number.to_bytes(4, "big") + page) if number != numbers[-1] else 0
        for number, page in zip(numbers, pages, strict=True)
    ]


@settings(max_examples=100, deadline=None)
@given(
    counts=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    kept=st.frozensets(st.integers(1, 9)),
    seed=st.integers(0, 1 << 32),
)
def test_a_changed_database_has_the_checksum_of_what_it_became(counts, kept, seed):
    """It grew or was cut, and some of its pages are other ones."""
    dice = random.Random(seed)
    before = {number: dice.randbytes(512) for number in range(1, counts[0] + 1)}
    after = {
        number: before[number] if number in kept & before.keys() else dice.randbytes(512)
        for number in range(1, counts[1] + 1)
    }

    def sums(pages):
        return page_checksums(list(pages), b"".join(pages.values()), 512)

    old = sums({n: p for n, p in before.items() if after.get(n) != p})
    new = sums({n: p for n, p in after.items() if before.get(n) != p})
    assert changed(plain_checksum(b"".join(before.values()), 512), old, new) == plain_checksum(
        b"".join(after.values()), 512
    )


def test_pages_that_are_not_as_many_as_their_numbers_are_refused():
    with pytest.raises(ValueError, match="511 bytes for 1 pages"):
        page_checksums([1], bytes(511), 512)
