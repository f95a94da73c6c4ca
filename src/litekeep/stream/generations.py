"""
Replicas of Litestream 0.3: where their files lie, and which of them make a moment.

    <root>generations/<16 hex>/snapshots/<index, 8 hex>.snapshot.lz4
    <root>generations/<16 hex>/wal/<index, 8 hex>_<offset, 8 hex or more>.wal.lz4

A generation is an unbroken run.  A snapshot is the whole database file as it was when the
log of its index began; the segments of one index, joined, are that log.  So a moment is the
newest snapshot of a generation at or before it, and the logs from that index on, the last of
them up to the segment that ends there.

Their times are those at which the store got them: nothing else tells.  How many bytes a
segment adds is not in its name, so whether they join is only known once they are read:
`oldlog.py`.  What can be told from names is told here: a log lacks its beginning, or an index
is missing.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate, zip_longest

from litekeep.store.base import Blob
from litekeep.stream.chain import Place

_NAME = re.compile(
    r"generations/(?P<generation>[0-9a-f]{16})/(?:"
    r"snapshots/(?P<snapshot>[0-9a-f]{8})\.snapshot"
    r"|wal/(?P<index>[0-9a-f]{8})_(?P<offset>[0-9a-f]{8,16})\.wal"
    r")\.lz4"
)


@dataclass(frozen=True, slots=True)
class OldSnapshot:
    """A whole database file; it stands before the log of its index."""

    index: int
    object: str
    size: int
    modified: datetime


@dataclass(frozen=True, slots=True)
class Segment:
    """Some bytes of the log of an index, from an offset on."""

    index: int
    offset: int
    object: str
    size: int
    modified: datetime


@dataclass(frozen=True, slots=True)
class Generation:
    """
    One unbroken run; snapshots by index, segments by index and offset.

    `totals` are the sizes of the first segments together: of none, of one, of two, ...
    """

    place: Place
    name: str
    snapshots: tuple[OldSnapshot, ...]
    segments: tuple[Segment, ...]
    totals: tuple[int, ...]

    def branches(self) -> Iterator[OldBranch]:
        """Yield what can be restored, as names tell: each snapshot, each segment behind one."""
        for snapshot, later in zip_longest(self.snapshots, self.snapshots[1:]):
            first = self._first_of(snapshot.index)
            ends = [*self._run_ends(snapshot)]
            # A checkpoint may have brought into the file what its log had by then.
            with_it = [end for end in ends if self._is_by(end, snapshot)]
            begin = with_it[-1] if with_it else first
            name = f"{self.name}-{snapshot.index:08x}"
            yield OldBranch(self, snapshot, first, begin, name, snapshot.modified)
            for end in ends[len(with_it) :]:
                last = self.segments[end - 1]
                if later is not None and (
                    later.index < last.index
                    or (later.index == last.index and later.modified <= last.modified)
                ):
                    break  # the later snapshot is nearer
                name = f"{self.name}-{last.index:08x}-{last.offset:08x}"
                yield OldBranch(self, snapshot, first, end, name, last.modified)

    def unreachable(self) -> tuple[Segment, ...]:
        """
        Return the segments that no snapshot leads to: something before them is missing.

        Not those before the first snapshot's index: retention leaves such behind.
        """
        reached = [False] * len(self.segments)
        if self.snapshots:
            old = self._first_of(self.snapshots[0].index)
            reached[:old] = [True] * old
        for branch in self.branches():
            reached[branch.first : branch.end] = [True] * (branch.end - branch.first)
        return tuple(one for one, is_it in zip(self.segments, reached, strict=True) if not is_it)

    def _first_of(self, index: int) -> int:
        return bisect_left(self.segments, index, key=lambda segment: segment.index)

    def _is_by(self, end: int, snapshot: OldSnapshot) -> bool:
        last = self.segments[end - 1]
        return last.index == snapshot.index and last.modified <= snapshot.modified

    def _run_ends(self, snapshot: OldSnapshot) -> Iterator[int]:
        """Yield the ends of the runs of segments that follow on a snapshot without a break."""
        index, has_begun = snapshot.index, False
        for position in range(self._first_of(snapshot.index), len(self.segments)):
            segment = self.segments[position]
            if segment.index == index + 1 and (has_begun or index == snapshot.index):
                index, has_begun = segment.index, False
            if segment.index != index or (segment.offset == 0) == has_begun:
                return
            has_begun = True
            yield position + 1


@dataclass(frozen=True, slots=True)
class OldBranch:
    """
    The files that make one moment: a snapshot, and segments *first* to *end* of its generation.

    `name` is made of the generation, the index, and the offset of the last segment; `time` is
    when the store got the last of them.
    """

    generation: Generation
    snapshot: OldSnapshot
    first: int
    end: int
    name: str
    time: datetime

    @property
    def place(self) -> Place:
        """Where they lie."""
        return self.generation.place

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The segments, in order."""
        return self.generation.segments[self.first : self.end]

    @property
    def size(self) -> int:
        """How many bytes its files have together."""
        totals = self.generation.totals
        return self.snapshot.size + totals[self.end] - totals[self.first]

    @property
    def last_object(self) -> str:
        """The object that it ends with."""
        if self.end == self.first:
            return self.snapshot.object
        return self.generation.segments[self.end - 1].object


def generations_of(place: Place, blobs: Iterable[Blob]) -> tuple[Generation, ...]:
    """Return the generations that these objects of a place make; others are passed over."""
    snapshots: dict[str, list[OldSnapshot]] = {}
    segments: dict[str, list[Segment]] = {}
    for blob in blobs:
        match = _NAME.fullmatch(blob.name[len(place.root) :])
        if match is None:
            continue
        name = match["generation"]
        if match["snapshot"] is not None:
            snapshot = OldSnapshot(int(match["snapshot"], 16), blob.name, blob.size, blob.modified)
            snapshots.setdefault(name, []).append(snapshot)
        else:
            index, offset = int(match["index"], 16), int(match["offset"], 16)
            segment = Segment(index, offset, blob.name, blob.size, blob.modified)
            segments.setdefault(name, []).append(segment)
    found = []
    for name in sorted(snapshots.keys() | segments.keys()):
        ordered = sorted(segments.get(name, ()), key=lambda one: (one.index, one.offset))
        found.append(
            Generation(
                place,
                name,
                tuple(sorted(snapshots.get(name, ()), key=lambda one: one.index)),
                tuple(ordered),
                tuple(accumulate((one.size for one in ordered), initial=0)),
            )
        )
    return tuple(found)


def read_generations(place: Place) -> tuple[Generation, ...]:
    """
    List what lies at a place.

    Raises:
        StoreError: The store does not answer.
    """
    return generations_of(place, place.store.list(f"{place.root}generations/"))
