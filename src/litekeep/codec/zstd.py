"""
Zstandard: smaller than gzip at a like cost, read by any ``zstd -d``.

Every frame carries its checksum.  See https://www.rfc-editor.org/rfc/rfc8878.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

from litekeep.codec.base import OUTPUT_SIZE_MAX, Codec
from litekeep.errors import FormatError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_WINDOW_LOG_MAX = 27  # 128 MiB, what ``zstd -d`` accepts by default

#: (up to this level, bytes) for a piece of 1 MiB.
_MEMORY_SIZES = ((4, 2 << 20), (8, 6 << 20), (12, 12 << 20), (19, 20 << 20))


class Zstd(Codec):
    """Frames of RFC 8878."""

    name = "zstd"
    suffix = ".zst"
    magic = b"\x28\xb5\x2f\xfd"
    level_default = 3
    level_min = 1
    level_max = 19
    level_fast_max = 6

    def has_begun(self, first_bytes: bytes) -> bool:
        """Say so too of a skippable frame: tools that compress on several cores begin with one."""
        return super().has_begun(first_bytes) or (
            first_bytes[1:4] == b"\x2a\x4d\x18" and first_bytes[0] >> 4 == 5
        )

    def memory_size(self, level: int) -> int:
        """Return the size of the tables, measured: they grow with the level."""
        return next(size for up_to, size in _MEMORY_SIZES if level <= up_to)

    def encode(self, piece: bytes, level: int) -> bytes:
        """Return *piece* as one frame."""
        options: dict[int, int] = {
            zstd.CompressionParameter.compression_level: level,
            zstd.CompressionParameter.checksum_flag: 1,
        }
        return zstd.compress(piece, options=options)

    def decode(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Yield what the frames hold."""
        options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: _WINDOW_LOG_MAX}
        frame: zstd.ZstdDecompressor | None = None
        is_any = False
        for piece in pieces:
            data = piece
            while data or (frame is not None and not frame.needs_input):
                if frame is None:
                    frame = zstd.ZstdDecompressor(options=options)
                    is_any = True
                try:
                    output = frame.decompress(data, OUTPUT_SIZE_MAX)
                except zstd.ZstdError as error:
                    raise FormatError(f"zstd data is damaged: {error}") from error
                if output:
                    yield output
                data = b""
                if frame.eof:
                    data = frame.unused_data
                    frame = None
        if frame is not None or not is_any:
            raise FormatError("zstd data is cut off")
