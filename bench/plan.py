"""
This module is the plan of a run: what is measured, on what size, how often.

The estimate is a rough one, from runs on two shared cores; it is there to be printed
before a person waits.
"""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1 << 20
GIB = 1 << 30

#: Seconds per GiB of database and round, all contenders together.
BACKUP_SECONDS = 125.0
RESTORE_SECONDS = 60.0
GROWTH_SECONDS = 9.0
APPLICATION_SECONDS = 70.0
#: Seconds per GiB to make a database, once.
MAKE_SECONDS = 40.0
#: Seconds per round and part, whatever the size: a server is started, programs begin.
FIXED_SECONDS = 8.0


@dataclass(frozen=True, slots=True)
class Plan:
    """
    What one run measures; sizes in bytes.

    The slow line gets a database of its own, because 1 GiB at its speed would take a
    quarter of an hour a contender.
    """

    database_size: int
    growth_sizes: tuple[int, ...]
    rounds: int
    alone_seconds: float
    limit_seconds: float
    slow_database_size: int
    slow_bytes_per_second: int

    @property
    def estimated_seconds(self) -> float:
        """Return about how long it takes, databases made before."""
        per_gib = BACKUP_SECONDS + RESTORE_SECONDS + APPLICATION_SECONDS
        slow = 2 * self.slow_database_size / 2 / self.slow_bytes_per_second + self.alone_seconds
        a_round = (
            per_gib * self.database_size / GIB
            + GROWTH_SECONDS * sum(self.growth_sizes) / GIB
            + self.alone_seconds
            + self.limit_seconds
            + slow
            + 5 * FIXED_SECONDS
        )
        return self.rounds * a_round


FULL = Plan(
    database_size=GIB,
    growth_sizes=(16 * MIB, 256 * MIB, GIB, 4 * GIB),
    rounds=5,
    alone_seconds=10.0,
    limit_seconds=20.0,
    slow_database_size=32 * MIB,
    slow_bytes_per_second=1_000_000,
)

QUICK = Plan(
    database_size=16 * MIB,
    growth_sizes=(16 * MIB, 24 * MIB),
    rounds=1,
    alone_seconds=0.5,
    limit_seconds=2.0,
    slow_database_size=16 * MIB,
    slow_bytes_per_second=8_000_000,
)
