"""
What goes into an upload, piece by piece, and comes out of a download.

It knows bytes, and no server.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Any

from litekeep import faults, workers
from litekeep.errors import StoreUnavailable
from litekeep.store.base import PIECE_SIZE_MAX, Blob, Body, Store

MIB = 1 << 20
PART_SIZE_MIN = 8 * MIB
PART_SIZE_UNKNOWN = 16 * MIB  # a body of unknown size may be 160 GB
PART_COUNT_MAX = 9_900  # servers allow 10,000
UPLOAD_MEMORY = 40 * MIB
PIECES_AHEAD = 2


def part_size_for(size_max: int | None) -> int:
    """
    Return the size of the parts of an upload of at most *size_max* bytes.

    >>> part_size_for(1 << 30) // MIB, part_size_for(None) // MIB
    (8, 16)
    >>> part_size_for(1 << 40) // MIB
    106
    """
    if size_max is None:
        return PART_SIZE_UNKNOWN
    needed = -(-size_max // PART_COUNT_MAX)
    return max(PART_SIZE_MIN, -(-needed // MIB) * MIB)


class Feed:
    """The pieces of a body, on their way into an upload."""

    def __init__(self, body: Body, name: str) -> None:
        self._pieces: Iterator[bytes] = sliced(body) if isinstance(body, bytes) else iter(body)
        self._name = name
        self.size = 0
        self.is_at_end = False
        self.error: BaseException | None = None

    def read(self, size: int) -> bytes:
        """Return at least *size* bytes, or all that there are."""
        pieces = []
        while self.size < size:
            try:
                piece = next(self._pieces)
            except StopIteration:
                self.is_at_end = True
                break
            pieces.append(piece)
            self.size += len(piece)
        return b"".join(pieces)

    def from_start(self, first: bytes) -> Iterator[bytes]:
        """Yield *first* and all that follows; an error is kept too."""
        ahead = _Ahead(self._pieces)
        try:
            yield from sliced(first)
            for piece in ahead:
                faults.reach(f"part {self._name}")
                self.size += len(piece)
                yield piece
            self.is_at_end = True
        except GeneratorExit:
            raise  # the upload was given up
        except BaseException as error:
            self.error = error
            raise
        finally:
            ahead.stop()


class _Ahead:
    """
    Pieces read in a thread of their own, a few ahead of who takes them.

    obstore asks for pieces from within its own loop, where a body that is itself
    read from an object store would panic.
    """

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._changed = threading.Condition()
        self._read: deque[bytes | BaseException | None] = deque()  # None is the end
        self._is_stopped = False
        workers.in_thread(self._run)

    def __iter__(self) -> Iterator[bytes]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._read)
                piece = self._read.popleft()
                self._changed.notify_all()
            if piece is None:
                return
            if isinstance(piece, BaseException):
                raise piece
            yield piece

    def stop(self) -> None:
        """Let the thread end; a body that waits for something ends when it goes on."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()

    def _run(self) -> None:
        try:
            for piece in self._pieces:
                if not self._offer(piece):
                    break
            self._offer(None)
        except BaseException as error:  # noqa: BLE001  handed on to who takes the pieces
            self._offer(error)

    def _offer(self, piece: bytes | BaseException | None) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: len(self._read) < PIECES_AHEAD or self._is_stopped)
            self._read.append(piece)
            self._changed.notify_all()
            return not self._is_stopped


def sliced(data: Any) -> Iterator[bytes]:
    """Yield a buffer in pieces."""
    view = memoryview(data)
    for start in range(0, len(view), PIECE_SIZE_MAX):
        yield bytes(view[start : start + PIECE_SIZE_MAX])


class Reread:
    """A blob of a store as a body: always the same version."""

    def __init__(self, store: Store, blob: Blob) -> None:
        self._store = store
        self._blob = blob

    def __iter__(self) -> Iterator[bytes]:
        return self._store.get(self._blob.name, version=self._blob.version)


def exactly(pieces: Iterator[bytes], size: int, place: str) -> Iterator[bytes]:
    """
    Yield *size* bytes of *pieces*; what comes behind them is not read.

    Raises:
        StoreUnavailable: There are fewer.
    """
    left = size
    while left > 0:
        piece = next(pieces, None)
        if piece is None:
            raise StoreUnavailable(
                f"{left} of the {size} bytes that the answer for {place} was to have are missing",
                hint="Check the server, and what lies between it and here.",
            )
        yield piece[:left]
        left -= len(piece)


def between(pieces: Iterator[bytes], start: int, end: int | None) -> Iterator[bytes]:
    """Yield what lies from *start* to *end* of the bytes in *pieces*."""
    offset = 0
    for piece in pieces:
        begin = max(0, start - offset)
        stop = len(piece) if end is None else min(len(piece), end - offset)
        offset += len(piece)
        if begin < stop:
            yield piece[begin:stop]
        if end is not None and offset >= end:
            return
