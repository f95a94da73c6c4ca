"""
Back to a restore point.

    1  plan                  which point, from which copies, over what; is there room?
    2  complete              a swap that an earlier run left half done (engine/swap.py)
    3  fetch and prove       into a temporary file beside the target: every checksum,
                             then SQLite's check and the fsync beside each other
    4  owner, mode           as the old file's
    5  swap                  engine/swap.py: the old file stays as the undo copy

A copy that is damaged, or whose store fails, is passed over for the next.  Before
step 5 the target is not touched, so a kill leaves it as it was, and a temporary file
that the next run removes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

from litekeep import faults, workers
from litekeep.clock import Clock, monotonic, now
from litekeep.engine import events
from litekeep.engine.fetch import Fetch, Fetched
from litekeep.engine.in_use import refuse_if_open
from litekeep.engine.origin import refuse_other, taken_of
from litekeep.engine.ownership import adopt_ownership
from litekeep.engine.points import RestorePoint, choose, nearest_first, read_points
from litekeep.engine.staging import opened_in, write_failed
from litekeep.engine.swap import complete, swap
from litekeep.engine.target import database_target, refuse_stored
from litekeep.engine.undo import SIDECARS
from litekeep.errors import (
    CorruptionError,
    DatabaseUnusable,
    IntegrityFailed,
    LitekeepError,
    NoSpace,
    NotFound,
    TargetExists,
)
from litekeep.paths import exists, is_file, is_folder
from litekeep.repository.catalog import Snapshot
from litekeep.repository.layout import Repository
from litekeep.repository.manifest import Manifest, Origin
from litekeep.sqlite.check import FAILED, OK, Check
from litekeep.sqlite.checking import CheckProcess
from litekeep.sqlite.view import view_at_rest
from litekeep.store.base import FAILURES, Store
from litekeep.store.directory import DirectoryStore
from litekeep.store.temporary import TEMPORARY_NAME, remove_dead
from litekeep.units import show_size
from litekeep.when import Latest, When

_MARGIN = 16 << 20


@dataclass(frozen=True, slots=True)
class Copy:
    """One place to fetch a restore point from; `manifest` None proves nothing."""

    store: Store
    object: str
    manifest: Manifest | None


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """
    What a restore will do; `--dry-run` prints it.

    `point` is None for a file of anybody's; `distance` is how long before the asked
    time the point lies; `size` is the database's in bytes, None where unknown.
    `unread` are the stores that did not answer: they may hold a newer point.  `taken_of`
    is where the point was taken, if not here, or of another file than was named.
    """

    source: str
    point: RestorePoint | None
    distance: timedelta | None
    passed_over: tuple[RestorePoint, ...]
    copies: tuple[Copy, ...]
    target: Path
    replaces: bool
    keep_undo: bool
    assume_stopped: bool
    size: int | None
    unread: tuple[tuple[str, LitekeepError], ...] = ()
    taken_of: Origin | None = None


@dataclass(frozen=True, slots=True)
class RestoreResult:
    """
    What was restored.

    `is_proved` says that every checksum of a manifest was compared and SQLite's
    check found nothing; `unproven` says why not.
    """

    plan: RestorePlan
    copy: Copy
    undo: Path | None
    bytes_fetched: int
    request_count: int
    seconds: float
    is_proved: bool
    unproven: str | None
    sha256: str
    database_checksum: int
    size: int


def plan_restore(
    repositories: Sequence[Repository],
    target: Path,
    *,
    when: When | None = None,
    replace: bool = False,
    keep_undo: bool = True,
    assume_stopped: bool = False,
    database: Path | None = None,
    is_own_place: bool = False,
) -> RestorePlan:
    """
    Decide what to restore, and whether it can be done; nothing is changed.

    Args:
        repositories: Where to look.

        target: Where it goes.

        when: The moment; the newest point that is fit if None.

        replace: Put it in the place of a file that is there.

        keep_undo: Keep that file as an undo copy.

        assume_stopped: Nobody has it open, the caller says.

        database: The live file whose backups these are said to be, where that is known.

        is_own_place: *target* is that file, and nobody has named it as the target.

    Raises:
        NotFound: No restore point meets *when*.

        UserError: What would take the place of *database* is of another file.

        TargetExists: *target* is there and *replace* is not given.

        DatabaseBusy: *target* is in use.

        NoSpace: The disk has no room for a second file of that size.
    """
    points = read_points(nearest_first(repositories))
    if not points.points and not points.unread:
        places = ", ".join(repository.store.url for repository in repositories)
        raise NotFound(
            f"there are no restore points in {places}",
            hint="Make one with litekeep backup; if they are elsewhere, name that place instead.",
        )
    choice = choose(points, when or Latest())
    if is_own_place:
        refuse_other(choice.point, points.points, target)
    return _checked(
        RestorePlan(
            source=choice.point.store,
            point=choice.point,
            distance=choice.distance,
            passed_over=choice.passed_over,
            copies=tuple(map(_copy_of, choice.point.copies)),
            target=database_target(target),
            replaces=replace,
            keep_undo=keep_undo,
            assume_stopped=assume_stopped,
            size=choice.point.size,
            unread=tuple((repository.store.url, error) for repository, error in points.unread),
            taken_of=taken_of(choice.point, database),
        )
    )


def _copy_of(snapshot: Snapshot) -> Copy:
    return Copy(snapshot.repository.store, snapshot.object, snapshot.manifest)


def plan_restore_file(
    file: Path,
    target: Path,
    *,
    replace: bool = False,
    keep_undo: bool = True,
    assume_stopped: bool = False,
) -> RestorePlan:
    """
    Plan to restore a single file of anybody's: gzip, zstd or a plain database.

    Raises:
        NotFound: There is no such file; and as `plan_restore`.
    """
    if not is_file(file):
        raise NotFound(f"no file at {file}", hint="Check the path.")
    for suffix in SIDECARS:
        log = Path(f"{file}{suffix}")
        if suffix != "-shm" and log.exists() and log.stat().st_size > 0:
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
            target=database_target(target),
            replaces=replace,
            keep_undo=keep_undo,
            assume_stopped=assume_stopped,
            size=None,
        )
    )


def restore(plan: RestorePlan, report: events.Report = events.ignore) -> RestoreResult:
    """
    Carry out *plan*.

    Raises:
        CorruptionError, StoreError: No copy could be read and proved; the last
            copy's error.

        DatabaseBusy, NoSpace, TargetExists: As in planning; the target is untouched.
    """
    started = monotonic()
    return _Restore(plan, report).run(started)


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
    refuse_if_open(target, assume_stopped=plan.assume_stopped)
    room = os.statvfs(target.parent)
    free = room.f_bavail * room.f_frsize
    if plan.size is not None and free < plan.size + _MARGIN:
        raise NoSpace(
            f"{target.parent} has {show_size(free)} free; the database needs "
            f"{show_size(plan.size)}",
            hint="Free some space, or restore to another disk with --output.",
        )
    return plan


@dataclass(frozen=True, slots=True)
class _Restore:
    plan: RestorePlan
    report: events.Report
    clock: Clock = field(default=now)

    def run(self, started: float) -> RestoreResult:
        plan, target = self.plan, self.plan.target
        for url, unread in plan.unread:
            self.report(events.Warned(f"{url} was not looked at: {unread.message}", unread.hint))
        if complete(target, assume_stopped=plan.assume_stopped):
            self.report(events.Note(f"completed the restore of {target} that was cut short"))
        self._clean(target.parent)
        error: LitekeepError | None = None
        for copy in plan.copies:
            with opened_in(target.parent) as (path, file):
                try:
                    fetched, check = self._proved(copy, path, file)
                except (CorruptionError, *FAILURES) as failed:
                    if isinstance(failed, NoSpace):
                        raise
                    error = failed
                    place = f"{copy.store.url}/{copy.object}"
                    self.report(events.Warned(f"{place}: {failed.message}", failed.hint))
                    continue
                self.report(events.Integrity(check.result, check.detail))
                undo = self._put_in_place(path, file)
            return self._result(copy, fetched, check, undo, monotonic() - started)
        assert error is not None, "a plan has at least one copy"
        raise error

    def _clean(self, folder: Path) -> None:
        for name in os.listdir(folder):
            if TEMPORARY_NAME.fullmatch(name):
                remove_dead(folder / name)

    def _proved(self, copy: Copy, path: Path, file: BinaryIO) -> tuple[Fetched, Check]:
        fetched = self._fetch(copy, path, file)
        check = self._prove(path, file, fetched)
        if check.result == FAILED and not self._is_known_bad(copy):
            raise IntegrityFailed(
                f"{copy.object}: quick_check failed: {check.detail}",
                hint="Restore an earlier point.",
            )
        return fetched, check

    def _put_in_place(self, path: Path, file: BinaryIO) -> Path | None:
        plan = self.plan
        try:
            adopt_ownership(file, path, plan.target, self.report)
            _fsync(file)
        except OSError as error:
            raise write_failed(error, path) from error
        return swap(
            path,
            file,
            plan.target,
            time=self.clock(),
            replaces=plan.replaces,
            keep_undo=plan.keep_undo,
            assume_stopped=plan.assume_stopped,
        )

    def _result(
        self, copy: Copy, fetched: Fetched, check: Check, undo: Path | None, seconds: float
    ) -> RestoreResult:
        unproven = _why_unproven(copy, check)
        return RestoreResult(
            plan=self.plan,
            copy=copy,
            undo=undo,
            bytes_fetched=fetched.stored_size,
            request_count=fetched.request_count,
            seconds=seconds,
            is_proved=unproven is None,
            unproven=unproven,
            sha256=fetched.sha256,
            database_checksum=fetched.checksum,
            size=fetched.size,
        )

    def _fetch(self, copy: Copy, path: Path, file: BinaryIO) -> Fetched:
        fetch = Fetch(copy.store, copy.object, copy.manifest)
        done = 0
        try:
            for piece in fetch:
                faults.reach("write restored")
                view = memoryview(piece)
                while len(view) > 0:
                    view = view[file.write(view) :]
                done += len(piece)
                self.report(events.Progress("restore", done, self.plan.size))
        except OSError as error:
            raise write_failed(error, path) from error
        return fetch.result

    def _prove(self, path: Path, file: BinaryIO, fetched: Fetched) -> Check:
        """Run SQLite's check while the bytes go to the disk."""
        synced = workers.in_thread(lambda: _fsync(file))
        if fetched.size == 0:
            check = Check(OK, "", {})
        else:
            view = view_at_rest(path, os.fstat(file.fileno()), fetched.page_size, fetched.size)
            check = CheckProcess(view).result()
        try:
            synced.result()
        except OSError as error:
            raise write_failed(error, path) from error
        return check

    def _is_known_bad(self, copy: Copy) -> bool:
        """Whether the snapshot was made of a database that failed its check then."""
        return copy.manifest is not None and copy.manifest.check.result == FAILED


def _fsync(file: BinaryIO) -> None:
    faults.reach("fsync restored")
    os.fsync(file.fileno())


def _why_unproven(copy: Copy, check: Check) -> str | None:
    if copy.manifest is None:
        return "there is no manifest to compare it with"
    if check.result != OK:
        return f"quick_check: {check.result}: {check.detail}"
    return None
