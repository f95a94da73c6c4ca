"""
The decoder believes no file: not even one whose file checksum is right.
"""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import pytest
from fastcrc import crc64

from litekeep.errors import ChecksumMismatch, CorruptionError, FormatError
from litekeep.ltx.checksum import FLAG, DatabaseChecksum
from litekeep.ltx.decode import Decoder, pieces_of
from litekeep.ltx.encode import Encoder
from litekeep.ltx.format import HEADER_SIZE, Trailer, lock_page_number
from litekeep.ltx.frames import END_OF_FRAMES, Form, pack_run
from litekeep.ltx.index import END_OF_INDEX, encode_entries
from tests.writers.ltx import decoder_of, header, read, written


def forged(head, numbers, *, entries=None, end=END_OF_INDEX, size=None, post_apply=0):
    """Return a file whose file checksum is right, whatever it says."""
    data, summed, sizes = head.encode(), head.encode(), []
    for number in numbers:
        page = bytes([number % 256]) * head.page_size
        (frame_head,), (payload,) = pack_run([number], [page], Form.BLOCK)
        data += frame_head + payload
        summed += frame_head + page
        sizes.append(len(frame_head + payload))
    if entries is None:
        entries = encode_entries(numbers, HEADER_SIZE, sizes)
    index = entries + end
    rest = END_OF_FRAMES + index + (len(index) if size is None else size).to_bytes(8, "big")
    checksum = FLAG | crc64.go_iso(summed + rest + post_apply.to_bytes(8, "big"))
    return data + rest + Trailer(post_apply, checksum).encode()


HEAD = header(commit=3)
HEAD8 = header(commit=8)


def test_the_forger_can_write_a_right_file():
    assert list(read(forged(HEAD, [1, 3]))) == [1, 3]


@pytest.mark.parametrize("piece_size", [1, 1 << 20])
@pytest.mark.parametrize(
    ("data", "named"),
    [
        (forged(HEAD, [2, 1]), "out of order"),
        (forged(HEAD, [1, 1]), "out of order"),
        (forged(header(commit=99), [5, *range(1, 90)]), "out of order"),
        (forged(HEAD, [1, 4]), "commit of 3"),
        (forged(header(65536, 99999), [lock_page_number(65536)]), "lock page"),
        (forged(header(min_txid=1), [1, 2]), "has 2 pages, its database 3"),
        (forged(header(min_txid=1), [2, 3]), "has 2 pages, its database 3"),
        (forged(HEAD, [1, 3], entries=b""), "index"),
        (forged(HEAD, [1], entries=encode_entries([2], HEADER_SIZE, [22])), "index"),
        (forged(HEAD, [1], entries=encode_entries([1], HEADER_SIZE + 1, [22])), "index"),
        (forged(HEAD, [1], end=b"\1"), "index"),
        (forged(HEAD, [1], end=b"\0\0"), "index"),
        (forged(HEAD, [1], size=3), "index"),
        (forged(HEAD, [1], size=2**64 - 1), "index"),
        (forged(HEAD, [1], post_apply=FLAG), "trailer"),
    ],
)
def test_a_wrong_file_with_a_right_checksum_is_refused(data, named, piece_size):
    with pytest.raises(FormatError, match=named) as caught:
        read(data, piece_size)
    assert caught.value.hint


def test_the_database_checksum_of_a_snapshot_is_proved():
    pages = {number: bytes([number]) * 512 for number in (1, 2, 3)}
    checksum = DatabaseChecksum(512)
    checksum.add(1, b"".join(pages.values()))
    head = header(min_txid=1, flags=0)

    assert read(written(head, pages, post_apply_checksum=checksum.value)[0]) == pages
    with pytest.raises(ChecksumMismatch, match="database checksum"):
        read(written(head, pages, post_apply_checksum=checksum.value ^ 1)[0])
    later = replace(head, min_txid=2, max_txid=2, pre_apply_checksum=FLAG | 5)
    assert read(written(later, {2: bytes(512)}, post_apply_checksum=FLAG | 7)[0])


def test_another_page_with_a_right_index_is_a_wrong_file_checksum():
    data = bytearray(written(HEAD, {2: b"\1" * 512})[0])
    other = written(HEAD, {2: b"\2" * 512})[0]
    start, stop = HEADER_SIZE, len(data) - 8
    data[start:stop] = other[start:stop]

    with pytest.raises(ChecksumMismatch, match="file checksum"):
        read(bytes(data))


def test_the_trailer_is_there_once_all_is_proved():
    data, encoded = written(HEAD, {1: bytes(512), 2: b"x" * 512})
    decoder = decoder_of(data)
    assert decoder.header == HEAD

    pages = decoder.pages()
    next(pages)
    assert decoder.trailer is None
    for _ in pages:
        pass
    assert decoder.trailer == Trailer(0, encoded.file_checksum)


def test_an_open_file_is_read_to_its_end(tmp_path):
    data, encoded = written(HEAD, {1: bytes(512)})
    path = tmp_path / "a.ltx"
    path.write_bytes(data)
    with path.open("rb") as file:
        assert list(Decoder(pieces_of(file), sha256=encoded.sha256).pages()) == [(1, bytes(512))]
    with path.open("rb") as file, pytest.raises(ChecksumMismatch, match="SHA-256"):
        list(Decoder(pieces_of(file), sha256="00" * 32).pages())


@pytest.mark.parametrize("form", Form)
def test_both_forms_at_once_are_read(form):
    """Frames of the other form behind those of this one, as the format allows."""
    pages = {number: bytes([number]) * 512 for number in range(1, 9)}
    other = Form.FRAME if form is Form.BLOCK else Form.BLOCK
    frames, summed, sizes = b"", HEAD8.encode(), []
    for number, page in pages.items():
        (head,), (payload,) = pack_run([number], [page], form if number % 2 else other)
        frames += head + payload
        summed += head + page
        sizes.append(len(head + payload))
    index = encode_entries(list(pages), HEADER_SIZE, sizes) + END_OF_INDEX
    rest = END_OF_FRAMES + index + len(index).to_bytes(8, "big")
    trailer = Trailer(0, FLAG | crc64.go_iso(summed + rest + bytes(8)))

    assert read(HEAD8.encode() + frames + rest + trailer.encode(), 50) == pages


def test_memory_does_not_grow_with_the_pages():
    peaks = []
    for count in (10_000, 40_000):
        parts: list[bytes] = []
        with Encoder(parts.append, header(commit=count)) as encoder:
            encoder.add_pages(range(1, count + 1), bytes(512 * count))
            encoder.finish()
        tracemalloc.start()
        assert sum(1 for _ in Decoder(parts).pages()) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 300_000


def test_a_file_that_inflates_a_hundredfold_is_read_in_small_batches():
    parts: list[bytes] = []
    with Encoder(parts.append, header(65536, 2000)) as encoder:
        for number in range(1, 2001):
            encoder.add(number, bytes(65536))
        encoder.finish()
    data = b"".join(parts)
    assert len(data) < 1 << 20
    tracemalloc.start()
    assert sum(1 for _ in Decoder([data]).pages()) == 2000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


def test_nothing_at_all_is_an_error():
    for pieces in ([], [b""], [b"", b"LTX1"]):
        with pytest.raises(CorruptionError, match="ends after"):
            Decoder(pieces)
