"""
Checks of a store, as one database uses it, with an object that is written for it.

    store        opens; a test object is written, read back and compared
    delete       that object is removed; without the right to do that, pruning cannot work
    conditions   a request to create only what is not there is honoured
    clock        this machine's, against the time that the store gave the test object

The test object's name begins with a dot and is none of a snapshot, so no listing of ours
takes it for one.  It has this machine's own name in it: where it cannot be removed, the next
run replaces it.  Two runs at once may still remove it under each other's hands, so what
looks wrong is tried again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from litekeep.clock import Clock, now
from litekeep.doctor.findings import Finding, fail, guarded, ok, unknown, unmade, warn
from litekeep.doctor.space import nearest_folder
from litekeep.errors import AccessDenied, BlobNotFound, ChecksumMismatch, LitekeepError
from litekeep.paths import exists
from litekeep.repository.layout import Repository
from litekeep.sqlite.connections import may_write
from litekeep.store.base import PROBE_NAME, Store, honours_conditions
from litekeep.units import show_duration

NAMES = ("store", "delete", "conditions", "clock")

#: S3 refuses requests whose time is further off than this.
SKEW_MAX = timedelta(minutes=15)
SKEW_NOTICED = timedelta(seconds=5)

_ATTEMPTS_MAX = 3
#: Stores tell times to the second.
_GRAIN = timedelta(seconds=1)
_SIZE = 32


@dataclass(frozen=True, slots=True)
class _Written:
    """When the test object was written, by this clock and by the store's."""

    before: datetime
    after: datetime
    modified: datetime


def own_name() -> str:
    """Return the name of the test object."""
    host = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
    return f".litekeep-doctor-{host}"


def store_findings(
    repository: Repository, about: str, *, is_pruned: bool, clock: Clock = now
) -> tuple[Finding, ...]:
    """
    Check one store.

    Args:
        repository: Of one database.

        about: What to call it.

        is_pruned: Whether snapshots are to be removed from there.

        clock: This machine's.
    """
    store = repository.store
    try:
        if (missing := _missing_folder(repository, about)) is not None:
            return (missing, *unmade(NAMES[1:], about, "store"))
        written = _tried(store, clock)
    except LitekeepError as error:
        with contextlib.suppress(LitekeepError):
            if not error.retryable:
                store.delete(own_name())
        return (fail("store", about, error), *unmade(NAMES[1:], about, "store"))
    return (
        ok("store", about, "a test object was written, read back and compared"),
        # The probe leaves an object, so it goes before the check that removes.
        *sorted(
            (
                *guarded(["conditions"], about, lambda: _conditions(store, about)),
                *guarded(["delete"], about, lambda: _delete(store, about, is_pruned=is_pruned)),
                *guarded(["clock"], about, lambda: _clock(store, about, written)),
            ),
            key=lambda finding: NAMES.index(finding.name),
        ),
    )


def _missing_folder(repository: Repository, about: str) -> Finding | None:
    """Return what is to be said of a folder that is not there; it is not made for a test."""
    folder = repository.store.staging
    if folder is None or exists(folder):
        return None
    nearest = nearest_folder(folder)
    if not may_write(str(nearest)):
        raise AccessDenied(
            f"the folder {folder} is not there, and user id {os.geteuid()} may not make it",
            hint=f"Make it, or give that user the right to write to {nearest}.",
        )
    hint = "Is the disk mounted, and the path right? The first backup makes it."
    return warn("store", about, f"the folder {folder} is not there yet", hint)


def _tried(store: Store, clock: Clock) -> _Written:
    for attempt in range(1, _ATTEMPTS_MAX + 1):
        try:
            return _written(store, clock)
        except (BlobNotFound, ChecksumMismatch):
            if attempt == _ATTEMPTS_MAX:
                raise
    raise AssertionError("the last attempt returns or raises")


def _written(store: Store, clock: Clock) -> _Written:
    name, body = own_name(), secrets.token_bytes(_SIZE)
    before = clock()
    store.put(name, body)
    after = clock()
    read = store.read(name, size_max=_SIZE)
    if read != body:
        raise ChecksumMismatch(
            f"{store.url}: what was read back is not what was written",
            hint="Do not trust this store before it is known why; other runs of litekeep doctor "
            "on machines of the same name look like this too.",
        )
    return _Written(before, after, store.head(name).modified)


def _delete(store: Store, about: str, *, is_pruned: bool) -> Iterator[Finding]:
    try:
        store.delete(own_name())
    except AccessDenied as error:
        shown = f"no right to remove objects, so {own_name()} stays ({error.message})"
        if is_pruned:
            hint = error.hint or "litekeep prune needs the right, for instance s3:DeleteObject."
            yield warn("delete", about, f"{shown}; prune needs it", hint)
        else:
            yield ok("delete", about, f"{shown}; only prune would need it")
    else:
        yield ok("delete", about, "the test object was removed")


def _conditions(store: Store, about: str) -> Iterator[Finding]:
    # Asked twice: another run may remove the object between the two requests of a probe.
    is_honoured = honours_conditions(store) or honours_conditions(store)
    with contextlib.suppress(AccessDenied):
        store.delete(PROBE_NAME)
    if is_honoured:
        yield ok("conditions", about, "conditional writes are honoured")
    else:
        yield warn(
            "conditions",
            about,
            "the server ignores the condition to create only what is not there",
            "Snapshots are whole all the same; give each host and database a prefix of its own.",
        )


def _clock(store: Store, about: str, written: _Written) -> Iterator[Finding]:
    if store.staging is not None:
        yield ok("clock", about, "a folder of this machine, so its clock is the same")
        return
    skew = _skew(written)
    shown = (
        f"this machine's clock is {show_duration(abs(skew) / timedelta(seconds=1))} "
        f"{'ahead of' if skew > timedelta(0) else 'behind'} the store's"
    )
    hint = "Set the clock: timedatectl set-ntp true, or chrony."
    if abs(skew) > SKEW_MAX:
        raise AccessDenied(f"{shown}; S3 refuses requests that are 15 minutes off", hint=hint)
    if abs(skew) > SKEW_NOTICED:
        yield warn("clock", about, shown, hint)
    elif written.modified.year < 2000:
        yield unknown("clock", about, "the store tells no time", "Compare the clocks by hand.")
    else:
        yield ok("clock", about, "within a few seconds of the store's")


def _skew(written: _Written) -> timedelta:
    """Return how far this clock is ahead of the store's, as far as that is certain."""
    modified = written.modified.astimezone(UTC)
    if modified > written.after:
        return written.after - modified
    return max(written.before - modified - _GRAIN, timedelta(0))
