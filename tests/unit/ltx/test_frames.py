"""
One page in either form, and what only pretends to be one.
"""

from __future__ import annotations

import random
import struct
import tracemalloc

import lz4.block
import lz4.frame
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from litekeep.errors import FormatError
from litekeep.ltx.format import PAGE_SIZES
from litekeep.ltx.frames import END_OF_FRAMES, Form, frame_size_max, pack_run, unpack_run

FRAME_OPTIONS = {"content_checksum": True, "block_linked": False, "store_size": False}


def block_frame(block: bytes, number: int = 1, size: int | None = None) -> bytes:
    return struct.pack(">IHI", number, 1, len(block) if size is None else size) + block


def lz4_frame(payload: bytes, number: int = 1) -> bytes:
    return struct.pack(">IH", number, 0) + payload


def unpacked(data: bytes, page_size: int = 512) -> list[tuple[int, bytes]]:
    run = unpack_run(data, 0, len(data), page_size, 1000)
    return list(zip(run.numbers, run.pages, strict=True))


pages = st.sampled_from(sorted(PAGE_SIZES)).flatmap(
    lambda size: st.one_of(
        st.integers(0, 2**32).map(lambda seed: random.Random(seed).randbytes(size)),
        st.binary(min_size=1, max_size=40).map(lambda piece: (piece * size)[:size]),
    )
)


@settings(deadline=None)
@given(page=pages, number=st.integers(1, 2**32 - 1), form=st.sampled_from(Form))
def test_a_page_comes_back_and_its_frame_is_bounded(page, number, form):
    (head,), (payload,) = pack_run([number], [page], form)
    data = head + payload + END_OF_FRAMES + b"what follows"
    run = unpack_run(data, 0, len(data), len(page), 5)

    assert (run.numbers, run.pages) == ([number], [page])
    assert run.is_last
    assert run.end == len(head + payload + END_OF_FRAMES)
    assert b"".join(run.summed) == head + page
    assert run.blocks == [payload if form is Form.BLOCK else None]
    assert run.sizes == [len(head + payload)]
    assert run.sizes[0] <= frame_size_max(len(page))


def test_both_forms_stand_in_one_file():
    data = b""
    for number, form in enumerate([Form.BLOCK, Form.FRAME, Form.FRAME, Form.BLOCK], 1):
        heads, payloads = pack_run([number], [bytes([number]) * 512], form)
        data += heads[0] + payloads[0]
    assert unpacked(data) == [(number, bytes([number]) * 512) for number in (1, 2, 3, 4)]


def test_no_more_is_unpacked_than_asked_for():
    packed = zip(*pack_run([1, 2, 3], [bytes(512)] * 3, Form.BLOCK), strict=True)
    data = b"".join(head + payload for head, payload in packed)
    first = unpack_run(data, 0, len(data), 512, 2)
    second = unpack_run(data, first.end, len(data), 512, 2)

    assert (first.numbers, second.numbers) == ([1, 2], [3])
    assert unpack_run(data, 0, 1, 512, 99).numbers == [1]


BOMBS = {
    "a block of two pages": block_frame(lz4.block.compress(bytes(1024), store_size=False)),
    "a block of 64 MiB": block_frame(lz4.block.compress(bytes(1 << 26), store_size=False)[:500]),
    "a block of less": block_frame(lz4.block.compress(bytes(511), store_size=False)),
    "an empty block": block_frame(b""),
    "a size of 4 GiB": block_frame(b"x", size=2**32 - 1),
    "a size beyond the end": block_frame(lz4.block.compress(bytes(512), store_size=False), size=99),
    "flags that are not known": struct.pack(">IHI", 1, 2, 5) + bytes(9),
    "page 0 with a block": block_frame(lz4.block.compress(bytes(512), store_size=False), 0),
    "a frame of two pages": lz4_frame(lz4.frame.compress(bytes(1024), **FRAME_OPTIONS)),
    "a frame of 64 MiB": lz4_frame(lz4.frame.compress(bytes(1 << 26), **FRAME_OPTIONS)),
    "a frame of less": lz4_frame(lz4.frame.compress(bytes(511), **FRAME_OPTIONS)),
    "a frame of nothing": lz4_frame(lz4.frame.compress(b"", **FRAME_OPTIONS)),
    "a frame without a checksum": lz4_frame(
        lz4.frame.compress(bytes(512), **FRAME_OPTIONS | {"content_checksum": False})
    ),
    "a skippable frame": lz4_frame(b"\x50\x2a\x4d\x18" + bytes(20)),
    "no frame": lz4_frame(b"x" * 99),
    "half a header": b"\0\0\0\1\0",
}


@pytest.mark.parametrize("name", BOMBS)
def test_what_is_not_one_page_is_refused_at_no_cost(name):
    tracemalloc.start()
    try:
        with pytest.raises(FormatError) as caught:
            unpacked(BOMBS[name])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert caught.value.hint
    assert peak < 100_000
