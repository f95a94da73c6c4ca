"""
One timeline of snapshots and stream: what a moment means where there are both.

    a snapshot's name     that snapshot
    a txid, before:TXID   the stream
    another name          a moment in a replica of Litestream 0.3
    a time, latest        the newest of both at or before it; the other is what is taken if
                          that one turns out to be damaged

A time in a gap of the stream, in which nobody watched, is met by a snapshot of the gap's or
not at all: what the database was then is not known.

The times of txids are read from their files, as few as a search takes: they never fall as
txids rise.  A txid whose file is marked as partial is a step to the next one and no moment of
the database; no restore aims at it.
"""

from __future__ import annotations

import difflib
import itertools
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from litekeep.engine.points import Choice, Points, RestorePoint, choose
from litekeep.errors import CorruptionError, GapFound, LitekeepError, NotFound
from litekeep.repository.marks import Proof
from litekeep.store.base import Store
from litekeep.stream.chain import (
    Branch,
    Chain,
    Link,
    Place,
    plan_links,
    read_header,
    restorable,
)
from litekeep.stream.generations import OldBranch
from litekeep.stream.history import History
from litekeep.stream.metadata import GAP_KEY, PARTIAL_KEY, read_time, time_of
from litekeep.when import At, Before, Latest, Named, Txid, When


@dataclass(frozen=True, slots=True)
class Chosen:
    """What was chosen, and the road that is taken where that one is damaged."""

    choice: Choice
    fallback: RestorePoint | None = None


def choose_of_both(points: Points, when: When, now: datetime) -> Chosen:
    """
    Return the restore point that *when* means, of snapshots and stream.

    Raises:
        NotFound: There is none; the message names the nearest.

        GapFound: The moment lies where nobody watched.

        CorruptionError: No copy of what was named is whole.

        StoreError: The store of the stream does not answer.
    """
    if isinstance(when, Named):
        old = {point.name: point for point in old_points(points)}
        if when.name in old or (old and not points.points):
            return Chosen(Choice(_old_named(old, when.name), None, ()))
        return Chosen(choose(points, when, now))
    if not (points.streams or points.generations):
        return Chosen(choose(points, when, now))
    if isinstance(when, (Txid, Before)):
        return Chosen(Choice(_of_txid(points, when), None, ()))
    try:
        snapshot: Choice | None = choose(points, when, now)
    except (NotFound, CorruptionError) as error:
        snapshot, failure = None, error
    found = (_of_time(points, when), _old_of_time(points, when))
    stream = max(filter(None, found), key=lambda point: point.time, default=None)
    if stream is None:
        if snapshot is None:
            raise failure if points.points or points.leftovers else _nothing_at(points, when)
        return Chosen(snapshot)
    if snapshot is not None and snapshot.point.time > stream.time:
        return Chosen(snapshot, stream)
    if isinstance(when, At) and stream.txid is not None:
        _refuse_gap(points, stream, when)
    distance = when.time - stream.time if isinstance(when, At) else None
    older = snapshot.point if snapshot is not None else None
    return Chosen(Choice(stream, distance, ()), older)


@dataclass(frozen=True, slots=True)
class Moment:
    """A txid that can be restored; the time is the one at which its nearest store got it."""

    txid: int
    time: datetime
    proof: Proof | None

    @property
    def name(self) -> str:
        """The txid, as it is written."""
        return f"{self.txid:016x}"


def stream_moments(points: Points) -> tuple[Moment, ...]:
    """Return every txid that can be restored, newest first, without reading any file."""
    times: dict[int, datetime] = {}
    for _, chain in reversed(points.streams):  # the nearest store has the last word
        ends = {link.max_txid: link for link in sorted(chain.links, key=_size, reverse=True)}
        times |= {txid: ends[txid].modified for txid in restorable(chain)}
    proofs = points.stream_proofs
    return tuple(
        Moment(txid, time, proofs.get(txid)) for txid, time in sorted(times.items(), reverse=True)
    )


