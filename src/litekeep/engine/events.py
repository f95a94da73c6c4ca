"""
What an engine says while it works: values, rendered by whoever listens.

The command line turns them into a progress bar, the guide's plain lines or
nothing; the library passes them to the caller's *report*.  They are called from
several threads, one at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """
    How far a stage is; sent often.

    `done` and `total` are bytes of the database, uncompressed, in the stages
    ``"read"``, ``"restore"``, ``"verify"``; stored bytes in ``"upload <url>"``.
    `total` is None where it cannot be known.
    """

    stage: str
    done: int
    total: int | None


@dataclass(frozen=True, slots=True)
class Integrity:
    """The result of the check: ``"ok"``, ``"failed"``, ``"inconclusive"`` or ``"skipped"``."""

    result: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Compressed:
    """The size of the snapshot as stored, in bytes."""

    size: int


@dataclass(frozen=True, slots=True)
class Stored:
    """A snapshot's data stands in a store; `place` is a path or a URL."""

    place: str
    is_local: bool


@dataclass(frozen=True, slots=True)
class LatestMoved:
    """`latest` of this store is the new snapshot now."""

    store: str


@dataclass(frozen=True, slots=True)
class StoreFailed:
    """One store did not take the snapshot; the others go on."""

    store: str
    message: str
    hint: str | None


@dataclass(frozen=True, slots=True)
class Note:
    """Something a person should know that is no failure."""

    text: str


@dataclass(frozen=True, slots=True)
class Warned:
    """Something that wants attention."""

    message: str
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class ServiceStopped:
    """The application was stopped for a restore."""

    service: str


@dataclass(frozen=True, slots=True)
class ServiceStarted:
    """The application was started again."""

    service: str


@dataclass(frozen=True, slots=True)
class CheckedInPlace:
    """What integrity_check says of the database in its place; `where` it ran."""

    where: str
    result: str
    detail: str = ""


_OfApplication = ServiceStopped | ServiceStarted | CheckedInPlace
Event = (
    Progress
    | Integrity
    | Compressed
    | Stored
    | LatestMoved
    | StoreFailed
    | Note
    | Warned
    | _OfApplication
)
Report = Callable[[Event], None]


def one_at_a_time(report: Report) -> Report:
    """Return a report that several threads may call."""
    lock = threading.Lock()

    def locked(event: Event) -> None:
        with lock:
            report(event)

    return locked


def ignore(event: Event) -> None:
    """Hear nothing."""
