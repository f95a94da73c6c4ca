"""
Carrying out a retention plan, so that a mistake can be taken back.

    1  put the tombstone, which holds the manifest     still a snapshot
    2  delete the manifest                             pruned; `undelete` brings it back
       ... until the tombstone is due ...
    3  delete the data                                 gone
    4  delete the marks, the tombstone last            nothing is left

What is pruned lies where it lay until its tombstone is due: on stores with versions and
without, in one way.  A kill between any two steps leaves a snapshot, or one that is
pruned: a tombstone beside a manifest says nothing, and the next run goes on from there.
`latest` is never deleted.

What decides is `retain.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from litekeep.clock import Clock, now
from litekeep.codec.formats import CODECS
from litekeep.engine import events
from litekeep.engine.job import remove_or_empty
from litekeep.engine.points import nearest_first, read_quickly
from litekeep.engine.retain import Candidate, Keep, RetentionPlan, plan_retention
from litekeep.errors import BlobNotFound, LitekeepError, NotFound, StateError
from litekeep.repository.catalog import Contents, Deleted, Snapshot
from litekeep.repository.layout import (
    DELETED_SUFFIX,
    HOLD_SUFFIX,
    Repository,
    manifest_of,
)
from litekeep.repository.manifest import ID_KEY, encode
from litekeep.repository.marks import Tombstone, encode_mark
from litekeep.store.base import FAILURES

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Policy:
    """What one repository is to keep; `minimum` sound snapshots in any case."""

    repository: Repository
    keep: Keep
    minimum: int = 1
    undelete_days: int = 7


@dataclass(frozen=True, slots=True)
class PrunePlan:
    """
    What will be done in one repository.

    `retention` decides on each snapshot; `due` are tombstones whose time has come.
    """

    policy: Policy
    retention: RetentionPlan
    removed: tuple[Snapshot, ...]
    due: tuple[Deleted, ...]

    @property
    def freed_size(self) -> int:
        """Stored bytes of what is pruned."""
        return sum(snapshot.stored_size for snapshot in self.removed)


@dataclass(frozen=True, slots=True)
class PruneResult:
    """What was done in one repository; `error` is why it was not all."""

    plan: PrunePlan
    pruned: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    error: LitekeepError | None = None


@dataclass(slots=True, frozen=True)
class _Done:
    pruned: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)


def plan_prune(policy: Policy, *, clock: Clock = now) -> PrunePlan:
    """
    Decide what goes from one repository; nothing is changed.

    Raises:
        StoreError: The store does not answer.
    """
    repository, time = policy.repository, clock()
    contents = read_quickly(repository)
    retention = plan_retention(
        _candidates(repository, contents),
        policy.keep,
        minimum=policy.minimum,
        now=time,
        zone=repository.zone,
    )
    by_object = {snapshot.object: snapshot for snapshot in contents.snapshots}
    return PrunePlan(
        policy,
        retention,
        tuple(by_object[decision.name] for decision in retention.removed),
        () if retention.pause else _due(contents, policy, time),
    )


def prune(
    plan: PrunePlan, report: events.Report = events.ignore, *, clock: Clock = now
) -> PruneResult:
    """
    Carry out *plan*.

    Returns:
        What was done; a store that fails is told there, and not raised.
    """
    done = _Done()
    store = plan.policy.repository.store
    try:
        for snapshot in plan.removed:
            if _bury(snapshot, clock()):
                done.pruned.append(snapshot.object)
                report(events.Note(f"pruned {store.url}/{snapshot.object}"))
        buried = read_quickly(plan.policy.repository) if plan.policy.undelete_days == 0 else None
        for deleted in buried.deleted if buried and not plan.retention.pause else plan.due:
            if _erase(deleted):
                done.deleted.append(deleted.object)
    except FAILURES as error:
        return PruneResult(plan, tuple(done.pruned), tuple(done.deleted), error)
    return PruneResult(plan, tuple(done.pruned), tuple(done.deleted))


def undelete(
    repositories: Sequence[Repository], name: str, *, is_dry_run: bool = False
) -> tuple[Repository, ...]:
    """
    Bring a pruned snapshot back wherever its data still lies.

    Args:
        repositories: Of one database.

        name: The snapshot's.

        is_dry_run: Change nothing.

    Returns:
        Where it is a snapshot again, or would be.

    Raises:
        NotFound: Nowhere is one of that name.

        StateError: Its data is gone.

        StoreError: A store did not do it, or did not answer; the others have.
    """
    back: list[Repository] = []
    pruned: list[Deleted] = []
    failed: LitekeepError | None = None
    for repository in nearest_first(repositories):
        try:
            for deleted in read_quickly(repository).deleted:
                if deleted.name != name:
                    continue
                pruned.append(deleted)
                if deleted.has_data:
                    if not is_dry_run:
                        _unbury(deleted)
                    back.append(repository)
        except FAILURES as error:
            failed = failed or error
    if failed is not None:
        raise failed
    if not pruned:
        raise NotFound(
            f"no pruned snapshot is called {name}",
            hint="litekeep list --deleted shows those that can be brought back.",
        )
    if not back:
        raise StateError(f"the data of {name} is gone", hint="Restore another point.")
    return tuple(back)


def drop_open_uploads(repository: Repository, report: events.Report = events.ignore) -> None:
    """
    Let a bucket drop the uploads that were left open, of which no record tells any more.

    A container loses its record with itself.  They are invisible and cost storage, no more;
    so what the bucket refuses is told, and fails nothing.
    """
    store = repository.store
    try:
        for line in store.clean():
            report(events.Note(line))
    except FAILURES as error:
        message = f"uploads left open in {store.url} were not looked for: {error.message}"
        report(events.Warned(message, error.hint))


def _candidates(repository: Repository, contents: Contents) -> list[Candidate]:
    """Return what the plan has to know; candidates are called by their objects."""
    latest = _latest_objects(repository, contents.snapshots)
    return [
        Candidate(
            name=snapshot.object,
            time=snapshot.time,
            is_sound=_is_sound(snapshot),
            is_proved=snapshot.proof is not None and snapshot.proof.result == "pass",
            is_latest=snapshot.object in latest,
            is_suspect=snapshot.state == "suspect",
            hold=snapshot.hold.reason if snapshot.hold else None,
        )
        for snapshot in contents.snapshots
    ]


def _is_sound(snapshot: Snapshot) -> bool:
    """Whether it passed its check when it was made, or a drill since."""
    if snapshot.state in ("failed", "suspect"):
        return False
    if snapshot.proof is not None and snapshot.proof.result == "pass":
        return True
    return snapshot.manifest is not None and snapshot.manifest.check.result == "ok"


def _latest_objects(repository: Repository, snapshots: Sequence[Snapshot]) -> set[str]:
    """Return the snapshots that `latest` is a copy of, in each format."""
    found = set()
    for codec in CODECS:
        name = repository.latest(codec)
        if name is None:
            continue
        try:
            snapshot_id = repository.store.head(name).metadata.get(ID_KEY)
        except BlobNotFound:
            continue
        copies = [s for s in snapshots if snapshot_id is not None and s.id == snapshot_id]
        if not copies:  # an older script's: it says of what it is a copy by its age alone
            copies = [s for s in snapshots if s.object.endswith(f".db{codec.suffix}")][-1:]
        found |= {copy.object for copy in copies}
    return found


def _due(contents: Contents, policy: Policy, time: datetime) -> tuple[Deleted, ...]:
    until = policy.undelete_days * _DAY
    return tuple(one for one in contents.deleted if time - one.tombstone.time >= until)


def _bury(snapshot: Snapshot, time: datetime) -> bool:
    """Steps 1 and 2, unless somebody holds it by now."""
    store = snapshot.repository.store
    hold = snapshot.object + HOLD_SUFFIX
    if any(blob.name == hold and blob.size for blob in store.list(hold)):
        return False
    tombstone = Tombstone(id=snapshot.id, time=time, manifest=snapshot.manifest)
    store.put(snapshot.object + DELETED_SUFFIX, encode_mark(tombstone))
    if snapshot.manifest is not None:
        store.delete(manifest_of(snapshot.object))
    return True


def _unbury(deleted: Deleted) -> None:
    """The way back: first the manifest, which makes it a snapshot."""
    store = deleted.repository.store
    if deleted.tombstone.manifest is not None:
        store.put(manifest_of(deleted.object), encode(deleted.tombstone.manifest))
    remove_or_empty(store, deleted.object + DELETED_SUFFIX)


def _erase(deleted: Deleted) -> bool:
    """Steps 3 and 4, unless somebody brought it back by now."""
    store = deleted.repository.store
    manifest = manifest_of(deleted.object)
    if any(blob.name == manifest for blob in store.list(manifest)):
        return False
    store.delete(deleted.object)
    tombstone = deleted.object + DELETED_SUFFIX
    for name in deleted.companions:
        if name != tombstone:
            store.delete(name)
    store.delete(tombstone)
    return True
