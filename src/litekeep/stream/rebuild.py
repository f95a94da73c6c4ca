"""
Making a database, or its page map, from the files of a chain.

The files are applied in the order of their txids: the pages of each in their places, the
size as it says.  Small ones are fetched several at once, and applied in turn.

What is proved: each file by its own checksum, and where it is ours by the SHA-256 that stands
beside it; the database by its checksum after the last file, where that stands beside it.
Nothing of it may be used before `apply_links` has returned.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy

from litekeep import workers
from litekeep.errors import ChecksumMismatch, CorruptionError, FormatError
from litekeep.ltx.checksum import FLAG, page_checksums
from litekeep.ltx.decode import Decoder
from litekeep.stream.chain import Link, Place
from litekeep.stream.found import zero_checksums
from litekeep.stream.metadata import CHECKSUM_KEY, PARTIAL_KEY, SHA256_KEY

if TYPE_CHECKING:
    from numpy import uint64
    from numpy.typing import NDArray

    Checksums = NDArray[uint64]

#: Files up to this size are fetched whole, several at once.
_SMALL_SIZE = 4 << 20
_REQUESTS_AT_ONCE = 8

#: (offset, bytes) -> writes them there.
Write = Callable[[int, bytes], object]
#: (size) -> cuts the file, or makes it longer.
Resize = Callable[[int], object]


@dataclass(frozen=True, slots=True)
class Applied:
    """
    What the files made.

    `checksums` are those of the pages; `checksum` the database's; `is_proved` says that it
    was compared with one that stood beside the last file; `is_partial` that the last file is
    marked as one of several: the database never was so.
    """

    page_size: int
    page_count: int
    txid: int
    time_ms: int
    checksums: Checksums
    checksum: int
    is_proved: bool
    is_partial: bool
    bytes_fetched: int
    request_count: int


def apply_links(
    place: Place,
    links: Sequence[Link],
    *,
    write: Write | None = None,
    resize: Resize | None = None,
    report: Callable[[int], object] = lambda _: None,
) -> Applied:
    """
    Apply *links*, which follow each other and begin with a whole database.

    Args:
        place: Where they lie.

        links: In the order of their txids.

        write: Where pages go; None for their checksums alone.

        resize: What makes the file as long as the database.

        report: Is told how many bytes were fetched.

    Raises:
        ChecksumMismatch, FormatError: A file is damaged, or another than the chain needs.

        BlobNotFound: One is gone: somebody pruned it since it was listed.

        StoreError: The store does not answer.
    """
    made = _Made(write, resize)
    fetched = requests = 0
    for before, after in pairwise(links):
        if not before.min_txid <= after.min_txid <= before.max_txid + 1 <= after.max_txid:
            raise FormatError(f"{after.object} does not follow {before.object}")
    for opened in _opened(place, links):
        requests += 2
        made.apply(opened)
        fetched += opened.link.size
        report(fetched)
    return made.finished(fetched, requests)


@dataclass(frozen=True, slots=True)
class _Opened:
    link: Link
    pieces: Iterable[bytes]
    sha256: str | None
    checksum: int | None
    is_partial: bool


def _opened(place: Place, links: Sequence[Link]) -> Iterator[_Opened]:
    def open_link(link: Link) -> _Opened:
        found = place.store.head(link.object).metadata
        checksum = read_checksum(found.get(CHECKSUM_KEY))
        pieces: Iterable[bytes] = place.store.get(link.object)
        if link.size <= _SMALL_SIZE:
            pieces = list(pieces)
        sha256, is_partial = found.get(SHA256_KEY), PARTIAL_KEY in found
        return _Opened(link, pieces, sha256, checksum, is_partial)

    return workers.ordered(open_link, links, threads=_REQUESTS_AT_ONCE)


def read_checksum(text: str | None) -> int | None:
    """
    Return a database checksum from metadata, which anybody may have written; None if it is none.

    >>> read_checksum("8000000000000000") == FLAG, read_checksum("zero"), read_checksum("+1")
    (True, None, None)
    """
    return int(text, 16) if text and re.fullmatch("[0-9a-f]{16}", text) else None


def check_link(place: Place, link: Link) -> None:
    """
    Read one file to its end, and compare all of its checksums.

    Raises:
        ChecksumMismatch, FormatError: It is damaged, or another than its name says.

        StoreError: The store does not answer, or it is gone.
    """
    metadata = place.store.head(link.object).metadata
    pieces = place.store.get(link.object)
    with _named(link):
        for _ in _decoder_of(link, pieces, metadata.get(SHA256_KEY)).runs():
            pass


def _decoder_of(link: Link, pieces: Iterable[bytes], sha256: str | None) -> Decoder:
    decoder = Decoder(pieces, sha256=sha256)
    header = decoder.header
    if (header.min_txid, header.max_txid) != (link.min_txid, link.max_txid):
        raise FormatError(f"it holds txids {header.min_txid:016x} to {header.max_txid:016x}")
    if link.is_whole and header.commit > link.size:  # before room is made for so many
        raise FormatError(f"it has {link.size} bytes, too few for {header.commit} pages")
    return decoder


@contextmanager
def _named(link: Link) -> Iterator[None]:
    """Name the file in the errors that are raised over its bytes."""
    try:
        yield
    except CorruptionError as error:
        raise type(error)(f"{link.object}: {error.message}", hint=error.hint) from error


class _Made:
    """What was applied so far."""

    def __init__(self, write: Write | None, resize: Resize | None) -> None:
        self._write = write
        self._resize = resize
        self._sums: Checksums = numpy.zeros(0, numpy.uint64)
        self._page_size = 0
        self._page_count = 0
        self._last: _Opened | None = None
        self._time_ms = 0

    def apply(self, opened: _Opened) -> None:
        with _named(opened.link):
            self._apply(opened)

    def _apply(self, opened: _Opened) -> None:
        link = opened.link
        decoder = _decoder_of(link, opened.pieces, opened.sha256)
        header = decoder.header
        if self._page_size not in (0, header.page_size) and not link.is_whole:
            raise FormatError("it has pages of another size than those before it")
        self._page_size = header.page_size
        self._set_size(0 if link.is_whole else min(self._page_count, header.commit))
        self._set_size(header.commit)
        for run in decoder.runs():
            pages = b"".join(run.pages)
            numbers = numpy.asarray(run.numbers, numpy.int64)
            self._sums[numbers - 1] = page_checksums(run.numbers, pages, self._page_size)
            if self._write is not None:
                self._write_run(numbers, pages)
        self._time_ms = header.timestamp_ms
        self._last = opened

    def finished(self, fetched: int, requests: int) -> Applied:
        assert self._last is not None, "a chain has at least one file"
        checksum = FLAG | int(numpy.bitwise_xor.reduce(self._sums))
        wanted = self._last.checksum
        if wanted is not None and wanted != checksum:
            raise ChecksumMismatch(
                f"the database of txid {self._last.link.max_txid:016x} has the checksum "
                f"{checksum:016x}, and {wanted:016x} stands beside its last file"
            )
        return Applied(
            page_size=self._page_size,
            page_count=self._page_count,
            txid=self._last.link.max_txid,
            time_ms=self._time_ms,
            checksums=self._sums,
            checksum=checksum,
            is_proved=wanted is not None,
            is_partial=self._last.is_partial,
            bytes_fetched=fetched,
            request_count=requests,
        )

    def _set_size(self, page_count: int) -> None:
        """Cut pages off, or add pages of zeros."""
        if page_count == self._page_count:
            return
        before, self._page_count = self._page_count, page_count
        if page_count < before:
            self._sums = self._sums[:page_count].copy()
        else:
            added = range(before + 1, page_count + 1)
            self._sums = numpy.concatenate([self._sums, zero_checksums(added, self._page_size)])
        if self._resize is not None:
            self._resize(page_count * self._page_size)

    def _write_run(self, numbers: NDArray[numpy.int64], pages: bytes) -> None:
        """Write pages, those that lie side by side together."""
        assert self._write is not None
        ends = [*(numpy.flatnonzero(numpy.diff(numbers) != 1) + 1).tolist(), len(numbers)]
        start = 0
        view = memoryview(pages)
        for end in ends:
            offset = (int(numbers[start]) - 1) * self._page_size
            self._write(offset, bytes(view[start * self._page_size : end * self._page_size]))
            start = end
