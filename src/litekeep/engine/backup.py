"""
One snapshot of a live database, to several stores.

    view --pieces--> sha256, checksum --> compress, 8 threads   --> staging file
      \\--> quick_check in a child process                              |  |  |
                                                              one thread a store

ORDER of steps, and what a kill between them leaves

    1  take the job's lock                nothing
    2  withdraw what a killed run began   nothing; doing it twice does no harm
    3  take the view, start the check     nothing: no file but the source is open
    4  record what is about to begin      a record, for step 2 of the next run
    5  claim the name in each store       an object of no bytes: no snapshot
    6  compress into the staging file     a temporary file, removed by the next run
    7  data stands in the store           no snapshot, without manifest; withdrawn later
    8  put the manifest                   a snapshot; `latest` is the one before
    9  copy it to `latest`                everything stands
   10  remove the record

The view is let go when all is compressed and checked, before any store is waited
for.  Each store goes through 5 and 7 to 9 on a thread of its own and fails alone.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import cast

from litekeep.clock import Clock, Sleep, monotonic, now, sleep
from litekeep.codec.base import Codec
from litekeep.codec.formats import codec_named
from litekeep.dockername import Address
from litekeep.engine import events
from litekeep.engine.again import FailedBefore, failed_before, hint_after
from litekeep.engine.compress import compressed
from litekeep.engine.damage import Limits, last_good, losses
from litekeep.engine.deliver import Delivery, Placed, StoreOutcome
from litekeep.engine.intent import refuse_pending
from litekeep.engine.job import Job, clean_up, exclusive_job
from litekeep.engine.origin import origin_of
from litekeep.engine.source import refuse_second_name, refuse_unsafe, view_or_culprit
from litekeep.engine.staging import Staging, opened_in_first
from litekeep.engine.sums import Sums
from litekeep.errors import (
    IntegrityFailed,
    LitekeepError,
    UserError,
)
from litekeep.host.volumes import database_at
from litekeep.repository.layout import Repository
from litekeep.repository.manifest import (
    FORMAT_VERSION,
    CheckFacts,
    CheckResult,
    Compression,
    DatabaseFacts,
    Durations,
    Manifest,
    State,
    StoredFacts,
    refuse_odd_text,
)
from litekeep.sqlite.check import FAILED, INCONCLUSIVE, Check
from litekeep.sqlite.checking import CheckProcess
from litekeep.sqlite.live import BUSY_TIMEOUT_SECONDS, resolve
from litekeep.sqlite.view import View
from litekeep.store.temporary import TEMPORARY_NAME, remove_dead
from litekeep.store.unopened import UnopenedStore
from litekeep.units import show_duration
from litekeep.version import VERSION

SKIPPED = Check("skipped", "", {})


@dataclass(frozen=True, slots=True)
class BackupJob:
    """
    What is to be backed up, where to, and how.

    `repositories` are in order of nearness; `level` None is the format's default;
    `spool_size_max` bounds, in bytes, the compressed file where no local store holds it;
    `alarm` is what the database may have lost since the last good snapshot, None anything.
    """

    database: Address
    name: str
    repositories: tuple[Repository, ...]
    state: Path
    format: str = "gzip"
    level: int | None = None
    check: bool = True
    label: str | None = None
    spool_size_max: int | None = None
    allow_unsafe_file_system: bool = False
    busy_timeout_seconds: float = BUSY_TIMEOUT_SECONDS
    alarm: Limits | None = field(default_factory=Limits)
    clock: Clock = field(default=now, repr=False)
    sleep: Sleep = field(default=sleep, repr=False)

    @property
    def unopened(self) -> tuple[UnopenedStore, ...]:
        """The stores that could not be opened, and will fail."""
        stores = (repository.store for repository in self.repositories)
        return tuple(store for store in stores if isinstance(store, UnopenedStore))


@dataclass(frozen=True, slots=True)
class BackupResult:
    """What was captured, and how each store took it; sizes in bytes."""

    database: str
    time: datetime
    name: str
    integrity: str
    integrity_detail: str
    size: int
    stored_size: int
    sha256: str
    database_checksum: int
    seconds: float
    held_seconds: float
    format: str
    stores: tuple[StoreOutcome, ...]
    losses: tuple[str, ...] = ()
    failed_before: FailedBefore | None = None

    @property
    def failure(self) -> LitekeepError | None:
        """Why this run is no success: a failed check comes before a failed store."""
        if self.integrity == "failed":
            return IntegrityFailed(
                f"quick_check failed: {self.integrity_detail}", hint=hint_after(self.failed_before)
            )
        failed = next((outcome.error for outcome in self.stores if outcome.error), None)
        if self.losses and failed is None:
            return IntegrityFailed(
                f"{self.name} is suspect: {'; '.join(self.losses)}",
                hint="The snapshot is kept, and latest did not move. If all is well, say so with "
                "litekeep accept; else restore an earlier one.",
            )
        return failed


@dataclass(frozen=True, slots=True)
class _Captured:
    """What step 6 found out."""

    view: View
    time: datetime
    check: Check
    sha256: str
    checksum: int
    held_seconds: float
    losses: tuple[str, ...] = ()
    failed_before: FailedBefore | None = None


def backup(job: BackupJob, report: events.Report = events.ignore) -> BackupResult:
    """
    Make one snapshot and put it into every repository of *job*.

    Args:
        job: See `BackupJob`.

        report: Hears how it goes, from several threads, one at a time.

    Returns:
        The result; a store that failed, or a failed check, is told there and not
        raised, because the rest of it stands: see `BackupResult.failure`.

    Raises:
        AlreadyRunning: Another run of the same job is active.

        DatabaseUnusable: The database cannot be read, or not safely.

        StoreError: There is no room for the compressed snapshot.

        LitekeepError: No store could be opened; the first one's error.
    """
    if not job.repositories:
        raise UserError("no store to back up to", hint="Name one with --to.")
    if len(job.unopened) == len(job.repositories):
        raise job.unopened[0].error
    refuse_odd_text(job.label or "", "label")
    codec = codec_named(job.format)
    report = events.one_at_a_time(report)
    started = monotonic()
    real = resolve(database_at(job.database))
    refuse_pending(Path(real))
    if not job.allow_unsafe_file_system:
        refuse_unsafe(real)
        refuse_second_name(real)
    snapshot_id = secrets.token_hex(16)
    with exclusive_job(job.state, job.name, real) as exclusive:
        _clean(job, exclusive, report)
        with _staging(job) as staging:
            delivery = Delivery(
                job.repositories,
                snapshot_id=snapshot_id,
                origin=origin_of(real),
                codec=codec,
                staging=staging,
                job=exclusive,
                report=report,
                clock=job.clock,
                sleep=job.sleep,
            )
            try:
                captured = _capture(job, Path(real), codec, staging, delivery, report)
                report(events.Compressed(staging.size))
                captured = _compared(job, captured)
                delivery.captured.set_result(
                    lambda placed: _manifest(
                        job, captured, placed, staging, snapshot_id, monotonic() - started
                    )
                )
            except BaseException as error:
                delivery.give_up(error)
                raise
            outcomes = delivery.wait()
            if all(outcome.is_settled for outcome in outcomes):
                exclusive.end()
            return _result(real, captured, staging, codec, outcomes, monotonic() - started)


def _compared(job: BackupJob, captured: _Captured) -> _Captured:
    """Compare with the snapshots before this one; the view is let go by now."""
    name = job.repositories[0].name_at(captured.time)
    if captured.check.result == FAILED:
        return replace(captured, failed_before=failed_before(job.repositories, name))
    if job.alarm is None:
        return captured
    before = last_good(job.repositories, name, is_counted=captured.check is not SKIPPED)
    if before is None:
        return captured
    found = losses(before, captured.view.size, captured.check, job.alarm)
    return replace(captured, losses=found)


def _state(captured: _Captured) -> State:
    if captured.check.result == FAILED:
        return "failed"
    return "suspect" if captured.losses else "ok"


def _clean(job: BackupJob, exclusive: Job, report: events.Report) -> None:
    """Remove what killed runs left: step 2."""
    for told in clean_up(exclusive, job.repositories):
        report(told)  # a run was killed: that is worth a look
    for path in job.state.iterdir():
        if TEMPORARY_NAME.fullmatch(path.name):
            remove_dead(path)


@contextmanager
def _staging(job: BackupJob) -> Iterator[Staging]:
    """Open the staging file: in the nearest local store that takes it, else in the spool."""
    local = [r.store.staging for r in job.repositories if r.store.staging]
    is_all_local = len(local) == len(job.repositories)
    with opened_in_first(local if is_all_local else [*local, job.state]) as (path, file):
        yield Staging(path, file, size_max=None if path.parent in local else job.spool_size_max)


def _capture(
    job: BackupJob,
    path: Path,
    codec: Codec,
    staging: Staging,
    delivery: Delivery,
    report: events.Report,
) -> _Captured:
    """Steps 3 to 6.  When this returns, the view is let go."""
    with view_or_culprit(path, job.busy_timeout_seconds) as live, ExitStack() as stack:
        held_since = monotonic()
        time = job.clock()
        if live.is_hot_journal_rolled_back:
            report(events.Note("undid the transaction of a writer that died (a hot journal)"))
        check = CheckProcess(live.view) if job.check else None
        if check is not None:
            stack.callback(check.end)
        view = live.view
        delivery.start(time, stored_size_max(view.size))
        sums = Sums(view, live.pages(), report)
        level = codec.level_default if job.level is None else job.level
        if not view.is_wal and level > codec.level_fast_max:
            report(
                events.Warned(
                    f"writers wait until all is compressed at level {level} of {codec.name}",
                    "PRAGMA journal_mode=WAL lets them go on; up to level "
                    f"{codec.level_fast_max} they wait hardly longer than for the disk.",
                )
            )
        for member in compressed(sums, codec, level):
            staging.write(member)
        staging.finish()
        live.refuse_changed()  # before the check says that it cannot find the file
        checked = check.result() if check is not None else SKIPPED
        live.refuse_changed()
    held_seconds = monotonic() - held_since
    if not view.is_wal:
        report(events.Note(f"writers were held off for {show_duration(held_seconds)}"))
    report(events.Integrity(checked.result, checked.detail))
    if checked.result == INCONCLUSIVE:
        report(
            events.Warned(
                f"the check was not finished: {checked.detail}",
                "The snapshot is kept: its bytes are the database's. Whether all of it is sound "
                "is not known.",
            )
        )
    return _Captured(view, time, checked, sums.sha256, sums.checksum, held_seconds)


def stored_size_max(size: int) -> int:
    """Bound what any codec makes of *size* bytes: a little more where they are noise."""
    return size + size // 64 + (1 << 16)


def _manifest(
    job: BackupJob,
    captured: _Captured,
    placed: Placed,
    staging: Staging,
    snapshot_id: str,
    seconds: float,
) -> Manifest:
    view = captured.view
    compression = codec_named(job.format).name
    return Manifest(
        format_version=FORMAT_VERSION,
        tool=f"litekeep {VERSION}",
        id=snapshot_id,
        name=placed.name,
        object=placed.object,
        captured_at=captured.time,
        state=_state(captured),
        label=job.label,
        origin=origin_of(view.path),
        database=DatabaseFacts(
            name=job.name,
            page_size=view.page_size,
            page_count=view.page_count,
            size_bytes=view.size,
            journal_mode="wal" if view.is_wal else "rollback",
            sqlite_version=view.sqlite_version,
            sha256=captured.sha256,
            checksum=f"{captured.checksum:016x}",
        ),
        stored=StoredFacts(
            size_bytes=staging.size,
            sha256=staging.sha256,
            compression=cast("Compression", compression),
        ),
        check=CheckFacts(
            result=cast("CheckResult", captured.check.result), detail=captured.check.detail
        ),
        row_counts=captured.check.row_counts,
        durations=Durations(
            held_seconds=round(captured.held_seconds, 4), total_seconds=round(seconds, 4)
        ),
    )


def _result(
    database: str,
    captured: _Captured,
    staging: Staging,
    codec: Codec,
    outcomes: tuple[StoreOutcome, ...],
    seconds: float,
) -> BackupResult:
    return BackupResult(
        database=database,
        time=captured.time,
        name=next((o.name for o in outcomes if o.error is None), outcomes[0].name),
        integrity=captured.check.result,
        integrity_detail=captured.check.detail,
        size=captured.view.size,
        stored_size=staging.size,
        sha256=captured.sha256,
        database_checksum=captured.checksum,
        seconds=seconds,
        held_seconds=captured.held_seconds,
        format=codec.name,
        stores=outcomes,
        losses=captured.losses,
        failed_before=captured.failed_before,
    )
