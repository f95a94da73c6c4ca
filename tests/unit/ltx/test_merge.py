"""
Merging: what the property test cannot say, gaps, checksums, memory.
"""

from __future__ import annotations

import dataclasses
import tracemalloc

import pytest

from litekeep.errors import ChecksumMismatch, FormatError, GapFound
from litekeep.ltx import encode
from litekeep.ltx.checksum import FLAG, DatabaseChecksum
from litekeep.ltx.decode import Decoder
from litekeep.ltx.encode import Encoded, Encoder
from litekeep.ltx.format import NO_CHECKSUM
from litekeep.ltx.frames import Form
from litekeep.ltx.merge import merge
from tests.writers.ltx import applied, decoder_of, header, read, written


def page(letter: str) -> bytes:
    return letter.encode() * 512


def merged(*datas: bytes) -> tuple[bytes, Encoded]:
    parts: list[bytes] = []
    encoded = merge([decoder_of(data) for data in datas], parts.append)
    return b"".join(parts), encoded


def file(min_txid: int, max_txid: int, commit: int, **pages: str) -> bytes:
    head = header(commit=commit, min_txid=min_txid, max_txid=max_txid)
    return written(head, {int(name[1:]): page(letter) for name, letter in pages.items()})[0]


def test_the_newest_version_of_each_page_wins():
    result, _ = merged(
        file(2, 4, 3, p1="a", p2="a"), file(5, 5, 3, p2="b", p3="b"), file(6, 9, 3, p3="c")
    )
    assert read(result) == {1: page("a"), 2: page("b"), 3: page("c")}
    decoder = Decoder([result])
    assert (decoder.header.min_txid, decoder.header.max_txid) == (2, 9)


def test_a_version_that_was_cut_off_does_not_come_back():
    result, _ = merged(file(2, 2, 5, p4="a", p5="a"), file(3, 3, 3, p1="b"), file(4, 4, 5, p5="c"))
    assert read(result) == {1: page("b"), 4: bytes(512), 5: page("c")}


def test_a_database_that_was_cut_to_nothing_is_merged():
    result, _ = merged(file(2, 2, 2, p1="a", p2="a"), file(3, 3, 0))
    assert read(result) == {}
    assert applied(bytes(5120), result) == b""


def test_one_source_becomes_the_same_pages_in_the_same_blocks():
    data = file(2, 2, 9, p1="a", p9="b")
    assert merged(data)[0] == data


def test_pages_in_frame_form_become_blocks():
    data = written(header(), {1: page("a")}, form=Form.FRAME)[0]
    result = decoder_of(merged(data)[0])
    assert [block is None for run in result.runs() for block in run.blocks] == [False]


def test_the_time_is_that_of_the_last():
    heads = [header(min_txid=txid, commit=1) for txid in (2, 3)]
    heads[1] = dataclasses.replace(heads[1], timestamp_ms=7, wal_offset=32, wal_size=9, node_id=5)
    result, _ = merged(*(written(head, {})[0] for head in heads))

    assert Decoder([result]).header == dataclasses.replace(
        header(min_txid=2, max_txid=3, commit=1), timestamp_ms=7
    )


@pytest.mark.parametrize(
    "txids",
    [
        [(2, 3), (5, 5)],
        [(2, 3), (2, 3)],
        [(2, 5), (3, 4)],
        [(3, 4), (2, 5)],
        [(4, 4), (3, 3)],
        [(2, 2), (3, 3), (5, 5)],
    ],
    ids=str,
)
def test_files_that_do_not_follow_each_other_are_refused(txids):
    datas = [file(first, last, 1, p1="a") for first, last in txids]
    written_parts: list[bytes] = []
    with pytest.raises(GapFound, match="does not follow") as caught:
        merge([decoder_of(data) for data in datas], written_parts.append)
    assert caught.value.hint
    assert written_parts == []


def test_another_page_size_is_refused():
    other = written(header(1024, min_txid=3), {1: bytes(1024)})[0]
    with pytest.raises(FormatError, match="1024") as caught:
        merged(file(2, 2, 3, p1="a"), other)
    assert "page size" in (caught.value.hint or "")


def test_a_damaged_source_is_an_error_even_where_nothing_of_it_is_kept():
    """Its pages lie beyond the last commit, so only the reading to the end shows it."""
    damaged = bytearray(file(2, 2, 9, p8="a", p9="a"))
    damaged[-1] ^= 1
    with pytest.raises(ChecksumMismatch):
        merged(bytes(damaged), file(3, 3, 1, p1="b"))


def test_nothing_cannot_be_merged():
    with pytest.raises(ValueError, match="nothing"):
        merge([], lambda _: None)


def checksummed(txid: int, before: bytes, after: dict[int, bytes]) -> tuple[bytes, bytes]:
    """Return a file with database checksums, and the database after it."""
    database = b"".join(after.get(n, before[(n - 1) * 512 : n * 512]) for n in (1, 2, 3))
    sums = []
    for state in (before, database):
        checksum = DatabaseChecksum(512)
        checksum.add(1, state)
        sums.append(checksum.value)
    head = header(min_txid=txid, flags=0, pre_apply_checksum=sums[0] if txid > 1 else 0)
    return written(head, after, post_apply_checksum=sums[1])[0], database


def test_database_checksums_go_from_the_first_to_the_last():
    first, state = checksummed(1, b"", {1: page("a"), 2: page("b"), 3: page("c")})
    second, state = checksummed(2, state, {2: page("x")})
    third, _ = checksummed(3, state, {1: page("y")})

    result, encoded = merged(first, second, third)
    decoder = Decoder([result])
    assert dict(decoder.pages()) == {1: page("y"), 2: page("x"), 3: page("c")}
    assert decoder.trailer and decoder.trailer.post_apply_checksum == encoded.post_apply_checksum
    assert encoded.post_apply_checksum > FLAG

    later, _ = merged(second, third)
    assert Decoder([later]).header.pre_apply_checksum == int.from_bytes(second[40:48], "big")

    stray, _ = checksummed(2, bytes(3 * 512), {2: page("x")})
    with pytest.raises(ChecksumMismatch, match="leaves one"):
        merged(first, stray)
    plain = written(header(min_txid=2), {2: page("x")})[0]
    assert Decoder([merged(first, plain)[0]]).header.flags == NO_CHECKSUM


def test_memory_does_not_grow_with_the_pages(monkeypatch):
    monkeypatch.setattr(encode, "INDEX_SIZE_IN_MEMORY_MAX", 1 << 15)
    peaks = []
    for count in (20_000, 60_000):
        sources = []
        for txid in (2, 3, 4):
            parts: list[bytes] = []
            with Encoder(parts.append, header(commit=count, min_txid=txid)) as encoder:
                numbers = range(txid, count + 1, txid)
                encoder.add_pages(numbers, bytes([txid]) * 512 * len(numbers))
                encoder.finish()
            sources.append(parts)
        tracemalloc.start()
        merge([Decoder(parts) for parts in sources], lambda _: None)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 400_000
