"""
The index of a log, against a plain loop over its frames.
"""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from litekeep.errors import CorruptionError
from litekeep.sqlite.view import MAIN, Pages, View, mark_lost

SALTS = b"8 salty!"


def log_of(pages: list[int], page_size: int, seed: int) -> bytes:
    """Return the bytes of a log whose frames are of these pages, contents at random."""
    source = random.Random(seed)
    frames = [
        struct.pack(">II8s8x", page, 0, SALTS) + source.randbytes(page_size) for page in pages
    ]
    return b"".join([bytes(32), *frames])


def view_of(page_size: int, page_count: int, frame_count: int, main_size: int = 0) -> View:
    return View("", 0, 0, True, page_size, page_count, frame_count, SALTS, "", main_size, 0)


@settings(max_examples=150, deadline=None)
@given(
    pages=st.lists(st.integers(1, 40), max_size=120),
    page_size=st.sampled_from([512, 1024]),
    page_count=st.integers(1, 40),
    extra=st.integers(0, 5),
    piece=st.integers(1, 20_000),
    seed=st.integers(0, 1 << 32),
)
def test_a_view_is_the_file_with_the_newest_frame_of_each_page(
    pages, page_size, page_count, extra, piece, seed
):
    log = log_of(pages + [1] * extra, page_size, seed)
    main = random.Random(seed + 1).randbytes(page_size * random.Random(seed).randrange(40))
    view = view_of(page_size, page_count, len(pages), len(main))

    expected = bytearray(main[: view.size].ljust(view.size, b"\0"))
    for index, page in enumerate(pages):
        start = 32 + index * view.frame_size + 24
        if page <= page_count:
            expected[(page - 1) * page_size : page * page_size] = log[start : start + page_size]

    def read(which: int, offset: int, amount: int) -> bytes:
        data = (main if which == MAIN else log)[offset : offset + amount]
        assert len(data) == amount, "no read goes beyond the end of a file"
        return data

    assert b"".join(Pages(view, read).pieces(piece)) == bytes(expected)


@settings(max_examples=50, deadline=None)
@given(cut=st.integers(1, 5000), log_pages=st.lists(st.integers(1, 12), max_size=12))
def test_a_main_file_that_got_shorter_is_never_read_as_zeros(cut, log_pages):
    main = random.Random(cut).randbytes(5120)
    log = log_of(log_pages, 512, cut)
    view = view_of(512, 12, len(log_pages), len(main))

    def read(which: int, offset: int, amount: int) -> bytes:
        data = (main[:-cut] if which == MAIN else log)[offset : offset + amount]
        if len(data) != amount:
            raise mark_lost(which)
        return data

    with pytest.raises(CorruptionError, match="database file was rewritten"):
        list(Pages(view, read).pieces(700))


@pytest.mark.parametrize("count", [1 << 16, 200_000])
def test_a_log_of_many_frames_is_indexed_in_parts(count):
    """More frames than are gathered at once, most of them of pages seen before."""
    source = random.Random(count)
    pages = [source.randrange(1, 30_000) for _ in range(count)]
    view = view_of(512, 30_000, count)

    def read(which: int, offset: int, amount: int) -> bytes:
        first, frames = (offset - 32) // 536, amount // 536
        return b"".join(
            struct.pack(">II8s", page, 0, SALTS) + bytes(520) for page in pages[first:][:frames]
        )

    numbers, frames = Pages(view, read)._frames
    assert dict(zip(numbers, frames, strict=True)) == {p: i for i, p in enumerate(pages)}
    assert list(numbers) == sorted(set(pages))


def test_a_frame_of_another_run_is_noticed_wherever_it_stands():
    view = view_of(512, 10, 3)
    for index in range(3):
        log = bytearray(log_of([1, 2, 3], 512, 0))
        log[32 + index * view.frame_size + 8] ^= 1

        def read(which: int, offset: int, amount: int, log: bytes = bytes(log)) -> bytes:
            return log[offset : offset + amount]

        with pytest.raises(CorruptionError):
            Pages(view, read)
