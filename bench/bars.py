"""
This module is the promises: what was promised, what was measured, kept or missed.

A promise compares medians of one run.  One that is missed is shown as missed, with by
how much; the reason is written by hand in `REASONS`, under the promise's name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.results import Results, Run, median

MIB = 1 << 20
#: Why a promise is missed, as found out by measurement; shown only where it is missed.
REASONS: dict[str, str] = {
    "guide-wall": "Litekeep keeps a `latest` in the folder too, half a GiB more to write, which the"
    " guide does not; to S3 alone it was 6.3 x. Most of the rest is `latest` in S3, which this"
    " server copies on the same two cores: 2 s, as the two floors show.",
    "floor-no-check": "The floor moves no `latest`. Its copy inside the server, on the same two"
    " cores, takes 2 s; against the floor that copies it too it was 1.2 x. The rest is SHA-256: of"
    " the database, of the stored bytes, and again of what is sent, because the server is reached"
    " by plain http.",
}


@dataclass(frozen=True, slots=True)
class Bar:
    """One promise; `limit` is the largest value allowed, or the smallest if `is_minimum`."""

    name: str
    claim: str
    value: float
    limit: float
    unit: str
    is_minimum: bool = False

    @property
    def is_kept(self) -> bool:
        """Whether the measured value is within the limit."""
        return self.value >= self.limit if self.is_minimum else self.value <= self.limit

    @property
    def miss(self) -> float:
        """By which share of the limit it is missed; 0 where it is kept."""
        return 0.0 if self.is_kept else abs(self.value / self.limit - 1)

    @property
    def reason(self) -> str:
        """Why it is missed, as far as it is known."""
        return REASONS.get(self.name, "The reason has not been found yet.")


def wall(run: Run) -> float:
    """Return the time that a person waits."""
    return run.wall_seconds


def cpu(run: Run) -> float:
    """Return the CPU time of all processes of the contender."""
    return run.cpu_seconds


def stored(run: Run) -> float:
    """Return the bytes that came to lie in the store."""
    return run.stored_size


def bars(results: Results) -> list[Bar]:
    """Return every promise that *results* can answer."""
    found: list[Bar] = []
    backup, restore = results.backup, results.restore
    if {"litekeep", "guide"} <= backup.keys():
        found += _against_the_guide(backup)
    if {"litekeep-s3", "litekeep-s3-no-check", "floor"} <= backup.keys():
        found += [
            _over("floor-no-check", backup, "litekeep-s3-no-check", "floor", 1.25),
            _over("floor-check", backup, "litekeep-s3", "floor", 1.8),
        ]
    if {"litekeep", "gunzip", "bare"} <= restore.keys():
        found += [
            _over("restore-gunzip", restore, "litekeep", "gunzip", 0.7),
            _over("restore-bare", restore, "litekeep", "bare", 2.5),
        ]
    if len(results.growth) > 1:
        found += _growth(results)
    return found


CLAIMS = {
    "floor-no-check": "backup with `--no-check`: time over the floor's",
    "floor-check": "backup with the check: time over the floor's",
    "restore-gunzip": "restore with all proofs: time over `gunzip`'s",
    "restore-bare": "restore with all proofs: time over bare decompressing and writing",
}


def _against_the_guide(backup: dict[str, list[Run]]) -> list[Bar]:
    ours, guide = backup["litekeep"], backup["guide"]

    def share(value: Callable[[Run], float]) -> float:
        return median(guide, value) / median(ours, value)

    temporary = max(run.disk_peak_size - run.disk_end_size for run in ours)
    return [
        Bar("guide-wall", "times less wall time than the guide", share(wall), 7, "x", True),
        Bar("guide-cpu", "times less CPU time than the guide", share(cpu), 4.5, "x", True),
        Bar("guide-bytes", "stored bytes over the guide's", 1 / share(stored), 1.10, "x"),
        Bar(
            "temporary",
            "temporary disk beside the snapshot itself (no uncompressed copy)",
            temporary / MIB,
            16,
            "MiB",
        ),
    ]


def _over(name: str, runs: dict[str, list[Run]], ours: str, theirs: str, limit: float) -> Bar:
    value = median(runs[ours], wall) / median(runs[theirs], wall)
    return Bar(name, CLAIMS[name], value, limit, "x")


def _growth(results: Results) -> list[Bar]:
    sizes = sorted(results.growth)
    largest, before = sizes[-1], sizes[-2]
    per_byte = [median(results.growth[size], wall) / size for size in (largest, before)]
    memory = {size: max(run.memory_peak_size for run in results.growth[size]) for size in sizes}
    return [
        Bar(
            "linear",
            f"time per byte at {largest >> 20} MiB over that at {before >> 20} MiB",
            per_byte[0] / per_byte[1],
            1.15,
            "x",
        ),
        Bar(
            "memory",
            "peak memory of all processes together, at any size",
            max(memory.values()) / MIB,
            150,
            "MiB",
        ),
        Bar(
            "flat",
            f"peak memory at {largest >> 20} MiB over that at {before >> 20} MiB",
            memory[largest] / memory[before],
            1.15,
            "x",
        ),
    ]


def missed(listed: Sequence[Bar]) -> list[Bar]:
    """Return the promises that are not kept."""
    return [one for one in listed if not one.is_kept]
