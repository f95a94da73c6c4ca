"""
Where the time comes from: the only module that reads a clock.

Functions that need the time take a `Clock` (wall time) or a `Monotonic` as an
argument, so that tests own them.  Wall time is always an aware `datetime` in
UTC; intervals are measured with the monotonic clock, which never jumps.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
Monotonic = Callable[[], float]
Sleep = Callable[[float], None]


def now() -> datetime:
    """Return the wall time, aware, in UTC."""
    return datetime.now(UTC)


def monotonic() -> float:
    """Return seconds from an arbitrary start, never going back."""
    return time.monotonic()


def sleep(seconds: float) -> None:
    """Wait for *seconds*."""
    time.sleep(seconds)
