"""
Reads what lies of streams, and says what of it is damaged and what is not proved.

    each file             its own checksums, the SHA-256 that stands beside it, its txids
    each chain            every file leads on from one that is whole
    its newest txid       made from its files, in memory, the checksums of its pages alone;
                          compared with the database checksum beside its last file
    Litestream 0.3        each snapshot and each log: LZ4's checksums, every frame's; every
                          segment behind a snapshot

Litestream keeps no database checksum, so what its files make is whole and not proved.  A
sample takes files; it makes no database, which would be to read all that this one needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from litekeep.engine.points import stream_place
from litekeep.errors import BlobNotFound, CorruptionError, GapFound, LitekeepError
from litekeep.repository.catalog import Contents
from litekeep.repository.layout import Repository
from litekeep.store.base import FAILURES
from litekeep.stream.chain import BASE_LEVEL, Chain, Link, Place, chain_of, plan_links, restorable
from litekeep.stream.generations import OldSnapshot, generations_of
from litekeep.stream.oldlog import OldLog, logs_of, snapshot_pieces
from litekeep.stream.rebuild import apply_links, check_link


@dataclass(frozen=True, slots=True)
class StreamFile:
    """What is read at once; of Litestream 0.3 the log of an index, named by its first segment."""

    repository: Repository
    object: str
    time: datetime
    stored_size: int
    read: Callable[[], None]

    @property
    def name(self) -> str:
        """What orders files of the same time."""
        return self.object

    @property
    def identity(self) -> str:
        """What tells it from another of the same name."""
        return f"stream {self.stored_size}"


@dataclass(frozen=True, slots=True)
class Wrong:
    """An object of a stream that is not what it should be."""

    repository: Repository
    object: str
    error: LitekeepError


@dataclass(frozen=True, slots=True)
class Unproven:
    """Of what no checksum is kept, and which."""

    name: str
    reason: str


def stream_files(repository: Repository, contents: Contents) -> Iterator[StreamFile]:
    """Yield what there is to read of the streams in a repository."""
    place = stream_place(repository)
    for link in chain_of(place, contents.stream).links:
        yield StreamFile(
            repository, link.object, link.modified, link.size, partial(check_link, place, link)
        )
    for generation in generations_of(place, contents.stream):
        for snapshot in generation.snapshots:
            yield StreamFile(
                repository,
                snapshot.object,
                snapshot.modified,
                snapshot.size,
                partial(_read_snapshot, place, snapshot),
            )
        for log in logs_of(place.store, generation.segments):
            first = log.segments[0]
            size = sum(segment.size for segment in log.segments)
            yield StreamFile(
                repository, first.object, first.modified, size, partial(_read_log, log)
            )


def broken(repository: Repository, contents: Contents) -> Iterator[Wrong]:
    """Yield the files that nothing leads to, where it is not retention that left them so."""
    place = stream_place(repository)
    chain = chain_of(place, contents.stream)
    lost = _lost(chain)
    if lost:
        first = min(lost, key=lambda link: (link.min_txid, link.level))
        yield Wrong(repository, first.object, _missing(chain, first, len(lost)))
    for generation in generations_of(place, contents.stream):
        unreachable = generation.unreachable()
        if unreachable:
            yield Wrong(
                repository,
                unreachable[0].object,
                GapFound(
                    f"nothing leads to {unreachable[0].object}: a snapshot or a segment before "
                    f"it is missing; with it {len(unreachable)} cannot be restored",
                    hint="litekeep list shows what can be restored.",
                ),
            )


@dataclass(frozen=True, slots=True)
class Newest:
    """What making the newest txid showed; `objects` are those that are known to be right."""

    objects: tuple[str, ...] = ()
    unproven: tuple[Unproven, ...] = ()
    wrong: tuple[Wrong, ...] = ()


def prove_newest(repository: Repository, contents: Contents) -> Newest:
    """
    Make the newest txid of a repository's chain in memory.

    Where it cannot be made, `wrong` names its last file; reading the files one by one tells
    which it is, or that it is none of them alone.
    """
    place = stream_place(repository)
    unproven = tuple(
        Unproven(
            f"generation {generation.name} of {place.store.url}",
            "Litestream 0.3 keeps no checksum of the database",
        )
        for generation in generations_of(place, contents.stream)
    )
    chain = chain_of(place, contents.stream)
    known = restorable(chain)
    if not known:
        return Newest(unproven=unproven)
    links = plan_links(chain, known[-1])
    name = f"txid {known[-1]:016x} of {place.store.url}"
    objects = tuple(link.object for link in links)
    try:
        applied = apply_links(place, links)
    except BlobNotFound:
        return Newest((), (Unproven(name, "files of it were removed meanwhile"), *unproven))
    except (CorruptionError, *FAILURES) as error:
        return Newest(unproven=unproven, wrong=(Wrong(repository, objects[-1], error),))
    if applied.is_proved:
        return Newest(objects, unproven)
    reason = "no database checksum stands beside the stream's files"
    return Newest(objects, (Unproven(name, reason), *unproven))


def _lost(chain: Chain) -> list[Link]:
    """
    Return the files that nothing leads to.

    Not those that retention leaves behind: what a merged file that can be reached has too, and
    what is older than all that can be restored.
    """
    known = restorable(chain)
    reached = set(known)
    merged = [link for link in chain.links if 0 < link.level < BASE_LEVEL]
    merged = [link for link in merged if link.max_txid in reached]
    return [
        link
        for link in chain.links
        if link.max_txid not in reached
        and not (known and link.max_txid < known[0])
        and not any(
            one.level > link.level
            and one.min_txid <= link.min_txid
            and one.max_txid >= link.max_txid
            for one in merged
        )
    ]


def _missing(chain: Chain, first: Link, count: int) -> GapFound:
    files = "1 file leads" if count == 1 else f"{count} files lead"
    before = [txid for txid in restorable(chain) if txid < first.min_txid][-1:]
    since = f"behind txid {before[0]:016x}" if before else "before the first"
    return GapFound(
        f"{files} on from nothing, {first.object} the first: a file {since} is missing",
        hint="What they hold cannot be restored; litekeep list shows what can. The next whole "
        "database of the stream begins anew.",
    )


def _read_snapshot(place: Place, snapshot: OldSnapshot) -> None:
    for _ in snapshot_pieces(place.store, snapshot):
        pass


def _read_log(log: OldLog) -> None:
    for _ in log.frames():
        pass
