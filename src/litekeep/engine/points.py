"""
Restore points: what a restore can aim at, and the choice among them.

A snapshot that lies in several stores is one restore point with several copies, the
nearest first.  `choose` decides and touches nothing; what cannot be met is an error
that names the nearest points, never silently something else.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from litekeep import workers
from litekeep.clock import Clock, now
from litekeep.engine.lacks import Lack, find_lacks
from litekeep.engine.stream_proofs import read_stream_proofs
from litekeep.errors import LitekeepError, NotFound
from litekeep.repository.catalog import Contents, Deleted, Leftover, Snapshot, read_contents
from litekeep.repository.layout import Repository
from litekeep.repository.manifest import Origin
from litekeep.repository.marks import Proof
from litekeep.store.base import FAILURES
from litekeep.stream.chain import Branch, Chain, Place, chain_of
from litekeep.stream.generations import Generation, OldBranch, generations_of
from litekeep.units import show_duration
from litekeep.when import At, Before, Latest, Named, Txid, When, is_ahead

REQUESTS_AT_ONCE = 16

#: States that `latest` and a time pass over.
_UNFIT = ("failed", "suspect")


@dataclass(frozen=True, slots=True)
class RestorePoint:
    """
    A moment that can be restored: a snapshot, or a txid of a stream.

    `size` is that of the database in bytes, None where only decompressing would
    tell; `copies` are nearest first, and behind them those that a drill found bad.  `proof`
    is the newest of any copy.  A txid has `branches` in place of copies, nearest first too.
    """

    kind: str
    time: datetime
    txid: int | None
    name: str
    size: int | None
    label: str | None
    state: str
    copies: tuple[Snapshot, ...]
    proof: Proof | None = None
    is_held: bool = False
    branches: tuple[Branch | OldBranch, ...] = ()

    @property
    def store(self) -> str:
        """The URL of the nearest store that has it."""
        return self.stores[0]

    @property
    def stores(self) -> tuple[str, ...]:
        """The URLs of all stores that have it, the nearest first."""
        copies = tuple(copy.repository.store.url for copy in self.copies)
        return copies + tuple(branch.place.store.url for branch in self.branches)

    @property
    def stored_size(self) -> int:
        """How many bytes it takes in the nearest store."""
        return self.copies[0].stored_size if self.copies else self.branches[0].size

    @property
    def origin(self) -> Origin | None:
        """Where it was taken, if that is known."""
        manifest = self.copies[0].manifest if self.copies else None
        return manifest.origin if manifest is not None else None


@dataclass(frozen=True, slots=True)
class Points:
    """
    All restore points, newest first; what else lies there; stores that did not answer;
    what was pruned and can be brought back; and stores that lack what their sisters hold.
    """

    points: tuple[RestorePoint, ...]
    leftovers: tuple[Leftover, ...]
    unread: tuple[tuple[Repository, LitekeepError], ...]
    deleted: tuple[Deleted, ...] = ()
    lacks: tuple[Lack, ...] = ()
    #: The stream's files in each store that has any, the nearest first.
    streams: tuple[tuple[Place, Chain], ...] = ()
    #: The newest proof of each txid that was drilled lately.
    stream_proofs: Mapping[int, Proof] = field(default_factory=dict)
    #: What Litestream 0.3 left in any of them.
    generations: tuple[Generation, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing, and no store that could not be looked at."""
        streams = (*self.streams, *self.generations)
        return not (*self.points, *streams, *self.unread, *self.leftovers)


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A snapshot that was not chosen: its state is not fit, or no copy of it is whole."""

    name: str
    time: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Choice:
    """
    The restore point that was chosen.

    `distance` is how long before the asked time it lies (below zero: within the second
    that was named, and after its beginning), None where no time was asked;
    `passed_over` are newer ones that would have fitted, newest first; `is_ahead`: it lies
    in the future, and no other is there.
    """

    point: RestorePoint
    distance: timedelta | None
    passed_over: tuple[PassedOver, ...]
    is_ahead: bool = False


def nearest_first(repositories: Iterable[Repository]) -> tuple[Repository, ...]:
    """Return the repositories, those on this machine before the others."""
    return tuple(sorted(repositories, key=lambda repository: repository.store.staging is None))


def read_points(repositories: Sequence[Repository]) -> Points:
    """
    Read what all *repositories* of one database hold.

    Raises:
        StoreError, UserError: None of them could be read; the first one's error.
    """
    groups: dict[str, list[Snapshot]] = {}
    read: list[tuple[Repository, Contents]] = []
    unread: list[tuple[Repository, LitekeepError]] = []
    for repository in nearest_first(repositories):
        try:
            contents = read_quickly(repository)
        except FAILURES as error:
            unread.append((repository, error))
            continue
        read.append((repository, contents))
        for snapshot in contents.snapshots:
            groups.setdefault(snapshot.identity, []).append(snapshot)
    if unread and len(unread) == len(repositories):
        raise unread[0][1]
    points = sorted(map(_point, groups.values()), key=lambda p: (p.time, p.name), reverse=True)
    leftovers = tuple(leftover for _, contents in read for leftover in contents.leftovers)
    deleted = tuple(one for _, contents in read for one in contents.deleted)
    streams = tuple(
        (place, chain_of(place, contents.stream))
        for place, contents in ((stream_place(one), contents) for one, contents in read)
    )
    return Points(
        tuple(points),
        leftovers,
        tuple(unread),
        deleted,
        find_lacks(read),
        tuple((place, chain) for place, chain in streams if chain.links),
        _stream_proofs(read),
        tuple(
            generation
            for repository, contents in read
            for generation in generations_of(stream_place(repository), contents.stream)
        ),
    )


def _stream_proofs(read: Iterable[tuple[Repository, Contents]]) -> Mapping[int, Proof]:
    """Return for each txid the newest proof of any store."""
    found: dict[int, Proof] = {}
    for repository, contents in read:
        for txid, proof in read_stream_proofs(repository, contents.stream).items():
            if txid not in found or found[txid].time < proof.time:
                found[txid] = proof
    return found


def stream_place(repository: Repository) -> Place:
    """Return where the stream of a repository's database lies."""
    return Place(repository.store, repository.stream_root)


