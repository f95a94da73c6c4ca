"""
What stands beside each file of a stream, in the metadata of its object.

    litestream-timestamp          when its newest commit was captured; Litestream reads it too
    litekeep-sha256               of the bytes as they are stored; stands beside all that we write
    litekeep-database-checksum    of the database, once the file is applied
    litekeep-gap-since            when the database was last watched before it, if not all the time
    litekeep-partial              what it makes was never committed
    litekeep-origin               host and path of the database

Anybody may have written it: what is read here is None where it is not what it should be.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

TIME_KEY = "litestream-timestamp"
SHA256_KEY = "litekeep-sha256"
CHECKSUM_KEY = "litekeep-database-checksum"
GAP_KEY = "litekeep-gap-since"
PARTIAL_KEY = "litekeep-partial"
ORIGIN_KEY = "litekeep-origin"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def show_time(time_ms: int) -> str:
    """
    Return a time as Litestream writes it.

    >>> show_time(1757332801500)
    '2025-09-08T12:00:01.500Z'
    """
    time = _EPOCH + timedelta(milliseconds=time_ms)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read_time(text: str | None) -> int | None:
    """
    Return a time that `show_time` or Litestream wrote; None if it is none.

    >>> read_time("2025-09-08T12:00:01.500Z"), read_time("yesterday")
    (1757332801500, None)
    """
    try:
        return time_ms_of(datetime.fromisoformat(text or ""))
    except (ValueError, TypeError):  # of no zone, too
        return None


def time_of(time_ms: int) -> datetime:
    """Return the time of so many milliseconds since 1970."""
    return _EPOCH + timedelta(milliseconds=time_ms)


def time_ms_of(time: datetime) -> int:
    """Return a time in milliseconds since 1970."""
    return (time - _EPOCH) // timedelta(milliseconds=1)
