"""
Captured files: how what was found becomes LTX files in the spool.

A part of what was found is one file.  What it is said of it is known once it is written, and
it has its name only when what was read is known to be a view.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy

from litekeep.ltx.checksum import FLAG, changed
from litekeep.ltx.encode import Encoder
from litekeep.ltx.format import Header
from litekeep.stream.found import Found, Part, batches, parts_of
from litekeep.stream.rebuild import Applied
from litekeep.stream.spool import Note, Spool, Spooled

if TYPE_CHECKING:
    from numpy import uint64
    from numpy.typing import NDArray

    Checksums = NDArray[uint64]

#: Is called once all is read, and raises if that was no view.
Check = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Step:
    """
    What is said of a captured file before it is written; see `Note`.

    `before` is 0 for a whole database, which needs nothing before it.
    """

    txid: int
    before: int
    checksum: int
    time_ms: int
    leads_to: int
    gap_since_ms: int | None
    tag: str | None = None


def write_part(spool: Spool, part: Part, page_size: int, step: Step, check: Check) -> Spooled:
    """Write the file of a part; when this returns, it is durable."""
    min_txid = step.txid if step.before else 1
    header = Header(
        page_size=page_size,
        commit=part.page_count,
        min_txid=min_txid,
        max_txid=step.txid,
        timestamp_ms=step.time_ms,
    )

    def write(put: Callable[[bytes], object]) -> Note:
        with Encoder(put, header) as encoder:
            for numbers, pages in batches(part.pages, page_size):
                encoder.add_pages(numbers, pages)
            encoded = encoder.finish()
        check()
        return Note(
            sha256=encoded.sha256,
            size=encoded.size,
            page_count=encoded.page_count,
            commit=part.page_count,
            before=step.before,
            checksum=step.checksum,
            time_ms=step.time_ms,
            leads_to=step.leads_to,
            is_partial=not part.is_last,
            gap_since_ms=step.gap_since_ms,
        )

    return spool.add(min_txid, step.txid, write, tag=step.tag)


@dataclass(frozen=True, slots=True)
class Behind:
    """
    A store that is elsewhere: its newest txid, as it counts, and the pages that it makes.

    `page_size` is 0 where that is nothing, or nothing that can be used; `time_ms` is when it
    was so, None if that is not known.
    """

    tag: str
    head: int
    page_size: int
    sums: Checksums
    time_ms: int | None

    def checksums(self, page_size: int) -> Checksums:
        """Return those of the pages that need not be sent; none where all must be."""
        return self.sums if self.page_size == page_size else numpy.empty(0, numpy.uint64)


def behind_of(tag: str, head: int, applied: Applied | None) -> Behind:
    """Return a store that is behind, by what its files make; None if they make nothing."""
    if applied is None:
        return Behind(tag, head, 0, numpy.empty(0, numpy.uint64), None)
    return Behind(tag, head, applied.page_size, applied.checksums, applied.time_ms)


def write_fill(
    spool: Spool, behind: Behind, found: Found, *, txid: int, time_ms: int, check: Check
) -> Behind | None:
    """
    Write the files that lead one store to *txid* of ours, of which *found* is the difference.

    Returns:
        Where the store will be, if the spool was full before all was written.
    """
    sums = behind.checksums(found.page_size)
    before = FLAG | int(numpy.bitwise_xor.reduce(sums)) if len(sums) else 0
    for number, part in enumerate(parts_of(found, len(sums)), behind.head + 1):
        count, numbers = part.page_count, numpy.asarray(part.numbers, numpy.int64)
        old, cut = sums[numbers[numbers <= len(sums)] - 1], sums[count:]
        checksum = changed(changed(before or FLAG, old, part.sums), cut, cut[:0])
        after = numpy.zeros(count, numpy.uint64)
        after[: len(sums)] = sums[:count]
        after[numbers - 1] = part.sums
        step = Step(
            txid=number,
            before=before,
            checksum=checksum,
            time_ms=time_ms,
            leads_to=txid if part.is_last else 0,
            gap_since_ms=behind.time_ms,
            tag=behind.tag,
        )
        write_part(spool, part, found.page_size, step, check)
        before, sums = checksum, after
        if spool.is_full and not part.is_last:
            return Behind(behind.tag, number, found.page_size, sums, behind.time_ms)
    return None
