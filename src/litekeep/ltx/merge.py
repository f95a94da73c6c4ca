"""
Several LTX files that follow each other, made one.

    1-1   2-5   6-6        ->        1-6         for each page the newest version

1. For each page that the result has, the newest version wins.
2. A version is dropped where a later file's commit is smaller than its number, even if
   the database grew again afterwards.  If nobody wrote that page since, it is all zeros:
   what SQLite reads from a file that was cut and became longer.  So the result, applied,
   is what the files leave when they are applied one after the other.
3. Every source is read to its end and proved, also where nothing of it is kept.
4. Memory is bounded by the number of sources, whatever the number of pages.  Pages in
   block form are copied as they are, so that a merge costs what reading costs.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator, Sequence

from litekeep.errors import ChecksumMismatch, FormatError, GapFound
from litekeep.ltx.decode import Decoder
from litekeep.ltx.encode import Encoded, Encoder
from litekeep.ltx.format import NO_CHECKSUM, Header, format_name

#: Of pages that are written together.
_BATCH_COUNT = 32

#: Number, newest first where equal, page, its LZ4 block.
_Version = tuple[int, int, bytes, memoryview | None]


def merge(sources: Sequence[Decoder], write: Callable[[bytes], object]) -> Encoded:
    """
    Write one file that does what these do, and return what it is.

    Args:
        sources: Fresh decoders, in the order of their txids.  Neighbours may overlap: the
            later one has the newer pages.

        write: Takes the bytes of the file, in order.

    Raises:
        GapFound: A txid between two of them is missing.
        FormatError: One is damaged, or they are not of one page size.
        ChecksumMismatch: One is damaged, or does not begin at the database checksum with
            which the one before it ends.
    """
    header = merged_header([source.header for source in sources])
    versions = _newest([source.header for source in sources], sources)
    with Encoder(write, header) as encoder:
        while batch := list(itertools.islice(versions, _BATCH_COUNT)):
            for is_block, group in itertools.groupby(batch, lambda version: version[2] is not None):
                numbers, pages, blocks = map(list, zip(*group, strict=True))
                if is_block:
                    encoder.add_blocks(numbers, blocks, pages)
                else:
                    encoder.add_pages(numbers, b"".join(pages))
        checksum = _checksum_after(sources)
        return encoder.finish(checksum if header.has_checksum else 0)


def merged_header(headers: Sequence[Header]) -> Header:
    """
    Return the header of the file that these become.

    Raises:
        GapFound: A txid between two of them is missing.
        FormatError: They are not of one page size.
    """
    if not headers:
        raise ValueError("nothing to merge")
    first, last = headers[0], headers[-1]
    for before, after in itertools.pairwise(headers):
        if after.page_size != first.page_size:
            raise FormatError(
                f"{_name(after)} has pages of {after.page_size} bytes, {_name(first)} of "
                f"{first.page_size}",
                hint="The page size was changed there; what lies before and after it cannot be "
                "one file.",
            )
        if not before.min_txid <= after.min_txid <= before.max_txid + 1 <= after.max_txid:
            raise GapFound(
                f"{_name(after)} does not follow {_name(before)}",
                hint="A file between the two is missing, or they are in the wrong order; "
                "litekeep list shows the gaps.",
            )
    has_checksum = all(header.has_checksum for header in headers)
    return Header(
        page_size=first.page_size,
        commit=last.commit,
        min_txid=first.min_txid,
        max_txid=last.max_txid,
        timestamp_ms=last.timestamp_ms,
        flags=0 if has_checksum else NO_CHECKSUM,
        pre_apply_checksum=first.pre_apply_checksum if has_checksum else 0,
    )


def _newest(
    headers: Sequence[Header], sources: Sequence[Decoder]
) -> Iterator[tuple[int, bytes, memoryview | None]]:
    """Yield for each page of the result its newest version."""
    commit, page_size = headers[-1].commit, headers[-1].page_size
    # Of each source, up to where nothing behind it cut the database.
    limits = [min(later.commit for later in headers[index:]) for index in range(len(headers))]
    versions = heapq.merge(
        *(_versions(source, -index, limits[index]) for index, source in enumerate(sources))
    )
    empty = bytes(page_size)
    # From here on, every page that no source has was cut off, or never written.
    next_number = min(header.commit for header in headers) + 1
    last_number = 0
    for number, _, page, block in versions:
        if number == last_number:
            continue
        last_number = number
        for empty_number in range(next_number, number):
            yield empty_number, empty, None
        next_number = max(next_number, number + 1)
        yield number, page, block
    for empty_number in range(next_number, commit + 1):
        yield empty_number, empty, None


def _versions(source: Decoder, rank: int, limit: int) -> Iterator[_Version]:
    """Yield what a source has up to this page, and read it to its end."""
    for run in source.runs():
        for number, page, block in zip(run.numbers, run.pages, run.blocks, strict=True):
            if number <= limit:
                yield number, rank, page, block


def _checksum_after(sources: Sequence[Decoder]) -> int:
    """Hold each source's database checksum to the next one's, and return the last."""
    checksum = 0
    for before, after in zip(sources, [*sources[1:], None], strict=True):
        assert before.trailer is not None
        checksum = before.trailer.post_apply_checksum
        if (
            after is not None
            and after.header.min_txid == before.header.max_txid + 1
            and before.header.has_checksum
            and after.header.has_checksum
            and after.header.pre_apply_checksum != checksum
        ):
            raise ChecksumMismatch(
                f"{_name(after.header)} is for a database with checksum "
                f"{after.header.pre_apply_checksum:016x}, {_name(before.header)} leaves one "
                f"with {checksum:016x}"
            )
    return checksum


def _name(header: Header) -> str:
    return format_name(header.min_txid, header.max_txid)
