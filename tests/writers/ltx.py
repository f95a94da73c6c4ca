"""
LTX files for tests, and what they do to a database, as the format defines it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from litekeep.errors import CorruptionError
from litekeep.ltx.decode import Decoder
from litekeep.ltx.encode import Encoded, Encoder
from litekeep.ltx.format import NO_CHECKSUM, Header
from litekeep.ltx.frames import Form
from litekeep.ltx.merge import merge
from litekeep.ltx.outline import read_outline, read_page

TIMESTAMP_MS = 1_780_000_000_123
MERGED_SIZE_MAX = 1 << 20


def header(
    page_size: int = 512,
    commit: int = 3,
    min_txid: int = 2,
    max_txid: int | None = None,
    flags: int = NO_CHECKSUM,
    pre_apply_checksum: int = 0,
) -> Header:
    """Return a header, with a txid that makes it no snapshot unless told."""
    return Header(
        page_size=page_size,
        commit=commit,
        min_txid=min_txid,
        max_txid=min_txid if max_txid is None else max_txid,
        timestamp_ms=TIMESTAMP_MS,
        flags=flags,
        pre_apply_checksum=pre_apply_checksum,
    )


def written(
    head: Header,
    pages: Mapping[int, bytes],
    *,
    form: Form = Form.BLOCK,
    post_apply_checksum: int = 0,
) -> tuple[bytes, Encoded]:
    """Return a file and what its encoder says of it."""
    parts: list[bytes] = []
    with Encoder(parts.append, head, form=form) as encoder:
        for number, page in pages.items():
            encoder.add(number, page)
        encoded = encoder.finish(post_apply_checksum)
    return b"".join(parts), encoded


def read(data: bytes, piece_size: int = 1 << 20, sha256: str | None = None) -> dict[int, bytes]:
    """Return the pages of a file, which is verified."""
    return dict(decoder_of(data, piece_size, sha256).pages())


def decoder_of(data: bytes, piece_size: int = 1 << 20, sha256: str | None = None) -> Decoder:
    """Return a decoder that is given the file in pieces of this size."""
    pieces = (data[at : at + piece_size] for at in range(0, len(data), piece_size))
    return Decoder(pieces, sha256=sha256)


def applied(database: bytes, data: bytes) -> bytes:
    """Return the database with a file applied: cut or longer, then its pages over it."""
    decoder = decoder_of(data)
    page_size, size = decoder.header.page_size, decoder.header.commit * decoder.header.page_size
    result = bytearray(database[:size].ljust(size, b"\0"))
    for number, page in decoder.pages():
        result[(number - 1) * page_size : number * page_size] = page
    return bytes(result)


def read_in_every_way(data: bytes) -> None:
    """Read any bytes; an `AssertionError`, or another that is not ours, is a defect."""

    def read_at(offset: int, size: int) -> bytes:
        assert 0 <= offset <= offset + size <= len(data), f"{size} bytes at {offset}"
        return data[offset : offset + size]

    found = None
    with contextlib.suppress(CorruptionError):
        outline = read_outline(read_at, len(data), tail_read_size=50)
        found = outline.index.numbers.tolist()
        for number in found[:5]:
            read_page(read_at, outline, number)
    try:
        decoder = decoder_of(data, 200)
        pages = dict(decoder.pages())
    except CorruptionError:
        return
    # What is proved from start to end is so from its end as well, and for a merge.
    assert found == list(pages)
    if decoder.header.commit * decoder.header.page_size <= MERGED_SIZE_MAX:
        parts: list[bytes] = []
        merge([decoder_of(data)], parts.append)
        assert read(b"".join(parts)).items() >= pages.items()
