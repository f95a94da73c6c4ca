"""
This module writes docs/benchmarks-stream.md from what `bench/stream.py` measured.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

Figures = Mapping[str, Mapping[str, Sequence[float]]]

#: (claim, figure, how it is made of the medians, limit, whether more is better)
_PROMISES = (
    ("flat out: commits, of those made alone", "flat out: commits/s", "of alone", 0.7, True),
    ("flat out: largest WAL, MiB", "flat out: WAL MiB", "itself", 24.0, False),
    ("flat out: p99.9 of a commit, s", "flat out: p99.9 s", "itself", 0.020, False),
    ("1,000/s: CPU over Litestream's", "1,000/s: CPU share", "of litestream", 1.0, False),
    ("1,000/s: p99 over Litestream's", "1,000/s: p99 s", "of litestream", 1.0, False),
    ("1,000/s: memory, MiB", "1,000/s: memory MiB", "itself", 100.0, False),
    ("restore: times as fast as Litestream", "restore: s", "litestream of", 3.0, True),
    ("idle: share of a core", "idle: CPU share", "itself", 0.001, False),
)


def write_page(
    path: Path,
    figures: Figures,
    rounds: int,
    machine: Mapping[str, str],
    versions: Mapping[str, str],
) -> None:
    """Write the page."""
    lines = [
        "# Benchmarks of the stream",
        "",
        "<!-- Written by `make bench-stream`. Do not edit: the next run writes it anew. -->",
        "",
        (
            f"Measured on {datetime.now(UTC):%Y-%m-%d} in one run of {rounds} rounds; the "
            "application alone, beside `litekeep stream` and beside the real Litestream, taking "
            "turns in each. Numbers are medians, in brackets the smallest and the largest."
        ),
        "",
        "## What was promised, and what came out",
        "",
        "| | promised | measured | |",
        "| --- | --: | --: | --- |",
        *(_promise(figures, *promise) for promise in _PROMISES),
        "",
        "## All figures",
        "",
        "| | alone | Litekeep | Litestream |",
        "| --- | --: | --: | --: |",
        *(_row(name, found) for name, found in figures.items()),
        "",
        (
            "Where the application is alone, `restore` is a copy of the same bytes with an fsync, "
            "and `after a gap` about what the changed pages have together, uncompressed."
        ),
        "",
        "## Where",
        "",
        ", ".join(f"{name} {value}" for name, value in machine.items()) + ".",
        "",
        ", ".join(f"{name} {value}" for name, value in versions.items()) + ".",
        "",
    ]
    path.write_text("\n".join(lines))


def _promise(
    figures: Figures, claim: str, figure: str, how: str, limit: float, is_more_better: bool
) -> str:
    found = {name: statistics.median(values) for name, values in figures[figure].items()}
    ours = found["litekeep"]
    value = {
        "itself": lambda: ours,
        "of alone": lambda: ours / found["alone"],
        "of litestream": lambda: ours / max(found["litestream"], 1e-9),
        "litestream of": lambda: found["litestream"] / ours,
    }[how]()
    is_kept = value >= limit if is_more_better else value <= limit
    word = "at least" if is_more_better else "at most"
    return f"| {claim} | {word} {limit:g} | {value:.3g} | {'kept' if is_kept else '**missed**'} |"


def _row(name: str, found: Mapping[str, Sequence[float]]) -> str:
    cells = (
        _cell(found[contender]) if contender in found else ""
        for contender in ("alone", "litekeep", "litestream")
    )
    return f"| {name} | {' | '.join(cells)} |"


def _cell(values: Sequence[float]) -> str:
    return f"{_show(statistics.median(values))} ({_show(min(values))} to {_show(max(values))})"


def _show(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
