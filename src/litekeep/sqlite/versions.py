"""
Which versions of SQLite have the WAL-reset bug.

One connection writes while another copies the log back and resets it: pages are lost.  It
came with WAL itself, in 3.7.0, and was fixed in 3.51.3, and for older lines in 3.50.7 and
3.44.6.  See https://www.sqlite.org/wal.html.
"""

from __future__ import annotations

_FIRST, _FIXED = (3, 7, 0), (3, 51, 3)
#: Lines of releases that got the fix too.
_FIXED_LINES = ((3, 50, 7), (3, 44, 6))


def has_reset_bug(version: str) -> bool:
    """
    Say whether SQLite of this version can lose pages when it resets its log.

    >>> [has_reset_bug(v) for v in ("3.6.23", "3.40.1", "3.44.5", "3.44.6", "3.45.0")]
    [False, True, True, False, True]
    >>> [has_reset_bug(v) for v in ("3.50.6", "3.50.7", "3.51.0", "3.51.2", "3.51.3")]
    [True, False, True, True, False]
    """
    found = tuple(int(part) for part in version.split(".")[:3])
    if not _FIRST <= found < _FIXED:
        return False
    return not any(found[:2] == line[:2] and found >= line for line in _FIXED_LINES)
