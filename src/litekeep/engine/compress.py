"""
Compressing a snapshot piece by piece, on as many cores as the promised memory allows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from litekeep import workers
from litekeep.codec.base import Codec

THREADS_MAX = 8

#: What all threads together may take for the codec's own tables, in bytes.
MEMORY_SIZE_MAX = 40 << 20


def compressed(pieces: Iterable[bytes], codec: Codec, level: int) -> Iterator[bytes]:
    """Yield a member for each piece, in order; one for no bytes if there is no piece."""
    is_any = False
    for member in workers.ordered(
        lambda piece: codec.encode(piece, level), pieces, threads=thread_count(codec, level)
    ):
        is_any = True
        yield member
    if not is_any:
        yield codec.encode(b"", level)


def thread_count(codec: Codec, level: int) -> int:
    """Return how many pieces may be compressed at once: memory is bounded on any machine."""
    by_memory = MEMORY_SIZE_MAX // max(1, codec.memory_size(level))
    return max(1, min(workers.core_count(), THREADS_MAX, by_memory))
