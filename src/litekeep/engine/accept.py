"""
Saying that a suspect snapshot is fine, so that `latest` and retention move on.

    1  put the acceptance beside each copy      it counts as ok from here on
    2  copy it to `latest`, unless a newer      the next backup is compared with it
       one is there that is ok

A kill between the two leaves `latest` where it was; doing it again, or the next backup,
moves it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from litekeep.clock import Clock, now
from litekeep.engine import events
from litekeep.engine.latest import renew_latest
from litekeep.engine.points import RestorePoint, read_points
from litekeep.errors import LitekeepError, NotFound
from litekeep.repository.layout import ACCEPTED_SUFFIX, Repository
from litekeep.repository.marks import Acceptance, encode_mark
from litekeep.store.base import FAILURES


def accept(
    repositories: Sequence[Repository],
    report: events.Report = events.ignore,
    *,
    is_dry_run: bool = False,
    clock: Clock = now,
) -> tuple[RestorePoint, ...]:
    """
    Accept every suspect restore point of a database.

    Returns:
        Those that were accepted, newest first; with *is_dry_run*, which ends before anything
        is changed, those that would be.

    Raises:
        NotFound: None is suspect.

        StoreError: A store did not take it, or did not answer; the others have.
    """
    points = read_points(repositories)
    # Where a store was silent the last time, a point is suspect in that one alone.
    suspect = [
        point for point in points.points if any(copy.state == "suspect" for copy in point.copies)
    ]
    failed: LitekeepError | None = next((error for _, error in points.unread), None)
    if not suspect:
        none = NotFound("no snapshot is suspect", hint="litekeep list shows the state of each.")
        raise failed or none
    if is_dry_run:
        if failed is not None:
            raise failed
        return tuple(suspect)
    for point in suspect:
        for copy in point.copies:
            if copy.state != "suspect":
                continue
            store = copy.repository.store
            try:
                mark = Acceptance(id=copy.id, time=clock())
                store.put(copy.object + ACCEPTED_SUFFIX, encode_mark(mark))
            except FAILURES as error:
                failed = failed or error
    for repository in repositories:
        try:
            if renew_latest(repository):
                report(events.LatestMoved(repository.store.url))
        except FAILURES as error:
            failed = failed or error
    if failed is not None:
        raise failed
    return tuple(replace(point, state="ok") for point in suspect)
