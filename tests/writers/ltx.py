"""
LTX files for tests, and what they do to a database, as the format defines it.
"""

from __future__ import annotations

from collections.abc import Mapping

from litekeep.ltx.decode import Decoder
from litekeep.ltx.encode import Encoded, Encoder
from litekeep.ltx.format import NO_CHECKSUM, Header
from litekeep.ltx.frames import Form

TIMESTAMP_MS = 1_780_000_000_123


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
