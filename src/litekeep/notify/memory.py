"""
What channels know already: which failures they were told of, and when.

    <state>/notify.json     {"troubles": {"backup app": {"webhook ops": {"NotFound": time}}},
                             "runs": {"backup": id of the systemd run that told all itself}}
    <state>/notify.lock     held while it is read, changed and written

    1   A failure is told when it is new to the channel, or was told long ago; one of
        another kind is new.
    2   A channel that was told of a failure is told once that it is over.
    3   It is written after the telling.  Killed between the two, the next run tells again:
        twice is better than never.
    4   It is written beside, and renamed.  What cannot be read counts as nothing told.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from litekeep import faults
from litekeep.documents import decode_document, encode_document
from litekeep.notify.events import Event

SIZE_MAX = 4 << 20
TROUBLES_MAX = 10_000

_BAD = ("failure", "stale")


@dataclass(frozen=True, slots=True)
class Known:
    """What channels were told of each trouble, at one moment."""

    troubles: Mapping[str, Any]
    repeat_seconds: float

    def is_due(self, event: Event, channel: str) -> bool:
        """Say whether a failure is worth telling to *channel*."""
        told = self._told(event, channel).get(_kind(event))
        return not _is_recent(told, event.time, self.repeat_seconds)

    def is_troubled(self, event: Event, channel: str) -> bool:
        """Say whether *channel* was told of a failure and not yet that it is over."""
        return bool(self._told(event, channel))

    def _told(self, event: Event, channel: str) -> dict[str, Any]:
        return _table(self.troubles.get(_key(event)), channel)


@dataclass(frozen=True, slots=True)
class Memory:
    """What is remembered in *folder*."""

    folder: Path
    repeat_seconds: float

    def recall(self) -> Known:
        """Return what channels know."""
        return Known(_table(self._read(), "troubles"), self.repeat_seconds)

    def told(self, sent: Iterable[tuple[Event, str]]) -> None:
        """
        Remember what channels were told.

        Raises:
            OSError: It cannot be written.
        """
        sent = tuple(sent)
        if not sent:
            return
        with self._changed() as found:
            troubles = _table(found, "troubles")
            for event, channel in sent:
                trouble = _table(troubles.pop(_key(event), None))
                if event.outcome in _BAD:
                    times = _table(trouble, channel)
                    trouble[channel] = {**times, _kind(event): event.time.isoformat()}
                else:
                    trouble.pop(channel, None)
                if trouble:
                    troubles[_key(event)] = trouble
            found["troubles"] = dict(list(troubles.items())[-TROUBLES_MAX:])

    def has_told(self, job: str, run: str) -> bool:
        """Say whether the run *run* of systemd told all itself."""
        return _table(self._read(), "runs").get(job) == run

    def note_run(self, job: str, run: str) -> None:
        """
        Remember that the run *run* of systemd told all itself.

        Raises:
            OSError: It cannot be written.
        """
        with self._changed() as found:
            found["runs"] = {**_table(found, "runs"), job: run}

    @property
    def _file(self) -> Path:
        return self.folder / "notify.json"

    def _read(self) -> dict[str, Any]:
        try:
            with self._file.open("rb") as file:
                return decode_document(file.read(SIZE_MAX))
        except (OSError, ValueError):
            return {}

    @contextlib.contextmanager
    def _changed(self) -> Iterator[dict[str, Any]]:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        lock = os.open(self.folder / "notify.lock", flags, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            found = self._read()
            yield found
            beside = self._file.with_suffix(".tmp")
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
            with os.fdopen(os.open(beside, flags, 0o600), "wb") as file:
                file.write(encode_document(found))
                file.flush()
                faults.reach("fsync notices")
                os.fsync(file.fileno())
            faults.reach("rename notices")
            beside.replace(self._file)
        finally:
            os.close(lock)


def _key(event: Event) -> str:
    return f"{event.job} {event.database}"


def _kind(event: Event) -> str:
    return event.wrong.kind if event.wrong is not None else event.outcome


def _table(value: Any, name: str | None = None) -> dict[str, Any]:
    """Return a table of what was read, or an empty one where it is none."""
    if name is not None:
        value = value.get(name) if isinstance(value, dict) else None
    return dict(value) if isinstance(value, dict) else {}


def _is_recent(text: Any, time: datetime, seconds: float) -> bool:
    try:
        told = datetime.fromisoformat(text)
        age = (time - told) / timedelta(seconds=1)
    except (TypeError, ValueError):
        return False
    # A time of the future is one of a clock that was wrong.
    return 0 <= age < seconds
