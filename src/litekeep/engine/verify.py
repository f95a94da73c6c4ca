"""
Reads stored bytes and compares them with their manifests and their own checksums.

    each snapshot         stored size and SHA-256, decompressed, size, SHA-256 and
                          checksum of the database, the id in its metadata; without a
                          manifest the format's own checksums, and the size by the header
    each leftover         data without manifest, manifest without data or unreadable
    latest                must be the newest good snapshot, byte for byte (`latest.py`)
    each store            must hold the newest of what its sisters hold (`lacks.py`)
    streams               each file, each chain, the newest txid (`verify_stream.py`)

A sample takes the snapshots, and the files of streams, that have waited longest
(`sample.py`), so that over time everything is read.

Backups and prunes go on meanwhile.  So whatever looks wrong is looked at twice: what a
second look, after all was read, does not find again was a snapshot that came or went.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from litekeep.clock import Clock, Sleep, now, sleep
from litekeep.engine import events
from litekeep.engine.fetch import Fetch
from litekeep.engine.lacks import Lack, find_lacks
from litekeep.engine.latest import latest_faults, moving_until
from litekeep.engine.points import nearest_first, read_quickly
from litekeep.engine.sample import Readings
from litekeep.engine.verify_stream import (
    StreamFile,
    Unproven,
    Wrong,
    broken,
    prove_newest,
    stream_files,
)
from litekeep.errors import (
    ChecksumMismatch,
    CorruptionError,
    FormatError,
    GapFound,
    LitekeepError,
    NotFound,
    StoreError,
)
from litekeep.repository.catalog import Contents, Leftover, Snapshot
from litekeep.repository.layout import Repository
from litekeep.repository.manifest import ID_KEY
from litekeep.store.base import FAILURES

PATIENCE_SECONDS_MAX = 10.0


@dataclass(frozen=True, slots=True)
class Damage:
    """One object that is not what it should be; `object` is empty for a whole store."""

    store: str
    object: str
    error: LitekeepError


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """
    How many snapshots and files of streams were read, their stored bytes, and what was found.

    `lacks` are stores that do not hold all older ones that their sisters hold: no damage,
    for retention may have taken them there.
    """

    checked: int
    bytes: int
    unproven: tuple[Unproven, ...]
    damaged: tuple[Damage, ...]
    lacks: tuple[Lack, ...] = ()
    stream_file_count: int = 0

    @property
    def failure(self) -> LitekeepError | None:
        """The first damage; or that there was nothing to read, which proves nothing."""
        if not self.damaged and not self.checked:
            return NotFound(
                "there are no snapshots to verify, and no stream",
                hint="Make one with litekeep backup, or check the path or URL.",
            )
        if not self.damaged:
            return None
        first = self.damaged[0]
        count = len(self.damaged)
        more = f" (and {count - 1} more)" if count > 1 else ""
        error = type(first.error)(f"{first.error.message}{more}", hint=first.error.hint)
        return error


def verify(
    repositories: Sequence[Repository],
    *,
    state: Path,
    share: float = 1.0,
    report: events.Report = events.ignore,
    clock: Clock = now,
    sleep: Sleep = sleep,
) -> VerifyResult:
    """
    Read *share* of all snapshots in all *repositories*, and everything's names.

    Args:
        repositories: Of one database.

        state: The folder for local state, where the time of each reading is kept.

        share: Above 0, at most 1.

        report: Hears `Progress("verify", …)` in stored bytes.

        clock: Tells when something was read.

        sleep: Waits before a second look, for a backup that is at its last step.

    Returns:
        What was read and what was found; neither damage nor a store that does not
        answer raises.
    """
    first = _look(nearest_first(repositories), clock)
    snapshots, files = first.snapshots, first.stream_files
    readings = Readings(state, [*snapshots, *files], clock=clock)
    sample: list[Snapshot | StreamFile] = [
        *readings.sample(snapshots, share),
        *readings.sample(files, share),
    ]
    newest = [(seen[0], prove_newest(*seen)) for seen in first.read] if share >= 1 else []
    proved = {(found.store.url, name) for found, made in newest for name in made.objects}
    damaged, unproven = _read_all(sample, readings, proved, report)
    for repository, made in newest:
        unproven += made.unproven
        if not any(damage.store == repository.store.url for damage in damaged):
            damaged += _damages(made.wrong)
    damaged += _faults(first)
    if damaged:
        sleep(_patience(first, clock()))
        damaged = _still_damaged(damaged, _look(nearest_first(repositories), clock), clock())
    try:
        readings.save()
    except StoreError as error:  # what was found matters more
        report(events.Warned(error.message, error.hint))
    lacks = tuple(lack for lack in first.lacks if lack.has_newest)
    file_count = sum(isinstance(stored, StreamFile) for stored in sample)
    done = sum(stored.stored_size for stored in sample)
    return VerifyResult(
        len(sample), done, tuple(unproven), tuple(damaged), lacks, stream_file_count=file_count
    )


@dataclass(frozen=True, slots=True)
class _Look:
    """What all repositories hold; those that did not answer."""

    read: tuple[tuple[Repository, Contents], ...]
    unread: tuple[Damage, ...]

    @property
    def snapshots(self) -> list[Snapshot]:
        return [snapshot for _, contents in self.read for snapshot in contents.snapshots]

    @property
    def stream_files(self) -> list[StreamFile]:
        return [file for seen in self.read for file in stream_files(*seen)]

    @property
    def leftovers(self) -> list[Leftover]:
        return [leftover for _, contents in self.read for leftover in contents.leftovers]

    @property
    def lacks(self) -> tuple[Lack, ...]:
        return find_lacks(self.read)


def _look(repositories: Sequence[Repository], clock: Clock) -> _Look:
    read, unread = [], []
    for repository in repositories:
        try:
            read.append((repository, read_quickly(repository, clock=clock)))
        except FAILURES as error:
            unread.append(Damage(repository.store.url, "", error))
    return _Look(tuple(read), tuple(unread))


def _patience(look: _Look, time: datetime) -> float:
    """Return for how many seconds a backup may still be at moving `latest`, within reason."""
    moments = [until for _, contents in look.read if (until := moving_until(contents))]
    seconds = max([(until - time).total_seconds() for until in moments], default=0.0)
    return min(max(0.0, seconds), PATIENCE_SECONDS_MAX)


def _faults(look: _Look, time: datetime | None = None) -> list[Damage]:
    """Return what is wrong but for the bytes of the snapshots; *time* as in `latest_faults`."""
    damaged = list(look.unread)
    damaged += [
        Damage(lack.repository.store.url, "", NotFound(lack.message, hint=lack.hint))
        for lack in look.lacks
        if not lack.has_newest
    ]
    damaged += [
        Damage(leftover.repository.store.url, leftover.object, leftover.error)
        for leftover in look.leftovers
    ]
    for seen in look.read:
        damaged += _damages(broken(*seen))
    for repository, contents in look.read:
        try:
            damaged += [
                Damage(repository.store.url, name, error)
                for name, error in latest_faults(repository, contents, time)
            ]
        except FAILURES as error:
            damaged.append(Damage(repository.store.url, "", error))
    return damaged


def _read_all(
    sample: Sequence[Snapshot | StreamFile],
    readings: Readings,
    proved: Container[tuple[str, str]],
    report: events.Report,
) -> tuple[list[Damage], list[Unproven]]:
    """Read a sample, but for the files of streams that are proved already."""
    damaged: list[Damage] = []
    unproven: list[Unproven] = []
    done, total = 0, sum(stored.stored_size for stored in sample)
    for stored in sample:
        place = (stored.repository.store.url, stored.object)
        try:
            if isinstance(stored, Snapshot):
                _read(stored)
            elif place not in proved:
                stored.read()
        except (CorruptionError, GapFound, *FAILURES) as error:
            damaged.append(Damage(*place, error))
        else:
            if isinstance(stored, Snapshot) and stored.manifest is None:
                unproven.append(Unproven(stored.object, "it has no manifest to compare it with"))
        readings.note(stored)
        done += stored.stored_size
        report(events.Progress("verify", done, total))
    return damaged, unproven


def _damages(found: Iterable[Wrong]) -> list[Damage]:
    return [Damage(wrong.repository.store.url, wrong.object, wrong.error) for wrong in found]


def _still_damaged(damaged: Sequence[Damage], look: _Look, time: datetime) -> list[Damage]:
    """Return what a second look finds too, or cannot look at."""
    stored: list[Snapshot | StreamFile] = [*look.snapshots, *look.stream_files]
    there = {(item.repository.store.url, item.object) for item in stored}
    there |= {(damage.store, damage.object) for damage in _faults(look, time)}
    silent = {damage.store for damage in look.unread}
    return [
        damage
        for damage in damaged
        if (damage.store, damage.object) in there or damage.store in silent
    ]


def _read(snapshot: Snapshot) -> None:
    store, manifest = snapshot.repository.store, snapshot.manifest
    fetch = Fetch(store, snapshot.object, manifest)
    for _ in fetch:
        pass
    result = fetch.result
    if manifest is None:
        wanted = result.page_count_wanted
        count = result.size // result.page_size if result.page_size else 0
        if wanted is not None and count < wanted:
            raise FormatError(
                f"{snapshot.object} holds {count} of the {wanted} pages that its header counts",
                hint="It was cut off. Restore another point.",
            )
        return
    # Other tools may copy a snapshot without its metadata, but not with another's.
    marked = store.head(snapshot.object).metadata.get(ID_KEY)
    if marked not in (None, manifest.id):
        raise ChecksumMismatch(f"{snapshot.object} is marked as snapshot {marked}")
