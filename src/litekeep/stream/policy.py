"""
The policy of a stream: when files are merged, when a whole database is written anew, and
which moments stay restorable for how long.

Sizes are in bytes, times in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR


@dataclass(frozen=True, slots=True)
class Tier:
    """
    For so long one moment of each span stays restorable, its last; with 0 every sync does.
    """

    every_seconds: int
    within_seconds: float


KEEP = (
    Tier(0, DAY),
    Tier(MINUTE, 7 * DAY),
    Tier(HOUR, 30 * DAY),
    Tier(DAY, 365 * DAY),
)


@dataclass(frozen=True, slots=True)
class StreamPolicy:
    """
    What is merged, what is written anew, what stays.

    `windows_seconds` are those of levels 1 to 4; each a multiple of the one before, so that
    no merged file reaches over the end of a longer window.

    `members_max` is how many files are merged at once; so many are merged before their window
    ends.

    A whole database is written when the files behind the last one have more than `base_share`
    of its size, and `base_delta_size_min`, or are more than `file_count_max`.

    `retention_seconds` is how far two rounds of removing are apart at least.
    """

    windows_seconds: tuple[int, int, int, int] = (30, 5 * MINUTE, HOUR, DAY)
    members_max: int = 64
    base_share: float = 0.5
    base_delta_size_min: int = 1 << 20
    file_count_max: int = 64
    keep: tuple[Tier, ...] = KEEP
    retention_seconds: int = HOUR