def read_quickly(repository: Repository, *, clock: Clock = now) -> Contents:
    """Read what a repository holds, with several requests at once."""
    return read_contents(
        repository,
        lambda work, inputs: workers.ordered(work, inputs, threads=REQUESTS_AT_ONCE),
        clock=clock,
    )


def _point(found: list[Snapshot]) -> RestorePoint:
    copies = sorted(found, key=lambda copy: copy.state == "failed")
    first = copies[0]
    manifest = first.manifest
    proofs = [copy.proof for copy in copies if copy.proof is not None]
    return RestorePoint(
        kind="snapshot",
        time=first.time,
        txid=None,
        name=first.name,
        size=manifest.database.size_bytes if manifest else None,
        label=manifest.label if manifest else None,
        state=first.state,
        copies=tuple(copies),
        proof=max(proofs, key=lambda proof: proof.time, default=None),
        is_held=any(copy.hold is not None for copy in copies),
    )


def choose(points: Points, when: When, now: datetime) -> Choice:
    """
    Return the snapshot that *when* means.

    `latest` and times mean the newest point that is fit, at or before the time.  A
    point whose check failed, or that is suspect, is restored only by its name.  One that
    lies in the future (the clock was wrong when it was made, so how old it is nobody
    knows) is the latest only where there is no other.

    Raises:
        NotFound: There is none; the message names the nearest.

        CorruptionError: No copy of the one that was named is whole.
    """
    if isinstance(when, Named):
        return Choice(_named(points, when.name), None, ())
    if not points.points:
        raise _nothing(points)
    if isinstance(when, (Txid, Before)):
        raise NotFound(
            f"there is no txid {when.txid:016x}: there is no stream here, only snapshots",
            hint=f"The newest snapshot is {_show(points.points[0])}.",
        )
    before = [point for point in points.points if _is_within(point.time, when)]
    fit = [point for point in before if point.state not in _UNFIT]
    if not fit:
        raise _no_fit(points.points, before, when)
    ahead = [p for p in fit if isinstance(when, Latest) and is_ahead(p.time, now)]
    fit = [point for point in fit if point not in ahead] or fit
    unfit = [
        PassedOver(p.name, p.time, "it lies in the future" if p in ahead else p.state)
        for p in before[: before.index(fit[0])]
    ]
    passed_over = unfit + _broken_since(points, fit[0], when)
    return Choice(
        fit[0],
        when.time - fit[0].time if isinstance(when, At) else None,
        tuple(sorted(passed_over, key=lambda one: (one.time, one.name), reverse=True)),
        fit[0] in ahead,
    )


