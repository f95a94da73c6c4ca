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
from litekeep.sqlite.view import MAIN, Pages, View

SALTS = b"8 salty!"


def log_of(pages: list[int], page_size: int, seed: int) -> bytes:
    """Return the bytes of a log whose frames are of these pages, contents at random."""
    source = random.Random(seed)
    frames = [
        struct.pack(">II8s8x", page, 0, SALTS) + source.randbytes(page_size) for page in pages
    ]
    return b"".join([bytes(32), *frames])


def view_of(page_size: int, page_count: int, frame_count: int) -> View:
    return View("", 0, 0, True, page_size, page_count, frame_count, SALTS, "")


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
    view = view_of(page_size, page_count, len(pages))

    expected = bytearray(main[: view.size].ljust(view.size, b"\0"))
    for index, page in enumerate(pages):
        start = 32 + index * view.frame_size + 24
        if page <= page_count:
            expected[(page - 1) * page_size : page * page_size] = log[start : start + page_size]

    def read(which: int, offset: int, amount: int) -> bytes:
        data = (main if which == MAIN else log)[offset : offset + amount]
        return data.ljust(amount, b"\0")

    assert b"".join(Pages(view, read).pieces(piece)) == bytes(expected)


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
