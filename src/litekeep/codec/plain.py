"""
No compression: the snapshot is the database file.

Its own bytes carry no checksum, so only a manifest can show that they are whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from litekeep.codec.base import OUTPUT_SIZE_MAX, Codec


class Plain(Codec):
    """The bytes as they are."""

    name = "none"
    suffix = ""
    magic = b"SQLite format 3\x00"
    level_default = level_min = level_max = level_fast_max = 0

    def memory_size(self, level: int) -> int:
        """Return nothing."""
        return 0

    def encode(self, piece: bytes, level: int) -> bytes:
        """Return *piece*."""
        return piece

    def decode(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Yield *pieces*."""
        for piece in pieces:
            for start in range(0, len(piece), OUTPUT_SIZE_MAX):
                yield piece[start : start + OUTPUT_SIZE_MAX]
