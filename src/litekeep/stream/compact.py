"""
Compaction: files that follow each other are merged, so that few make a restore.

    level 0   1 2 3 4 5 6 7 8 9 ...     a file a sync
    level 1   2-3  4-6    7-9           the syncs of 30 seconds
    level 2   2-6         7-9           of 5 minutes; level 3 of an hour, level 4 of a day
    level 9               1-9           a whole database: a base

A merged file ends with the last txid of its window, by the times of the syncs, and windows of
a level end where those of the level below do; so any way through the levels goes from one
window's end to another's.  A window with one file has nothing to merge, and costs nothing.

A base is written by weight: when the files behind the last one have more than a set share
of its size, or are too many.  So the work of a restore is bounded, a database of which little
changes gets few, and a quiet one none.

Order of the steps: the merged file is durable, and nothing else is changed.  Only retention
removes, later, what a merged file stands for (`retention.py`).  A kill in between leaves a
temporary file, which goes with the next start, or one file more than is known here.

Two hosts that merge the same files make files that do the same, whose bytes may differ: the
first one stands, and the second takes it for its own where the database has the same checksum.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy

from litekeep import faults, workers
from litekeep.errors import BlobNotFound, ChecksumMismatch, LeaseHeld, NameTaken, NoSpace
from litekeep.ltx.checksum import FLAG, page_checksums
from litekeep.ltx.decode import Decoder
from litekeep.ltx.encode import Encoded
from litekeep.ltx.merge import merge
from litekeep.store.base import PIECE_SIZE_MAX, Blob, FileBody
from litekeep.store.files import write_all
from litekeep.store.temporary import temporary_file
from litekeep.stream.chain import BASE_LEVEL, Link, Place
from litekeep.stream.history import History
from litekeep.stream.metadata import (
    CHECKSUM_KEY,
    GAP_KEY,
    ORIGIN_KEY,
    PARTIAL_KEY,
    SHA256_KEY,
    TIME_KEY,
)
from litekeep.stream.policy import StreamPolicy

#: Members up to this size are fetched whole, by one request each.
_SMALL_SIZE = PIECE_SIZE_MAX
_REQUESTS_AT_ONCE = 8
#: A create is held in memory as a whole; a larger file is looked for first.
_CREATE_SIZE_MAX = 64 << 20
#: Of the disk that a merge needs, left free beyond.
_SPARE_SIZE = 64 << 20

_KEPT = (TIME_KEY, CHECKSUM_KEY, PARTIAL_KEY, ORIGIN_KEY)


@dataclass(frozen=True, slots=True)
class Merge:
    """Files that are to become one, on this level; `reason` is for people."""

    level: int
    members: tuple[Link, ...]
    reason: str

    @property
    def min_txid(self) -> int:
        """The first txid of the merged file."""
        return self.members[0].min_txid

    @property
    def max_txid(self) -> int:
        """The last txid of the merged file."""
        return self.members[-1].max_txid


@dataclass(frozen=True, slots=True)
class CompactionPlan:
    """
    What to merge next, on one level; nothing if all is merged.

    What the levels above need is known once these are done: then plan again.
    """

    merges: tuple[Merge, ...]


def plan_compaction(history: History, policy: StreamPolicy, now_ms: int) -> CompactionPlan:
    """
    Decide what is to be merged: the lowest level that has something, and bases last.

    Args:
        history: The files that there are, with their times.

        policy: The windows and weights.

        now_ms: Milliseconds since 1970; a window that ends later is still open.
    """
    # Up to here the level below is merged; at level 0 that is everything.
    closed = history.last_txid
    for level, seconds in enumerate(policy.windows_seconds, 1):
        merges = _window_merges(history, level, seconds * 1000, closed, policy, now_ms)
        closed = _closed(history, seconds, now_ms)
        if merges:
            return CompactionPlan(tuple(merges))
    base = _base_by_weight(history, policy, now_ms) or _base_by_count(history, policy, now_ms)
    return CompactionPlan((base,) if base is not None else ())


def _window_merges(
    history: History, level: int, window_ms: int, closed: int, policy: StreamPolicy, now_ms: int
) -> list[Merge]:
    """Return what is to be merged on one level, of the files up to *closed*."""
    merges: list[Merge] = []
    members_max = policy.members_max
    start = history.frontier(level)
    while start < closed:
        window = history.time_ms(history.end_after(start)) // window_ms
        is_open = window >= now_ms // window_ms
        end = closed if is_open else history.last_before((window + 1) * window_ms)
        members = history.way(start, end, below=level) or ()
        for index in range(0, len(members), members_max):
            part = members[index : index + members_max]
            if len(part) == members_max or (len(part) > 1 and not is_open):
                merges.append(Merge(level, part, f"{window_ms // 1000} s"))
        start = end
    return merges


def _base_by_weight(history: History, policy: StreamPolicy, now_ms: int) -> Merge | None:
    """Return a base where the files behind the last one weigh too much."""
    road = history.road(_closed(history, policy.windows_seconds[1], now_ms))
    if road is None:
        return None
    size = _sizes(road[1:])
    if size <= max(policy.base_delta_size_min, policy.base_share * road[0].size):
        return None
    return Merge(BASE_LEVEL, road, f"{size} bytes behind one of {road[0].size}")


def _base_by_count(history: History, policy: StreamPolicy, now_ms: int) -> Merge | None:
    """Return a base where so many files follow the last one that no window takes together."""
    road = history.road(_closed(history, policy.windows_seconds[2], now_ms))
    if road is None or len(road) - 1 <= policy.file_count_max:
        return None
    return Merge(BASE_LEVEL, road, f"{len(road) - 1} files behind the last one")


def _closed(history: History, seconds: int, now_ms: int) -> int:
    """Return the last txid before the window that is open now."""
    window_ms = seconds * 1000
    return history.last_before(now_ms // window_ms * window_ms)


def apply_merge(
    place: Place, merge_plan: Merge, folder: Path, *, pause: Callable[[], object] = lambda: None
) -> Link:
    """
    Make one merged file of several, and return it once it is durable.

    Args:
        place: Where the members lie, and the merged file is to.

        merge_plan: What is to be merged.

        folder: On this machine, for a temporary file as large as the merged one.

        pause: Is called now and then, so that shipping is not held up; what it raises ends the
            merge, of which nothing is left then.

    Raises:
        BlobNotFound: A member is gone: somebody else removes files here.

        CorruptionError: A member is damaged, or what they make is not the database that
            they are said to be.

        LeaseHeld: Somebody else has stored another file of these txids.

        NoSpace: The folder has no room for it.

        StoreError: The store failed.
    """
    _check_room(folder, _sizes(merge_plan.members))
    opened = tuple(
        workers.ordered(
            lambda link: _open(place, link), merge_plan.members, threads=_REQUESTS_AT_ONCE
        )
    )
    decoders = [Decoder(member.pieces, sha256=member.metadata.get(SHA256_KEY)) for member in opened]
    for member, decoder in zip(opened, decoders, strict=True):
        found = decoder.header.min_txid, decoder.header.max_txid
        if found != (member.link.min_txid, member.link.max_txid):
            raise ChecksumMismatch(f"{member.link.object} holds txids {found[0]} to {found[1]}")
    with temporary_file(folder) as (path, file):

        def write(piece: bytes) -> None:
            write_all(file, piece, "merged")
            pause()

        encoded = merge(decoders, write)
        metadata = _metadata(opened, encoded)
        if merge_plan.min_txid == 1:
            _prove(path, metadata)
        return _put(place, merge_plan, path, encoded, metadata, pause)


@dataclass(frozen=True, slots=True)
class _Member:
    link: Link
    metadata: Mapping[str, str]
    pieces: Iterable[bytes]


def _open(place: Place, link: Link) -> _Member:
    found = place.store.head(link.object)
    pieces: Iterable[bytes] = place.store.get(link.object, size=found.size)
    if found.size <= _SMALL_SIZE:
        pieces = list(pieces)
    return _Member(link, found.metadata, pieces)


def _metadata(members: Sequence[_Member], encoded: Encoded) -> dict[str, str]:
    """Return what stands beside the merged file: that of the newest, and the oldest gap."""
    newest = members[-1].metadata
    found = {SHA256_KEY: encoded.sha256}
    found |= {name: newest[name] for name in _KEPT if name in newest}
    gap = next((one.metadata[GAP_KEY] for one in members if GAP_KEY in one.metadata), None)
    return found | ({GAP_KEY: gap} if gap is not None else {})


def _prove(path: Path, metadata: Mapping[str, str]) -> None:
    """Hold a whole database to the checksum that is to stand beside it."""
    if CHECKSUM_KEY not in metadata:
        return
    decoder = Decoder(FileBody(path), sha256=metadata[SHA256_KEY])
    checksum = 0
    for run in decoder.runs():
        sums = page_checksums(run.numbers, b"".join(run.pages), decoder.header.page_size)
        checksum ^= int(numpy.bitwise_xor.reduce(sums))
    if f"{checksum | FLAG:016x}" != metadata[CHECKSUM_KEY]:
        raise ChecksumMismatch(
            f"the files up to txid {decoder.header.max_txid:016x} make a database with the "
            f"checksum {checksum | FLAG:016x}, and {metadata[CHECKSUM_KEY]} stands beside the last"
        )


def _put(
    place: Place,
    merge_plan: Merge,
    path: Path,
    encoded: Encoded,
    metadata: Mapping[str, str],
    pause: Callable[[], object],
) -> Link:
    name = place.object_of(merge_plan.level, merge_plan.min_txid, merge_plan.max_txid)
    faults.reach(f"compact {name}")
    try:
        if encoded.size <= _CREATE_SIZE_MAX:
            stored = place.store.put(name, path.read_bytes(), create=True, metadata=metadata)
        else:
            if _is_there(place, name):
                raise NameTaken(f"{place.store.url}/{name} exists already", hint="It stays.")
            stored = place.store.put(
                name, _Body(path, pause), metadata=metadata, size_max=encoded.size
            )
    except NameTaken as error:
        stored = place.store.head(name)
        if not _does_the_same(stored, metadata):
            raise LeaseHeld(
                f"{place.store.url}/{name} was written by somebody else, of another history",
                hint="Two hosts stream to one place. End the other, or give each a prefix.",
            ) from error
    return Link(
        level=merge_plan.level,
        min_txid=merge_plan.min_txid,
        max_txid=merge_plan.max_txid,
        object=name,
        size=stored.size,
        modified=stored.modified,
    )


def _is_there(place: Place, name: str) -> bool:
    try:
        place.store.head(name)
    except BlobNotFound:
        return False
    return True


def _does_the_same(stored: Blob, metadata: Mapping[str, str]) -> bool:
    """Whether a file leads to the same database; by its bytes where no checksum is known."""
    key = CHECKSUM_KEY if CHECKSUM_KEY in metadata else SHA256_KEY
    return stored.metadata.get(key) == metadata[key]


@dataclass(frozen=True, slots=True)
class _Body:
    """A large file on its way, between whose pieces others may pass."""

    path: Path
    pause: Callable[[], object]

    def __iter__(self) -> Iterator[bytes]:
        for piece in FileBody(self.path):
            yield piece
            self.pause()


def _check_room(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < size + _SPARE_SIZE:
        raise NoSpace(
            f"merging needs up to {size} bytes in {folder}, and {free} are free",
            hint="Make room there, or set state_dir to a larger disk. Until then a restore "
            "needs more files than it has to.",
        )


def _sizes(links: Iterable[Link]) -> int:
    return sum(link.size for link in links)
