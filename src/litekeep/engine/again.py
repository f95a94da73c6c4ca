"""
A check that fails again: what to say when the snapshot before this one failed it too.

Once may be a disk or memory that slipped, and the next run tells.  Twice is damage that
stays: then it is time to restore, or to save what can be read.  What is known of the runs
before is what they left in the stores, so nothing is remembered beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from litekeep.engine.damage import last_good
from litekeep.errors import CorruptionError
from litekeep.repository.layout import Repository
from litekeep.repository.newest import newest_manifest
from litekeep.store.base import FAILURES

_KEPT = "The snapshot is kept and marked as failed, and latest did not move."


@dataclass(frozen=True, slots=True)
class FailedBefore:
    """The snapshot before failed its check too; `last_good` is the newest that is good."""

    name: str
    last_good: str | None


def failed_before(repositories: Sequence[Repository], name: str) -> FailedBefore | None:
    """
    Return the failed snapshot that came before *name*.

    Args:
        repositories: Of one database, nearest first; the first that answers tells.

        name: Of the snapshot under way, which has no manifest yet.

    Returns:
        None where the one before did not fail, or nobody knows.
    """
    for repository in repositories:
        try:
            newest = newest_manifest(repository, name)
        except (CorruptionError, *FAILURES):
            continue
        if newest is None or newest.state != "failed":
            return None
        good = last_good(repositories, name)
        return FailedBefore(newest.name, good.name if good is not None else None)
    return None


def hint_after(before: FailedBefore | None) -> str:
    """Return what to do about a check that failed."""
    if before is None:
        return f"{_KEPT} If the next backup fails too, the file is damaged."
    dump = "litekeep dump saves what can still be read"
    if before.last_good is None:
        return f"{_KEPT} {before.name} failed too, and no snapshot is good: {dump}."
    return (
        f"{_KEPT} {before.name} failed too: the file is damaged. litekeep restore brings back "
        f"{before.last_good}, the newest that is good; {dump}."
    )
