"""
What a codec is: one way to make a snapshot smaller, in a format that stock tools read.

A snapshot is compressed in pieces, each of which becomes a member that stands for
itself; the members one after the other are an ordinary file of the format.  So
several cores can work on one snapshot, and a reader needs no index.

INVARIANTS

  1. `decode` believes nothing: it ends with the last member's checksum compared, or
     raises `FormatError`; bytes cut off, left over or changed never pass.  (Whole members
     that are missing do: that takes a manifest to know.)
  2. It never yields more than `OUTPUT_SIZE_MAX` bytes at once, whatever the input
     promises, and holds no more than that and one input piece.
"""

from __future__ import annotations

import abc
from collections.abc import Iterable, Iterator

OUTPUT_SIZE_MAX = 1 << 20


class Codec(abc.ABC):
    """A format of compression."""

    #: As configuration and manifests call it.
    name: str

    #: What follows ``.db`` in the name of a snapshot.
    suffix: str

    #: The first bytes of a file of this format.
    magic: bytes

    level_default: int
    level_min: int
    level_max: int

    #: Beyond it a core compresses slower than a disk reads, so that whoever waits notices.
    level_fast_max: int

    def has_begun(self, first_bytes: bytes) -> bool:
        """Say whether a file that begins with these bytes is of this format."""
        return first_bytes.startswith(self.magic)

    @abc.abstractmethod
    def memory_size(self, level: int) -> int:
        """Return how many bytes of memory `encode` takes for a piece of 1 MiB, about."""

    @abc.abstractmethod
    def encode(self, piece: bytes, level: int) -> bytes:
        """Return *piece* as one member."""

    @abc.abstractmethod
    def decode(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """
        Yield the bytes that the members in *pieces* stand for.

        Raises:
            FormatError: They are not whole members of this format.
        """
