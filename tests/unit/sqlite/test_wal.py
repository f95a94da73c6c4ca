"""
The log's frames are checked as SQLite checks them: many at once, and with the same answers.
"""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litekeep.errors import ChecksumMismatch, FormatError
from litekeep.sqlite.wal import (
    FRAME_HEADER_SIZE,
    MAGIC_BIG_ENDIAN,
    MAGIC_LITTLE_ENDIAN,
    WAL_HEADER_SIZE,
    WalEnd,
    WalHeader,
    check_frames,
    read_wal_header,
    wal_checksum,
)
from tests.writers.application import Application

PAGE_SIZES = [512 << shift for shift in range(8)]


def header_bytes(page_size: int, *, is_big_endian: bool) -> bytes:
    magic = MAGIC_BIG_ENDIAN if is_big_endian else MAGIC_LITTLE_ENDIAN
    first = struct.pack(">6I", magic, 3007000, page_size, 7, 0x11223344, 0xDEADBEEF)
    order = ">" if is_big_endian else "<"
    return first + struct.pack(">2I", *wal_checksum(first, (0, 0), order))


def frames_bytes(header: WalHeader, count: int, seed: int = 1) -> bytes:
    """Return *count* frames as SQLite writes them; every third ends a commit."""
    chance = random.Random(seed)
    checksum = header.checksum
    parts = []
    for index in range(count):
        first = struct.pack(">2I", chance.randrange(1, 1 << 31), (index % 3 == 2) * (index + 1))
        page = chance.randbytes(header.page_size)
        checksum = wal_checksum(first + page, checksum, header.byte_order)
        parts += [first, header.salts, struct.pack(">2I", *checksum), page]
    return b"".join(parts)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The log of a real application, of which a checkpoint restarted the use."""
    path = tmp_path_factory.mktemp("wal") / "app.db"
    with Application(path) as app:
        app.run("PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; CREATE TABLE t(a)")
        for _ in range(30):
            app.run("INSERT INTO t VALUES (randomblob(3000))")
        app.checkpoint("RESTART")
        for _ in range(5):
            app.run("INSERT INTO t VALUES (randomblob(9000))")
        return Path(f"{path}-wal").read_bytes()


def test_a_real_log_is_good_up_to_what_its_earlier_use_left(real):
    header = read_wal_header(real)
    body = real[WAL_HEADER_SIZE:]
    frames = check_frames(body, header, header.checksum)

    assert frames.end is WalEnd.STALE
    count = len(frames.page_numbers)
    assert 5 <= count < len(body) // header.frame_size
    assert frames.committed_count == count
    last = body[(count - 1) * header.frame_size :][:FRAME_HEADER_SIZE]
    assert struct.unpack(">6I", last)[4:] == frames.checksum


@pytest.mark.parametrize("page_size", PAGE_SIZES)
@pytest.mark.parametrize("is_big_endian", [False, True])
def test_frames_of_every_page_size_and_byte_order_are_good(page_size, is_big_endian):
    header = read_wal_header(header_bytes(page_size, is_big_endian=is_big_endian))
    frames = check_frames(frames_bytes(header, 8), header, header.checksum)

    assert (len(frames.page_numbers), frames.end) == (8, WalEnd.CLEAN)
    assert frames.committed_count == 6
    assert frames.page_counts.tolist() == [0, 0, 3, 0, 0, 6, 0, 0]


@given(st.integers(0, 9), st.integers(1, 5))
def test_reading_on_from_any_frame_gives_the_same_answer(first, second):
    header = read_wal_header(header_bytes(512, is_big_endian=False))
    data = frames_bytes(header, 10)
    cut = first * header.frame_size
    start = check_frames(data[:cut], header, header.checksum).checksum
    rest = check_frames(data[cut:], header, start)
    assert (rest.end, len(rest.page_numbers)) == (WalEnd.CLEAN, 10 - first)
    wrong = (start[0] ^ second, start[1])
    assert len(check_frames(data[cut:], header, wrong).page_numbers) == 0


@given(st.data())
def test_every_flipped_bit_ends_the_log_at_its_frame_or_is_seen_in_the_next(data):
    """A bit of a stored checksum spoils its own frame; of a salt, the frame is stale."""
    header = read_wal_header(header_bytes(512, is_big_endian=False))
    frames = bytearray(frames_bytes(header, 6))
    bit = data.draw(st.integers(0, len(frames) * 8 - 1))
    frames[bit // 8] ^= 1 << (bit % 8)
    frame_index, offset = divmod(bit // 8, header.frame_size)

    found = check_frames(bytes(frames), header, header.checksum)
    assert len(found.page_numbers) == frame_index
    assert found.end is (WalEnd.STALE if 8 <= offset < 16 else WalEnd.BAD_CHECKSUM)


def test_no_frames_are_no_commit():
    header = read_wal_header(header_bytes(4096, is_big_endian=False))
    frames = check_frames(b"", header, (5, 6))
    assert (frames.committed_count, frames.checksum, frames.end) == (0, (5, 6), WalEnd.CLEAN)


@pytest.mark.parametrize("size", range(WAL_HEADER_SIZE))
def test_a_short_header_is_no_header(size):
    with pytest.raises(FormatError):
        read_wal_header(header_bytes(4096, is_big_endian=False)[:size])


@given(st.integers(0, WAL_HEADER_SIZE * 8 - 1))
def test_every_flipped_bit_of_the_header_is_a_named_error(bit):
    data = bytearray(header_bytes(4096, is_big_endian=True))
    data[bit // 8] ^= 1 << (bit % 8)
    with pytest.raises((FormatError, ChecksumMismatch)):
        read_wal_header(bytes(data))
