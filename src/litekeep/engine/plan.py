"""
What a restore will do: chosen, and held against the disk, before anything is touched.

The plan is a value.  `--dry-run` shows it, and `restore.py` carries it out.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as changed
from datetime import timedelta
from functools import partial
from pathlib import Path

from litekeep.clock import Clock, now
from litekeep.dockername import Address
from litekeep.engine import events
from litekeep.engine.ahead import AHEAD_HINT
from litekeep.engine.application import users_named
from litekeep.engine.in_use import refuse_if_open
from litekeep.engine.lacks import Lack
from litekeep.engine.origin import refuse_other, taken_of
from litekeep.engine.points import (
    PassedOver,
    Points,
    RestorePoint,
    nearest_first,
    read_points,
)
from litekeep.engine.target import database_target, refuse_stored
from litekeep.engine.timeline import Chosen, choose_of_both
from litekeep.engine.undo import logs_beside
from litekeep.errors import (
    BlobNotFound,
    DatabaseUnusable,
    LitekeepError,
    NoSpace,
    NotFound,
    TargetExists,
)
from litekeep.host.service import Service
from litekeep.host.volumes import path_of
from litekeep.paths import exists, is_file, is_folder
from litekeep.repository.layout import Repository
from litekeep.repository.manifest import Manifest, Origin
from litekeep.store.base import Store
from litekeep.store.directory import DirectoryStore
from litekeep.stream.chain import Branch
from litekeep.stream.generations import OldBranch
from litekeep.units import show_size
from litekeep.when import Latest, Named, When

_LOOKS_MAX = 5
_MARGIN = 16 << 20


@dataclass(frozen=True, slots=True)
class Copy:
    """
    One place to fetch a restore point from: an object, or a branch of the stream.

    Of an object without `manifest` nothing can be proved.
    """

    store: Store
    object: str
    manifest: Manifest | None
    point: RestorePoint | None = None
    branch: Branch | OldBranch | None = None


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """
    What a restore will do; `--dry-run` prints it.

    `address` is the target as it was named; `services` are stopped while it is replaced.
    `point` is None for a file of anybody's; `distance` and `passed_over` are as in
    `points.Choice`; `size` is the database's in bytes, None where unknown.  `unread` are
    the stores that did not answer, and `lacks` those that miss the newest of what the
    others hold: either may once have held a newer point.  `taken_of` is where the point was
    taken, if not here, or of another file than was named.  `accepts_failed_check`
    says that SQLite's check may find damage: of what was asked for by its name.
    """

    source: str
    point: RestorePoint | None
    distance: timedelta | None
    passed_over: tuple[PassedOver, ...]
    copies: tuple[Copy, ...]
    target: Path
    replaces: bool
    keep_undo: bool
    assume_stopped: bool
    size: int | None
    unread: tuple[tuple[str, LitekeepError], ...] = ()
    taken_of: Origin | None = None
    lacks: tuple[Lack, ...] = ()
    accepts_failed_check: bool = False
    is_ahead: bool = False
    address: Address = Path()
    services: tuple[Service, ...] = ()
    #: Makes the plan anew: what it counts on may have been removed meanwhile.
    again: Callable[[], RestorePlan] | None = field(default=None, compare=False)

    @property
    def is_vouched_for(self) -> bool:
        """Whether somebody says that nobody has the target open, or will have stopped who had."""
        return self.assume_stopped or bool(self.services)

    @property
    def warnings(self) -> tuple[events.Warned, ...]:
        """What the choice could not look at, or did not take though it is newer."""
        name = self.point.name if self.point else ""
        return (
            *(
                events.Warned(f"{url} was not looked at: {error.message}", error.hint)
                for url, error in self.unread
            ),
            *(events.Warned(lack.message, lack.hint) for lack in self.lacks),
            *(events.Warned(f"passing over {p.name}: {p.reason}") for p in self.passed_over),
            *((events.Warned(f"{name} lies in the future", AHEAD_HINT),) if self.is_ahead else ()),
        )


def plan_restore(
    repositories: Sequence[Repository],
    target: Address,
    *,
    when: When | None = None,
    replace: bool = False,
    keep_undo: bool = True,
    assume_stopped: bool = False,
    database: Address | None = None,
    is_own_place: bool = False,
    services: tuple[Service, ...] = (),
    clock: Clock = now,
) -> RestorePlan:
    """
    Decide what to restore, and whether it can be done; nothing is changed.

    Args:
        repositories: Where to look.

        target: Where it goes.

        when: The moment; the newest point that is fit if None.

        replace, keep_undo, assume_stopped, services: As in `RestorePlan`.

        database: The live file whose backups these are said to be, where that is known.

        is_own_place: *target* is that file, and nobody has named it as the target.

    Raises:
        NotFound: No restore point meets *when*.

        UserError: What would take the place of *database* is of another file.

        CorruptionError: No copy of the one that *when* names is whole.

        TargetExists: *target* is there and *replace* is not given.

        DatabaseBusy, NoSpace: *target* is in use; the disk has no room for a second one.
    """
    plan = partial(
        _plan,
        repositories,
        target,
        when=when,
        replace=replace,
        keep_undo=keep_undo,
        assume_stopped=assume_stopped,
        database=database,
        is_own_place=is_own_place,
        services=services,
        clock=clock,
    )
    return changed(plan(), again=plan)


def _plan(
    repositories: Sequence[Repository],
    target: Address,
    *,
    when: When | None,
    replace: bool,
    keep_undo: bool,
    assume_stopped: bool,
    database: Address | None,
    is_own_place: bool,
    services: tuple[Service, ...],
    clock: Clock,
) -> RestorePlan:
    points, chosen = _chosen(repositories, when or Latest(), clock)
    choice = chosen.choice
    real = database_target(path_of(target))
    if is_own_place:
        refuse_other(choice.point, points.points, real)
        database = real
    return _checked(
        RestorePlan(
            source=choice.point.store,
            point=choice.point,
            distance=choice.distance,
            passed_over=choice.passed_over,
            copies=(*_copies_of(choice.point), *_copies_of(chosen.fallback)),
            target=real,
            replaces=replace,
            keep_undo=keep_undo,
            assume_stopped=assume_stopped,
            size=choice.point.size,
            unread=tuple((repository.store.url, error) for repository, error in points.unread),
            taken_of=taken_of(choice.point, database if isinstance(database, Path) else None),
            lacks=tuple(lack for lack in points.lacks if not lack.has_newest),
            accepts_failed_check=isinstance(when, Named),
            is_ahead=choice.is_ahead,
            address=target,
            services=services,
        )
    )


def _chosen(repositories: Sequence[Repository], when: When, clock: Clock) -> tuple[Points, Chosen]:
    """Look and choose; again, if an object that was listed is gone when it is to be read."""
    for attempt in range(1, _LOOKS_MAX + 1):
        points = read_points(nearest_first(repositories))
        if points.is_empty:
            raise _nothing_in(repositories)
        try:
            return points, choose_of_both(points, when, clock())
        except BlobNotFound:
            if attempt == _LOOKS_MAX:
                raise
    raise AssertionError("the last look returns or raises")


def _nothing_in(repositories: Sequence[Repository]) -> NotFound:
    places = ", ".join(repository.store.url for repository in repositories)
    return NotFound(
        f"there are no restore points in {places}",
        hint="Make one with litekeep backup; if they are elsewhere, name that place instead.",
    )


def _copies_of(point: RestorePoint | None) -> Iterator[Copy]:
    if point is None:
        return
    for snapshot in point.copies:
        yield Copy(snapshot.repository.store, snapshot.object, snapshot.manifest, point)
    for branch in point.branches:
        yield Copy(branch.place.store, branch.last_object, None, point, branch)


def plan_restore_file(
    file: Path,
    target: Address,
    *,
    replace: bool = False,
    keep_undo: bool = True,
    assume_stopped: bool = False,
    services: tuple[Service, ...] = (),
) -> RestorePlan:
    """
    Plan to restore a single file of anybody's: gzip, zstd or a plain database.

    Raises:
        NotFound: There is no such file; and as `plan_restore`.
    """
    if not is_file(file):
        raise NotFound(f"no file at {file}", hint="Check the path.")
    for log in logs_beside(file):
        raise DatabaseUnusable(
            f"{file} is not whole without {log.name}",
            hint="It is a database in use, or one whose application was killed: back it up "
            "with litekeep backup, and restore that.",
        )
    copy = Copy(DirectoryStore(file.resolve().parent), file.resolve().name, None)
    return _checked(
        RestorePlan(
            source=str(file),
            point=None,
            distance=None,
            passed_over=(),
            copies=(copy,),
            target=database_target(path_of(target)),
            replaces=replace,
            keep_undo=keep_undo,
            assume_stopped=assume_stopped,
            size=None,
            accepts_failed_check=True,
            address=target,
            services=services,
        )
    )


def _checked(plan: RestorePlan) -> RestorePlan:
    target = plan.target
    if not is_folder(target.parent):
        raise NotFound(f"no folder at {target.parent}", hint="Make it first, or check the path.")
    refuse_stored(target)
    if exists(target) and not plan.replaces:
        raise TargetExists(
            f"{target} exists",
            hint="Give --replace to put the restored database in its place (the old one is "
            "kept as an undo copy), or another path with --output.",
        )
    if not plan.services:
        with users_named(plan.address, target):
            refuse_if_open(target, assume_stopped=plan.assume_stopped)
    if plan.size is not None:
        refuse_without_room(target.parent, plan.size)
    return plan


def refuse_without_room(folder: Path, size: int) -> None:
    """
    Raise if a database of *size* bytes cannot be restored into *folder*.

    The undo copy takes none: it is a second name of the old file.

    Raises:
        NoSpace: The disk has not as much free, and a little to spare.
    """
    room = os.statvfs(folder)
    free = room.f_bavail * room.f_frsize
    margin = min(_MARGIN, size // 16)
    if free < size + margin:
        raise NoSpace(
            f"{folder} has {show_size(free)} free; the database needs {show_size(size)}, and "
            f"{show_size(margin)} to spare",
            hint="Free some space, or restore to another disk with --output.",
        )
