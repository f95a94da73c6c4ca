"""
The hidden file beside a blob in a directory that holds the blob's metadata.

    app.ltx            the blob
    .app.ltx.meta      {"entries": [{"inode", "mtime_ns", "size", "metadata"}, ...],
                        "self_sha256"}

Two files cannot be replaced at one instant, so each entry says which file it
describes, and a companion may hold two entries: for the blob that is there and
for the one that is about to take its place.  The order of a put is

  1. the new blob is written under a temporary name, and fsynced
  2. the companion is replaced by one with both entries; fsync of the directory
  3. the new blob is renamed or linked to its name; fsync of the directory
  4. the companion is replaced by one with the new entry alone, or removed

and of a delete: the blob, then the companion.  Between any two steps the blob
that is there has its own metadata.  A companion exists only where the blob has
metadata, or had some when it was replaced.

A tree that was copied with another tool has other inodes and perhaps other
times.  So where no entry fits and there is only one, its size decides.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from litekeep import faults
from litekeep.documents import decode_document, encode_document
from litekeep.errors import FormatError
from litekeep.store.temporary import temporary_file

COMPANION_NAME = re.compile(r"\.(.+)\.meta")
COMPANION_SIZE_MAX = 64 * 1024

_NO_FILE = (errno.ELOOP, errno.ENXIO)  # a symbolic link, a socket


@dataclass(frozen=True, slots=True)
class Entry:
    """The metadata of one file, and which file that is."""

    inode: int
    mtime_ns: int
    size: int
    metadata: Mapping[str, str]

    def fits(self, status: os.stat_result) -> bool:
        """Tell whether this describes the file of *status*."""
        return (self.inode, self.mtime_ns, self.size) == (
            status.st_ino,
            status.st_mtime_ns,
            status.st_size,
        )


def companion_path(path: Path) -> Path:
    """Return where the metadata of the blob at *path* is kept."""
    return path.with_name(f".{path.name}.meta")


def entry_of(status: os.stat_result, metadata: Mapping[str, str] | None) -> Entry:
    """Return the entry for the file of *status*."""
    return Entry(status.st_ino, status.st_mtime_ns, status.st_size, dict(metadata or {}))


def read_entry(path: Path, status: os.stat_result) -> Entry | None:
    """Return the entry for the blob at *path*, which has *status*; None without one."""
    entries = _read(companion_path(path))
    for entry in entries:
        if entry.fits(status):
            return entry
    if len(entries) == 1 and entries[0].size == status.st_size:
        return entries[0]
    return None


def write_entries(path: Path, entries: Sequence[Entry]) -> None:
    """
    Replace the companion of *path*; the caller fsyncs the directory.

    An end without metadata needs no companion: then it is removed.
    """
    companion = companion_path(path)
    if len(entries) < 2 and not any(entry.metadata for entry in entries):
        if os.path.lexists(companion):
            faults.reach(f"unlink {companion.name}")
            companion.unlink(missing_ok=True)
        return
    document = {
        "entries": [
            {
                "inode": entry.inode,
                "mtime_ns": entry.mtime_ns,
                "size": entry.size,
                "metadata": dict(entry.metadata),
            }
            for entry in entries
        ]
    }
    with temporary_file(path.parent) as (temporary, file):
        faults.reach(f"write {companion.name}")
        file.write(encode_document(document))
        faults.reach(f"fsync {companion.name}")
        os.fsync(file.fileno())
        faults.reach(f"rename {companion.name}")
        temporary.replace(companion)


def is_companion(path: Path) -> bool:
    """
    Tell whether the file at *path*, named like a companion, is one.

    Other programs have hidden files of such names, and a store may lie among theirs.
    """
    try:
        return bool(_read(path))
    except (OSError, FormatError):
        return False


def _read(companion: Path) -> list[Entry]:
    try:
        # A pipe of that name would keep us waiting for somebody to write to it.
        descriptor = os.open(companion, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return []
    except OSError as error:
        if error.errno not in _NO_FILE:
            raise
        raise _unreadable(companion, "it is not a file") from error
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _unreadable(companion, "it is not a file")
        data = file.read(COMPANION_SIZE_MAX + 1)
    try:
        if len(data) > COMPANION_SIZE_MAX:
            raise ValueError("it is too large")
        return [_entry(fields) for fields in decode_document(data)["entries"]]
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise _unreadable(companion, str(error)) from error


def _unreadable(companion: Path, reason: str) -> FormatError:
    return FormatError(
        f"metadata file {companion} cannot be read: {reason}",
        hint="Remove it: the object beside it is whole, and only its metadata is lost.",
    )


def _entry(fields: Any) -> Entry:
    metadata = fields["metadata"]
    if not isinstance(metadata, dict) or not all(
        isinstance(text, str) for pair in metadata.items() for text in pair
    ):
        raise ValueError("metadata is not text by name")
    return Entry(int(fields["inode"]), int(fields["mtime_ns"]), int(fields["size"]), metadata)
