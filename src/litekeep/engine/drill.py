"""
A restore made only to learn whether it would succeed, and the record of it.

    1  choose       the newest snapshot that is fit, a named one, or any of them; of its
                    copies the one whose store has gone longest without a proof; or a txid
                    of the stream
    2  restore      into a scratch folder, by the same way as a real one: every
                    checksum, SQLite's check
    3  examine      integrity, references, row counts, the user's assertions, in a
                    child process that trusts nothing (`sqlite/examine.py`)
    4  record       a proof beside the snapshot, in the store that it was read from
    5  on a fail    `latest` goes back to the newest snapshot that is fit

The result is `pass` where every check was made and said yes, `fail` where one said no,
and `inconclusive` otherwise: a check that could not be made is never taken for a yes.
A kill leaves a scratch folder of the system's temporary files and nothing else.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from litekeep.clock import Clock, monotonic, now
from litekeep.dockername import Address
from litekeep.engine import events
from litekeep.engine.latest import renew_latest
from litekeep.engine.plan import plan_restore
from litekeep.engine.points import RestorePoint, choose, read_points
from litekeep.engine.restore import RestoreResult, restore
from litekeep.engine.stream_proofs import proof_id, stem_of
from litekeep.engine.timeline import choose_of_both, stream_moments
from litekeep.errors import (
    CorruptionError,
    DrillFailed,
    LitekeepError,
    NameTaken,
    NotFound,
    ProofError,
    UserError,
)
from litekeep.repository.catalog import Snapshot
from litekeep.repository.layout import Repository, next_second, proof_of
from litekeep.repository.marks import CheckResult, Proof, Result, encode_mark
from litekeep.sqlite.examine import Assertion, Finding, examine
from litekeep.store.base import FAILURES
from litekeep.store.temporary import temporary_folder
from litekeep.units import show_duration
from litekeep.version import VERSION
from litekeep.when import Before, Latest, Named, Txid, When

#: Drills of one snapshot that may end in one second; the later are named after the next ones.
PROOF_NAME_ATTEMPTS_MAX = 10

_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class DrillJob:
    """
    What is to be drilled, and what must hold.

    `when` None takes any fit point by chance; `fresh_within` is the age in seconds that
    the newest point may have; `scratch` None is the system's temporary folder.
    `database` is the live file, if it is known: no drill reads it.
    """

    repositories: tuple[Repository, ...]
    when: When | None = field(default_factory=Latest)
    assertions: tuple[Assertion, ...] = ()
    has_foreign_keys: bool = True
    fresh_within: float | None = None
    scratch: Path | None = None
    database: Address | None = None
    clock: Clock = field(default=now, repr=False)
    choice: Callable[[Sequence[RestorePoint]], RestorePoint] = field(
        default=random.choice, repr=False
    )


@dataclass(frozen=True, slots=True)
class DrillResult:
    """What a drill found; `is_recorded` says whether the proof stands in the store."""

    point: RestorePoint
    store: str
    result: Result
    checks: tuple[Finding, ...]
    seconds: float
    is_recorded: bool

    @property
    def failure(self) -> LitekeepError | None:
        """Why this drill is no success."""
        if self.result == "pass":
            return None
        wrong = [one for one in self.checks if one.ok is False or one.ok is None]
        first = min(wrong, key=lambda one: one.ok is None)
        said = f"{first.name}: {first.detail}" if first.detail else first.name
        if self.result == "fail":
            return DrillFailed(
                f"the drill of {self.point.name} failed: {said}",
                hint="Do not rely on it: litekeep list shows the other restore points.",
            )
        return ProofError(
            f"the drill of {self.point.name} proves nothing: {said}",
            hint="It is neither known to be good nor to be bad; see what kept the check from "
            "being made.",
        )


@dataclass(frozen=True, slots=True)
class _Subject:
    """What is drilled: a point in one store; its proof goes beside `object`."""

    point: RestorePoint
    repository: Repository
    when: When
    id: str
    object: str
    snapshot: Snapshot | None


def drill(job: DrillJob, report: events.Report = events.ignore) -> DrillResult:
    """
    Restore a point into scratch, check everything, and record the result.

    Raises:
        NotFound: There is no such restore point.

        StoreError: No store answers, or the scratch folder has no room.
    """
    return _drill(job, _choose(job, report), report)


def drill_stream(job: DrillJob, report: events.Report = events.ignore) -> DrillResult | None:
    """
    Drill the newest txid of the stream, as `drill` does a snapshot.

    Returns:
        None where there is no stream.

    Raises:
        As `drill`.
    """
    moments = stream_moments(read_points(job.repositories))
    if not moments:
        return None
    newest = replace(job, when=Txid(moments[0].txid))
    return _drill(job, _choose(newest), report)


def _drill(job: DrillJob, subject: _Subject, report: events.Report) -> DrillResult:
    started = monotonic()
    url = subject.repository.store.url
    report(events.Note(f"drilling {subject.point.name} in {url}"))
    with temporary_folder("drill", job.scratch) as folder:
        restored, findings = _restore(subject, folder / "restored.db", report)
        if restored is not None:
            findings += _examine(job, subject, restored)
    if job.fresh_within is not None and isinstance(job.when, Latest):
        findings.append(_freshness(subject.point, job.clock(), job.fresh_within))
    result = _verdict(findings)
    seconds = monotonic() - started
    sha256 = restored.sha256 if restored is not None else "0" * 64
    proof = Proof(
        tool=f"litekeep {VERSION}",
        id=subject.id,
        sha256=sha256,
        time=job.clock(),
        result=result,
        seconds=seconds,
        checks=tuple(CheckResult(name=f.name, ok=f.ok, detail=f.detail) for f in findings),
    )
    is_recorded = _record(subject, proof, report)
    if result == "fail" and subject.snapshot is not None:
        _take_back_latest(subject.repository, report)
    return DrillResult(subject.point, url, result, tuple(findings), seconds, is_recorded)


def _choose(job: DrillJob, report: events.Report = events.ignore) -> _Subject:
    if any(repository.is_litestream for repository in job.repositories):
        raise UserError(
            "this is a repository of Litestream: no proof can be kept in it",
            hint="litekeep verify reads all of it, and litekeep restore --output restores and "
            "checks any moment.",
        )
    points = replace(read_points(job.repositories), generations=())
    for repository, error in points.unread:
        url = repository.store.url
        report(events.Warned(f"nothing of {url} is drilled: {error.message}", error.hint))
    if isinstance(job.when, (Txid, Before)) or (points.streams and not points.points):
        when = job.when if job.when is not None else Latest()
        return _subject_of(choose_of_both(points, when, job.clock()).choice.point, job)
    if job.when is not None:
        point = choose(points, job.when, job.clock()).point
    else:
        fit = [one for one in points.points if one.state in ("ok", "foreign")]
        if not fit:
            raise NotFound(
                "there is no restore point to drill", hint="Make one with litekeep backup."
            )
        point = job.choice(fit)
    last: dict[str, datetime] = {}
    for other in points.points:
        for copy in other.copies:
            if copy.proof is not None:
                url = copy.repository.store.url
                last[url] = max(last.get(url, _NEVER), copy.proof.time)
    # The distant ones first: what lies on this disk burns with it.
    farthest_first = reversed(point.copies)
    snapshot = min(farthest_first, key=lambda copy: last.get(copy.repository.store.url, _NEVER))
    return _Subject(
        point, snapshot.repository, Named(snapshot.name), snapshot.id, snapshot.object, snapshot
    )


def _subject_of(point: RestorePoint, job: DrillJob) -> _Subject:
    """Return a txid, in the store of its farthest branch."""
    assert point.txid is not None, "a stream has nothing else"
    place = point.branches[-1].place
    repository = next(one for one in job.repositories if one.store is place.store)
    name = proof_id(repository.database, point.txid)
    beside = stem_of(repository, point.txid)
    return _Subject(point, repository, Txid(point.txid), name, beside, None)


def _restore(
    subject: _Subject, target: Path, report: events.Report
) -> tuple[RestoreResult | None, list[Finding]]:
    plan = plan_restore([subject.repository], target, when=subject.when)

    def hear(event: events.Event) -> None:
        if isinstance(event, events.Progress):  # the rest is told by the findings
            report(event)

    try:
        restored = restore(plan, hear)
    except CorruptionError as error:
        return None, [Finding("checksums", False, error.message)]
    except FAILURES as error:
        return None, [Finding("checksums", None, error.message)]
    if restored.fetch_unproven is not None:
        return restored, [Finding("checksums", None, restored.fetch_unproven)]
    return restored, [Finding("checksums", True)]


def _examine(job: DrillJob, subject: _Subject, restored: RestoreResult) -> list[Finding]:
    if restored.size == 0:
        return [Finding("integrity_check", True, "the database is empty")] + [
            Finding(f"assert {one.sql}", None, "the database is empty") for one in job.assertions
        ]
    manifest = subject.snapshot.manifest if subject.snapshot is not None else None
    findings = examine(
        str(restored.plan.target),
        row_counts=manifest.row_counts if manifest is not None else {},
        assertions=job.assertions,
        size=restored.size,
    )
    return [one for one in findings if job.has_foreign_keys or one.name != "foreign_key_check"]


def _freshness(point: RestorePoint, time: datetime, fresh_within: float) -> Finding:
    age = (time - point.time) / timedelta(seconds=1)
    is_fresh = age <= fresh_within
    allowed = "" if is_fresh else f"; at most {show_duration(fresh_within)} is allowed"
    return Finding("freshness", is_fresh, f"{show_duration(max(0.0, age))} old{allowed}")


def _verdict(findings: Sequence[Finding]) -> Result:
    if any(one.ok is False for one in findings):
        return "fail"
    return "pass" if findings and all(one.ok for one in findings) else "inconclusive"


def _record(subject: _Subject, proof: Proof, report: events.Report) -> bool:
    """Put the proof beside what it is of, under a name that another drill's has not taken."""
    store = subject.repository.store
    time = proof.time
    for attempt in range(1, PROOF_NAME_ATTEMPTS_MAX + 1):
        try:
            store.put(proof_of(subject.object, time), encode_mark(proof), create=True)
            return True
        except FAILURES as error:
            if not isinstance(error, NameTaken) or attempt == PROOF_NAME_ATTEMPTS_MAX:
                report(events.Warned(f"the proof was not recorded: {error.message}", error.hint))
                return False
        time = next_second(time)
    return False


def _take_back_latest(repository: Repository, report: events.Report) -> None:
    """Let `latest` be the newest fit snapshot: it may be a copy of the one that failed."""
    url = repository.store.url
    try:
        name = renew_latest(repository)
    except FAILURES as error:
        report(events.Warned(f"latest was not taken back: {error.message}", error.hint))
        return
    if name is not None:
        report(events.Warned(f"latest in {url} is a copy of {name} again", "Look for the cause."))