def _broken_since(points: Points, chosen: RestorePoint, when: Latest | At) -> list[PassedOver]:
    """Return what is newer than *chosen* by its name, and whole in no store."""
    whole = {copy.name for point in points.points for copy in point.copies}
    since = chosen.time.replace(microsecond=0)
    found: dict[str, PassedOver] = {}
    for leftover in points.leftovers:
        name, time = leftover.name, leftover.time
        if name not in whole and time > since and _is_within(time, when):
            found.setdefault(name, PassedOver(name, time, leftover.error.message))
    return list(found.values())


def _is_within(time: datetime, when: Latest | At) -> bool:
    return isinstance(when, Latest) or _is_by(time, when.time)


def _is_by(time: datetime, asked: datetime) -> bool:
    """
    Say whether *time* is at or before *asked*, as exactly as *asked* was given.

    Names and lists show seconds, and JSON milliseconds; a snapshot taken half a second
    after 12:00:01 is the one that they call 12:00:01.
    """
    if asked.microsecond == 0:
        return time.replace(microsecond=0) <= asked
    if asked.microsecond % 1000 == 0:
        return time.replace(microsecond=time.microsecond // 1000 * 1000) <= asked
    return time <= asked


def _named(points: Points, name: str) -> RestorePoint:
    for point in points.points:
        if any(copy.name == name for copy in point.copies):
            return point
    for leftover in points.leftovers:
        if leftover.name == name:
            raise leftover.error
    if not points.points:
        raise _nothing(points)
    near = difflib.get_close_matches(name, [p.name for p in points.points], n=2, cutoff=0)
    raise NotFound(f"no snapshot is called {name}", hint=f"The nearest: {', '.join(near)}.")


def _nothing(points: Points) -> LitekeepError:
    if points.unread:
        return points.unread[0][1]
    if points.leftovers:
        return max(points.leftovers, key=lambda leftover: leftover.time).error
    return NotFound(
        "there are no restore points yet",
        hint="Make one with litekeep backup, or check the path or URL.",
    )


def _no_fit(points: Sequence[RestorePoint], before: Sequence[RestorePoint], when: When) -> NotFound:
    if before:
        return NotFound(
            f"no restore point up to then passed its check; the newest is {_show(before[0])}",
            hint="To restore it all the same, give its name to --at.",
        )
    assert isinstance(when, At)
    oldest = min(points, key=lambda point: point.time)
    ahead = show_duration((oldest.time - when.time).total_seconds())
    return NotFound(
        f"nothing was kept at or before {when.time:%Y-%m-%d %H:%M:%S} UTC",
        hint=f"The first restore point is {_show(oldest)}, {ahead} later.",
    )


def _show(point: RestorePoint) -> str:
    return f"{point.name} ({point.time:%Y-%m-%d %H:%M:%S} UTC)"
