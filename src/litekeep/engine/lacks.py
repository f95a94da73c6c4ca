"""
What a store does not hold though its sisters do: all, the newest, or some in between.

A backup goes to every store, so an empty one is a disk that is not mounted, a folder that
somebody cleared, or a place that is new.  Retention may differ from store to store, but it
takes the oldest, leaves a tombstone, and never takes the newest.  So what a store lacks
counts from the oldest snapshot that it holds, and what a backup at work still brings does
not count.

This module compares what was read, and asks no store.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from litekeep.repository.catalog import Contents, Snapshot
from litekeep.repository.layout import Repository


@dataclass(frozen=True, slots=True)
class Lack:
    """
    The snapshots, newest first, that a store lacks, and one of those that hold the newest.

    `has_nothing`: the store holds no snapshot; `has_newest`: only older ones are missing.
    """

    repository: Repository
    names: tuple[str, ...]
    sister: str
    has_nothing: bool
    has_newest: bool

    @property
    def message(self) -> str:
        """What is missing, for a person."""
        url, count = self.repository.store.url, len(self.names)
        if self.has_nothing:
            return f"{url} holds no snapshots, and {self.sister} holds {count}"
        if not self.has_newest:
            return f"{url} lacks the newest snapshot, {self.names[0]}, which {self.sister} holds"
        named = ", ".join(self.names[:3]) + (", ..." if count > 3 else "")
        return f"{url} lacks {count} that {self.sister} holds: {named}"

    @property
    def hint(self) -> str | None:
        """What to look at."""
        if self.has_nothing:
            return "Is the disk mounted, and the path right? The next backup fills a new store."
        return None if self.has_newest else "The next backup goes to every store again."


def find_lacks(read: Sequence[tuple[Repository, Contents]]) -> tuple[Lack, ...]:
    """
    Return what each store lacks of what the others hold.

    Args:
        read: What the repositories of one database hold; those that did not answer are
            left out.
    """
    holders: dict[str, tuple[Repository, Snapshot]] = {}
    for repository, contents in read:
        for snapshot in contents.snapshots:
            holders.setdefault(snapshot.identity, (repository, snapshot))
    newest_first = sorted(
        holders.values(), key=lambda held: (held[1].time, held[1].name), reverse=True
    )
    lacks = (_lack(repository, contents, newest_first) for repository, contents in read)
    return tuple(lack for lack in lacks if lack is not None)


def _lack(
    repository: Repository,
    contents: Contents,
    newest_first: Sequence[tuple[Repository, Snapshot]],
) -> Lack | None:
    held = {snapshot.identity for snapshot in contents.snapshots}
    told = {item.name for item in contents.leftovers} | {item.name for item in contents.deleted}
    missing = [
        (sister, snapshot)
        for sister, snapshot in newest_first
        if snapshot.identity not in held
        and snapshot.name not in told
        and not _is_on_its_way(snapshot, contents)
        and _counts(snapshot, contents.snapshots)
    ]
    if not missing:
        return None
    ours = _ours(snapshot for _, snapshot in newest_first)
    return Lack(
        repository,
        tuple(snapshot.name for _, snapshot in missing),
        missing[0][0].store.url,
        has_nothing=not contents.snapshots,
        has_newest=not ours or missing[0][1].identity != ours[0].identity,
    )


def _counts(snapshot: Snapshot, held: Sequence[Snapshot]) -> bool:
    """Say whether a store that holds *held*, oldest first, should hold this one."""
    if not held:
        return True
    # Where one without a manifest lies is the business of whoever made it.
    return snapshot.manifest is not None and snapshot.time > held[0].time


def _is_on_its_way(snapshot: Snapshot, contents: Contents) -> bool:
    since = snapshot.time.replace(microsecond=0)
    return any(claim.time >= since for claim in contents.claims)


def _ours(snapshots: Iterable[Snapshot]) -> list[Snapshot]:
    return [snapshot for snapshot in snapshots if snapshot.manifest is not None]
