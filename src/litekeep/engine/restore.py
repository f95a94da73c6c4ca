"""
Back to a restore point.

    1  plan                  which point, from which copies, over what (engine/plan.py)
    2  complete              a swap that an earlier run left half done (engine/swap.py)
    3  fetch and prove       into a temporary file beside the target: every checksum,
                             then SQLite's check and the fsync beside each other
    4  owner, mode           as the old file's
    5  swap                  engine/swap.py: the old file stays as the undo copy; the
                             application is at rest meanwhile (engine/application.py)

A copy that is damaged, or whose store fails, is passed over for the next.  Before
step 5 the target is not touched, so a kill leaves it as it was, and a temporary file
that the next run removes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from dataclasses import replace as changed
from pathlib import Path
from typing import BinaryIO

from litekeep import faults, workers
from litekeep.clock import Clock, monotonic, now
from litekeep.dockername import DockerName
from litekeep.engine import events
from litekeep.engine.application import InPlace, at_rest, check_in_place, failure_of, users_named
from litekeep.engine.branch import fetch_branch
from litekeep.engine.fetch import Fetch, Fetched
from litekeep.engine.ownership import adopt_ownership
from litekeep.engine.plan import Copy, RestorePlan
from litekeep.engine.points import RestorePoint
from litekeep.engine.staging import opened_in, write_failed
from litekeep.engine.swap import complete, swap
from litekeep.errors import (
    CorruptionError,
    IntegrityFailed,
    LitekeepError,
    NoSpace,
    Vanished,
)
from litekeep.sqlite.check import FAILED, OK, Check
from litekeep.sqlite.checking import CheckProcess
from litekeep.sqlite.view import view_at_rest
from litekeep.store.base import FAILURES
from litekeep.store.temporary import TEMPORARY_NAME, remove_dead

_PLANS_MAX = 5


@dataclass(frozen=True, slots=True)
class RestoreResult:
    """
    What was restored.

    `is_proved` says that every checksum of a manifest was compared and SQLite's
    check found nothing; `unproven` says why not.  `in_place` is SQLite's check of the
    database where the application has it, made for one in Docker or of a stopped service;
    `failure` is what is wrong although the file is in its place.
    """

    plan: RestorePlan
    copy: Copy
    undo: Path | None
    bytes_fetched: int
    request_count: int
    seconds: float
    is_proved: bool
    unproven: str | None
    #: Why its checksums prove nothing, whatever SQLite's check says; None: they do.
    fetch_unproven: str | None
    sha256: str
    database_checksum: int
    size: int
    in_place: InPlace | None = None
    failure: LitekeepError | None = None

    @property
    def point(self) -> RestorePoint | None:
        """The restore point that was taken: the plan's, or the one that it falls back to."""
        return self.copy.point


def restore(plan: RestorePlan, report: events.Report = events.ignore) -> RestoreResult:
    """
    Carry out *plan*.

    Raises:
        CorruptionError, StoreError: No copy could be read and proved; the last
            copy's error.

        DatabaseBusy, NoSpace, TargetExists: As in planning; the target is untouched.
    """
    started, again = monotonic(), plan.again
    for _ in range(_PLANS_MAX):
        try:
            return _Restore(plan, report).run(started)
        except Vanished as error:
            if again is None:
                raise
            report(events.Note(f"{error.message}: planning anew"))
            plan = again()
    return _Restore(plan, report).run(started)


@dataclass(frozen=True, slots=True)
class _Restore:
    plan: RestorePlan
    report: events.Report
    clock: Clock = field(default=now)

    def run(self, started: float) -> RestoreResult:
        plan, target = self.plan, self.plan.target
        for warned in plan.warnings:
            self.report(warned)
        if not plan.services:
            self._complete()
        self._clean(target.parent)
        error: LitekeepError | None = None
        for copy in plan.copies:
            with opened_in(target.parent) as (path, file):
                try:
                    fetched, check = self._proved(copy, path, file)
                except (CorruptionError, Vanished, *FAILURES) as failed:
                    if isinstance(failed, NoSpace):
                        raise
                    error = failed
                    place = f"{copy.store.url}/{copy.object}"
                    self.report(events.Warned(f"{place}: {failed.message}", failed.hint))
                    continue
                self.report(events.Integrity(check.result, check.detail))
                with (
                    at_rest(plan.services, self.report) as unstarted,
                    users_named(plan.address, target),
                ):
                    if plan.services:
                        self._complete()
                    undo = self._put_in_place(path, file)
            in_place = None
            if fetched.size and (plan.services or isinstance(plan.address, DockerName)):
                in_place = check_in_place(target, self.report)
            result = self._result(copy, fetched, check, undo, monotonic() - started)
            return changed(result, in_place=in_place, failure=failure_of(in_place, unstarted))
        assert error is not None, "a plan has at least one copy"
        raise error

    def _complete(self) -> None:
        if complete(self.plan.target, assume_stopped=self.plan.is_vouched_for):
            target = self.plan.target
            self.report(events.Note(f"completed the restore of {target} that was cut short"))

    def _clean(self, folder: Path) -> None:
        for name in os.listdir(folder):
            if TEMPORARY_NAME.fullmatch(name):
                remove_dead(folder / name)

    def _proved(self, copy: Copy, path: Path, file: BinaryIO) -> tuple[Fetched, Check]:
        fetched = self._fetch(copy, path, file)
        check = self._prove(path, file, fetched)
        if check.result == FAILED and not self._is_accepted(copy):
            raise IntegrityFailed(
                f"{copy.object}: quick_check failed: {check.detail}",
                hint="Restore an earlier point, or give the name of this one to --at to take it "
                "as it is.",
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
            assume_stopped=plan.is_vouched_for,
        )

    def _result(
        self, copy: Copy, fetched: Fetched, check: Check, undo: Path | None, seconds: float
    ) -> RestoreResult:
        unproven = _why_unproven(fetched, check)
        return RestoreResult(
            plan=self.plan,
            copy=copy,
            undo=undo,
            bytes_fetched=fetched.stored_size,
            request_count=fetched.request_count,
            seconds=seconds,
            is_proved=unproven is None,
            unproven=unproven,
            fetch_unproven=fetched.unproven,
            sha256=fetched.sha256,
            database_checksum=fetched.checksum,
            size=fetched.size,
        )

    def _fetch(self, copy: Copy, path: Path, file: BinaryIO) -> Fetched:
        if (branch := copy.branch) is not None:
            return fetch_branch(
                branch,
                path,
                file,
                lambda done: self.report(events.Progress("restore", done, branch.size)),
            )
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

    def _is_accepted(self, copy: Copy) -> bool:
        """
        Say whether a copy may fail its check.

        Either it was made of a database that failed it then; or somebody asked for it by
        name, and its bytes are those of its manifest or there is no other copy.
        """
        if copy.manifest is not None and copy.manifest.check.result == FAILED:
            return True
        if copy.branch is not None:  # what it is proved to be is what the database was
            return self.plan.accepts_failed_check
        is_last = copy is self.plan.copies[-1]
        return self.plan.accepts_failed_check and (copy.manifest is not None or is_last)


def _fsync(file: BinaryIO) -> None:
    faults.reach("fsync restored")
    os.fsync(file.fileno())


def _why_unproven(fetched: Fetched, check: Check) -> str | None:
    reasons = [fetched.unproven] if fetched.unproven is not None else []
    if check.result != OK:
        reasons.append(f"quick_check: {check.result}: {check.detail}")
    return "; ".join(reasons) or None
