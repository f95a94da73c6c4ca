"""
Which snapshots a sample reads: those that have waited longest.

A snapshot waits from the moment it was made or, read once, from its last reading.  That is
one queue: who comes later waits behind, so whatever lives long enough is read, and read
again, however many come and go.  Every attempt counts as a reading, or what is damaged
would be read each time, and nothing else.

The times are kept in the local state, in one file for each repository.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, TypeVar

from litekeep.clock import Clock, monotonic
from litekeep.errors import StoreError
from litekeep.repository.layout import Repository
from litekeep.store.temporary import temporary_file

_RECORD_SIZE_MAX = 64 << 20
_SAVE_SECONDS = 10.0


class Stored(Protocol):
    """What is read as one: a snapshot, or a file of a stream."""

    @property
    def repository(self) -> Repository: ...
    @property
    def name(self) -> str: ...
    @property
    def object(self) -> str: ...
    @property
    def time(self) -> datetime: ...
    @property
    def identity(self) -> str: ...


Kind = TypeVar("Kind", bound=Stored)


class Readings:
    """Since when each snapshot and file of some repositories waits to be read."""

    def __init__(self, state: Path, snapshots: Sequence[Stored], *, clock: Clock) -> None:
        """
        Begin with what was kept.

        Args:
            state: The folder for local state.

            snapshots: All there are; what was kept of others is forgotten.

            clock: Tells when something is read.
        """
        self._clock = clock
        self._saved = monotonic()
        self._since: dict[Path, dict[str, str]] = {}
        self._paths: dict[str, Path] = {}
        kept: dict[Path, dict[str, str]] = {}
        now = _text(clock())
        for snapshot in snapshots:
            path = _path_of(state, snapshot.repository)
            if path not in kept:
                kept[path] = _load(path)
                self._since[path] = {}
            self._paths[_key(snapshot)] = path
            key = _key(snapshot)
            since = kept[path].get(key) or _text(snapshot.time)
            # A time may lie ahead, by a name or by a clock, and nothing may wait for ever.
            self._since[path][key] = min(since, now)

    def sample(self, snapshots: Sequence[Kind], share: float) -> list[Kind]:
        """Return that share of *snapshots*, rounded up, those that wait longest first."""
        count = math.ceil(len(snapshots) * share)
        return sorted(snapshots, key=lambda s: (self._waits_since(s), s.time, s.name))[:count]

    def note(self, snapshot: Stored) -> None:
        """Note that *snapshot* was read, or was tried to be; keep it now and then."""
        key = _key(snapshot)
        self._since[self._paths[key]][key] = _text(self._clock())
        if monotonic() - self._saved > _SAVE_SECONDS:
            self.save()

    def save(self) -> None:
        """
        Keep the times.

        Raises:
            StoreError: They cannot be written.
        """
        self._saved = monotonic()
        for path, times in self._since.items():
            try:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                with temporary_file(path.parent) as (temporary, file):
                    file.write(json.dumps(times).encode())
                    os.fsync(file.fileno())
                    temporary.replace(path)
            except OSError as error:
                raise StoreError(
                    f"cannot keep {path}: {error.strerror}",
                    hint="A sample will read the same snapshots again.",
                ) from error

    def _waits_since(self, snapshot: Stored) -> str:
        key = _key(snapshot)
        return self._since[self._paths[key]][key]


def _load(path: Path) -> dict[str, str]:
    try:
        if path.stat().st_size <= _RECORD_SIZE_MAX:
            return {str(key): str(value) for key, value in json.loads(path.read_bytes()).items()}
    except (OSError, ValueError, AttributeError, RecursionError):
        pass  # nothing was ever read, or the record is lost: all wait since they were made
    return {}


def _path_of(state: Path, repository: Repository) -> Path:
    place = f"{repository.store.url} {repository.database}"
    return state / "verified" / f"{hashlib.sha256(place.encode()).hexdigest()[:24]}.json"


def _key(snapshot: Stored) -> str:
    return f"{snapshot.repository.store.url} {snapshot.object} {snapshot.identity}"


def _text(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="microseconds")
