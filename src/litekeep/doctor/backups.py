"""
How old the newest snapshot and the newest proof are, as `litekeep status` tells it.

    snapshot   every store has a good one that is fresh
    proof      a drill restored one, and it was what it should be
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from litekeep.doctor.findings import Finding, fail, ok, warn
from litekeep.status import DatabaseStatus, unproved
from litekeep.units import show_duration


def newest_snapshot(status: DatabaseStatus, time: datetime) -> Iterator[Finding]:
    """Tell how old the newest snapshot is: `snapshot`."""
    if status.failure is not None:
        found = fail("snapshot", status.name, status.failure)
        # It is said already which database that is.
        yield replace(found, detail=found.detail.removeprefix(f"{status.name}: "))
    elif status.reasons:
        hint = "Look at it with litekeep list; litekeep accept says that it is fine."
        yield warn("snapshot", status.name, "; ".join(status.reasons), hint)
    elif status.last_snapshot is not None:
        age = _age(status.last_snapshot.time, time)
        yield ok("snapshot", status.name, f"{status.last_snapshot.name}, {age} old")


def newest_proof(
    status: DatabaseStatus, within_seconds: float | None, time: datetime
) -> Iterator[Finding]:
    """Tell how old the newest proof is: `proof`."""
    reasons = unproved(status.last_proof, within_seconds, time)
    if reasons or status.last_proof is None:
        hint = "Run litekeep drill; litekeep install makes it a weekly one."
        yield warn("proof", status.name, "; ".join(reasons), hint)
    else:
        age = _age(status.last_proof.time, time)
        yield ok("proof", status.name, f"the last drill passed, {age} ago")


def _age(then: datetime, time: datetime) -> str:
    return show_duration(max((time - then) / timedelta(seconds=1), 0))
