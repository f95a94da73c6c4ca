"""
This module is what was measured: values, and their JSON between the runs.

Sizes are bytes, times seconds.  Every list holds one entry a round, in order.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one contender."""

    wall_seconds: float
    cpu_seconds: float
    server_cpu_seconds: float
    memory_peak_size: int
    disk_peak_size: int
    disk_end_size: int
    stored_size: int


@dataclass(frozen=True, slots=True)
class Phase:
    """
    What an application met during one phase.

    `is_finished` is False where the backup beside it was stopped by its time limit.
    """

    seconds: float
    is_finished: bool
    commits_per_second: float
    latency_p99_seconds: float
    latency_max_seconds: float
    wal_peak_size: int


@dataclass(frozen=True, slots=True)
class Results:
    """All of one run of the benchmarks."""

    date: str
    rounds: int
    machine: dict[str, str]
    versions: dict[str, str]
    database_size: int
    backup: dict[str, list[Run]] = field(default_factory=dict)
    restore: dict[str, list[Run]] = field(default_factory=dict)
    growth: dict[int, list[Run]] = field(default_factory=dict)
    application: dict[str, list[Phase]] = field(default_factory=dict)
    application_slow: dict[str, list[Phase]] = field(default_factory=dict)
    slow_database_size: int = 0


def median(entries: Sequence[T], value: Callable[[T], float]) -> float:
    """Return the median of what *value* takes from each entry."""
    return statistics.median(map(value, entries))


def save(results: Results, path: Path) -> None:
    """Write *results* as JSON."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(results)) + b"\n")


def load(path: Path) -> Results:
    """Read what `save` wrote."""
    return msgspec.json.decode(path.read_bytes(), type=Results)
