"""
Reads stored bytes and compares them with their manifests and their own checksums.

    each snapshot         stored size and SHA-256, decompressed, size, SHA-256 and
                          checksum of the database; without a manifest only the
                          format's own checksums
    each leftover         data without manifest, manifest without data or unreadable
    latest                must be one of the snapshots, byte for byte, and not older than
                          one in another format

A sample takes the snapshots whose last reading is longest ago, so that over time
everything is read: the times are kept in the local state, by id.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from litekeep.clock import Clock, now
from litekeep.engine import events
from litekeep.engine.fetch import Fetch
from litekeep.engine.points import nearest_first, read_quickly
from litekeep.errors import (
    BlobNotFound,
    ChecksumMismatch,
    CorruptionError,
    LitekeepError,
    NotFound,
    StoreError,
)
from litekeep.repository.catalog import Contents, Snapshot, database_names, latest_objects
from litekeep.repository.layout import Repository
from litekeep.store.base import FAILURES
from litekeep.store.temporary import temporary_file

_RECORD_NAME = "verified.json"
_RECORD_SIZE_MAX = 64 << 20


@dataclass(frozen=True, slots=True)
class Damage:
    """One object that is not what it should be; `object` is empty for a whole store."""

    store: str
    object: str
    error: LitekeepError


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """How many snapshots were read, how many stored bytes, and what was found."""

    checked: int
    bytes: int
    unproven: tuple[str, ...]
    damaged: tuple[Damage, ...]

    @property
    def failure(self) -> LitekeepError | None:
        """The first damage; or that there was nothing to read, which proves nothing."""
        if not self.damaged and not self.checked:
            return NotFound(
                "there are no snapshots to verify",
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
) -> VerifyResult:
    """
    Read *share* of all snapshots in all *repositories*, and everything's names.

    Args:
        repositories: Of one database.

        state: The folder for local state, where the time of each reading is kept.

        share: Above 0, at most 1.

        report: Hears `Progress("verify", …)` in stored bytes.

        clock: Tells when something was read.

    Returns:
        What was read and what was found; neither damage nor a store that does not
        answer raises.
    """
    contents, damaged = _read_all(nearest_first(repositories))
    record = _Record(state / _RECORD_NAME)
    sample = _sample([s for _, c in contents for s in c.snapshots], record, share)
    total = sum(snapshot.stored_size for snapshot in sample)
    unproven: list[str] = []
    done = 0
    for snapshot in sample:
        try:
            _read(snapshot)
        except (CorruptionError, *FAILURES) as error:
            damaged.append(Damage(snapshot.repository.store.url, snapshot.object, error))
        else:
            record.note(snapshot, clock)
            if snapshot.manifest is None:
                unproven.append(snapshot.object)
        done += snapshot.stored_size
        report(events.Progress("verify", done, total))
    for repository, content in contents:
        damaged += _check_latest(repository, content)
    try:
        record.save()
    except StoreError as error:  # what was found matters more
        report(events.Warned(error.message, error.hint))
    return VerifyResult(len(sample), done, tuple(unproven), tuple(damaged))


def _read_all(
    repositories: Sequence[Repository],
) -> tuple[list[tuple[Repository, Contents]], list[Damage]]:
    """Read what every repository holds; what is no snapshot, or not there, is damage."""
    contents, damaged = [], []
    for repository in repositories:
        try:
            found = read_quickly(repository)
        except FAILURES as error:
            damaged.append(Damage(repository.store.url, "", error))
            continue
        contents.append((repository, found))
        damaged += [
            Damage(repository.store.url, leftover.object, leftover.error)
            for leftover in found.leftovers
        ]
    return contents, damaged


def _sample(snapshots: Sequence[Snapshot], record: _Record, share: float) -> list[Snapshot]:
    """Return the share that was read longest ago, newest snapshots first among equals."""
    count = math.ceil(len(snapshots) * share)
    newest_first = sorted(snapshots, key=lambda s: s.time, reverse=True)
    return sorted(newest_first, key=record.last_read)[:count]


def _read(snapshot: Snapshot) -> None:
    for _ in Fetch(snapshot.repository.store, snapshot.object, snapshot.manifest):
        pass


def _check_latest(repository: Repository, contents: Contents) -> list[Damage]:
    """
    Compare each `latest` with the snapshots it can be a copy of: one read of it.

    Where there is one in several formats, only that of the newest snapshot is right.
    """
    known = {s.manifest.stored.sha256: s for s in contents.snapshots if s.manifest}
    has_foreign = any(snapshot.manifest is None for snapshot in contents.snapshots)
    damaged = []
    copies: dict[str, Snapshot] = {}
    for name in latest_objects(repository):
        fetch = Fetch(repository.store, name, None)
        try:
            for _ in fetch:
                pass
            found = known.get(fetch.result.stored_sha256)
            if found is not None:
                copies[name] = found
            # Of several databases in one place, `latest` is the one backed up last.
            if found is None and not has_foreign and len(database_names(repository)) == 1:
                raise ChecksumMismatch(
                    f"{name} is none of the snapshots",
                    hint="The next backup that passes its check writes it again.",
                )
        except BlobNotFound:
            continue
        except (CorruptionError, *FAILURES) as error:
            damaged.append(Damage(repository.store.url, name, error))
    newest = max(copies, key=lambda name: copies[name].time, default="")
    for name in copies.keys() - {newest}:
        stale = CorruptionError(
            f"{name} is {copies[name].name}, and {newest} is newer",
            hint="The next backup that passes its check removes it.",
        )
        damaged.append(Damage(repository.store.url, name, stale))
    return damaged


class _Record:
    """When each snapshot was last read whole, by its id and store."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._times: dict[str, str] = {}
        try:
            if path.stat().st_size <= _RECORD_SIZE_MAX:
                found = json.loads(path.read_bytes())
                self._times = {str(key): str(value) for key, value in found.items()}
        except (OSError, ValueError, AttributeError):
            pass  # nothing was ever read, or the record is lost: everything is due

    def last_read(self, snapshot: Snapshot) -> str:
        return self._times.get(_key(snapshot), "")

    def note(self, snapshot: Snapshot, clock: Clock) -> None:
        self._times[_key(snapshot)] = clock().isoformat()

    def save(self) -> None:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with temporary_file(self._path.parent) as (path, file):
                file.write(json.dumps(self._times).encode())
                os.fsync(file.fileno())
                path.replace(self._path)
        except OSError as error:
            raise StoreError(
                f"cannot keep {self._path}: {error.strerror}",
                hint="A sample will read the same snapshots again.",
            ) from error


def _key(snapshot: Snapshot) -> str:
    return f"{snapshot.repository.store.url} {snapshot.object} {snapshot.identity}"
