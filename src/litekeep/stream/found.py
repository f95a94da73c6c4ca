"""
Found: the pages that are not what they were, with their checksums.

They come from a view or from a log, are compared with the checksums that are known, and are
read a second time when they are written: never more than a piece of them is in memory.

A database that grows may have pages that nobody wrote: SQLite need not write a page that it
takes and leaves unused.  Such a page reads as zeros, and a file that makes the database
longer has it all the same, so that every file of a chain can be applied by itself.
"""

from __future__ import annotations

import heapq
import itertools
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy

from litekeep.ltx.checksum import page_checksums
from litekeep.ltx.format import lock_page_number
from litekeep.sqlite.live import LiveView

if TYPE_CHECKING:
    from numpy import uint64
    from numpy.typing import NDArray

    Checksums = NDArray[uint64]

#: Of pages, compared or written at once.
_PIECE_SIZE = 1 << 20

#: Of pages in one file: a put that replaces nothing is held in memory as a whole.
PART_SIZE_MAX = 48 << 20

Page = tuple[int, bytes | memoryview]
#: Yields pages in the order of their numbers, each time afresh.
Pages = Callable[[], Iterator[Page]]


@dataclass(frozen=True, slots=True)
class Found:
    """
    Pages that differ: their numbers rise, and `pages` yields them in that order.

    `page_count` is the size of the database that they belong to.
    """

    page_size: int
    page_count: int
    numbers: Sequence[int]
    sums: Checksums
    pages: Pages


@dataclass(frozen=True, slots=True)
class Part:
    """
    Some of the pages that were found, for one file; `pages` may be read once.

    `page_count` is the size of the database once they are applied.
    """

    page_count: int
    numbers: Sequence[int]
    sums: Checksums
    pages: Iterator[Page]
    is_last: bool


def parts_of(found: Found, known_count: int) -> Iterator[Part]:
    """
    Yield what was found in parts of bounded size, to be read in turn.

    A part makes the database no shorter unless it is the last, and no longer than it has
    pages for.

    Args:
        found: All of it.

        known_count: How many pages the database had before.
    """
    pages = found.pages()
    count_max = max(1, PART_SIZE_MAX // found.page_size)
    count = len(found.numbers)
    for start in range(0, max(1, count), count_max):
        numbers = found.numbers[start : start + count_max]
        is_last = start + count_max >= count
        yield Part(
            page_count=found.page_count if is_last else max(known_count, numbers[-1]),
            numbers=numbers,
            sums=found.sums[start : start + count_max],
            pages=itertools.islice(pages, len(numbers)),
            is_last=is_last,
        )


def of_pages(pages: Pages, page_size: int, page_count: int, known: Checksums) -> Found:
    """Return those of *pages* that are not as their checksums in *known*."""
    numbers: list[int] = []
    sums = [numpy.empty(0, numpy.uint64)]
    for batch, data in batches(pages(), page_size):
        found = page_checksums(batch, data, page_size)
        differs = _differing(known, batch, found)
        numbers += [number for number, is_other in zip(batch, differs, strict=True) if is_other]
        sums.append(found[differs])
    wanted = frozenset(numbers)

    def again() -> Iterator[Page]:
        return (pair for pair in pages() if pair[0] in wanted)

    return _completed(
        Found(page_size, page_count, numbers, numpy.concatenate(sums), again), len(known)
    )


def of_view(live: LiveView, known: Checksums) -> Found:
    """Return the pages of a view that are not as their checksums in *known*."""
    view = live.view
    size = view.page_size
    reader = live.pages()
    per_piece = max(1, _PIECE_SIZE // size)
    numbers: list[int] = []
    sums = [numpy.empty(0, numpy.uint64)]
    for first in range(1, view.page_count + 1, per_piece):
        batch = range(first, min(first + per_piece, view.page_count + 1))
        found = page_checksums(batch, reader.at((first - 1) * size, len(batch) * size), size)
        differs = _differing(known, batch, found)
        if differs.any():
            numbers += [n for n, is_other in zip(batch, differs, strict=True) if is_other]
            sums.append(found[differs])

    def again() -> Iterator[Page]:
        for start, end in _runs(numbers, per_piece):
            data = memoryview(reader.at((numbers[start] - 1) * size, (end - start) * size))
            for index in range(start, end):
                at = (index - start) * size
                yield numbers[index], data[at : at + size]

    return _completed(
        Found(size, view.page_count, numbers, numpy.concatenate(sums), again), len(known)
    )


def batches(pages: Iterable[Page], page_size: int) -> Iterator[tuple[list[int], bytes]]:
    """Yield pages together, a piece at a time."""
    count_max = max(1, _PIECE_SIZE // page_size)
    numbers: list[int] = []
    parts: list[bytes | memoryview] = []
    for number, page in pages:
        numbers.append(number)
        parts.append(page)
        if len(numbers) == count_max:
            yield numbers, b"".join(parts)
            numbers, parts = [], []
    if numbers:
        yield numbers, b"".join(parts)


def zero_checksums(page_numbers: Sequence[int], page_size: int) -> Checksums:
    """Return the checksums of pages of zeros; 0 for the lock page."""
    count = max(1, _PIECE_SIZE // page_size)
    empty = bytes(count * page_size)
    parts = [numpy.empty(0, numpy.uint64)]
    for start in range(0, len(page_numbers), count):
        part = page_numbers[start : start + count]
        parts.append(page_checksums(part, empty[: len(part) * page_size], page_size))
    return numpy.concatenate(parts)


def _differing(known: Checksums, numbers: Sequence[int], sums: Checksums) -> NDArray[numpy.bool_]:
    """Say of each page whether its checksum is not the known one; a lock page never differs."""
    places = numpy.asarray(numbers, numpy.int64) - 1
    before = numpy.zeros(len(places), numpy.uint64)
    is_known = places < len(known)
    before[is_known] = known[places[is_known]]
    differs: NDArray[numpy.bool_] = before != sums
    return differs


def _completed(found: Found, known_count: int) -> Found:
    """Return it with every page by which the database grew."""
    grown = range(known_count + 1, found.page_count + 1)
    if not grown:
        return found
    present = frozenset(found.numbers)
    lock_page = lock_page_number(found.page_size)
    missing = [number for number in grown if number not in present and number != lock_page]
    if not missing:
        return found
    numbers = numpy.asarray([*found.numbers, *missing], numpy.int64)
    order = numpy.argsort(numbers)
    sums = numpy.concatenate([found.sums, zero_checksums(missing, found.page_size)])
    empty = bytes(found.page_size)

    def merged() -> Iterator[Page]:
        zeros = ((number, empty) for number in missing)
        return heapq.merge(found.pages(), zeros, key=operator.itemgetter(0))

    return Found(found.page_size, found.page_count, numbers[order].tolist(), sums[order], merged)


def _runs(numbers: Sequence[int], count_max: int) -> Iterator[tuple[int, int]]:
    """Yield where runs of numbers that follow each other begin and end, none too long."""
    start = 0
    for index in range(1, len(numbers) + 1):
        is_end = index == len(numbers) or numbers[index] != numbers[index - 1] + 1
        if is_end or index - start == count_max:
            yield start, index
            start = index
