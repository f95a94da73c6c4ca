"""
Holding a restore point: retention leaves it alone until it is let go.

The hold is one small object beside each copy, put whole or not at all; a kill leaves
some copies held and others not, and doing it again makes it right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from litekeep.clock import Clock, now
from litekeep.engine.points import Points, RestorePoint, choose, read_points
from litekeep.errors import AccessDenied, LitekeepError
from litekeep.repository.catalog import Snapshot
from litekeep.repository.layout import HOLD_SUFFIX, Repository
from litekeep.repository.manifest import refuse_odd_text
from litekeep.repository.marks import Hold, encode_mark
from litekeep.store.base import FAILURES
from litekeep.when import When


def hold(
    repositories: Sequence[Repository],
    when: When,
    *,
    reason: str = "",
    is_dry_run: bool = False,
    clock: Clock = now,
) -> RestorePoint:
    """
    Keep a restore point for ever, in every store that has it.

    With *is_dry_run* it ends before anything is changed.

    Raises:
        NotFound: There is no such point.

        UserError: The reason cannot be kept.

        StoreError: A store did not take the hold; the others have it.
    """
    refuse_odd_text(reason, "reason")
    points = read_points(repositories)
    point = choose(points, when, clock()).point

    def put(copy: Snapshot) -> None:
        mark = Hold(id=copy.id, time=clock(), reason=reason)
        copy.repository.store.put(copy.object + HOLD_SUFFIX, encode_mark(mark))

    _in_each(points, point, put, is_dry_run=is_dry_run)
    return point


def unhold(
    repositories: Sequence[Repository],
    when: When,
    *,
    is_dry_run: bool = False,
    clock: Clock = now,
) -> RestorePoint:
    """
    Let a restore point go, so that retention decides on it again.

    With *is_dry_run* it ends before anything is changed.

    Raises:
        NotFound: There is no such point.

        StoreError: A store did not take it; in the others it is let go.
    """
    points = read_points(repositories)
    point = choose(points, when, clock()).point

    def remove(copy: Snapshot) -> None:
        store = copy.repository.store
        try:
            store.delete(copy.object + HOLD_SUFFIX)
        except AccessDenied:  # where deleting is not allowed, no bytes are no hold
            store.put(copy.object + HOLD_SUFFIX, b"")

    _in_each(points, point, remove, is_dry_run=is_dry_run)
    return point


def _in_each(
    points: Points, point: RestorePoint, work: Callable[[Snapshot], None], *, is_dry_run: bool
) -> None:
    """Do it to each copy; a store that was silent may have one too, which is not done."""
    failed: LitekeepError | None = next((error for _, error in points.unread), None)
    for copy in () if is_dry_run else point.copies:
        try:
            work(copy)
        except FAILURES as error:
            failed = failed or error
    if failed is not None:
        raise failed
