"""
Finding SQLite databases in a folder, by their first bytes.

A file is opened for an instant to read 16 bytes, and closed.  That would drop the
locks of a connection in this very process, so nothing of ours may have one open.
"""

from __future__ import annotations

import os
import re
from collections import deque
from dataclasses import dataclass
from pathlib import Path

MAGIC = b"SQLite format 3\0"
DEPTH_MAX = 6
ENTRIES_MAX = 200_000

_SIZE_MIN = 512
# Of tools, not of applications; and what we made ourselves.
_PASSED_OVER = re.compile(
    r"\..*|node_modules|__pycache__|site-packages|venv|proc|sys|dev|.*-backups|.*_backups"
)
_OURS = re.compile(r".*\.undo-\d{8}_\d{6}.*|.*\.restoring(\.db)?|.*-(wal|shm|journal)")


@dataclass(frozen=True, slots=True)
class Found:
    """A database file; `size` in bytes, of the main file alone."""

    path: Path
    size: int


@dataclass(frozen=True, slots=True)
class Search:
    """What was found, nearest to the top first; `is_whole` unless a bound was met."""

    found: tuple[Found, ...]
    is_whole: bool


def find_databases(
    folder: Path, *, depth_max: int = DEPTH_MAX, entries_max: int = ENTRIES_MAX
) -> Search:
    """
    Look for databases in *folder* and below; links are not followed.

    What may not be read is passed over.
    """
    found: list[Found] = []
    folders = deque([(folder, 0)])
    entry_count = 0
    is_whole = True
    while folders:
        current, depth = folders.popleft()
        try:
            entries = sorted(os.scandir(current), key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            entry_count += 1
            if entry_count > entries_max:
                return Search(tuple(found), is_whole=False)
            if entry.is_dir(follow_symlinks=False):
                if _PASSED_OVER.fullmatch(entry.name):
                    continue
                if depth < depth_max:
                    folders.append((Path(entry.path), depth + 1))
                else:
                    is_whole = False
            elif database := _as_database(entry):
                found.append(database)
    return Search(tuple(found), is_whole)


def is_database(path: Path) -> bool:
    """
    Say whether the file at *path* is a database by its first bytes; an empty file is one.

    Raises:
        OSError: It cannot be read.
    """
    with open(path, "rb", buffering=0) as file:
        return file.read(len(MAGIC)) in (MAGIC, b"")


def _as_database(entry: os.DirEntry[str]) -> Found | None:
    if _OURS.fullmatch(entry.name):
        return None
    try:
        if not entry.is_file(follow_symlinks=False):
            return None
        size = entry.stat(follow_symlinks=False).st_size
        if size < _SIZE_MIN:
            return None
        with open(entry.path, "rb", buffering=0) as file:
            return Found(Path(entry.path), size) if file.read(len(MAGIC)) == MAGIC else None
    except OSError:
        return None
