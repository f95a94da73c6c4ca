"""
What we write, stock tools read; what stock tools write, we read; nothing damaged passes.
"""

from __future__ import annotations

import gzip
import random
import subprocess
import sys
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from litekeep.codec.base import OUTPUT_SIZE_MAX, Codec
from litekeep.codec.formats import CODECS, codec_named, codec_of_file
from litekeep.errors import FormatError, UserError

GZIP, ZSTD, PLAIN = (codec_named(name) for name in ("gzip", "zstd", "none"))
TEXT = b"".join(b"INSERT INTO t VALUES (%d, 'row %d');\n" % (i, i * i) for i in range(20_000))
NOISE = random.Random(7).randbytes(300_000)


def in_pieces(data: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def decoded(codec: Codec, data: bytes, size: int = 65536) -> bytes:
    return b"".join(codec.decode(in_pieces(data, size)))


def encoded(codec: Codec, pieces: Iterable[bytes], level: int | None = None) -> bytes:
    level = codec.level_default if level is None else level
    return b"".join(codec.encode(piece, level) for piece in pieces)


def tool(command: Sequence[str | Path], data: bytes = b"") -> bytes:
    return subprocess.run(command, input=data, check=True, stdout=subprocess.PIPE).stdout


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
def test_every_level_comes_back(codec):
    for level in range(codec.level_min, codec.level_max + 1):
        for piece in (b"\0", TEXT[:50_000], NOISE[:50_000]):
            assert decoded(codec, codec.encode(piece, level)) == piece


@pytest.mark.parametrize("reader", [["gunzip"], ["zcat"], ["gzip", "-dc"]], ids=" ".join)
def test_stock_gzip_tools_read_our_members(reader):
    ours = encoded(GZIP, [TEXT, NOISE, b"x" * (1 << 20)])
    assert tool(reader, ours) == TEXT + NOISE + b"x" * (1 << 20)
    assert tool(["gzip", "-t"], ours) == b""
    assert gzip.decompress(ours) == TEXT + NOISE + b"x" * (1 << 20)


def test_stock_zstd_reads_our_frames():
    ours = encoded(ZSTD, [TEXT, NOISE, b"x" * (1 << 20)])
    assert tool(["zstd", "-dcq"], ours) == TEXT + NOISE + b"x" * (1 << 20)
    assert tool(["zstd", "-tq"], ours) == b""


@pytest.mark.parametrize("level", range(1, 10))
def test_files_by_stock_gzip_are_read(tmp_path, level):
    source = tmp_path / "with a name.db"
    source.write_bytes(TEXT + NOISE)
    for options in ([], ["--no-name"], ["--rsyncable"]):
        stored = tool(["gzip", "-c", f"-{level}", *options, source])
        assert decoded(GZIP, stored) == TEXT + NOISE
        assert decoded(GZIP, stored + stored, 1000) == (TEXT + NOISE) * 2  # cat a.gz b.gz


def member_with_header(flags: int) -> bytes:
    """Return a member with the optional fields that *flags* name."""
    raw = zlib.compressobj(6, zlib.DEFLATED, -15)
    body = raw.compress(TEXT[:999]) + raw.flush()
    header = b"\x1f\x8b\x08" + bytes([flags]) + bytes(5) + b"\x03"
    header += b"\x04\x00abcd" if flags & 4 else b""
    header += b"app.db\0" if flags & 8 else b""
    header += b"a comment\0" if flags & 16 else b""
    header += (zlib.crc32(header) & 0xFFFF).to_bytes(2, "little") if flags & 2 else b""
    return (
        header + body + zlib.crc32(TEXT[:999]).to_bytes(4, "little") + (999).to_bytes(4, "little")
    )


def test_a_single_member_of_many_blocks_as_pigz_writes_it_is_read():
    """Raw deflate blocks with a dictionary of 32 KiB, each ended by a sync flush."""
    body, block = b"", 128 * 1024
    for start in range(0, len(TEXT), block):
        before = TEXT[max(0, start - 32768) : start]
        raw = zlib.compressobj(6, zlib.DEFLATED, -15, zdict=before) if before else None
        raw = raw or zlib.compressobj(6, zlib.DEFLATED, -15)
        is_last = start + block >= len(TEXT)
        body += raw.compress(TEXT[start : start + block])
        body += raw.flush(zlib.Z_FINISH if is_last else zlib.Z_SYNC_FLUSH)
    trailer = zlib.crc32(TEXT).to_bytes(4, "little") + len(TEXT).to_bytes(4, "little")
    stored = b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + body + trailer
    assert tool(["gunzip"], stored) == TEXT
    assert decoded(GZIP, stored) == TEXT


@pytest.mark.parametrize(
    "options", [["-1"], ["-19", "--long=27"], ["-3", "--no-check"], ["-3", "-T2"]], ids=" ".join
)
def test_files_by_stock_zstd_are_read(tmp_path, options):
    source = tmp_path / "app.db"
    source.write_bytes(TEXT + NOISE)
    stored = tool(["zstd", "-cq", *options, source])
    assert decoded(ZSTD, stored) == TEXT + NOISE
    assert decoded(ZSTD, stored + stored, 999) == (TEXT + NOISE) * 2


@pytest.mark.parametrize("nibble", [0, 7, 15])
def test_skippable_frames_of_zstd_are_passed_over(nibble):
    skippable = bytes([0x50 + nibble]) + b"\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"hello"
    ours = ZSTD.encode(TEXT, 3)
    for stored in (skippable + ours, ours + skippable, ours + skippable + ours):
        assert decoded(ZSTD, stored, 50) == tool(["zstd", "-dcq"], stored)
        assert codec_of_file(stored[:16]) is ZSTD


def test_zeros_behind_the_last_member_are_padding_as_for_gunzip():
    stored = encoded(GZIP, [TEXT, NOISE])
    for size in (1, 100, 65536):
        assert decoded(GZIP, stored + bytes(1000), size) == TEXT + NOISE


@pytest.mark.parametrize("rest", [b"x", b"\0x", b"\x1f\x8b", b"SQLite format 3\0"])
@pytest.mark.parametrize("codec", [GZIP, ZSTD], ids=lambda codec: codec.name)
def test_bytes_behind_the_last_member_are_an_error(codec, rest):
    stored = codec.encode(TEXT, codec.level_default)
    for size in (1, 65536):
        with pytest.raises(FormatError):
            decoded(codec, stored + rest, size)


@pytest.mark.parametrize("codec", [GZIP, ZSTD], ids=lambda codec: codec.name)
def test_no_bytes_are_no_file(codec):
    for pieces in ([], [b""], [b"", b""]):
        with pytest.raises(FormatError, match="cut off"):
            list(codec.decode(pieces))


@pytest.mark.parametrize("codec", [GZIP, ZSTD], ids=lambda codec: codec.name)
def test_every_truncation_within_a_member_is_an_error(codec):
    """A cut between members leaves whole members: only a manifest can show that one."""
    first, second = (
        codec.encode(piece, codec.level_default) for piece in (TEXT[:2000], NOISE[:99])
    )
    stored = first + second
    for size in range(len(stored)):
        if size == len(first):
            assert decoded(codec, stored[:size]) == TEXT[:2000]
            continue
        with pytest.raises(FormatError, match="cut off"):
            decoded(codec, stored[:size])


@pytest.mark.parametrize("codec", [GZIP, ZSTD], ids=lambda codec: codec.name)
def test_every_flipped_bit_is_an_error_or_changes_nothing(codec):
    content = [TEXT[:1500], NOISE[:300]]
    stored = encoded(codec, content)
    harmless = 0
    for index in range(len(stored) * 8):
        damaged = bytearray(stored)
        damaged[index // 8] ^= 1 << index % 8
        try:
            assert decoded(codec, bytes(damaged)) == b"".join(content)
            harmless += 1
        except FormatError:
            pass
    assert harmless < 300  # times and the like in headers


@pytest.mark.parametrize("size", [1, 3, 11])
@pytest.mark.parametrize("flags", range(0, 32, 2))
def test_headers_may_come_in_pieces(flags, size):
    """ISA-L alone loses its place in a header of two optional fields."""
    stored = member_with_header(flags) + member_with_header(flags)
    assert tool(["gunzip"], stored) == TEXT[:999] * 2
    assert decoded(GZIP, stored, size) == TEXT[:999] * 2
    for end in range(1, 60):
        with pytest.raises(FormatError):
            decoded(GZIP, stored[:end], size)


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
def test_no_piece_is_larger_than_it_may_be(codec):
    content = bytes(5 * OUTPUT_SIZE_MAX + 1)
    stored = codec.encode(content, codec.level_default)
    pieces = list(codec.decode([stored]))
    assert b"".join(pieces) == content
    assert max(map(len, pieces)) <= OUTPUT_SIZE_MAX


BOMB_SIZE = 100 << 20


@pytest.mark.parametrize("command", [["gzip", "-9c"], ["zstd", "-19cq"]], ids=" ".join)
def test_a_bomb_is_decoded_in_bounded_memory(tmp_path, command):
    source = tmp_path / "zeros"
    with source.open("wb") as file:
        file.truncate(BOMB_SIZE)
    bomb = tmp_path / "bomb"
    with bomb.open("wb") as file:
        subprocess.run([*command, source], check=True, stdout=file)
    script = (
        "import sys, resource\n"
        "from litekeep.codec.formats import codec_of_file\n"
        "data = open(sys.argv[1], 'rb').read()\n"
        "pieces = codec_of_file(data[:16]).decode([data])\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "assert sum(map(len, pieces)) == int(sys.argv[2])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    grown = tool([sys.executable, "-c", script, bomb, str(BOMB_SIZE)])
    assert int(grown) < 24 * 1024  # KiB


def test_files_are_known_by_their_first_bytes():
    assert codec_of_file(GZIP.encode(TEXT, 1)[:16]) is GZIP
    assert codec_of_file(ZSTD.encode(TEXT, 1)[:16]) is ZSTD
    assert codec_of_file(b"SQLite format 3\0") is PLAIN
    for other in (b"", b"PK\x03\x04", b"age-encryption.org", b"\x1f", b"SQLite format 4\0"):
        with pytest.raises(FormatError, match="neither gzip"):
            codec_of_file(other)


def test_an_unknown_format_is_told_with_those_there_are():
    with pytest.raises(UserError) as caught:
        codec_named("lz4")
    assert "gzip, zstd, none" in str(caught.value.hint)


@pytest.mark.parametrize("junk", [b"junk", b"j", b"\x1fjunk", b"PK\x03\x04" * 99])
@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_what_follows_gzip_data_is_called_so(junk: bytes, size: int):
    """It is not cut off: that would send people to look for the rest."""
    data = GZIP.encode(b"abc", 2) + junk
    with pytest.raises(FormatError, match="bytes follow the end"):
        list(GZIP.decode(in_pieces(data, size)))