def stream_points(points: Points) -> tuple[RestorePoint, ...]:
    """Return what `stream_moments` does, each with the files that make it."""
    histories = [(place, History(chain.links, {})) for place, chain in points.streams]
    return tuple(
        replace(
            _point_of(
                moment.txid,
                tuple(
                    Branch(place, road)
                    for place, history in histories
                    if (road := history.road(moment.txid)) is not None
                ),
                time=moment.time,
                size=None,
            ),
            proof=moment.proof,
        )
        for moment in stream_moments(points)
    )


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """The newest txid of a stream that a store can give back, and when the store got it."""

    store: Store
    txid: int
    time: datetime


def stream_ends(points: Points) -> tuple[StreamEnd, ...]:
    """Return how far each store's stream goes."""
    return tuple(
        StreamEnd(place.store, txid, _link_of(chain, txid).modified)
        for place, chain in points.streams
        for txid in restorable(chain)[-1:]
    )


def old_points(points: Points) -> tuple[RestorePoint, ...]:
    """Return every moment that replicas of Litestream 0.3 hold, newest first."""
    found: dict[str, list[OldBranch]] = {}
    for generation in points.generations:
        for branch in generation.branches():
            found.setdefault(branch.name, []).append(branch)
    old = (
        RestorePoint(
            kind="base" if branches[0].first == branches[0].end else "sync",
            time=branches[0].time,
            txid=None,
            name=name,
            size=None,
            label=None,
            state="ok",
            copies=(),
            branches=tuple(branches),
        )
        for name, branches in found.items()
    )
    return tuple(sorted(old, key=lambda point: (point.time, point.name), reverse=True))


@dataclass(frozen=True, slots=True)
class Gap:
    """Files are missing between these two txids; each of them can be restored."""

    after: int
    before: int


def stream_gaps(points: Points) -> tuple[Gap, ...]:
    """Return where no store has the files that lead from one txid to the next."""
    known = sorted({txid for _, chain in points.streams for txid in restorable(chain)})
    followed = {
        txid
        for _, chain in points.streams
        for link in chain.links
        for txid in known[bisect_left(known, link.min_txid - 1) : bisect_left(known, link.max_txid)]
    }
    return tuple(
        Gap(after, before) for after, before in itertools.pairwise(known) if after not in followed
    )


def _of_txid(points: Points, when: Txid | Before) -> RestorePoint:
    known = sorted({txid for _, chain in points.streams for txid in restorable(chain)})
    if isinstance(when, Before):
        for txid in reversed(known[: bisect_left(known, when.txid)]):
            if not _is_partial(points, txid):
                return _read(points, txid)
    elif when.txid in known:
        if _is_partial(points, when.txid):
            raise NotFound(
                f"{when.txid:016x} is a step to a later txid, and no moment of the database",
                hint="Take the one behind it, or the one before.",
            )
        return _read(points, when.txid)
    what = f"before:{when.txid:016x}" if isinstance(when, Before) else f"{when.txid:016x}"
    before = known[: bisect_left(known, when.txid)][-1:]
    after = known[bisect_left(known, when.txid) :][:1]
    near = ", ".join(f"{one:016x}" for one in (*before, *after))
    hint = f"The nearest: {near}." if near else "litekeep list shows what can be restored."
    ends = [chain.last_txid for _, chain in points.streams]
    if before and after and when.txid < max(ends):
        raise GapFound(f"txid {what} cannot be restored from what is stored", hint=hint)
    raise NotFound(f"there is no txid {what}", hint=hint)


def _of_time(points: Points, when: Latest | At) -> RestorePoint | None:
    """Return the newest txid that fits, in whichever store has it; None if there is none."""
    best: RestorePoint | None = None
    failure: LitekeepError | None = None
    for place, chain in points.streams:
        txids = restorable(chain)
        try:
            txid = _newest(place, chain, txids, when)
            while txid is not None and _is_partial(points, txid):
                txids = txids[: bisect_left(txids, txid)]
                txid = txids[-1] if txids else None
            if txid is not None and (best is None or txid > (best.txid or 0)):
                best = _read(points, txid)
        except LitekeepError as error:
            failure = failure or error
    if best is None and failure is not None and not points.points:
        raise failure
    return best


