"""
Whether a database without a log was written to, by what its files look like.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

#: A file that was changed less long ago may change again and have the same time.
_SETTLED_SECONDS = 1.0


def stamp_of(database: Path, now: datetime) -> tuple[object, ...]:
    """
    Return what changes with a write to a database without a log.

    Two writes in a moment may leave the same time, so once some time has passed it changes
    by itself, and the database is compared once more.
    """
    found: list[object] = []
    for name in (database, Path(f"{database}-wal")):
        try:
            status = os.stat(name)
        except OSError:
            found.append(None)
        else:
            is_settled = now.timestamp() - status.st_mtime > _SETTLED_SECONDS
            found.append((status.st_ino, status.st_size, status.st_mtime_ns, is_settled))
    return tuple(found)
