"""
The history of one chain as it is known here: its files, and the time of each txid.

It answers without a request what a plan has to know: which files lead from one txid to
another, and which txids there are up to a time.  It holds what `chain.py` lists, and grows by
what is shipped and merged here.

A file tells its time by its metadata, which a list does not have.  Where it is not known, the
time at which the store got a file that ends there or later stands for it: never earlier than
the true one, if the clocks agree.  Times never fall as txids rise.

    level 2                 2-5                  a lane: files of one level in their order;
    level 1          2-3    4-5                  both their first and their last txids rise,
    level 0    1  2  3  4   5  6  7              so that the farthest is found by bisection
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from litekeep.stream.chain import Link
from litekeep.stream.metadata import time_ms_of


class History:
    """
    The files of one chain and their times.

    Args:
        links: All files, in any order.

        times: Of txids, in milliseconds since 1970, as far as they are known.
    """

    def __init__(self, links: Iterable[Link], times: Mapping[int, int]) -> None:
        #: What stands in the files themselves.
        self.known_times: dict[int, int] = {}
        self._lanes: dict[tuple[int, bool], list[_Lane]] = {}
        self._links: dict[str, Link] = {}
        #: The txids that files end with, in order, and their times.
        self.ends: list[int] = []
        self._times: list[int] = []
        ordered = sorted(links, key=lambda link: (link.max_txid, link.min_txid))
        for link in ordered:
            self._place(link)
        self.ends = sorted({link.max_txid for link in ordered})
        self.learn(times)

    @property
    def links(self) -> tuple[Link, ...]:
        """All files, in the order of their last and their first txids."""
        return tuple(sorted(self._links.values(), key=lambda link: (link.max_txid, link.min_txid)))

    def merged(self) -> list[Link]:
        """Return the files of the levels above 0."""
        return [
            link
            for (level, _), lanes in self._lanes.items()
            if level
            for lane in lanes
            for link in lane.links
        ]

    @property
    def last_txid(self) -> int:
        """The newest txid; 0 if there is none."""
        return self.ends[-1] if self.ends else 0

    def time_ms(self, txid: int) -> int:
        """Return the time of a txid that a file ends with."""
        return self._times[bisect_left(self.ends, txid)]

    def last_before(self, time_ms: int) -> int:
        """Return the newest txid that is earlier than this; 0 if there is none."""
        index = bisect_left(self._times, time_ms)
        return self.ends[index - 1] if index else 0

    def end_after(self, txid: int) -> int:
        """Return the first txid behind this one that a file ends with; there is one."""
        return self.ends[bisect_right(self.ends, txid)]

    def add(self, link: Link, time_ms: int) -> None:
        """Take a file in; one that ends behind all others as a rule."""
        self._place(link)
        index = bisect_left(self.ends, link.max_txid)
        if index < len(self.ends) and self.ends[index] == link.max_txid:
            self.known_times.setdefault(link.max_txid, time_ms)
            return
        low = self._times[index - 1] if index else time_ms
        high = self._times[index] if index < len(self._times) else max(time_ms, low)
        self.ends.insert(index, link.max_txid)
        self._times.insert(index, min(max(time_ms, low), high))
        self.known_times[link.max_txid] = time_ms

    def remove(self, link: Link) -> None:
        """Forget a file, and its last txid where no other ends with it."""
        if self._links.pop(link.object, None) is None:
            return
        lanes = [lane for group in self._lanes.values() for lane in group]
        for lane in lanes:
            lane.drop(link)
        if not any(lane.ends_with(link.max_txid) for lane in lanes):
            index = bisect_left(self.ends, link.max_txid)
            del self.ends[index], self._times[index]
            self.known_times.pop(link.max_txid, None)

    def learn(self, times: Mapping[int, int]) -> None:
        """Take times that were asked of the store."""
        self.known_times |= {end: times[end] for end in self.ends if end in times}
        self._times = _settled(self.links, self.ends, self.known_times)

    def newest_whole(self, txid: int) -> Link | None:
        """Return the last file up to *txid* that needs none before it."""
        found = [
            lane.links[index - 1]
            for (_, is_whole), lanes in self._lanes.items()
            for lane in lanes
            if is_whole and (index := bisect_right(lane.maxs, txid))
        ]
        return max(found, key=lambda link: (link.max_txid, link.level), default=None)

    def frontier(self, level: int) -> int:
        """Return how far files of this level or above reach, or whole databases."""
        return max(
            (
                lane.maxs[-1]
                for (at, is_whole), lanes in self._lanes.items()
                for lane in lanes
                if lane.maxs and (is_whole or at >= level)
            ),
            default=0,
        )

    def way(self, start: int, end: int, *, below: int = 10) -> tuple[Link, ...] | None:
        """
        Return the files that lead from one txid to another, the fewest; None if none do.

        Args:
            start: Where the database stands.

            end: Where it is to stand.

            below: Only files of levels below this one.
        """
        lanes = [
            lane
            for (level, is_whole), group in sorted(self._lanes.items(), reverse=True)
            if not is_whole and level < below
            for lane in group
        ]
        found: list[Link] = []
        reached = start
        while reached < end:
            best = None
            for lane in lanes:
                link = lane.farthest(reached, end)
                if link is not None and (best is None or link.max_txid > best.max_txid):
                    best = link
            if best is None:
                return None
            found.append(best)
            reached = best.max_txid
        return tuple(found)

    def road(self, txid: int) -> tuple[Link, ...] | None:
        """
        Return the files that make the database as it was after *txid*; None if none do.

        It is what `chain.plan_links` finds, without looking at every file.
        """
        whole = self.newest_whole(txid)
        rest = self.way(whole.max_txid, txid) if whole is not None else None
        return (whole, *rest) if whole is not None and rest is not None else None

    def _place(self, link: Link) -> None:
        if link.object in self._links:
            return
        self._links[link.object] = link
        lanes = self._lanes.setdefault((link.level, link.is_whole), [])
        if not any(lane.take(link) for lane in lanes):
            lanes.append(_Lane(link))


class _Lane:
    """Files of one level, of which both ends rise."""

    def __init__(self, link: Link) -> None:
        self.links = [link]
        self.mins = [link.min_txid]
        self.maxs = [link.max_txid]

    def take(self, link: Link) -> bool:
        """Put a file in its place, if it has one here."""
        index = bisect_left(self.maxs, link.max_txid)
        if index < len(self.maxs) and (
            self.maxs[index] == link.max_txid or self.mins[index] < link.min_txid
        ):
            return False
        if index and self.mins[index - 1] > link.min_txid:
            return False
        self.links.insert(index, link)
        self.mins.insert(index, link.min_txid)
        self.maxs.insert(index, link.max_txid)
        return True

    def drop(self, link: Link) -> None:
        """Forget a file, if it is one of these."""
        index = bisect_left(self.maxs, link.max_txid)
        if index < len(self.maxs) and self.links[index].object == link.object:
            del self.links[index], self.mins[index], self.maxs[index]

    def ends_with(self, txid: int) -> bool:
        """Whether one of these has this last txid."""
        index = bisect_left(self.maxs, txid)
        return index < len(self.maxs) and self.maxs[index] == txid

    def farthest(self, reached: int, end: int) -> Link | None:
        """Return the file that leads farthest from *reached*, and not beyond *end*."""
        index = min(bisect_right(self.mins, reached + 1), bisect_right(self.maxs, end)) - 1
        return self.links[index] if index >= 0 and self.maxs[index] > reached else None


def _settled(ordered: Sequence[Link], ends: Sequence[int], known: Mapping[int, int]) -> list[int]:
    """Return a time for each end; *ordered* are the files by their ends."""
    got: dict[int, int] = {}
    for link in ordered:
        time = time_ms_of(link.modified)
        got[link.max_txid] = min(got.get(link.max_txid, time), time)
    times: list[int] = []
    earliest = time_ms_of(datetime.max.replace(tzinfo=UTC))
    for end in reversed(ends):
        time = known[end] if end in known else min(got[end], earliest)
        earliest = min(earliest, time)
        times.append(time)
    times.reverse()
    for index in range(1, len(times)):
        times[index] = max(times[index], times[index - 1])
    return times