def _nothing_at(points: Points, when: Latest | At) -> NotFound:
    found: list[RestorePoint | Moment] = [*stream_moments(points), *old_points(points)]
    if not found:
        return NotFound(
            "there are files of a stream, and none that is a whole database to begin with",
            hint="Take another store, or another generation of backups.",
        )
    first = min(found, key=lambda point: point.time)
    asked = f" at or before {when.time:%Y-%m-%d %H:%M:%S} UTC" if isinstance(when, At) else ""
    return NotFound(
        f"nothing was kept{asked}",
        hint=f"The first restore point is {first.name} ({first.time:%Y-%m-%d %H:%M:%S} UTC).",
    )


def _old_named(old: Mapping[str, RestorePoint], name: str) -> RestorePoint:
    if name in old:
        return old[name]
    near = difflib.get_close_matches(name, old, n=2, cutoff=0)
    raise NotFound(f"no moment is called {name}", hint=f"The nearest: {', '.join(near)}.")


def _old_of_time(points: Points, when: Latest | At) -> RestorePoint | None:
    for point in old_points(points):
        if isinstance(when, Latest) or point.time <= when.time:
            return point
    return None


def _newest(place: Place, chain: Chain, txids: tuple[int, ...], when: Latest | At) -> int | None:
    if isinstance(when, Latest):
        return txids[-1] if txids else None
    asked = when.time

    def is_later(txid: int) -> bool:
        return read_header(place, _link_of(chain, txid)).timestamp > asked

    count = bisect_left(txids, True, key=is_later)
    return txids[count - 1] if count else None


def _is_partial(points: Points, txid: int) -> bool:
    """Whether the first store that answers marks a txid as a step to the next one."""
    for place, chain in points.streams:
        if txid in restorable(chain):
            try:
                return PARTIAL_KEY in place.store.head(_link_of(chain, txid).object).metadata
            except LitekeepError:
                continue
    return False


def _read(points: Points, txid: int) -> RestorePoint:
    """Return a txid with its time and its size, read from the nearest store that tells."""
    places = tuple(one for one in points.streams if txid in restorable(one[1]))
    failure: LitekeepError | None = None
    for place, chain in places:
        try:
            header = read_header(place, _link_of(chain, txid))
        except LitekeepError as error:
            failure = failure or error
            continue
        size = header.page_size * header.commit
        branches = tuple(Branch(place, plan_links(chain, txid)) for place, chain in places)
        return _point_of(txid, branches, time=header.timestamp, size=size)
    assert failure is not None, "a txid that is known lies somewhere"
    raise failure


def _point_of(
    txid: int, branches: tuple[Branch, ...], *, time: datetime, size: int | None
) -> RestorePoint:
    return RestorePoint(
        kind="base" if branches[0].links[-1].is_whole else "sync",
        time=time,
        txid=txid,
        name=f"{txid:016x}",
        size=size,
        label=None,
        state="ok",
        copies=(),
        branches=branches,
    )


def _link_of(chain: Chain, txid: int) -> Link:
    """Return the smallest file that ends with a txid."""
    return min((link for link in chain.links if link.max_txid == txid), key=_size)


def _size(link: Link) -> tuple[int, int]:
    return link.size, link.level


def _refuse_gap(points: Points, chosen: RestorePoint, when: At) -> None:
    """Raise if nobody watched the database at the time that was asked for."""
    place, chain = next(one for one in points.streams if one[0] == chosen.branches[0].place)
    later = [link for link in chain.links if link.min_txid > (chosen.txid or 0)]
    if not later:
        return
    following = min(later, key=lambda link: (link.max_txid, link.level))
    since_ms = read_time(place.store.head(following.object).metadata.get(GAP_KEY))
    if since_ms is None:
        return
    begun = time_of(since_ms)
    end = read_header(place, following).timestamp
    if begun + timedelta(seconds=1) < when.time < end:
        raise GapFound(
            f"nobody watched the database from {begun:%Y-%m-%d %H:%M:%S} to "
            f"{end:%Y-%m-%d %H:%M:%S} UTC, so what it was in between is not known",
            hint=f"The nearest: --at {chosen.name} before, --at {following.max_txid:016x} behind.",
        )
