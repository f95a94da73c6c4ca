"""
Whether each database is safe: a value, read from its stores, for people and for alarms.

    fail   nothing to restore; the newest good snapshot is too old, in all or in one
           store; a store does not answer
    warn   the newest snapshot is set aside (suspect, or its check failed); no drill
           has proved one lately, where that is asked for; on this machine lies what a
           killed backup left, or what a stream captured and no store got for minutes
    ok     neither

The silence of a backup that has stopped is what nobody hears: this is to be asked from
somewhere else than the job itself.  What lies in the future, because a clock was wrong,
is fresh for as long as nobody knows, so it counts for nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from litekeep.clock import Clock, now
from litekeep.engine.local import Local, look_here
from litekeep.engine.points import Points, RestorePoint, read_points
from litekeep.engine.timeline import StreamEnd, stream_ends
from litekeep.errors import LitekeepError, Stale
from litekeep.repository.marks import Proof
from litekeep.sources import Source
from litekeep.units import show_duration, show_size
from litekeep.when import is_ahead

Health = Literal["ok", "warn", "fail"]

#: How long a captured file may wait in the spool before that is said.
SPOOLED_SECONDS_MAX = 300.0


@dataclass(frozen=True, slots=True)
class Freshness:
    """How old, in seconds, the newest snapshot and the newest proof may be; None: any age."""

    snapshot_seconds: float | None
    proof_seconds: float | None


@dataclass(frozen=True, slots=True)
class DatabaseStatus:
    """
    How one database stands; `failure` is what a failing health comes from.

    `local` is what lies on this machine, None where that was not asked for or is not known.
    """

    name: str
    path: str | None
    health: Health
    reasons: tuple[str, ...]
    last_snapshot: RestorePoint | None
    last_proof: Proof | None
    failure: LitekeepError | None
    streams: tuple[StreamEnd, ...] = ()
    local: Local | None = None


def status_of(
    source: Source, limits: Freshness, *, state: Path | None = None, clock: Clock = now
) -> DatabaseStatus:
    """
    Look how a database stands; nothing raises, for that is an answer too.

    Args:
        source: Whose stores are asked.

        limits: What is still fresh.

        state: The folder for local state, if that is looked at too.

        clock: What ages count to.
    """
    path = str(source.database) if source.database is not None else None
    local = None
    if source.database is not None and state is not None:
        local = look_here(source.database, source.name, state)
    time = clock()
    left_here = _left_here(local, time) if local is not None else []
    try:
        points = read_points(source.repositories)
    except LitekeepError as error:
        reasons = (f"no store answers: {error.message}", *left_here)
        return DatabaseStatus(source.name, path, "fail", reasons, None, None, error, local=local)
    present = [point for point in points.points if not is_ahead(point.time, time)]
    good = [point for point in (*present, *points.points) if point.state in ("ok", "foreign")]
    failures = [f"{repository.store.url}: {error.message}" for repository, error in points.unread]
    failures += _stale(source, points, limits, time)
    warnings = _set_aside(present) + left_here
    proof = _last_proof(points, time)
    if limits.proof_seconds is not None:
        warnings += unproved(proof, limits.proof_seconds, time)
    health: Health = "fail" if failures else "warn" if warnings else "ok"
    return DatabaseStatus(
        source.name,
        path,
        health,
        (*failures, *warnings),
        good[0] if good else None,
        proof,
        _failure(source.name, points, failures),
        stream_ends(points),
        local,
    )


def _stale(source: Source, points: Points, limits: Freshness, time: datetime) -> list[str]:
    """Return in which stores the newest good snapshot is missing or too old."""
    unread = {id(repository) for repository, _ in points.unread}
    found = []
    for repository in source.repositories:
        if id(repository) in unread:
            continue
        times = [
            copy.time
            for point in points.points
            for copy in point.copies
            if copy.repository is repository and copy.state in ("ok", "foreign")
        ]
        times += [one.time for one in stream_ends(points) if one.store is repository.store]
        present = [each for each in times if not is_ahead(each, time)]
        but = "; what lies in the future does not count" if present != times else ""
        url = repository.store.url
        if not present:
            found.append(f"{url}: no good snapshot, and no stream{but}")
        elif limits.snapshot_seconds is not None:
            age = (time - max(present)) / timedelta(seconds=1)
            if age > limits.snapshot_seconds:
                found.append(
                    f"{url}: the newest restore point is {show_duration(age)} old; at most "
                    f"{show_duration(limits.snapshot_seconds)} is allowed{but}"
                )
    return found


def _set_aside(present: Sequence[RestorePoint]) -> list[str]:
    if present and present[0].state in ("suspect", "failed"):
        return [f"{present[0].name}, the newest, is {present[0].state}"]
    return []


def _left_here(local: Local, time: datetime) -> list[str]:
    """Return what of this machine's state somebody should know."""
    found = []
    if local.killed_count:
        noun = "snapshot" if local.killed_count == 1 else "snapshots"
        found.append(
            f"a backup that was killed left {local.killed_count} unfinished {noun} to take back; "
            "the next backup does it"
        )
    if local.spooled_since is not None:
        age = (time - local.spooled_since) / timedelta(seconds=1)
        if age > SPOOLED_SECONDS_MAX:
            noun = "file" if local.spooled_count == 1 else "files"
            found.append(
                f"{local.spooled_count} captured {noun} ({show_size(local.spooled_size)}) for "
                f"the stream's stores on this disk alone, the oldest for {show_duration(age)}: "
                "look whether litekeep stream runs, and what it says"
            )
    return found


def _last_proof(points: Points, time: datetime) -> Proof | None:
    proofs = [point.proof for point in points.points if point.proof is not None]
    proofs += points.stream_proofs.values()
    made = [proof for proof in proofs if not is_ahead(proof.time, time)]
    return max(made, key=lambda proof: proof.time, default=None)


def unproved(proof: Proof | None, seconds: float | None, time: datetime) -> list[str]:
    """Return why *proof* does not show that backups can be restored; *seconds* None: of any age."""
    if proof is None:
        return ["no drill has proved a snapshot"]
    if proof.result != "pass":
        return [f"the last drill: {proof.result}"]
    if seconds is None:
        return []
    age = (time - proof.time) / timedelta(seconds=1)
    allowed = f"at most {show_duration(seconds)} is allowed"
    return [f"the last proof is {show_duration(age)} old; {allowed}"] if age > seconds else []


def _failure(name: str, points: Points, failures: Sequence[str]) -> LitekeepError | None:
    if not failures:
        return None
    if points.unread:
        return points.unread[0][1]
    return Stale(
        f"{name}: {failures[0]}",
        hint="Look whether litekeep backup still runs, and what it says.",
    )
