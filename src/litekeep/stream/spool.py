"""
The spool: captured files on their way to the stores, on this machine's disk.

    <state>/stream/<name>-<hash of the path>/
        lock                         flock of the process that captures
        probed-<tag>                 the store of this tag refuses to replace: it was asked once
        pages.map                    the page map (`pagemap.py`)
        <min txid>-<max txid>.ltx    a file that not every store has yet
        <min txid>-<max txid>.json   what is said of it
        <min>-<max>.<tag>.ltx        a fill: it leads one store to here, and is for no other

Txids here are ours; a store may count the same commits otherwise (`ship.py`).

Order of writing: what is said of a file, then the file, each by temporary file, fsync,
rename; then fsync of the folder.  Then the commit is captured.  A kill before leaves a note
without a file, a power failure perhaps a file without a note: both go at the next start, and
so do fills.  A file is removed when every store has it and the page map that includes it is
durable.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from litekeep import faults
from litekeep.errors import AlreadyRunning, FormatError
from litekeep.ltx.format import format_name, parse_name
from litekeep.store.files import fsync_folder, make_folders, translated, write_all
from litekeep.store.temporary import remove_dead, temporary_file
from litekeep.stream.metadata import (
    CHECKSUM_KEY,
    GAP_KEY,
    PARTIAL_KEY,
    SHA256_KEY,
    TIME_KEY,
    show_time,
)

_NOTE_SIZE_MAX = 64 * 1024


@dataclass(frozen=True, slots=True)
class Note:
    """
    What is said of a captured file.

    `before` is the checksum of the database that it is applied to, 0 for none; `checksum` is
    the database's after it; `gap_since_ms` is when the database was last watched before it,
    where it was not watched all the time.  `is_partial` says that what it makes was never
    committed: a large comparison is cut into several files.  `leads_to` is the txid at which
    the database is as this file makes it, 0 if at none.
    """

    sha256: str
    size: int
    page_count: int
    commit: int
    before: int
    checksum: int
    time_ms: int
    leads_to: int
    is_partial: bool = False
    gap_since_ms: int | None = None

    def metadata(self) -> dict[str, str]:
        """Return it as the metadata of the object."""
        found = {
            TIME_KEY: show_time(self.time_ms),
            CHECKSUM_KEY: f"{self.checksum:016x}",
            SHA256_KEY: self.sha256,
        }
        if self.gap_since_ms is not None:
            found[GAP_KEY] = show_time(self.gap_since_ms)
        if self.is_partial:
            found[PARTIAL_KEY] = "1"
        return found


@dataclass(frozen=True, slots=True)
class Spooled:
    """A captured file that lies in the spool; `tag` is of the store that it is for alone."""

    min_txid: int
    max_txid: int
    path: Path
    note: Note
    tag: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it needs no file before it."""
        return self.min_txid == 1


class Spool:
    """The folder of one database, held by this process; `open_spool` makes it."""

    def __init__(self, folder: Path, size_max: int) -> None:
        self.folder = folder
        self.size_max = size_max
        self.map_path = folder / "pages.map"
        self._lock = threading.Lock()
        self._files: dict[Path, Spooled] = {}

    def files(self) -> tuple[Spooled, ...]:
        """Return the files that lie here, in the order of their txids."""
        with self._lock:
            found = tuple(self._files.values())
        return tuple(sorted(found, key=lambda one: (one.max_txid, one.tag or "")))

    @property
    def size(self) -> int:
        """How many bytes of captured files lie here."""
        return sum(one.note.size for one in self.files())

    @property
    def is_full(self) -> bool:
        """Whether nothing is to be added any more."""
        return self.size > self.size_max

    def add(
        self,
        min_txid: int,
        max_txid: int,
        write: Callable[[Callable[[bytes], object]], Note],
        *,
        tag: str | None = None,
    ) -> Spooled:
        """
        Write a captured file; when this returns, it is durable.

        Args:
            min_txid: Of the file.

            max_txid: Of the file.

            write: Is given what takes the bytes, and returns what is said of them.

            tag: Of the store that it is for, if it is for one alone.
        """
        name = format_name(min_txid, max_txid)
        path = self.folder / (name if tag is None else name.replace(".", f".{tag}."))
        with translated(path), temporary_file(self.folder) as (temporary, file):
            faults.reach("write captured")
            note = write(lambda piece: write_all(file, piece, path.name))
            faults.reach("fsync captured")
            os.fdatasync(file.fileno())
            self._write_note(path.with_suffix(".json"), note)
            faults.reach("rename captured")
            temporary.replace(path)
            fsync_folder(self.folder)
        spooled = Spooled(min_txid, max_txid, path, note, tag)
        with self._lock:
            self._files[path] = spooled
        return spooled

    def remove(self, spooled: Spooled) -> None:
        """Forget a file: the file first, then what is said of it."""
        with translated(spooled.path):
            faults.reach("unlink captured")
            spooled.path.unlink(missing_ok=True)
            with self._lock:
                self._files.pop(spooled.path, None)
            faults.reach("unlink note")
            spooled.path.with_suffix(".json").unlink(missing_ok=True)

    def load(self) -> None:
        """Find the files that lie here, and remove what a killed process left."""
        for path in self.folder.iterdir():
            if path.suffix == ".tmp":
                remove_dead(path)
            elif path.suffix == ".json" and not path.with_suffix(".ltx").exists():
                path.unlink(missing_ok=True)
            elif path.suffix == ".ltx":
                self._load(path)

    def empty(self) -> None:
        """Forget all files: what lies here does not belong to the chain any more."""
        for spooled in self.files():
            self.remove(spooled)

    def remove_fills(self, tag: str | None = None) -> None:
        """Forget the fills of one store, or of all."""
        for spooled in self.files():
            if spooled.tag is not None and tag in (None, spooled.tag):
                self.remove(spooled)

    def _load(self, path: Path) -> None:
        try:
            min_txid, max_txid = parse_name(path.name)
            note = _read_note(path.with_suffix(".json"))
        except (FormatError, OSError, ValueError, KeyError, TypeError):
            path.unlink(missing_ok=True)
            path.with_suffix(".json").unlink(missing_ok=True)
        else:
            self._files[path] = Spooled(min_txid, max_txid, path, note)

    def _write_note(self, path: Path, note: Note) -> None:
        data = json.dumps({field: getattr(note, field) for field in note.__slots__}).encode()
        with temporary_file(self.folder) as (temporary, file):
            write_all(file, data, path.name)
            faults.reach("fsync note")
            os.fdatasync(file.fileno())
            faults.reach("rename note")
            temporary.replace(path)


@contextlib.contextmanager
def open_spool(state: Path, name: str, database: str, size_max: int) -> Iterator[Spool]:
    """
    Hold the spool of one database for the time of a ``with`` block.

    Args:
        state: The folder for local state.

        name: The database's, for people who look into the folder.

        database: Its real path.

        size_max: How many bytes make it full.

    Raises:
        AlreadyRunning: Another process captures it.

        StoreError: The folder cannot be used.
    """
    key = f"{name}-{hashlib.sha256(database.encode()).hexdigest()[:12]}"
    folder = state / "stream" / key
    with translated(folder):
        make_folders(folder)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AlreadyRunning(
                f"another process streams {database}", hint="One is enough: end the other first."
            ) from error
        spool = Spool(folder, size_max)
        with translated(folder):
            spool.load()
        yield spool
    finally:
        os.close(descriptor)


def _read_note(path: Path) -> Note:
    with path.open("rb") as file:
        found = json.loads(file.read(_NOTE_SIZE_MAX))
    return Note(**{field: found[field] for field in Note.__slots__})
