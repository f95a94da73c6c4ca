"""
The settings of the stream: the part `[stream]` of those in `settings.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from litekeep.config.keys import key_field

CHECKPOINTS = ("help", "never")
#: Of `sync_interval`, in seconds.
SYNC_INTERVAL_MIN = 0.05
SYNC_INTERVAL_MAX = 3600

_DAY = 86400
_AGE_MAX = 100 * 366 * _DAY


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSettings:
    """How commits are streamed, and which moments stay; `[stream]`."""

    sync_interval: float = key_field(
        "duration",
        "Least time between two syncs.",
        default=1.0,
        low=SYNC_INTERVAL_MIN,
        high=SYNC_INTERVAL_MAX,
    )
    spool_size_max: int = key_field(
        "size",
        "Captured files that wait for a store, before the database is let go of.",
        default=1 << 30,
    )
    checkpoint: str = key_field(
        "text",
        "Help the application's checkpoints where its log grows, or never.",
        default="help",
        allowed=CHECKPOINTS,
    )
    base_share: float = key_field(
        "share",
        "Share of a whole database that what follows it may weigh, before a new one.",
        default=0.5,
    )
    keep_syncs: float = key_field(
        "duration", "How long every sync stays.", default=1 * _DAY, high=_AGE_MAX
    )
    keep_minutely: float = key_field(
        "duration", "How long the last sync of a minute stays.", default=7 * _DAY, high=_AGE_MAX
    )
    keep_hourly: float = key_field(
        "duration", "How long the last sync of an hour stays.", default=30 * _DAY, high=_AGE_MAX
    )
    keep_daily: float = key_field(
        "duration", "How long the last sync of a day stays.", default=365 * _DAY, high=_AGE_MAX
    )
